"""Test the connection to a fake daemon: one question for many clients, a reason for each failure."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import FakeCoordd, RpcFault, fake_coordd
from waiting import until

from coordd.dashboard.channel import Channel, ChannelLost, Overloaded
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.upstream import MAX_PARTICULAR, Unavailable, Upstream
from coordd.errors import CannotTell, RpcError
from coordd.protocol.client import connect
from coordd.protocol.paths import DaemonLocation

WELCOME = {"seq": 0, "status": {"daemon": {"layout": "project"}}, "agents": []}


def make(path: str, layouts: frozenset[str] = frozenset({"project"})) -> Upstream:
    return Upstream(
        find=lambda: connect([DaemonLocation("--socket", path, None, None, None)], 5.0),
        on_record=lambda _method, _params: None,
        on_change=lambda: None,
        layouts=layouts,
    )


@asynccontextmanager
async def kept(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Keep up the connection meanwhile."""
    keeping = asyncio.create_task(upstream.run())
    try:
        yield upstream
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


@asynccontextmanager
async def linked(path: str, **answers: Any) -> AsyncIterator[tuple[Upstream, FakeCoordd]]:
    """Connect to a fake daemon that has these answers (methods with _ for the dot)."""
    known = {"subscribe": WELCOME} | {name.replace("_", "."): value for name, value in answers.items()}
    with fake_coordd(path, known) as fake:
        async with kept(make(path)) as upstream:
            await until(lambda: upstream.down is None)
            yield upstream, fake


async def test_a_hundred_who_ask_at_once_are_one_question(tmp_path: Path) -> None:
    async with linked(str(tmp_path / "s"), status={"a": 1}, agents_list={"agents": []}) as (upstream, fake):
        answers = await asyncio.gather(*[upstream.ask("status", fresh=60) for _ in range(100)])
        assert set(answers) == {b'{"a": 1}'}
        await upstream.ask("agents.list", {"status": "active"}, fresh=60)
        await upstream.ask("agents.list", {"status": "unknown"}, fresh=60)
    assert fake.methods == ["subscribe", "status", "agents.list", "agents.list"]


async def test_an_answer_is_given_again_for_its_time_alone(tmp_path: Path) -> None:
    async with linked(str(tmp_path / "s"), status={}) as (upstream, fake):
        await upstream.ask("status", fresh=0)
        await upstream.ask("status", fresh=0)
        for number in range(100):  # and not more of them are kept than is good
            await upstream.ask("status", {"n": number}, fresh=60)
        assert len(upstream._cache) <= 32
    assert fake.methods.count("status") == 102


