"""Every door of the real processes, knocked at with times, numbers and texts that nobody means.

No answer is an internal error, no exit a traceback, and no log grows by what a stranger sends.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dashboard, dashboard
from fake_coordd import fake_coordd, status_document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Coordd, Project, environment, watching
from redisd import redis_server
from strange import ENDLESS, NUMBERS, TEXTS, TIMES, values
from waiting import eventually

INTERNAL = -32603

METHODS = {
    "agents.list": ["status", "activity", "workspace", "limit", "cursor"],
    "agents.get": ["agent_id", "workspace"],
    "agents.forget": ["agent_id", "workspace"],
    "attention.ack": ["entry"],
    "records.purge": ["agent_id", "workspace", "project", "dry_run", "job"],
    "tasks.list": ["state", "workspace", "limit", "cursor"],
    "history.query": ["type", "since", "until", "agent_id", "limit", "step", "workspace"],
    "subscribe": ["topics"],
    "status": [],
    "reload": [],
}
CURSORS = ["W251bGwsImEiXQ==", "WzEsImEiLCJiIl0=", "WzFlOTk5LCJhIiwiYiJd", "bnVsbA==", "W10=", "=", "A", "ü"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Coordd, Project, Path]]:
    """One daemon for all tests that only ask."""
    base = tmp_path_factory.mktemp("doors")
    project = Project(base / "app")
    project.beat("a")
    (project.coordination / "claims").mkdir()
    (project.coordination / "claims" / "t.claim").write_text('{"agent_id":"a","claimed_at":1,"ttl":1e9}')
    with watching(project, base, COORDD_SAMPLING_INTERVAL="1s") as coordd:
        eventually(lambda: project.records("system") and project.records("agent"))
        yield coordd, project, base


class Line:
    """One connection for many requests; made anew after the daemon has hung up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connect()

    def _connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))
        self.answers = self.sock.makefile("rb")

    def ask(self, line: bytes) -> dict[str, Any]:
        while True:
            try:
                self.sock.sendall(line + b"\n")
                break
            except OSError:  # it hung up after what came before, which was no JSON
                self.close()
                self._connect()
        while True:
            try:
                answer = self.answers.readline()
            except ConnectionResetError:
                answer = b""
            if not answer:
                self.close()
                self._connect()
                return {}
            message: dict[str, Any] = json.loads(answer)
            if "method" not in message:
                return message

    def close(self) -> None:
        self.answers.close()
        self.sock.close()


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(sorted(METHODS)))
    value = values | st.sampled_from(CURSORS)
    params: Any = draw(st.dictionaries(st.sampled_from([*METHODS[method], "x"]), value, max_size=3))
    if method == "history.query":
        params.setdefault("type", draw(st.sampled_from(["system", "agent", "event"])))
    if draw(st.integers(0, 9)) == 0:
        params = draw(st.lists(value, max_size=8))
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def test_no_parameter_of_the_control_socket_is_an_internal_error(scene: tuple[Coordd, Project, Path]) -> None:
    coordd, _, _ = scene
    line = Line(coordd.socket)
    before = len(coordd.logged())

    @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
    @given(request=requests())
    def knock(request: bytes) -> None:
        answer = line.ask(request)
        assert answer.get("error", {}).get("code") != INTERNAL, (request, answer)

    knock()
    for since in (None, *TIMES, *NUMBERS, *ENDLESS):
        for until in (None, "9999-12-31T23:59:59Z", *NUMBERS[:8]):
            for more in ({}, {"step": "1h"}, {"step": since}, {"limit": since}):
                params = {"type": "system", "since": since, "until": until, **more}
                request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "history.query", "params": params})
                answer = line.ask(request.encode())
                assert answer.get("error", {}).get("code") != INTERNAL, (request, answer)
    line.close()
    assert len(coordd.logged()) - before < 20_000


