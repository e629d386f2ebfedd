"""coordctl as a process of its own, against a fake daemon behind a real socket."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import RpcFault, agent, fake_coordd, paged, status_document
from waiting import PATIENCE

import coordd

ROOT = Path(coordd.__file__).parent.parent
CTL = [sys.executable, "-m", "coordd.cli"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PATH", "LANG", "LC_"))}
    return {
        **kept,
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUTF8": "1",
        "TERM": "xterm",
    }


@pytest.fixture
def path(tmp_path: Path, env: dict[str, str]) -> str:
    env["COORDD_SOCKET"] = str(tmp_path / "d.sock")
    return env["COORDD_SOCKET"]


@pytest.fixture
def ctl(tmp_path: Path, env: dict[str, str]) -> Any:
    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"cwd": tmp_path, "env": env, "text": True, "capture_output": True, **options}
        return subprocess.run([*CTL, *arguments], timeout=PATIENCE, check=False, **options)

    return run


@pytest.fixture
def started(tmp_path: Path, env: dict[str, str]) -> Iterator[Any]:
    """Starts coordctl in the background; what still runs at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        processes.append(subprocess.Popen([*CTL, *arguments], cwd=tmp_path, env=env, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def answers(agents: list[dict[str, Any]] | None = None, **status: Any) -> dict[str, Any]:
    return {"status": status_document(**status), "agents.list": paged(agents or [agent("builder-1")])}


def fault(code: int, message: str, data: object = None) -> Any:
    def answer(params: dict[str, Any]) -> None:
        raise RpcFault(code, message, data)

    return answer


def write_snapshot(path: Path, **daemon: Any) -> None:
    status = status_document()
    status["daemon"].update(daemon)
    document = {
        "schema": 1,
        "written_at": "2026-11-22T06:05:00.000Z",
        "status": status,
        "agents": [agent("a")],
    }
    path.write_text(json.dumps(document))


# status


def test_status_finds_the_workspace_above_and_asks_once(tmp_path: Path, ctl: Any) -> None:
    run = tmp_path / ".claude" / "run"
    run.mkdir(parents=True)
    deep = tmp_path / "src" / "deep"
    deep.mkdir(parents=True)
    with fake_coordd(str(run / "coordd.sock"), answers([agent("dead", "inactive"), agent("b")])) as daemon:
        done = ctl("status", cwd=deep)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok  host box  coordd 0.1.0")
    assert [line.split()[0] for line in done.stdout.splitlines()[-2:]] == ["dead", "b"]
    assert daemon.connections == 1
    assert [(r["method"], r.get("params")) for r in daemon.requests] == [
        ("status", None),
        ("agents.list", {"status": "inactive", "limit": 20}),
        ("agents.list", {"status": "unknown", "limit": 20}),
        ("agents.list", {"status": "active", "limit": 20}),
    ]


def test_status_json_is_the_document_of_the_daemon(path: str, ctl: Any) -> None:
    document = status_document(health="degraded", problems=["\ud800\u202e\x9b"])
    with fake_coordd(path, {"status": document}):
        done = ctl("status", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == document
    assert done.stdout.isascii()


@pytest.mark.parametrize("options", [[], ["--json"], ["--timeout", "0.3"]])
@pytest.mark.parametrize("case", ["ok", "degraded", "old", "gone", "error", "garbage", "shape", "silent"])
def test_both_ways_to_status_are_the_same(
    tmp_path: Path, path: str, ctl: Any, case: str, options: list[str]
) -> None:
    def babble(connection: socket.socket, ending: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400\n")

    def silent(connection: socket.socket, ending: threading.Event) -> None:
        ending.wait(PATIENCE)

    expected = {"ok": 0, "degraded": 1, "old": 3, "gone": 3}.get(case, 4)
    if case == "silent":
        options = [*options, "--timeout=0.3"]
    if case == "old":
        write_snapshot(tmp_path / "snapshot.json", socket=path)
    said = answers(health="degraded", problems=["p"]) if case == "degraded" else answers()
    said |= {"error": {"status": fault(-32603, "Internal error")}, "shape": {"status": {}}}.get(case, {})
    behaviour = {"garbage": babble, "silent": silent}.get(case)

    def ask() -> tuple[Any, Any]:
        return ctl("status", *options), ctl("--", "status", *options)  # "--" means nothing, and needs click

    if case in ("old", "gone"):
        short, long = ask()
    else:
        with fake_coordd(path, said, behaviour):
            short, long = ask()
    assert (short.returncode, long.returncode) == (expected, expected)
    assert short.stderr == long.stderr
    assert bool(short.stderr) == (case not in ("ok", "degraded") and (case != "old" or "--json" in options))
    if case == "old":  # the age may have grown between the two
        assert "not running" in short.stdout + short.stderr
        assert short.stdout.count("\n") == long.stdout.count("\n") > 1
    else:
        assert short.stdout == long.stdout


def test_with_the_daemon_down_the_last_snapshot_is_shown_and_marked(
    tmp_path: Path, path: str, ctl: Any
) -> None:
    write_snapshot(tmp_path / "snapshot.json", socket=path)
    done = ctl("status")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("coordd is not running. Last snapshot ")
    assert f"  {path}: nothing there\n" in done.stdout
    assert " WAS " in done.stdout
    document = json.loads(ctl("status", "--json").stdout)
    assert (document["daemon_running"], document["health"]) == (False, "ok")
    assert document["snapshot_age"] >= 0


def test_with_no_snapshot_either_json_still_comes(path: str, ctl: Any) -> None:
    done = ctl("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"schema": 1, "daemon_running": False, "snapshot_age": None}
    assert f"{path}: nothing there" in done.stderr


def test_a_socket_path_that_cannot_be_is_a_usage_error(ctl: Any) -> None:
    for arguments in (["status"], ["ping"]):
        done = ctl(*arguments, "--socket", "/" + "x" * 200)
        assert done.returncode == 2
        assert "name a shorter one with --socket" in done.stderr


HEAVY = {"asyncio", "redis", "psutil", "apscheduler", "msgspec"}
SLOW = {"click", "dataclasses", "typing", "re", "enum", "json", "socket", "datetime", "inspect", "argparse"}


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["status"], HEAVY | SLOW),
        (["status", "--json"], HEAVY | SLOW - {"json", "re", "enum"}),
        (["--", "status"], HEAVY),
        (["agents"], HEAVY),
        (["--help"], HEAVY),
    ],
)
def test_what_is_not_needed_is_not_imported(
    path: str, env: dict[str, str], arguments: list[str], forbidden: set[str]
) -> None:
    code = (
        "import sys; before = set(sys.modules); from coordd.cli import main; "
        "code = main(); sys.stderr.write(' '.join(set(sys.modules) - before)); sys.exit(code)"
    )
    with fake_coordd(path, answers()):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    imported = set(done.stderr.split())
    assert "coordd.cli" in imported
    assert not imported & forbidden


# agents and agent


def test_agents_come_from_all_pages_not_active_first(path: str, ctl: Any) -> None:
    agents = [agent(f"a{n:02}") for n in range(25)] + [agent("dead", "inactive")]
    with fake_coordd(path, {"agents.list": paged(agents, page=10)}) as daemon:
        text, document = ctl("agents"), ctl("agents", "--json")
    assert [line.split()[0] for line in text.stdout.splitlines()] == ["AGENT", "dead"] + [
        a["agent_id"] for a in agents[:25]
    ]
    parsed = json.loads(document.stdout)
    assert list(parsed) == ["schema", "timestamp", "agents"]
    assert len(parsed["agents"]) == 26
    assert parsed["agents"][0]["agent_id"] == "dead"
    assert [r["params"].get("cursor") for r in daemon.requests[:3]] == [None, "10", "20"]


def test_agents_are_chosen_by_status_and_workspace(tmp_path: Path, path: str, ctl: Any) -> None:
    with fake_coordd(path, {"agents.list": paged([agent("a")])}) as daemon:
        done = ctl("agents", "--status", "inactive", "--workspace", "src/../src")
    assert (done.returncode, done.stdout) == (0, "no such agents\n")
    assert daemon.requests[0]["params"] == {"status": "inactive", "workspace": str(tmp_path / "src")}


def test_a_list_without_end_is_not_followed_for_ever(path: str, ctl: Any) -> None:
    with fake_coordd(path, {"agents.list": {"agents": [], "cursor": "again"}}):
        done = ctl("agents")
    assert done.returncode == 4
    assert "does not end" in done.stderr


def test_one_agent_in_full(path: str, ctl: Any) -> None:
    full = {
        **agent("b\x1b[2J"),
        "evidence": [
            {"signal": "heartbeat", "value": "2026-11-22T06:04:48Z", "age": 12.4, "threshold": 120.0}
        ],
        "tasks": ["t-1", "t-\u202e2"],
        "claims": [
            {
                "task_id": "t-1",
                "state": "held",
                "agent_id": "b\x1b[2J",
                "holder_status": "active",
                "claimed_at": "2026-11-22T06:00:00.123Z",
                "expires_at": "2026-11-22T06:10:00.123Z",
                "progress": 40.0,
                "message": "tests\x1b[2J",
            }
        ],
    }
    with fake_coordd(path, {"agents.get": full}) as daemon:
        done = ctl("agent", "b\x1b[2J", "--workspace", "/src/app")
    assert daemon.requests[0]["params"] == {"agent_id": "b\x1b[2J", "workspace": "/src/app"}
    assert done.stdout.splitlines() == [
        "timestamp:           2026-11-22T06:05:00.123Z",
        "host:                box",
        "workspace:           /src/app",
        "agent_id:            b\\x1b[2J",
        "status:              active",
        "reason:              heartbeat",
        "cause:               heartbeat",
        "active_tasks:        2",
        "uptime:              1 h 2 min",
        "last_heartbeat:      2026-11-22T06:04:48.123Z",
        "last_heartbeat_age:  12 s ago",
        "declared_status:     -",
        "sources:             file",
        "pid:                 -",
        "cpu_percent:         -",
        "rss:                 -",
        "",
        "evidence",
        "  SIGNAL     VALUE                 AGE   THRESHOLD",
        "  heartbeat  2026-11-22T06:04:48Z  12 s  2 min",
        "",
        "tasks",
        "  t-1",
        "  t-\\u202e2",
        "",
        "claims",
        "  TASK  STATE  HOLDER    SINCE      UNTIL     PROGRESS",
        "  t-1   held   b\\x1b[2J  5 min ago  in 5 min  40 % tests\\x1b[2J",
    ]


def test_an_ambiguous_agent_names_its_workspaces(path: str, ctl: Any) -> None:
    data = {"kind": "ambiguous", "workspaces": ["/a", "/b\x1b", None]}
    with fake_coordd(path, {"agents.get": fault(-32602, "Agent 'x' exists in 3 workspaces", data)}):
        done = ctl("agent", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("coordctl: Agent 'x' exists in 3 workspaces\n")
    assert "  --workspace /a\n  --workspace /b\\x1b\n" in done.stderr


# the smaller ones


def test_ping(path: str, ctl: Any) -> None:
    with fake_coordd(path, {"ping": {"version": "0.1.0", "pid": 42, "uptime": 200.0}}):
        done = ctl("ping")
    assert done.returncode == 0
    assert done.stdout.startswith("coordd 0.1.0, pid 42, up 3 min 20 s, answered in ")


def test_reload_says_what_changed_and_what_waits(path: str, ctl: Any) -> None:
    said = {"changed": ["agents.timeout"], "restart_required": ["control.socket"]}
    with fake_coordd(path, {"reload": said}):
        assert ctl("reload").stdout == "changed: agents.timeout\nneeds a restart: control.socket\n"
    os.unlink(path)
    with fake_coordd(path, {"reload": fault(-32000, "agents.timeout = 'x': a duration", {"kind": "config"})}):
        done = ctl("reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert "agents.timeout = 'x': a duration" in done.stderr


def test_rpc_calls_anything(path: str, ctl: Any) -> None:
    with fake_coordd(path, {"m": lambda params: {"got": params}, "bad": fault(-32000, "no", {"kind": "k"})}):
        assert json.loads(ctl("rpc", "m").stdout) == {"got": {}}
        assert json.loads(ctl("rpc", "m", '{"a": [1]}').stdout) == {"got": {"a": [1]}}
        assert json.loads(ctl("rpc", "m", "-", input='{"a": "ü"}').stdout) == {"got": {"a": "ü"}}
        refused = ctl("rpc", "bad")
        missing = ctl("rpc", "nothing")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no (code -32000)" in refused.stderr
    assert '"kind": "k"' in refused.stderr
    assert "-32601" in missing.stderr


@pytest.mark.parametrize("params", ["{", "1", '"x"', '{"a": NaN}', "[" * 100_000])
def test_rpc_refuses_what_are_no_parameters(path: str, ctl: Any, params: str) -> None:
    done = ctl("rpc", "m", params)
    assert done.returncode == 2
    assert "the parameters" in done.stderr


# the command line


def test_help_teaches_with_examples(ctl: Any) -> None:
    done = ctl("--help")
    assert done.returncode == 0
    for command in ("status", "agents", "agent", "tail", "ping", "reload", "rpc"):
        assert f"\n  {command} " in done.stdout
        assert "Examples:\n" in ctl(command, "--help").stdout
    assert "coordctl tail event -f" in done.stdout


def test_version(ctl: Any) -> None:
    assert ctl("--version").stdout == f"coordctl {coordd.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Usage: coordctl"),
        (["statsu"], "Did you mean 'status'?"),
        (["zzz\x1b"], "No such command 'zzz\\x1b'.\n"),
        (["status", "--jsn"], "--json"),
        (["status", "--timeout", "-1"], "'-1' is not a time to wait"),
        (["agents", "--status", "dead"], "'inactive'"),
        (["tail", "-n", "-1"], "-1"),
    ],
)
def test_a_typing_error_is_2_and_helps(ctl: Any, arguments: list[str], words: str) -> None:
    done = ctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_the_option_nearest_the_command_wins(path: str, env: dict[str, str], ctl: Any) -> None:
    del env["COORDD_SOCKET"]
    with fake_coordd(path, {**answers(), "ping": {}}):
        for command in ("status", "ping"):
            assert ctl("--socket", "/nowhere", command, "--socket", path).returncode == 0
            assert ctl("--socket", path, command).returncode == 0
            assert ctl("--socket", path, command, "--socket", "/nowhere").returncode == 3


# how it ends


@pytest.mark.parametrize("command", ["agents", "status"])
def test_a_reader_that_goes_away_ends_it_in_silence(path: str, started: Any, command: str) -> None:
    many = [agent(f"a{n}" + "x" * 100) for n in range(20_000)]
    problems = ["p" * 1000] * 1000
    with fake_coordd(path, answers(many, health="degraded", problems=problems)):
        process = started(command)
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("command", ["agents", "status"])
def test_ctrl_c_ends_it_without_a_traceback(path: str, started: Any, command: str) -> None:
    asked = threading.Event()

    def silent(connection: socket.socket, ending: threading.Event) -> None:
        connection.recv(65536)
        asked.set()
        ending.wait(PATIENCE)

    with fake_coordd(path, {}, silent):
        process = started(command, "--timeout", str(PATIENCE))
        assert asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().strip() == b""


@pytest.mark.parametrize("command", ["status", "agents"])
def test_output_that_cannot_be_written_is_said(path: str, ctl: Any, command: str) -> None:
    with fake_coordd(path, answers()), open("/dev/full", "w") as full:
        done = ctl(command, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_of_another_encoding_gets_escapes(path: str, env: dict[str, str], ctl: Any) -> None:
    env |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with fake_coordd(path, answers([agent("bü")])):
        done = ctl("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "b\\xfc" in done.stdout


def on_terminal(arguments: list[str], env: dict[str, str], cwd: Path) -> bytes:
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([*CTL, *arguments], env=env, cwd=cwd, stdout=theirs) as process:
            os.close(theirs)
            said = b""
            deadline = time.monotonic() + PATIENCE
            while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                try:
                    block = os.read(ours, 65536)
                except OSError:  # EIO: the last one closed it
                    break
                if not block:
                    break
                said += block
            assert process.wait(PATIENCE) == 0
            return said
    finally:
        os.close(ours)


def test_colour_is_for_terminals_that_want_it(
    tmp_path: Path, path: str, env: dict[str, str], ctl: Any
) -> None:
    with fake_coordd(path, answers()):
        assert b"\x1b[32mok\x1b[0m" in on_terminal(["status"], env, tmp_path)
        assert "\x1b" not in ctl("status").stdout
        for change in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            assert b"\x1b" not in on_terminal(["status"], {**env, **change}, tmp_path)


# tail


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    directory = tmp_path / "metrics"
    directory.mkdir()
    (directory / "event_2026-11-21.jsonl").write_text('{"n":0}\n{"n":1}\n')
    (directory / "event_2026-11-22.jsonl").write_text('{"n":2}\n{"to')
    return directory


def located(tmp_path: Path) -> dict[str, Any]:
    status = status_document()
    status["daemon"] |= {"metrics_dir": str(tmp_path / "metrics"), "log_dir": str(tmp_path / "logs")}
    return {"status": status}


def test_tail_reads_where_the_daemon_writes(tmp_path: Path, metrics: Path, path: str, ctl: Any) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "performance_2026-11-21.csv").write_text("TIMESTAMP,CPU\nt0,1\n")
    (tmp_path / "logs" / "performance_2026-11-22.csv").write_text("TIMESTAMP,CPU\nt1,1\n")
    with fake_coordd(path, located(tmp_path)):
        assert ctl("tail", "-n", "2").stdout == '{"n":1}\n{"n":2}\n'
        assert ctl("tail", "event").stdout == '{"n":0}\n{"n":1}\n{"n":2}\n'
        assert ctl("tail", "system").stdout == ""
        assert ctl("tail", "performance").stdout == "TIMESTAMP,CPU\nt0,1\nt1,1\n"


def test_tail_with_the_daemon_down_reads_the_layout(
    tmp_path: Path, metrics: Path, env: dict[str, str], ctl: Any
) -> None:
    project = tmp_path / "project" / ".claude"
    (project / "coordination").mkdir(parents=True)
    (project / "run").mkdir()
    metrics.rename(project / "metrics")
    env["COORDD_SOCKET"] = str(project / "run" / "coordd.sock")
    assert ctl("tail", "-n", "1").stdout == '{"n":2}\n'
    done = ctl("tail", "agent")
    assert done.returncode == 3
    assert "not running" in done.stderr


def read_lines(process: subprocess.Popen[bytes], wanted: int) -> list[bytes]:
    """The next lines; the process is killed where they do not come in time."""
    assert process.stdout is not None
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        return [process.stdout.readline() for _ in range(wanted)]
    finally:
        timer.cancel()
        timer.join()


def test_tail_follows_over_midnight_until_interrupted(
    tmp_path: Path, metrics: Path, path: str, started: Any
) -> None:
    with fake_coordd(path, located(tmp_path)):
        process = started("tail", "event", "-n", "1", "-f", bufsize=0)
        assert read_lines(process, 1) == [b'{"n":2}\n']
        with (metrics / "event_2026-11-22.jsonl").open("a") as file:
            file.write('rn":3}\n')
        assert read_lines(process, 1) == [b'{"torn":3}\n']
        (metrics / "event_2026-11-23.jsonl").write_text('{"n":4}\n{"n":5}\n')
        assert read_lines(process, 2) == [b'{"n":4}\n', b'{"n":5}\n']
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().strip() == b""


def test_tail_ends_when_its_reader_goes_though_nothing_comes(
    tmp_path: Path, metrics: Path, path: str, started: Any
) -> None:
    with fake_coordd(path, located(tmp_path)):
        process = started("tail", "-n", "1", "-f", bufsize=0)
        read_lines(process, 1)
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr.read() == b""


def test_tail_escapes_for_terminals_and_not_for_pipes(
    tmp_path: Path, metrics: Path, path: str, env: dict[str, str], ctl: Any
) -> None:
    evil = '{"id":"\u202e\x9b2J","raw":"'.encode() + b'\xff"}\n'
    (metrics / "event_2026-11-23.jsonl").write_bytes(evil)
    with fake_coordd(path, located(tmp_path)):
        assert ctl("tail", "-n", "1", text=False).stdout == evil
        shown = on_terminal(["tail", "-n", "1"], env, tmp_path)
    assert shown == b'{"id":"\\u202e\\x9b2J","raw":"\\udcff"}\r\n'
