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
from coordd.cli.look import LOOK

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
    listed = paged(agents or [agent("builder-1")])
    return {"status": status_document(**status), "agents.list": listed, "tasks.list": {"tasks": []}}


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
    assert done.stdout.startswith("box  1 alive    coordd 0.1.0, up 2 h 13 min\n")
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert rows == ["dead", "b"]
    assert daemon.connections == 1
    assert [(r["method"], r.get("params")) for r in daemon.requests] == LOOK
    assert all(params["limit"] <= 100 for _, params in LOOK[1:])


def test_an_older_daemon_that_knows_no_activities_is_asked_again(path: str, ctl: Any) -> None:
    known = paged([agent("a"), agent("b", "inactive", reason="silent")])

    def old(params: dict[str, Any]) -> Any:
        if "activity" in params:
            raise RpcFault(-32602, "activity: no such parameter")
        return known(params)

    with fake_coordd(path, {**answers(), "agents.list": old}) as daemon:
        done = ctl("status")
        refused = ctl("agents", "--activity", "waiting")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("  ")] == [
        ["b", "silent"],
        ["a", "active"],
    ]
    assert daemon.connections == 2  # the second is that of agents
    assert refused.returncode == 1
    assert "an older coordd knows no activities; try --status" in refused.stderr


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
    assert "\nbox  was 1 alive    coordd 0.1.0\n" in done.stdout
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
    with fake_coordd(path, {**answers(), "agents.list": paged(agents, page=10)}) as daemon:
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
        redis = ctl("agents", "--workspace", "")
    assert (done.returncode, done.stdout) == (0, "no such agents\n")
    assert (redis.returncode, redis.stdout) == (0, "no such agents\n")
    asked = [r["params"] for r in daemon.requests if r["method"] == "agents.list"]
    assert asked == [{"status": "inactive"}, {"workspace": ""}]


def test_a_workspace_is_that_or_its_project(tmp_path: Path, path: str, ctl: Any) -> None:
    shop, tree = str(tmp_path / "shop"), str(tmp_path / "wt-shop")
    agents = [
        agent("main", workspace=shop, project=shop),
        agent("beside", workspace=tree, project=shop, reason="process"),
        agent("other", workspace="/src/app", project="/src/app"),
    ]
    with fake_coordd(path, {"agents.get": find_in(agents), **answers(agents)}):
        of_project, of_tree = ctl("agents", "--workspace", shop), ctl("agents", "--workspace", tree)
        found = [ctl("why", "bes", "--workspace", place, "--json") for place in (shop, tree)]
        missing = ctl("agent", "other", "--workspace", shop)
    assert [line.split()[:3] for line in of_project.stdout.splitlines()[1:]] == [
        ["beside", shop, "(wt-shop)"],
        ["main", shop, "active"],
    ]
    assert [line.split()[0] for line in of_tree.stdout.splitlines()[1:]] == ["beside"]
    assert [json.loads(done.stdout)["agent_id"] for done in found] == ["beside", "beside"]
    assert (missing.returncode, "No agent 'other' is known." in missing.stderr) == (1, True)


def test_with_no_agents_it_says_what_is_watched_and_what_to_do(path: str, ctl: Any) -> None:
    home = {"kind": "claude-code", "path": "/h/.claude", "state": "inotify"}
    known = answers(workspaces=[{"path": "/src/app", "state": "waiting"}], sources=[home])
    with fake_coordd(path, {**known, "agents.list": paged([])}):
        done = ctl("agents")
        none = ctl("agents", "--activity", "waiting")
    assert done.stdout.splitlines() == [
        "No agents.",
        "Watched",
        "  /src/app: no heartbeats yet (.claude/coordination is awaited)",
        "  claude-code /h/.claude",
        "Claude Code sessions appear here by themselves.",
        "If an agent runs and is not here, try: coordctl doctor",
    ]
    assert none.stdout == "no such agents\n"


def test_an_activity_that_is_unknown_explains_itself(path: str, ctl: Any) -> None:
    with fake_coordd(path, answers([agent("a", activity="unknown")])):
        done, all_of_them = ctl("agents", "--activity", "unknown"), ctl("agents")
    assert done.stdout.splitlines()[-1] == (
        '"active" is an agent that lives, and nothing tells what it does: its activity is unknown.'
    )
    assert "nothing tells" not in all_of_them.stdout


