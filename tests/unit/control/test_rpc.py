"""Test JSON-RPC 2.0 by the examples of its specification, and errors inside a method."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from coordd.control.peer import Peer
from coordd.control.rpc import Dispatcher, Method, NoParams
from coordd.protocol.jsonrpc import SERVER_ERROR, AnswerAndClose, Fault

ROOT, OWN, STRANGER, NOBODY_KNOWS = Peer(uid=0), Peer(uid=1000), Peer(uid=1001), Peer(uid=None)


class Subtract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    minuend: float
    subtrahend: float = 1


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    a: int
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0


class Table:
    def __init__(self) -> None:
        self.updates: list[Update] = []
        rows = (
            Method("subtract", "", lambda p, _: p.minuend - p.subtrahend, Subtract),
            Method("update", "", lambda p, _: self.updates.append(p), Update),
            Method("foobar", "", lambda _p, _q: self.updates.append(Update(0)), NoParams),
            Method("get_data", "", lambda _p, _q: ["hello", 5], NoParams),
            Method("raw", "", lambda _p, _q: Raw(b'{"a":1}'), NoParams),
            Method("fails", "", self.fails, NoParams),
            Method("faults", "", self.faults, NoParams),
            Method("unencodable", "", lambda _p, _q: "\ud800", NoParams),
            Method("later", "", lambda p, _: self.later(p.minuend), Subtract),
            Method("fails_later", "", lambda _p, _q: self.fails_later(), NoParams),
            Method("control", "", lambda _p, _q: "done", NoParams, control=True),
        )
        self.dispatcher = Dispatcher(methods={row.name: row for row in rows}, own_uid=1000)

    def fails(self, _params: NoParams, _peer: Peer) -> object:
        raise KeyError("secret")

    def faults(self, _params: NoParams, _peer: Peer) -> object:
        raise Fault(SERVER_ERROR, "No such thing", kind="no-such-thing", name="x")

    async def later(self, value: float) -> object:
        await asyncio.sleep(0)
        return value

    async def fails_later(self) -> object:
        await asyncio.sleep(0)
        return "\ud800"

    def ask(self, line: str, peer: Peer = STRANGER) -> Any:
        async def go() -> bytes | None:
            answer = self.dispatcher(line.encode(), peer)
            return await answer if isinstance(answer, Awaitable) else answer

        answer = asyncio.run(go())
        if answer is None:
            return None
        assert answer.endswith(b"\n")
        assert answer.count(b"\n") == 1
        return json.loads(answer)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
            {"jsonrpc": "2.0", "result": 19, "id": 1},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
            {"jsonrpc": "2.0", "result": -19, "id": 2},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
            {"jsonrpc": "2.0", "result": 19, "id": 3},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
            {"jsonrpc": "2.0", "result": 19, "id": 4},
        ),
        ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
        ('{"jsonrpc": "2.0", "method": "foobar"}', None),
        (
            '{"jsonrpc": "2.0", "method": "nothing", "id": "1"}',
            {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"},
        ),
        (
            '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
            {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None},
        ),
        (
            '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}',
            {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
        ),
        (
            '{"foo": "boo", "id": 5}',
            {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": 5},
        ),
    ],
)
def test_the_examples_of_the_specification(table: Table, sent: str, received: object) -> None:
    assert table.ask(sent) == received


@pytest.mark.parametrize(
    "sent",
    [
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
        "GET / HTTP/1.1",
        "{} {}",
        '{"id": NaN}',
        '{"id": 1e999}',
        "[" * 200_000,
        '"\\ud800"',
    ],
)
def test_what_is_no_json_is_answered_with_a_parse_error_and_the_end(table: Table, sent: str) -> None:
    with pytest.raises(AnswerAndClose) as caught:
        table.ask(sent)
    assert json.loads(caught.value.answer) == {
        "jsonrpc": "2.0",
        "error": {"code": -32700, "message": "Parse error"},
        "id": None,
    }


def test_bytes_that_are_no_utf8_are_no_json(table: Table) -> None:
    with pytest.raises(AnswerAndClose):
        table.dispatcher(b'{"jsonrpc":"2.0","id":"\xff","method":"x"}', STRANGER)


@pytest.mark.parametrize(
    "sent", ["[]", "[1]", "[1,2,3]", '[{"jsonrpc": "2.0", "method": "update", "params": [1]}]']
)
def test_batches_are_refused_and_nothing_in_them_is_done(table: Table, sent: str) -> None:
    answer = table.ask(sent)
    assert answer["id"] is None
    assert (answer["error"]["code"], answer["error"]["data"]) == (-32600, {"kind": "batch"})
    assert table.updates == []


def test_notifications_are_done_and_never_answered(table: Table) -> None:
    assert table.ask('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}') is None
    assert table.updates == [Update(1, 2, 3, 4, 5)]
    for method in ("fails", "faults", "nothing", "unencodable", "fails_later", "control", "later"):
        assert table.ask(f'{{"jsonrpc": "2.0", "method": "{method}"}}') is None


@pytest.mark.parametrize(
    "params",
    ["[]", "{}", "[1,2,3]", '["1"]', '{"minuend":1,"other":2}', '{"minuend":null}', "[true]"],
)
def test_wrong_parameters_are_named(table: Table, params: str) -> None:
    error = table.ask(f'{{"jsonrpc":"2.0","id":1,"method":"subtract","params":{params}}}')["error"]
    assert (error["code"], error["data"]["kind"]) == (-32602, "params")


def test_a_parameter_left_out_has_its_default(table: Table) -> None:
    assert table.ask('{"jsonrpc":"2.0","id":1,"method":"subtract","params":[3]}')["result"] == 2


@pytest.mark.parametrize("ident", ["0", "1.5", '""', '"a\\u0000b"', "null", "-7", "9007199254740993"])
def test_the_id_comes_back_as_it_was(table: Table, ident: str) -> None:
    answer = table.ask(f'{{"jsonrpc":"2.0","id":{ident},"method":"get_data"}}')
    assert answer["id"] == json.loads(ident)
    assert answer["result"] == ["hello", 5]


@pytest.mark.parametrize("method", ["fails", "unencodable", "fails_later"])
def test_a_method_that_fails_is_an_internal_error_that_tells_nothing(
    table: Table, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = table.ask(f'{{"jsonrpc":"2.0","id":1,"method":"{method}"}}')
    assert answer["error"] == {"code": -32603, "message": "Internal error"}
    assert method in caplog.text


def test_errors_of_our_own_carry_their_kind(table: Table) -> None:
    assert table.ask('{"jsonrpc":"2.0","id":1,"method":"faults"}')["error"] == {
        "code": -32000,
        "message": "No such thing",
        "data": {"kind": "no-such-thing", "name": "x"},
    }


def test_an_answer_may_come_later_or_be_encoded_already(table: Table) -> None:
    assert table.ask('{"jsonrpc":"2.0","id":1,"method":"later","params":[4]}')["result"] == 4
    assert table.ask('{"jsonrpc":"2.0","id":1,"method":"raw"}')["result"] == {"a": 1}


@pytest.mark.parametrize(
    ("peer", "may"), [(ROOT, True), (OWN, True), (STRANGER, False), (NOBODY_KNOWS, False)]
)
def test_only_root_and_the_own_user_may_control(table: Table, peer: Peer, may: bool) -> None:
    answer = table.ask('{"jsonrpc":"2.0","id":1,"method":"control"}', peer)
    if may:
        assert answer["result"] == "done"
    else:
        assert answer["error"]["data"]["kind"] == "forbidden"