async def test_too_many_questions_at_once_are_refused_and_the_link_stays(tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(_params: object) -> object:
        gate.wait(30)
        return {}

    async with linked(str(tmp_path / "s"), status={}, agents_get=slow) as (upstream, _):
        asked = [asyncio.create_task(upstream.ask("agents.get", {"agent_id": str(n)})) for n in range(400)]
        await asyncio.sleep(0)
        status = asyncio.create_task(upstream.ask("status"))
        await asyncio.sleep(0)
        gate.set()
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [one for one in said if isinstance(one, bytes)] == [b"{}"] * MAX_PARTICULAR
        assert {type(one) for one in said} == {bytes, Overloaded}
        assert await status == b"{}"  # what has no parameters has room
        assert upstream.down is None
        assert upstream.reconnections == 0


async def test_a_daemon_that_answers_others_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question that takes too long does not close the connection to a daemon that answers others."""
    monkeypatch.setattr("coordd.dashboard.upstream.TIMEOUT", 1.0)
    leave = threading.Event()

    def answers(connection: socket.socket, ending: threading.Event) -> None:
        for line in connection.makefile("rb"):
            request = json.loads(line)
            if request["method"] != "agents.get":
                result = WELCOME if request["method"] == "subscribe" else {}
                answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
                connection.sendall(json.dumps(answer).encode() + b"\n")
            leave.wait(0.01)
        ending.wait()

    path = str(tmp_path / "s")
    with fake_coordd(path, {}, answers):
        async with kept(make(path)) as upstream:
            await until(lambda: upstream.down is None)
            slow = asyncio.create_task(upstream.ask("agents.get", {"agent_id": "a"}))
            while not slow.done():
                await upstream.ask("status", fresh=0)
            assert isinstance(slow.exception(), Overloaded)
            assert upstream.down is None


async def test_an_error_of_the_daemon_passes_with_its_data(tmp_path: Path) -> None:
    def fault(_params: object) -> None:
        raise RpcFault(-32000, "No agent", {"kind": "no-such-agent"})

    async with linked(str(tmp_path / "s"), agents_get=fault) as (upstream, _):
        with pytest.raises(RpcError) as failed:
            await upstream.ask("agents.get", {"agent_id": "x"})
        assert failed.value.data == {"kind": "no-such-agent"}
        assert upstream.down is None


async def test_it_finds_the_daemon_again(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    changes = []
    upstream = Upstream(
        find=lambda: connect([DaemonLocation("--socket", path, None, None, None)], 5.0),
        on_record=lambda _method, _params: None,
        on_change=lambda: changes.append(upstream.down is None),
        layouts=frozenset({"project"}),
    )
    async with kept(upstream):
        await until(lambda: "nothing there" in str(upstream.down))
        with pytest.raises(Unavailable):
            await upstream.ask("status")
        for _ in range(2):
            with fake_coordd(path, {"subscribe": WELCOME, "status": {}}):
                await until(lambda: upstream.down is None)
                assert await upstream.ask("status") == b"{}"
            await until(lambda: upstream.down is not None)
            os.unlink(path)
    assert upstream.reconnections == 1
    assert changes.count(True) == 2


@pytest.mark.parametrize(
    ("welcome", "words"),
    [
        ({"seq": 0, "status": {"daemon": {"layout": "system"}}}, "token"),
        ({"hello": "world"}, "not coordd"),
        ([1, 2], "not coordd"),
    ],
)
async def test_what_is_no_daemon_of_ours_is_not_used(tmp_path: Path, welcome: object, words: str) -> None:
    path = str(tmp_path / "s")
    with fake_coordd(path, {"subscribe": welcome, "status": {}}):
        async with kept(make(path)) as upstream:
            await until(lambda: words in str(upstream.down))
            with pytest.raises(Unavailable):
                await upstream.ask("status")


def says(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """A daemon that reads a line, answers with these bytes and stays."""

    def behave(connection: socket.socket, ending: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(data)
        ending.wait(30)

    return behave


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not JSON-RPC"),
        (b"[1]\n", "not JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"All 64 are in use"}}\n', "All 64"),
    ],
)
async def test_a_channel_says_why_it_is_lost(tmp_path: Path, data: bytes, words: str) -> None:
    path = str(tmp_path / "s")
    with fake_coordd(path, {}, says(data)):
        channel = await Channel.open(path, within=30)
        with pytest.raises(ChannelLost, match=words):
            await channel.call("status", None, within=30)
        with pytest.raises(ChannelLost, match=words):
            await channel.call("status", None, within=30)
        assert words in str(await channel.closed)


async def test_a_channel_waits_no_longer_than_it_should(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with fake_coordd(path, {}, says(b"")):
        channel = await Channel.open(path, within=30)
        with pytest.raises(CannotTell, match="no answer within"):
            await channel.call("status", None, within=0.05)
        channel.close()
        assert isinstance(await channel.closed, ChannelLost)
        with pytest.raises(CannotTell, match="No such file"):
            await Channel.open(path + "x", within=30)


async def test_notifications_and_answers_come_apart(tmp_path: Path) -> None:
    heard: list[tuple[str, Any]] = []
    lines = [
        {"jsonrpc": "2.0", "method": "event", "params": {"seq": 1}},
        {"jsonrpc": "2.0", "id": 99, "result": "nobody's"},
        {"jsonrpc": "2.0", "id": 1, "result": {"ok": True}},
    ]

    path = str(tmp_path / "s")
    with fake_coordd(path, {}, says(b"".join(json.dumps(line).encode() + b"\n" for line in lines))):
        channel = await Channel.open(
            path, within=30, on_notification=lambda method, params: heard.append((method, json.loads(params)))
        )
        assert json.loads(await channel.call("subscribe", None, within=30)) == {"ok": True}
        channel.close()
    assert heard == [("event", {"seq": 1})]


async def test_what_was_heard_last_counts_before_what_was_left(tmp_path: Path) -> None:
    from coordd.protocol.snapshot import Snapshot

    looked: list[int] = []

    def read() -> Snapshot | None:
        looked.append(1)
        return Snapshot("p", 60.0, {"health": "ok"}, [{"agent_id": "a"}])

    last = LastKnown(read_snapshot=read)
    found = await last.state()
    assert found is not None
    assert (found.status, found.agents) == (b'{"health":"ok"}', b'[{"id":"a","agent_id":"a"}]')
    assert found.age is not None
    assert found.age >= 60
    await last.state()
    assert len(looked) == 1
    last.heard_status(b'{"health":"degraded"}')
    found = await last.state()
    assert found is not None
    assert found.status == b'{"health":"degraded"}'
    assert found.age is not None
    assert found.age < 60
    nothing = LastKnown(read_snapshot=lambda: None)
    assert await nothing.state() is None
