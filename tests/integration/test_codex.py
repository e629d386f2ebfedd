"""Codex itself beside a coordd that was not told of it: what it does is what is shown."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from claude_code import Gate
from claude_scene import users_coordd
from codex import ALLOWED, WatchedCodex, codex, watched_codex
from model_stub import call
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.codex


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedCodex]:
    with watched_codex(tmp_path_factory.mktemp("codex")) as one:
        yield one


def test_a_turn_with_a_long_call(watch: WatchedCodex) -> None:
    project, gate = watch.project("long"), watch.gate("long")
    watch.codex.model.answers("LONGCALL", call("exec_command", cmd=gate.waiting), {"text": "It is over."})
    running = watch.codex.exec(project, "LONGCALL", ALLOWED)
    agent = watch.of_process(running.pid, activity="working", tool="exec_command")
    expected = {
        "kind": "codex",
        "session_id": agent["agent_id"],
        "project": str(project),
        "workspace": str(project),
        "reason": "process",
        "model": "gpt-5-codex",
        "waiting_for": None,
        "background": 0,
    }
    assert {name: agent[name] for name in expected} == expected
    assert watch.codex.rollout(agent["agent_id"]).exists()
    assert len(watch.agents(project)) == 1, "node's process is none of its own"
    assert watch.attention(agent) == []
    gate.open()
    assert running.process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended", activity=None, tool=None)


def test_idle_thinking_and_interrupted(watch: WatchedCodex) -> None:
    """In a terminal its session begins with the first prompt."""
    project = watch.project("idle")
    watch.codex.model.answers("HELLO", {"text": "Hi there."})
    terminal = watch.codex.interactive(project, "--no-daemon")
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    agent = watch.of_session(project)
    watch.becomes(agent, status="active", reason="process", activity="idle", tty=terminal.tty)

    watch.codex.model.answers("THINK", {"hold": "never", "text": "Too late."})
    terminal.say("THINK")
    watch.becomes(agent, activity="working", tool=None)
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle")
    assert watch.attention(agent) == []


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
def test_killed_in_a_turn(watch: WatchedCodex, resumed: bool) -> None:
    name = f"KILLED{resumed}"
    project, gate = watch.project(name), watch.gate(name)
    watch.codex.model.answers("BEFORE", {"text": "Done."})
    watch.codex.model.answers(name, call("exec_command", cmd=gate.waiting), {"text": "Over."})
    session = None
    if resumed:
        assert watch.codex.exec(project, "BEFORE", ALLOWED).process.wait(PATIENCE) == 0
        agent = watch.of_session(project)
        watch.becomes(agent, status="inactive", reason="ended")
        session = agent["agent_id"]
    running = watch.codex.exec(project, name, ALLOWED, resume=session)
    agent = watch.of_process(running.pid, activity="working", tool="exec_command")
    assert session in (None, agent["agent_id"])
    running.kill()
    watch.becomes(agent, status="inactive", reason="killed", activity=None, tool=None)
    watch.needs_human(agent, "killed")
    assert len(watch.agents(project)) == 1

    again = watch.codex.exec(project, name, ALLOWED, resume=agent["agent_id"])
    watch.becomes(agent, status="active", reason="process", activity="working", pid=again.pid)
    watch.needs_human(agent)
    gate.open()
    assert again.process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended")
    assert len(watch.agents(project)) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=["SIGKILL", "SIGTERM", "quit"])
def test_its_turn_was_over_when_it_ended(watch: WatchedCodex, end: signal.Signals | None) -> None:
    project = watch.project(f"over-{end}")
    watch.codex.model.answers("HELLO", {"text": "Hi there."})
    terminal = watch.codex.interactive(project, "--no-daemon")
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    agent = watch.becomes(watch.of_session(project), activity="idle")
    if end is None:
        terminal.say("/quit")
    else:
        os.kill(agent["pid"], end)
    watch.becomes(agent, status="inactive", reason="ended", activity=None)
    assert watch.attention(agent) == []


def test_two_at_once_in_one_project(watch: WatchedCodex) -> None:
    project, gate = watch.project("two"), watch.gate("two")
    watch.codex.model.answers("BOTH", call("exec_command", cmd=gate.waiting), {"text": "Over."})
    both = [watch.codex.exec(project, "BOTH", ALLOWED) for _ in range(2)]
    ids = {watch.of_process(one.pid, activity="working")["agent_id"] for one in both}
    assert len(ids) == 2 and {one["agent_id"] for one in watch.agents(project)} == ids
    gate.open()
    assert [one.process.wait(PATIENCE) for one in both] == [0, 0]
    eventually(lambda: {one["reason"] for one in watch.agents(project)} == {"ended"})


def test_what_a_command_leaves_behind_says_whose_it_is(watch: WatchedCodex) -> None:
    """Nobody has seen it below its agent: the command takes no time."""
    project, gate = watch.project("left"), watch.gate("left")
    watch.codex.model.answers(
        "LEAVE",
        call("exec_command", cmd=gate.waiting),
        call("exec_command", cmd="setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 &"),
        {"text": "Up."},
    )
    running = watch.codex.exec(project, "LEAVE", ALLOWED)
    agent = watch.of_session(project)
    gate.open()
    assert running.process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended")
    pid = int(eventually(lambda: (project / "pid").exists() and (project / "pid").read_text()))
    try:

        def named() -> bool:
            found = {one["pid"]: one for one in watch.daemon.rpc("orphans.list")["orphans"]}
            return pid in found and (found[pid]["agent_id"], found[pid]["kind"]) == (
                agent["agent_id"],
                "codex",
            )

        eventually(named)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_rollout_that_is_away_while_it_is_held(watch: WatchedCodex, how: str) -> None:
    """Its session goes on, and it is still known how it ended."""
    project, gate, second = watch.project(how), watch.gate(how), watch.gate(f"{how}-2")
    calls = [call("exec_command", cmd=one.waiting) for one in (gate, second)]
    watch.codex.model.answers(f"AWAY{how}", calls[0], calls[1], {"text": "Over."})
    running = watch.codex.exec(project, f"AWAY{how}", ALLOWED)
    agent = watch.of_process(running.pid, activity="working", tool="exec_command")
    rollout = watch.codex.rollout(agent["agent_id"])
    if how == "renamed":
        archived = watch.codex.config / "archived_sessions"
        archived.mkdir(exist_ok=True)
        rollout.rename(archived / rollout.name)
    else:
        rollout.unlink()
    since = watch.becomes(agent, status="active", tool="exec_command")["tool_since"]
    gate.open()

    def next_call() -> bool:
        now = watch.becomes(agent, status="active", reason="process", activity="working", tool="exec_command")
        return bool(now["tool_since"] != since)

    eventually(next_call)
    running.kill()
    watch.becomes(agent, status="inactive", reason="killed")


def test_a_shell_that_goes_on_in_the_background(watch: WatchedCodex) -> None:
    project, gate = watch.project("shell"), watch.gate("shell")
    shell = call("exec_command", cmd=gate.waiting, yield_time_ms=250)
    watch.codex.model.answers("ASIDE", shell, {"text": "It goes on."})
    terminal = watch.codex.interactive(project, "--no-daemon", ALLOWED)
    terminal.say("ASIDE")
    terminal.shows("It goes on.")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="working", tool=None, background=1)
    gate.open()
    watch.becomes(agent, activity="idle", background=0)


def test_a_call_that_takes_a_text(watch: WatchedCodex) -> None:
    project = watch.project("patch")
    answers = {"custom": ["apply_patch", "nothing"]}, {"hold": "patched", "text": "It failed."}
    watch.codex.model.answers("PATCH", *answers)
    running = watch.codex.exec(project, "PATCH", ALLOWED)
    agent = watch.of_process(running.pid, activity="working", tool=None)
    eventually(lambda: watch.codex.model.asked("PATCH", 1))
    watch.codex.model.go_on("patched")
    assert running.process.wait(PATIENCE) == 0
    watch.becomes(agent, reason="ended", tool=None)


def test_tokens_and_limits(watch: WatchedCodex) -> None:
    """Each of two answers takes 1,200 tokens in, 500 of them cached, and gives 30."""
    project, resets = watch.project("tokens"), int(time.time()) + 3600
    limits = {
        "primary-used-percent": 83.0,
        "primary-window-minutes": 300,
        "primary-reset-at": resets,
        "secondary-used-percent": 12.5,
        "secondary-window-minutes": 10080,
        "secondary-reset-at": resets + 86400,
    }
    watch.codex.model.answers("COUNT", {"text": "One.", "limits": limits})
    terminal = watch.codex.interactive(project, "--no-daemon")
    terminal.say("COUNT")
    terminal.shows("One.")
    agent = watch.becomes(watch.of_session(project), activity="idle", context_tokens=1200)
    watch.codex.model.answers("AGAIN", {"text": "Two.", "limits": limits})
    terminal.say("AGAIN")
    terminal.shows("Two.")

    def counted() -> bool:
        tokens = watch.daemon.agent(agent["agent_id"], agent["workspace"])["tokens"]
        assert tokens["cache_read"] >= 500 and tokens["cache_write"] == 0
        return (tokens["input"], tokens["output"], tokens["cache_read"]) in {
            (1400, 60, 1000),
            (700, 30, 500),  # the first answer came before coordd had seen the session
        }

    eventually(counted)
    told = {one["window"]: one for one in watch.daemon.rpc("status")["limits"]}
    assert set(told) == {18000.0, 604800.0}
    assert told[18000.0]["used_percent"] == 83.0 and told[604800.0]["used_percent"] == 12.5
    assert told[18000.0]["kind"] == "codex" and told[18000.0]["account"] == str(watch.codex.config)
    assert "codex 5 h: 83 %, resets" in watch.daemon.ctl("status").stdout


def test_an_account_that_is_used_up(watch: WatchedCodex) -> None:
    project = watch.project("limited")
    refused = {"error": 429, "kind": "usage_limit_reached", "detail": {"resets_at": int(time.time()) + 3600}}
    watch.codex.model.answers("LIMITED", refused)
    terminal = watch.codex.interactive(project, "--no-daemon")
    terminal.say("LIMITED")
    terminal.shows("usage limit")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="blocked", within=3 * PATIENCE)
    watch.needs_human(agent, "blocked")
    watch.codex.model.answers("PAID", {"text": "Welcome back."})
    terminal.say("PAID")
    terminal.shows("Welcome back.")
    watch.becomes(agent, activity="idle")
    watch.needs_human(agent)


def test_sessions_of_one_background_server_are_agents_each(watch: WatchedCodex) -> None:
    """Its terminals hold nothing; the server holds the rollouts of all, and outlives them."""
    first, second, gate = watch.project("server-1"), watch.project("server-2"), watch.gate("server")
    watch.codex.model.answers("SERVED", call("exec_command", cmd=gate.waiting), {"text": "Over."})
    watch.codex.model.answers("HELLO", {"text": "Hi there."})
    busy = watch.codex.interactive(first, ALLOWED)
    busy.say("SERVED")
    working = watch.becomes(watch.of_session(first), activity="working", tool="exec_command")
    calm = watch.codex.interactive(second)
    calm.say("HELLO")
    calm.shows("Hi there.")
    idle = watch.becomes(watch.of_session(second), status="active", reason="process", activity="idle")
    assert working["pid"] == idle["pid"]
    watch.becomes(working, status="active", reason="process", activity="working")
    calm.say("/quit")
    os.kill(working["pid"], signal.SIGKILL)
    watch.becomes(idle, status="inactive", reason="ended")
    watch.becomes(working, status="inactive", reason="killed")
    watch.needs_human(working, "killed")


def test_a_subagent_is_background_work_of_its_parent(watch: WatchedCodex) -> None:
    project, gate = watch.project("subagent"), watch.gate("subagent")
    spawn = call("multi_agent_v1.spawn_agent", message="SUBTASK")
    watch.codex.model.answers("DELEGATE", spawn, {"text": "It is away."})
    watch.codex.model.answers("SUBTASK", call("exec_command", cmd=gate.waiting), {"text": "I looked."})
    terminal = watch.codex.interactive(project, "--no-daemon", ALLOWED)
    terminal.say("DELEGATE")
    terminal.shows("It is away.")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="working", tool=None, background=1)
    assert len(watch.agents(project)) == 1
    gate.open()
    watch.becomes(agent, activity="idle", background=0)


def test_what_waits_for_an_approval_is_an_open_call(watch: WatchedCodex) -> None:
    """A rollout does not tell of it."""
    project = watch.project("approval")
    asks = call("exec_command", cmd="touch made", sandbox_permissions="require_escalated", justification="x")
    watch.codex.model.answers("APPROVE", asks, {"text": "It was."})
    terminal = watch.codex.interactive(project, "--no-daemon", "-a", "on-request", "-s", "read-only")
    terminal.say("APPROVE")
    terminal.shows("Would you like to run the following command?")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="working", tool="exec_command")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle", tool=None)
    assert not (project / "made").exists()


def test_a_restart_of_coordd_changes_nothing(tmp_path: Path) -> None:
    """It is known who they are; one that was killed meanwhile has ended, for nothing tells how."""
    with codex(tmp_path) as one:
        gate = Gate(tmp_path / "gate")
        one.model.answers("WORK", call("exec_command", cmd=gate.waiting), {"text": "Over."})
        project = tmp_path / "app"
        project.mkdir()
        with users_coordd(one.home) as daemon:
            watch = WatchedCodex(tmp_path, one, daemon)
            kept, killed = (one.exec(project, "WORK", ALLOWED) for _ in range(2))
            before = {
                run.pid: watch.of_process(run.pid, activity="working", tool="exec_command")
                for run in (kept, killed)
            }
            daemon.process.kill()
            daemon.process.wait(PATIENCE)
        killed_pid = killed.pid
        killed.kill()
        killed.process.wait(PATIENCE)
        with users_coordd(one.home) as daemon:
            watch = WatchedCodex(tmp_path, one, daemon)
            after = watch.of_process(kept.pid, activity="working")
            same = ("agent_id", "session_id", "workspace", "pid", "activity_since", "tool", "tool_since")
            assert {name: after[name] for name in same} == {name: before[kept.pid][name] for name in same}
            watch.becomes(before[killed_pid], status="inactive", reason="ended")
            assert len(watch.agents(project)) == 2
            gate.open()
            assert kept.process.wait(PATIENCE) == 0
            watch.becomes(after, status="inactive", reason="ended")


@pytest.mark.parametrize("told", ["running before", "started after"])
def test_a_home_that_a_process_names(tmp_path: Path, told: str) -> None:
    (tmp_path / "app").mkdir()
    with codex(tmp_path, tmp_path / "elsewhere") as one:
        gate = Gate(tmp_path / "gate")
        one.model.answers("WORK", call("exec_command", cmd=gate.waiting), {"text": "Over."})
        if told == "running before":
            running = one.exec(tmp_path / "app", "WORK", ALLOWED)
            assert running.pid
        with users_coordd(one.home, COORDD_SAMPLING_INTERVAL="1s") as daemon:
            if told == "started after":
                running = one.exec(tmp_path / "app", "WORK", ALLOWED)
            watch = WatchedCodex(tmp_path, one, daemon)
            agent = watch.of_process(running.pid, activity="working", kind="codex")
            running.kill()
            watch.becomes(agent, status="inactive", reason="killed")
