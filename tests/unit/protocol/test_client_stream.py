"""Test notifications that a client takes without waiting."""

import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import fake_coordd
from waiting import PATIENCE

from coordd.errors import CannotTell
from coordd.protocol.client import Client


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "d.sock")


def collect(client: Client, wanted: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    while len(messages) < wanted and time.monotonic() < deadline:
        select.select([client.fileno()], [], [], 0.1)
        messages += client.arrived()
    return messages


def sends(*blocks: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def behaviour(connection: socket.socket, ending: threading.Event) -> None:
        for block in blocks:
            connection.sendall(block)
            ending.wait(0.02)
        ending.wait(PATIENCE)

    return behaviour


def notification(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","method":"agent","params":{"seq":%d}}\n' % number


def test_answers_and_notifications_come_in_their_order_and_nothing_is_waited_for(path: str) -> None:
    with fake_coordd(path, {"ping": 1, "status": 2}), Client(path, PATIENCE) as client:
        assert client.arrived() == []
        assert list(client.send([("ping", None), ("status", None)])) == [1, 2]
        assert [(m["id"], m["result"]) for m in collect(client, 2)] == [(1, 1), (2, 2)]
        assert client.call("ping") == 1
        assert client.arrived() == []


def test_messages_in_pieces_are_given_once_they_are_whole(path: str) -> None:
    data = b"".join(notification(n) for n in range(100))
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    with fake_coordd(path, {}, sends(*pieces)), Client(path, PATIENCE) as client:
        assert [m["params"]["seq"] for m in collect(client, 100)] == list(range(100))


def test_what_came_before_the_end_is_given_before_the_end_is_told(path: str) -> None:
    def behaviour(connection: socket.socket, ending: threading.Event) -> None:
        connection.sendall(notification(1) + notification(2)[:-5])

    with fake_coordd(path, {}, behaviour), Client(path, PATIENCE) as client:
        assert [m["params"]["seq"] for m in collect(client, 1)] == [1]
        with pytest.raises(CannotTell, match="closed the connection"):
            collect(client, 1)


def test_what_came_with_an_answer_is_given_although_the_connection_has_ended(path: str) -> None:
    def behaviour(connection: socket.socket, ending: threading.Event) -> None:
        connection.recv(1000)
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"result":1}\n' + notification(1) + notification(2))

    with fake_coordd(path, {}, behaviour), Client(path, PATIENCE) as client:
        assert client.call("ping") == 1
        select.select([client.fileno()], [], [], PATIENCE)  # the end has come
        assert [m["params"]["seq"] for m in client.arrived()] == [1, 2]
        with pytest.raises(CannotTell, match="closed the connection"):
            client.arrived()


def test_a_line_without_end_is_no_answer(path: str) -> None:
    with (
        fake_coordd(path, {}, sends(b"x" * 5000)),
        Client(path, PATIENCE, max_answer=1000) as client,
        pytest.raises(CannotTell, match="more than 1000 bytes"),
    ):
        collect(client, 1)


def test_what_is_no_json_rpc_is_told_escaped(path: str) -> None:
    with (
        fake_coordd(path, {}, sends(b"\x1b[2Jhello\n")),
        Client(path, PATIENCE) as client,
        pytest.raises(CannotTell, match=r"not JSON-RPC 2.0: \\x1b\[2Jhello"),
    ):
        collect(client, 1)


def test_a_closed_client_has_nothing(path: str) -> None:
    with fake_coordd(path, {}), Client(path, PATIENCE) as client:
        client.close()
        assert client.fileno() == -1
        with pytest.raises(CannotTell):
            client.arrived()
        with pytest.raises(CannotTell):
            client.send([("ping", None)])
