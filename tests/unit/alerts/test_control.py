"""The control socket of coordd-alert: who asks what no sensible client asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coordd.alerts.control import MAX_REQUEST, MOST, ControlServer
from coordd.protocol.jsonrpc import Fault


async def echo(params: Mapping[str, Any]) -> object:
    if params.get("fail"):
        raise Fault(-32000, "no", kind="no")
    if params.get("break"):
        raise RuntimeError
    return dict(params)


METHODS = {"echo": (echo, frozenset({"x", "fail", "break"}))}


async def ask(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"".join(lines))
    writer.write_eof()
    data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return [json.loads(line) for line in data.splitlines()]


def request(method: str, params: object = None, **more: object) -> bytes:
    return (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}).encode()
        + b"\n"
    )


async def test_requests_are_answered_in_order(tmp_path: Path) -> None:
    server = ControlServer(METHODS)
    path = tmp_path / "s"
    await server.start(str(path))
    try:
        answers = await ask(path, request("echo", {"x": 1}), request("echo", {"x": 2}))
        assert [one["result"] for one in answers] == [{"x": 1}, {"x": 2}]
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense\n", -32700),
        (b"[]\n", -32600),
        (b'{"jsonrpc":"2.0","id":1}\n', -32600),
        (request("none"), -32601),
        (request("echo", {"y": 1}), -32602),
        (request("echo", {"fail": True}), -32000),
        (request("echo", {"break": True}), -32000),
        (b"\xff\n", -32700),
        (b"[" * 30_000 + b"\n", -32700),
    ],
)
async def test_what_is_wrong_is_answered(tmp_path: Path, line: bytes, code: int) -> None:
    server = ControlServer(METHODS)
    path = tmp_path / "s"
    await server.start(str(path))
    try:
        answers = await ask(path, line, request("echo"))
        assert answers[0]["error"]["code"] == code
        assert answers[1]["result"] == {}
    finally:
        await server.stop()


async def test_a_request_without_an_end_is_dropped(tmp_path: Path) -> None:
    server = ControlServer(METHODS)
    path = tmp_path / "s"
    await server.start(str(path))
    try:
        assert await ask(path, b"x" * (2 * MAX_REQUEST)) == []
    except ConnectionError:
        pass
    finally:
        await server.stop()


async def test_too_many_connections_are_refused_and_the_others_served(tmp_path: Path) -> None:
    server = ControlServer(METHODS)
    path = tmp_path / "s"
    await server.start(str(path))
    held = [await asyncio.open_unix_connection(str(path)) for _ in range(MOST)]
    try:
        for reader, writer in held:
            writer.write(request("echo"))
            assert await asyncio.wait_for(reader.readline(), 10)
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    finally:
        for _, writer in held:
            writer.close()
        await server.stop()


async def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(2):
        server = ControlServer(METHODS)
        await server.start(str(path))
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await ask(path, request("echo")))[0]["result"] == {}
        await server.stop()
