"""One process that takes all it can of a real daemon, and another that asks meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, watching
from waiting import PATIENCE, eventually

from coordd.runtime.schedule import now
from coordd.util.timestamps import format_utc

pytestmark = pytest.mark.usefixtures("many_descriptors")

MOST = 1024
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "app")
    made.beat("coder")
    return made


@contextlib.contextmanager
def clients(coordd: Coordd, many: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections of this process, each with these bytes sent."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(many):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(coordd.socket))  # blocking, for it is refused at once else when many wait
            sock.settimeout(PATIENCE)
            sock.sendall(sent)
            made.append(sock)
        yield made


def line(sock: socket.socket) -> dict[str, Any]:
    with sock.makefile("rb") as lines:
        said: dict[str, Any] = json.loads(lines.readline())
    return said


def all_is_well(coordd: Coordd) -> None:
    """Another process is answered, whatever it asks."""
    for command in (("ping",), ("reload",), ("status",), ("rpc", "agents.list")):
        said = coordd.ctl(*command)
        assert said.returncode == 0, (command, said.stderr, said.stdout)


def connections(coordd: Coordd) -> int:
    """Of the daemon, by the kernel's word."""
    found = 0
    for entry in Path(f"/proc/{coordd.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


@pytest.mark.parametrize("many", [64, MOST + 80])
def test_idle_polite_clients_shut_nobody_out(project: Project, tmp_path: Path, many: int) -> None:
    with watching(project, tmp_path) as coordd, clients(coordd, many, PING) as held:
        assert line(held[-1])["result"]["pid"] == coordd.pid
        all_is_well(coordd)
        assert connections(coordd) <= MOST + 8


@pytest.mark.parametrize(
    "sent", [b"", b'{"jsonrpc":', PING + b'{"jsonrpc":'], ids=["silent", "half", "second"]
)
def test_half_requests_shut_nobody_out(project: Project, tmp_path: Path, sent: bytes) -> None:
    with watching(project, tmp_path) as coordd, clients(coordd, MOST + 80, sent):
        all_is_well(coordd)
        assert connections(coordd) <= MOST + 8


def test_subscribers_of_one_process_shut_nobody_out(project: Project, tmp_path: Path) -> None:
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topics":["event"]}}\n'
    with watching(project, tmp_path) as coordd, clients(coordd, MOST // 2 + 20, subscribe) as held:
        answers = [line(one) for one in held]
        refused = [one["error"]["data"]["kind"] for one in answers if "error" in one]
        assert refused == ["busy"] * 20  # not the last 20 for certain: a busy daemon may take one up late
        assert sum("result" in one for one in answers) == MOST // 2
        all_is_well(coordd)


def test_a_subscriber_of_another_process_is_let_in(project: Project, tmp_path: Path) -> None:
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topics":["event"]}}\n'
    script = (
        "import socket, sys\n"
        "one = socket.socket(socket.AF_UNIX)\n"
        "one.settimeout(20)\n"
        "one.connect(sys.argv[1])\n"
        f"one.sendall({subscribe!r})\n"
        "print(one.makefile('rb').readline().decode())\n"
    )
    with watching(project, tmp_path) as coordd, clients(coordd, MOST // 2, subscribe) as held:
        for one in held:
            assert "result" in line(one)
        said = subprocess.run(
            [sys.executable, "-I", "-c", script, str(coordd.socket)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert "result" in json.loads(said.stdout), said.stdout
        assert held[-1].recv(1) == b""  # the newest of the many


def test_queries_of_history_take_turns(project: Project, tmp_path: Path) -> None:
    metrics = project.claude / "metrics"
    metrics.mkdir(parents=True)
    moment = format_utc(now().wall - 5)
    record = {"timestamp": moment, "host": "h", "workspace": "/w", "agent_id": "a", "status": "active"}
    with (metrics / f"agent_{moment[:10]}.jsonl").open("wb") as file:
        file.write((json.dumps(record).encode() + b"\n") * 200_000)
    slow = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "history.query",
        "params": {"type": "agent", "step": "1s", "since": "1h"},
    }
    with (
        watching(project, tmp_path) as coordd,
        clients(coordd, 80, json.dumps(slow).encode() + b"\n") as held,
    ):
        refused = line(held[-1])  # as many may wait, and no more
        assert refused["error"]["data"]["kind"] == "busy"
        said = coordd.ctl("rpc", "history.query", '{"type": "event"}')
        assert said.returncode == 0, said.stderr
        assert "daemon.started" in said.stdout


def test_a_storm_of_reloads_is_few_of_them(project: Project, tmp_path: Path) -> None:
    reload = b'{"jsonrpc":"2.0","id":1,"method":"reload"}\n'
    with watching(project, tmp_path) as coordd, clients(coordd, 300, reload) as held:
        for one in held:
            assert "result" in line(one)
        all_is_well(coordd)
        made = [one for one in project.records("event") if one["kind"] == "config.reloaded"]
        assert 0 < len(made) < 150


def test_a_thousand_pipelines_leave_others_their_turn(project: Project, tmp_path: Path) -> None:
    """Each sends thousands of requests at once and reads nothing; a sample and a question come through."""
    with watching(project, tmp_path) as coordd, clients(coordd, 300) as held:
        for one in held:
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.send(
                    b'{"jsonrpc":"2.0","method":"status"}\n' * 3000
                )  # no answer that could be left unread
        all_is_well(coordd)


def memory(coordd: Coordd) -> int:
    """Bytes of it in memory."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{coordd.pid}/status").read_text())[0]) * 1024


def test_requests_that_wait_lie_in_memory_as_they_came_and_few_of_each_client(
    project: Project, tmp_path: Path
) -> None:
    """A client may have sent a mebibyte of small requests; what is not its turn yet stays in the kernel."""
    with watching(project, tmp_path) as coordd, clients(coordd, 400) as held:
        before = memory(coordd)
        for one in held:
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.send(PING * 20_000)
        all_is_well(coordd)
        assert memory(coordd) - before < 100 * 1024 * 1024


def test_a_client_that_is_gone_is_answered_no_more(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        for _ in range(20):
            with clients(coordd, 20, PING * 500):
                pass
        all_is_well(coordd)
        assert "socket.send()" not in coordd.logged()


def test_processes_that_share_all_places_shut_nobody_out(project: Project, tmp_path: Path) -> None:
    """Three of them, each with less than half, whose connections are all being answered."""
    script = (
        "import socket, sys, time\n"
        "made = []\n"
        "for _ in range(40):\n"
        "    one = socket.socket(socket.AF_UNIX)\n"
        "    one.connect(sys.argv[1])\n"
        f"    one.sendall({SUBSCRIBE!r})\n"
        "    one.makefile('rb').readline()\n"
        "    made.append(one)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with contextlib.ExitStack() as stack:
        coordd = stack.enter_context(watching(project, tmp_path, prefix=["prlimit", "--nofile=400:400"]))
        for _ in range(3):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-c", script, str(coordd.socket)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline()
        with clients(coordd, 1, SUBSCRIBE) as (mine,):
            assert "result" in line(mine)
        all_is_well(coordd)


def test_it_ends_in_order_with_a_thousand_connections_open(project: Project, tmp_path: Path) -> None:
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n'
    with (
        watching(project, tmp_path) as coordd,
        clients(coordd, 400, subscribe),
        clients(coordd, 300, PING),
        clients(coordd, 300, b'{"jsonrpc":'),
    ):
        eventually(lambda: connections(coordd) >= 900)
        assert coordd.stop() == 0
        assert [one["kind"] for one in project.records("event")][-1] == "daemon.stopped"
        assert not re.search("Traceback|ERROR", coordd.logged())
        snapshot = json.loads((project.claude / "run" / "snapshot.json").read_text())
        # written after the last connection was dropped: the drain was not cut short
        assert snapshot["status"]["timestamp"] >= project.records("event")[-1]["timestamp"]


def test_the_descriptors_decide_where_there_are_few(project: Project, tmp_path: Path) -> None:
    with (
        watching(project, tmp_path, prefix=["prlimit", "--nofile=200:200"]) as coordd,
        clients(coordd, 250, PING),
    ):
        all_is_well(coordd)
        assert connections(coordd) <= 100 + 8
        assert "Too many open files" not in coordd.logged()


@pytest.mark.parametrize("limit", [48, 64])
def test_clients_that_rush_in_while_it_starts_leave_it_what_it_needs(
    project: Project, tmp_path: Path, limit: int
) -> None:
    """It answers before it has imported everything; they take all descriptors that they can get."""
    prefix = ["prlimit", f"--nofile={limit}:{limit}"]
    with watching(project, tmp_path, prefix=prefix, wait=False) as coordd, contextlib.ExitStack() as stack:
        eventually(lambda: coordd.socket.exists() and bool(coordd.rpc("ping")))
        stack.enter_context(clients(coordd, 60))
        eventually(lambda: "answers on" in coordd.logged())
        all_is_well(coordd)
        assert "Too many open files" not in coordd.logged()
        assert json.loads(coordd.ctl("status", "--json").stdout)["problems"] == []