def test_until_the_end_of_the_calendar_is_all_there_is(scene: tuple[Coordd, Project, Path]) -> None:
    coordd, _, _ = scene
    for until in ("9999-12-31T23:59:59Z", "9999-12-31T23:00:00Z", 253402300799):
        answer = coordd.rpc("history.query", {"type": "agent", "since": "1h", "until": until})
        assert {record["agent_id"] for record in answer["records"]} == {"a"}
    done = coordd.ctl(
        "history", "agent", "--until", "9999-12-31T23:59:59Z", "--since", "1h", "--format", "jsonl"
    )
    assert done.returncode == 0
    assert {json.loads(line)["agent_id"] for line in done.stdout.splitlines()} == {"a"}


COMMANDS: list[list[str]] = [
    ["history", "system", "--since", "999999999w", "--format", "chart"],
    ["history", "system", "--until", "9999-12-31T23:59:59Z", "--format", "chart"],
    ["history", "system", "--since", "9999-12-31T23:59:59Z", "--format", "chart"],
    ["history", "agent", "--until", "0001-01-01T00:00:00+23:59"],
    ["history", "agent", "--since", "\udcff", "--until", "9" * 5000],
    ["history", "agent", "--agent", "\udcff", "--workspace", "\udcff", "--format", "csv"],
    ["history", "system", "--step", "0.0000000000000000001ms", "--format", "jsonl"],
    ["history", "system", "--step", "9" * 60 + "w"],
    ["history", "system", "--since", "1h", "--step", "1e999"],
    ["tail", "agent", "-n", "9" * 30],
    ["tail", "agent", "-n", "-1"],
    ["agents", "--timeout", "nan"],
    ["agents", "--timeout", "1e400"],
    ["agents", "--workspace", "\udcff"],
    ["agent", "\udcff"],
    ["agent", "=1\x1b[31m"],
    ["why", "\udcff"],
    ["tasks", "--workspace", "\udcff"],
    ["check", "--critical-agents", "9" * 400],
    ["check", "--warning-agents", "nan"],
    ["rpc", "history.query", '{"type":"system","since":1e400}'],
    ["rpc", "history.query", '{"type":"system","since":' + "9" * 5000 + "}"],
    ["rpc", "agents.get", '{"agent_id":"\\ud800"}'],
    ["rpc", "\udcff", "{}"],
    ["rpc", "\udcff"],
    ["dashboard", "--listen", "127.0.0.1:" + "9" * 400],
    ["dashboard", "--listen", "\udcff"],
    ["dashboard", "--listen", "[::1%" + "x" * 300 + "]:0"],
    ["dashboard", "--listen", "unix:\udcff" + "x" * 300],
    ["status", "--socket", "\udcff"],
    ["agents", "--socket", "\udcff"],
    ["agents", "--socket", "x" * 5000],
    ["completion", "\udcff"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: repr(" ".join(command))[:50])
def test_no_option_of_coordctl_gives_a_traceback(
    scene: tuple[Coordd, Project, Path], command: list[str]
) -> None:
    coordd, _, _ = scene
    done = coordd.ctl(*command)
    assert done.returncode in (0, 1, 2, 3, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert "a fault of coordctl itself" not in done.stderr
    assert not done.returncode or done.stderr.count("\n") <= 4, done.stderr


RECORDS = [
    {
        "timestamp": stamp,
        "host": 1,
        "agent_id": ["=1"],
        "subject": {},
        "detail": 3,
        "uptime": 1e300,
        "rss": -(10**40),
    }
    for stamp in (*TIMES, *NUMBERS[:-3], None, [], {})
]


@pytest.mark.parametrize("form", ["table", "jsonl", "csv", "chart"])
@pytest.mark.parametrize("step", [None, "1h", "999999w"])
def test_no_record_read_back_gives_a_traceback(
    scene: tuple[Coordd, Project, Path], form: str, step: str | None
) -> None:
    coordd, project, _ = scene
    path = project.claude / "metrics" / "event_2026-01-01.jsonl"
    lines = [json.dumps(record, allow_nan=True).encode() for record in RECORDS]
    lines += [
        b'{"timestamp":"2026-01-01T00:00:00.000Z","x":' + b"[" * 20_000,
        b"\xff\x00",
        b'{"timestamp":NaN}',
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    try:
        more = [] if step is None else ["--step", step]
        done = coordd.ctl("history", "event", "--since", "0001-01-01T00:00:00Z", "--format", form, *more)
        if done.returncode == 2:
            done = coordd.ctl("history", "event", "--since", "1970-01-02", "--format", form, *more)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        params = {"type": "event", "since": "1970-01-02", **({} if step is None else {"step": step})}
        assert coordd.rpc("history.query", params)["records"]
    finally:
        for form_of_it in path.parent.glob(f"{path.stem}*"):  # housekeeping may have gzipped it
            form_of_it.unlink(missing_ok=True)


def test_a_claim_in_redis_that_lives_for_ever_is_shown(tmp_path: Path) -> None:
    """Its end is beyond the calendar: that took `tasks.list` and the page of tasks away from all."""
    with redis_server(tmp_path / "redis") as server:
        with server.client as client:
            client.set("tasks:claimed:long", "a", px=2**62)
            client.set("task:claim:longer", '{"agent_id":"a","claimed_at":253402300798,"ttl":1e9}', px=2**61)
            client.set("heartbeat:a", "253402300799", ex=120)
            client.set("heartbeat:b", "9" * 400, ex=120)
            client.set("task:progress:long", '{"progress":1e400,"timestamp":-1}')
            client.zadd("tasks:priority_queue", {'{"id":"z"}': float("inf")})
        project = Project(tmp_path / "app")
        with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as coordd:

            def shown() -> bool:
                tasks = {one["task_id"]: one for one in coordd.rpc("tasks.list")["tasks"]}
                return tasks["long"]["expires_at"][:4] == "9999" and "longer" in tasks

            eventually(shown)
            assert coordd.ctl("tasks").returncode == 0
            assert coordd.rpc("status")["redis"]["connected"]


HEADERS = ["Host", "Origin", "Cookie", "Authorization", "Accept", "Accept-Encoding", "If-None-Match"]
HEADERS += ["Last-Event-ID", "X-Forwarded-Proto", "Range", "Content-Length", "Sec-Fetch-Site", "Connection"]
QUERIES = ["since", "until", "step", "limit", "cursor", "range", "workspace", "agent_id", "status", "state"]
PATHS = [
    "/api/metrics/system/history",
    "/api/metrics/agent/history",
    "/api/tasks",
    "/api/agents/active",
    "/api/agents/a",
]
PATHS += [
    "/api/metrics/system/series",
    "/api/events/recent",
    "/api/status",
    "/metrics",
    "/",
    "/login",
    "/healthz",
]


def knock(dash: Dashboard, request: bytes) -> int:
    """The status of the answer; 0 where the connection was closed without one."""
    with dash.raw(request) as sock, sock.makefile("rb") as file:
        first = file.readline()
    return int(first.split()[1]) if first.startswith(b"HTTP/1.1 ") else 0


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("token", [False, True])
def test_no_parameter_and_no_header_of_the_dashboard_is_a_servers_error(
    scene: tuple[Coordd, Project, Path], tmp_path: Path, token: bool
) -> None:
    coordd, _, _ = scene
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    (tmp_path / "home").mkdir()
    options = ["--token-file", str(file)] if token else []
    ours = b"Host: localhost\r\nConnection: close\r\n"
    bearer = b"Authorization: Bearer 0123456789abcdef\r\n" if token else b""
    with dashboard(*options, sock=coordd.socket, home=tmp_path / "home", wait_for_daemon=False) as dash:
        eventually(
            lambda: knock(dash, b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n" + bearer + b"\r\n") == 200
        )
        odd = [*TIMES, *TEXTS, *(str(one)[:4000] for one in (*NUMBERS, *ENDLESS)), *CURSORS]
        for path in PATHS[:7]:
            for name in QUERIES:
                for value in odd if name in ("since", "until", "step", "cursor") else odd[::4]:
                    line = f"GET {path}?{name}={quoted(value)} HTTP/1.1\r\n".encode()
                    status = knock(dash, line + ours + bearer + b"\r\n")
                    assert status < 500, (path, name, value, status)
        for path in PATHS:
            for name in HEADERS:
                for value in odd[::5]:
                    raw = value.encode("utf-8", "surrogatepass").replace(b"\n", b" ")[:1000]
                    host = b"" if name == "Host" else b"Host: localhost\r\n"
                    line = b"GET %b HTTP/1.1\r\n%b%b: %b\r\n" % (path.encode(), host, name.encode(), raw)
                    own = b"" if name == "Authorization" else bearer
                    status = knock(dash, line + own + b"Connection: close\r\n\r\n")
                    assert status < 500, (path, name, value, status)
        for value in odd:
            line = f"GET /api/agents/{quoted(value)} HTTP/1.1\r\n".encode()
            assert knock(dash, line + ours + bearer + b"\r\n") < 500, value
        for body in ("a&b&c&d&e&f", "a=1&" * 50, "token=" + "%ED%A0%80", "token=%00", "\x00", "&&&&&&;;;"):
            line = f"POST /login HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode()
            assert knock(dash, line + ours + b"\r\n" + body.encode()) < 500, body
        assert len(dash.log.read_text()) < 5000


def test_what_hammers_at_the_dashboard_fills_no_log(tmp_path: Path) -> None:
    """Behind it answers something that makes no sense: a warning a request, of which ten are shown."""
    (tmp_path / "home").mkdir()
    answers = {
        "subscribe": {
            "seq": 0,
            "timestamp": "2026-11-22T06:05:00.123Z",
            "topics": [],
            "status": status_document(),
            "agents": [],
        },
        "status": status_document(),
        "agents.list": {"no": "agents"},
    }
    with (
        fake_coordd(str(tmp_path / "c.sock"), answers),
        dashboard(sock=tmp_path / "c.sock", home=tmp_path / "home") as dash,
    ):
        for number in range(300):
            assert dash.get(f"/api/agents/active?workspace={number}").status == 502
        assert dash.stop(signal.SIGTERM) == 0
        said = dash.log.read_text().splitlines()
        assert sum("makes no sense" in line for line in said) <= 11
        assert any("290 more of these" in line for line in said)


def test_what_strangers_leave_fills_no_log(tmp_path: Path) -> None:
    """Three hundred things that are no heartbeats: ten are named in the log, the rest is counted there."""
    project = Project(tmp_path / "app")
    for number in range(300):
        os.mkfifo(project.agents / f"f{number}.heartbeat")
    project.beat("good")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("status")["traces_malformed"]["count"] >= 300)
        assert coordd.stop() == 0
        said = coordd.logged().splitlines()
        assert sum(".heartbeat" in line for line in said) <= 11
        assert any("290 more of these" in line for line in said)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("program", ["coordd.cli", "coordd"])
def test_an_error_that_nobody_foresaw_is_one_line(tmp_path: Path, program: str, debug: bool) -> None:
    main = "coordd.cli" if program == "coordd.cli" else "coordd.commands.main"
    code = (
        f"import sys, {main} as m\n"
        "def broken(*args, **kwargs): raise RuntimeError('bro\\x1bken\\nhere ' + 'x' * 5000)\n"
        "m._run = broken\n"
        "sys.exit(m.main())\n"
    )
    extra = {"COORDD_DEBUG": "1"} if debug else {}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=environment(tmp_path / "home", **extra), check=False,
    )  # fmt: skip
    assert done.returncode == (1 if debug or program == "coordd" else 4)
    if debug:
        assert "Traceback" in done.stderr
        return
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 600
    assert "\x1b" not in done.stderr
    assert "RuntimeError: bro" in done.stderr
    assert "COORDD_DEBUG=1" in done.stderr


def test_an_agent_named_like_a_formula_is_text_in_a_spreadsheet(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    for name in ("=1+1", "-1", "+cmd", "@sum", "\uff1d1", "plain"):
        project.beat(name)
    with watching(project, tmp_path) as coordd:
        eventually(lambda: len({one["agent_id"] for one in project.records("agent")}) == 6)
        done = coordd.ctl("history", "agent", "--format", "csv")
        found = {row["agent_id"] for row in csv.DictReader(io.StringIO(done.stdout))}
        assert found == {"'=1+1", "'-1", "'+cmd", "'@sum", "'\uff1d1", "plain"}
        done = coordd.ctl("history", "agent", "--format", "csv", "--step", "1h")
        assert {row["agent_id"] for row in csv.DictReader(io.StringIO(done.stdout))} == found