def test_tasks_that_cannot_be_read_are_named_by_place(tmp_path: Path, path: str, ctl: Any) -> None:
    page = {"tasks": [], "unknown": [str(tmp_path / "app"), None], "timestamp": None}
    with fake_coordd(path, {**answers(), "tasks.list": page}):
        both, redis = ctl("tasks"), ctl("tasks", "--workspace", "")
    assert f"the tasks of {tmp_path}/app are unknown" in both.stderr
    assert "the tasks in Redis are unknown" in both.stderr
    assert "None" not in both.stderr
    assert redis.stderr.count("unknown") == 1
    assert "in Redis" in redis.stderr


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
        "timestamp:           2026-11-22 06:05:00 UTC",
        "host:                box",
        "workspace:           /src/app",
        "agent_id:            b\\x1b[2J",
        "status:              active",
        "reason:              heartbeat",
        "cause:               heartbeat",
        "active_tasks:        2",
        "uptime:              1 h 2 min",
        "last_heartbeat:      2026-11-22 06:04:48",
        "last_heartbeat_age:  12 s ago",
        "declared_status:     -",
        "sources:             file",
        "pid:                 -",
        "cpu_percent:         -",
        "rss:                 -",
        "",
        "evidence",
        "  SIGNAL     VALUE                AGE   THRESHOLD",
        "  heartbeat  2026-11-22 06:04:48  12 s  2 min",
        "",
        "tasks",
        "  t-1",
        "  t-\\u202e2",
        "",
        "claims",
        "  TASK  STATE  HOLDER    SINCE      UNTIL     PROGRESS",
        "  t-1   held   b\\x1b[2J  5 min ago  in 5 min  40 % tests\\x1b[2J",
    ]


