"""Test the client against servers that answer well, badly, slowly or not at all."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import RpcFault, fake_coordd

from coordd.errors import CannotTell, DaemonNotRunning, RpcError
from coordd.protocol import client as client_module
from coordd.protocol.client import Client, connect
from coordd.protocol.paths import DaemonLocation

LONG = 30.0  # never waited for by a test that passes
SHORT = 0.2  # waited for in full


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "d.sock")


def place(path: str) -> DaemonLocation:
    return DaemonLocation("user", path, "/snapshot", "/metrics", "/logs")


def read_line(connection: socket.socket) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(connection.makefile("rb").readline())
    return request


def test_a_call_returns_its_result(path: str) -> None:
    with fake_coordd(path, {"ping": {"pid": 7}}) as daemon, Client(path, LONG) as client:
        assert client.call("ping") == {"pid": 7}
        assert client.call("ping", {"a": "ü\x1b"}) == {"pid": 7}
    first, second = daemon.requests
    assert first == {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert second["params"] == {"a": "ü\x1b"}
    assert second["id"] != first["id"]


def test_several_calls_go_in_one_send_and_are_matched_by_id(path: str) -> None:
    def backwards(connection: socket.socket, ending: threading.Event) -> None:
        lines = connection.recv(65536).splitlines()
        requests = [json.loads(line) for line in lines]
        connection.sendall(b'{"jsonrpc":"2.0","method":"event","params":{}}\n')
        for request in reversed(requests):
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": request["method"]}
            connection.sendall(json.dumps(answer).encode() + b"\n")

    with fake_coordd(path, {}, backwards) as daemon, Client(path, LONG) as client:
        assert client.call_many([("a", None), ("b", {}), ("c", [])]) == ["a", "b", "c"]
    assert daemon.connections == 1


def test_an_error_of_the_daemon_carries_code_words_and_data(path: str) -> None:
    def refuse(params: dict[str, Any]) -> None:
        raise RpcFault(-32602, "no \x1b[2Jsuch", {"kind": "x"})

    with fake_coordd(path, {"a": refuse, "b": 1}) as _, Client(path, LONG) as client:
        with pytest.raises(RpcError) as caught:
            client.call_many([("b", None), ("a", None)])
        assert (caught.value.code, caught.value.data) == (-32602, {"kind": "x"})
        assert str(caught.value) == "no \\x1b[2Jsuch", "the code is for programs"


def test_an_answer_in_crumbs_is_put_together(path: str) -> None:
    def crumbs(connection: socket.socket, ending: threading.Event) -> None:
        request = read_line(connection)
        for byte in json.dumps(
            {"jsonrpc": "2.0", "id": request["id"], "result": "ü€"}, ensure_ascii=False
        ).encode():
            connection.sendall(bytes([byte]))
        connection.sendall(b"\n")

    with fake_coordd(path, {}, crumbs), Client(path, LONG) as client:
        assert client.call("x") == "ü€"


def test_a_large_answer_arrives(path: str) -> None:
    with fake_coordd(path, {"x": "y" * 5_000_000}), Client(path, LONG) as client:
        assert len(client.call("x")) == 5_000_000


def test_an_answer_without_end_is_cut(path: str) -> None:
    def flood(connection: socket.socket, ending: threading.Event) -> None:
        while True:
            connection.sendall(b"x" * 65536)

    limited = Client(path, LONG, max_answer=1_000_000)
    with fake_coordd(path, {}, flood), limited, pytest.raises(CannotTell, match="more than 1000000 bytes"):
        limited.call("x")


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"HTTP/1.1 400 Bad\x1b[31m\r\n", "not JSON-RPC 2.0: HTTP/1.1 400 Bad\\\\x1b"),
        (b"\xff\xfe\n", "not JSON-RPC"),
        (b"[]\n", "not JSON-RPC"),
        (b"{}\n", "not JSON-RPC"),
        (b"[" * 100_000 + b"\n", "not JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1', "closed the connection before"),
        (b"", "closed the connection before"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"full"}}\n', "refused: full"),
        (b'{"jsonrpc":"2.0","id":null,"error":"odd"}\n', "refused: odd"),
    ],
)
def test_what_is_no_sound_answer_is_said(path: str, garbage: bytes, words: str) -> None:
    def babble(connection: socket.socket, ending: threading.Event) -> None:
        read_line(connection)
        connection.sendall(garbage)

    with fake_coordd(path, {}, babble), Client(path, LONG) as client, pytest.raises(CannotTell, match=words):
        client.call("ping")


def test_the_reason_is_read_even_where_the_daemon_hangs_up_on_the_request(path: str) -> None:
    def hang_up(connection: socket.socket, ending: threading.Event) -> None:
        connection.sendall(b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"too long"}}\n')
        connection.shutdown(socket.SHUT_RD)
        connection.recv(1)

    client = Client(path, LONG)
    with fake_coordd(path, {}, hang_up), client, pytest.raises(CannotTell, match="too long"):
        client.call("x", ["y" * 10_000_000])


def test_silence_ends_with_the_timeout_and_closes_the_connection(path: str) -> None:
    def silent(connection: socket.socket, ending: threading.Event) -> None:
        while connection.recv(65536):
            pass

    with fake_coordd(path, {}, silent), Client(path, SHORT) as client:
        with pytest.raises(CannotTell, match=r"no answer within 0\.2 s.*--timeout"):
            client.call("ping")
        with pytest.raises(CannotTell, match="the connection is closed"):
            client.call("ping")


def test_the_deadline_is_for_the_whole_answer(path: str) -> None:
    def trickle(connection: socket.socket, ending: threading.Event) -> None:
        while not ending.wait(SHORT / 10):
            connection.sendall(b" ")

    client = Client(path, SHORT)
    with fake_coordd(path, {}, trickle), client, pytest.raises(CannotTell, match="no answer within"):
        client.call("ping")


def test_a_daemon_that_never_pauses_does_not_hold_us(path: str) -> None:
    def chatter(connection: socket.socket, ending: threading.Event) -> None:
        while True:
            connection.sendall(b'{"jsonrpc":"2.0","method":"event"}\n' * 100)

    client = Client(path, SHORT)
    with fake_coordd(path, {}, chatter), client, pytest.raises(CannotTell, match="no answer within"):
        client.call("ping")


def test_a_daemon_that_does_not_read_does_not_hold_us(path: str) -> None:
    def deaf(connection: socket.socket, ending: threading.Event) -> None:
        ending.wait(LONG)

    client = Client(path, SHORT)
    with fake_coordd(path, {}, deaf), client, pytest.raises(CannotTell, match="no answer within"):
        client.call("x", ["y" * 10_000_000])


def test_a_full_backlog_is_waited_for_and_then_said(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(CannotTell, match="no answer within"):
            connect([place(path)], SHORT)
        # Room again, and the client gets in.
        listener.accept()[0].close()
        connect([place(path)], LONG).close()


@pytest.mark.parametrize("kind", ["missing", "no-directory", "dead", "file", "datagram"])
def test_where_nobody_listens_the_next_place_is_asked(tmp_path: Path, path: str, kind: str) -> None:
    other = tmp_path / "other.sock"
    if kind == "no-directory":
        (tmp_path / "f").write_text("")
        other = tmp_path / "f" / "other.sock"
    elif kind == "dead":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(other))
    elif kind == "file":
        other.write_text("")
    elif kind == "datagram":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.bind(str(other))
    with fake_coordd(path, {"ping": 1}):
        client = connect([place(str(other)), place(path)], LONG)
        with client:
            assert client.path == path
            assert client.call("ping") == 1


def test_when_nobody_answers_all_that_was_tried_is_named(tmp_path: Path) -> None:
    evil, long = str(tmp_path / "a\x1b[2J.sock"), str(tmp_path / ("x" * 120))
    with pytest.raises(DaemonNotRunning) as caught:
        connect([place(evil), place(long)], SHORT)
    (first, why), (second, too_long) = caught.value.tried
    assert first.endswith("a\\x1b[2J.sock")
    assert why == "nothing there"
    assert second == long
    assert "--socket" in too_long
    assert caught.value.exit_code == 3


def _as_stranger(path: str) -> str:
    """What connect() says to a user who may not, in a process of that user where we are root."""
    code = f"""
        import grp, os, pwd  # all imports before the rights go: this Python may lie in root's home
        import coordd.protocol.access
        from coordd.protocol.client import connect
        from coordd.errors import CannotTell
        from coordd.protocol.paths import DaemonLocation
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            connect([DaemonLocation("user", {path!r}, "s", "m", "l")], 30)
        except CannotTell as error:
            print(error.exit_code, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(client_module.__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_refused_socket_names_the_user_to_be(open_directory: Path) -> None:
    path = open_directory / "d.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        path.chmod(0)
        said = _as_stranger(str(path))
    assert said.startswith(f"4 {path}: permission denied by {path}: ask as the user ")


def test_a_refused_directory_names_the_group_to_join(open_directory: Path) -> None:
    private = open_directory / "run"
    private.mkdir()
    private.chmod(0o010)
    os.chown(private, -1, 4321)
    said = _as_stranger(str(private / "d.sock"))
    os.chown(private, -1, 0)
    of_root = _as_stranger(str(private / "d.sock"))
    private.chmod(0o700)
    denied = f"permission denied by {private}:"
    assert f"{denied} join the group 4321; or ask as the user root: sudo -u root" in said
    assert f"{denied} ask as the user root: " in of_root, "nobody is to join root's"


@pytest.mark.parametrize("close", [lambda c: c.close(), lambda c: c.__exit__(None, None, None)])
def test_closing_twice_is_closing_once(path: str, close: Callable[[Client], None]) -> None:
    with fake_coordd(path, {}):
        client = connect([place(path)], LONG)
        close(client)
        close(client)