def find_in(agents: list[dict[str, Any]]) -> Any:
    """Answer ``agents.get`` over these agents as the daemon does: by the id alone."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        workspace = params.get("workspace")
        found = [
            one
            for one in agents
            if one["agent_id"] == params["agent_id"] and workspace in (None, one["workspace"] or "")
        ]
        if not found:
            raise RpcFault(-32000, "No such agent", {"kind": "no-such-agent"})
        if len(found) > 1:
            workspaces = [one["workspace"] for one in found]
            raise RpcFault(-32602, "Several", {"kind": "ambiguous", "workspaces": workspaces})
        return found[0]

    return answer


def test_an_agent_is_found_by_id_name_or_a_unique_beginning(tmp_path: Path, path: str, ctl: Any) -> None:
    here = tmp_path / "here"
    (here / "deep").mkdir(parents=True)
    agents = [
        agent("321e2ec7-0001", name="shop-12", workspace="/src/shop"),
        agent("321e2fff-0002", name="shop-7\x1b", workspace="/src/shop"),
        agent("both", workspace="/src/shop"),
        agent("both", workspace=str(here)),
        agent("alone", workspace=None, sources=["redis"]),
    ]
    with fake_coordd(path, {"agents.get": find_in(agents), "agents.list": paged(agents)}):
        for words in ("321e2ec7-0001", "shop-12", "shop-1", "321e2e"):
            for command in ("agent", "why"):
                done = ctl(command, words, "--json")
                assert json.loads(done.stdout)["agent_id"] == "321e2ec7-0001"
        assert json.loads(ctl("agent", "alo", "--json").stdout)["workspace"] is None
        assert json.loads(ctl("agent", "both", "--json", cwd=here / "deep").stdout)["workspace"] == str(here)
        several, near, far = ctl("why", "321e"), ctl("why", "shop-22"), ctl("agent", "zzzz\x1b")
        twice = ctl("agent", "both")
    assert {done.returncode for done in (several, near, far, twice)} == {1}
    assert several.stderr.startswith(
        "coordctl: 321e may mean 2 agents:\n  shop-12 (321e2ec7-0001)  /src/shop\n"
    )
    assert "  shop-7\\x1b (321e2fff-0002)  /src/shop\nName one by more of its id" in several.stderr
    assert "No agent 'shop-22' is known.\nDid you mean\n  shop-12 (321e2ec7-0001)  /src/shop\n" in near.stderr
    assert far.stderr == (
        "coordctl: No agent 'zzzz\\x1b' is known.\n'coordctl agents' lists those that are known.\n"
    )
    assert f"  both  /src/shop\n  both  {here}\n" in twice.stderr


def test_forget_says_what_it_did_or_why_not(path: str, ctl: Any) -> None:
    agents = [agent("dead-1", "inactive", name="docs-1", workspace="/src/docs"), agent("lives")]

    def forget(params: dict[str, Any]) -> Any:
        if params["agent_id"] == "lives":
            raise RpcFault(-32000, "Agent 'lives' is active", {"kind": "alive"})
        return {"forgotten": True}

    known = {"agents.get": find_in(agents), "agents.list": paged(agents)}
    with fake_coordd(path, {**known, "agents.forget": forget}) as daemon:
        done, refused = ctl("forget", "docs-1"), ctl("forget", "lives")
        asked = [r["params"] for r in daemon.requests if r["method"] == "agents.forget"]
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == "dead-1 of /src/docs is forgotten. Its records stay; if it beats again, it is back.\n"
    )
    assert asked == [{"agent_id": "dead-1", "workspace": "/src/docs"}, {"agent_id": "lives"}]
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "coordctl: Agent 'lives' is active.\n"
        "Only who is not active can be forgotten; 'coordctl why lives' says why it counts as alive.\n"
    )
    os.unlink(path)
    with fake_coordd(path, known):
        assert "an older coordd, which forgets by itself" in ctl("forget", "dead-1").stderr


def test_ack_takes_an_entry_by_its_id_its_subject_or_a_name(path: str, ctl: Any) -> None:
    agents = [agent("321e2ec7-0001", name="shop-12"), agent("api-3", "inactive")]
    entries = [
        {
            "id": "w1",
            "kind": "waiting",
            "subject": "321e2ec7-0001",
            "text": "waits for you",
            "workspace": "/s",
        },
        {"id": "k1", "kind": "killed", "subject": "api-3", "text": "killed\x1b", "workspace": "/a"},
        {"id": "o1", "kind": "orphaned", "subject": "api-3", "text": "orphaned", "workspace": "/a"},
    ]
    known = {"agents.list": paged(agents), "status": status_document(attention=entries)}
    with fake_coordd(
        path, {**known, "attention.ack": lambda params: {"acknowledged": 1 if params else 3}}
    ) as daemon:
        assert ctl("ack").stdout == "3 entries are taken off, until something changes.\n"
        for words, taken in (("w1", "1 entry is"), ("shop-12", "1 entry is"), ("api-3", "2 entries are")):
            assert ctl("ack", words).stdout == f"{taken} taken off, until something changes.\n"
        missing = ctl("ack", "nobody")
        asked = [r.get("params") for r in daemon.requests if r["method"] == "attention.ack"]
    assert asked[1:] == [{"entry": "w1"}, {"entry": "w1"}, {"entry": "k1"}, {"entry": "o1"}]
    assert missing.returncode == 1
    assert "Nothing about 'nobody' needs you.\nWhat does:\n  321e2ec7-0001  waits for you\n" in missing.stderr
    assert "  api-3  killed\\x1b\n" in missing.stderr
    os.unlink(path)
    with fake_coordd(path, {"attention.ack": {"acknowledged": 0}}):
        assert ctl("ack").stdout == "Nothing needed you.\n"
    os.unlink(path)
    with fake_coordd(path, {}):
        old = ctl("ack")
        assert (old.returncode, "an older coordd" in old.stderr) == (1, True)


def test_agents_all_has_those_that_ended_today_from_the_records(tmp_path: Path, path: str, ctl: Any) -> None:
    now = time.time()
    day = time.strftime("%Y-%m-%d", time.gmtime(now + 86400))

    def record(agent_id: str, reason: str, at: float, **fields: Any) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
        status = "active" if reason == "process" else "inactive"
        return json.dumps(agent(agent_id, status, **{"reason": reason, **fields, "timestamp": stamp}))

    midnight = now - now % 86400 + 86400  # the next one, which may come while this runs
    lines = [
        record("before", "ended", midnight - 86400 - 5),
        record("done", "process", midnight),
        record("done", "ended", midnight),
        record("done", "ended", midnight + 600, cause="removed"),
        record("back", "ended", midnight),
        record("again", "ended", midnight),
        record("again", "process", midnight),
        record("dead", "killed", midnight),
        record("elsewhere", "ended", midnight, workspace="/other"),
    ]
    text = "\n".join(line.replace(", ", ",").replace(": ", ":") for line in lines) + "\n"
    (tmp_path / f"agent_{day}.jsonl").write_text(text)
    document = status_document()
    document["daemon"]["metrics_dir"] = str(tmp_path)
    with fake_coordd(path, {**answers([agent("back")]), "status": document}):
        done = ctl("agents", "--all", "--json")
        table = ctl("agents", "--all")
        here = ctl("agents", "--all", "--workspace", "/other", "--json")
        others = ctl("agents", "--all", "--status", "active", "--json")
    ids = [one["agent_id"] for one in json.loads(done.stdout)["agents"]]
    assert (done.returncode, ids) == (0, ["back", "done", "elsewhere"])
    since = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(midnight))
    assert json.loads(done.stdout)["agents"][1]["inactive_since"] == since
    assert [line.split()[0] for line in table.stdout.splitlines()] == ["AGENT", "back", "done", "elsewhere"]
    assert [one["agent_id"] for one in json.loads(here.stdout)["agents"]] == ["elsewhere"]
    assert [one["agent_id"] for one in json.loads(others.stdout)["agents"]] == ["back"]


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
        assert b"\x1b[32mactive\x1b[0m" in on_terminal(["status"], env, tmp_path)
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
