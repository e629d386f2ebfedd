"""Copilot itself beside a coordd that was not told of it: what it does is what is shown."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from claude_code import Gate
from claude_scene import users_coordd
from copilot import ALLOWED, MODEL, WatchedCopilot, copilot, watched_copilot
from model_stub import call
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.copilot


def bash(command: str, mode: str = "sync") -> dict[str, object]:
    return dict(call("bash", command=command, description="as it is told", mode=mode, initial_wait=600))


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedCopilot]:
    with watched_copilot(tmp_path_factory.mktemp("copilot")) as one:
        yield one


def test_a_turn_with_a_long_call(watch: WatchedCopilot) -> None:
    project, gate = watch.project("long"), watch.gate("long")
    watch.copilot.model.answers("LONGCALL", bash(gate.waiting), {"text": "It is over."})
    running = watch.copilot.printing(project, "LONGCALL", ALLOWED)
    agent = watch.of_process(running.pid, activity="working", tool="bash")
    expected = {
        "kind": "copilot",
        "session_id": agent["agent_id"],
        "project": str(project),
        "workspace": str(project),
        "reason": "process",
        "model": MODEL,
        "waiting_for": None,
        "background": 0,
    }
    assert {name: agent[name] for name in expected} == expected
    assert watch.copilot.folder(agent["agent_id"]).is_dir()
    assert len(watch.agents(project)) == 1, "node's process is none of its own"
    assert watch.attention(agent) == []
    gate.open()
    assert running.process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended", activity=None, tool=None)


def test_idle_thinking_and_interrupted(watch: WatchedCopilot) -> None:
    """In a terminal its session begins with the program."""
    project = watch.project("idle")
    terminal = watch.copilot.interactive(project)
    agent = watch.of_session(project)
    watch.becomes(agent, status="active", reason="process", activity="idle", tty=terminal.tty)
    watch.copilot.model.answers("HELLO", {"text": "Hi there."})
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    watch.becomes(agent, activity="idle", model=MODEL)

    watch.copilot.model.answers("THINK", {"hold": "never", "text": "Too late."})
    terminal.say("THINK")
    watch.becomes(agent, activity="working", tool=None)
    eventually(lambda: watch.copilot.model.asked("THINK"))
    terminal.keys("C-c")
    watch.becomes(agent, activity="idle")
    assert watch.attention(agent) == []


def test_what_waits_for_a_permission_waits(watch: WatchedCopilot) -> None:
    project, gate = watch.project("asks"), watch.gate("asks")
    watch.copilot.model.answers("ASK", bash(f"touch made; {gate.waiting}"), {"text": "It was."})
    terminal = watch.copilot.interactive(project)
    terminal.say("ASK")
    terminal.shows("Do you want to run this command?")
    agent = watch.of_session(project)
    waits = watch.becomes(agent, activity="waiting", waiting_for="permission prompt", tool="bash")
    watch.needs_human(agent, "waiting")
    terminal.keys("Enter")
    granted = watch.becomes(agent, activity="working", waiting_for=None, tool="bash")
    assert granted["tool_since"] == waits["tool_since"]
    watch.needs_human(agent)
    gate.open()
    terminal.shows("It was.")
    watch.becomes(agent, activity="idle", tool=None)
    assert (project / "made").exists()

    terminal.say("ASK")
    terminal.shows("Do you want to run this command?")
    watch.becomes(agent, activity="waiting")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle", waiting_for=None, tool=None)
    watch.needs_human(agent)


def test_a_question_waits_for_its_answer(watch: WatchedCopilot) -> None:
    project = watch.project("question")
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    question = call("ask_user", message="Which name?", requestedSchema=schema)
    watch.copilot.model.answers("QUERY", question, {"text": "I see."})
    terminal = watch.copilot.interactive(project)
    terminal.say("QUERY")
    terminal.shows("Which name?")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="waiting", waiting_for="question")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle", waiting_for=None)


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
def test_killed_in_a_turn(watch: WatchedCopilot, resumed: bool) -> None:
    name = f"KILLED{resumed}"
    project, gate = watch.project(name), watch.gate(name)
    watch.copilot.model.answers("BEFORE", {"text": "Done."})
    watch.copilot.model.answers(name, bash(gate.waiting), {"text": "Over."})
    options: list[str] = []
    if resumed:
        assert watch.copilot.printing(project, "BEFORE", ALLOWED).process.wait(PATIENCE) == 0
        agent = watch.of_session(project)
        watch.becomes(agent, status="inactive", reason="ended")
        options = [f"--resume={agent['agent_id']}"]
    running = watch.copilot.printing(project, name, ALLOWED, *options)
    agent = watch.of_process(running.pid, activity="working", tool="bash")
    running.kill()
    watch.becomes(agent, status="inactive", reason="killed", activity=None, tool=None)
    watch.needs_human(agent, "killed")
    assert len(watch.agents(project)) == 1

    again = watch.copilot.printing(project, name, ALLOWED, f"--resume={agent['agent_id']}")
    watch.becomes(agent, status="active", reason="process", activity="working", pid=again.pid)
    watch.needs_human(agent)
    gate.open()
    assert again.process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended")
    assert len(watch.agents(project)) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=["SIGKILL", "SIGTERM", "quit"])
def test_how_it_ends_between_turns(watch: WatchedCopilot, end: signal.Signals | None) -> None:
    """It takes its lock away whenever it can."""
    project = watch.project(f"over-{end}")
    watch.copilot.model.answers("HELLO", {"text": "Hi there."})
    terminal = watch.copilot.interactive(project)
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    agent = watch.becomes(watch.of_session(project), activity="idle")
    if end is None:
        terminal.say("/quit")
    else:
        os.kill(agent["pid"], end)
    reason = "killed" if end == signal.SIGKILL else "ended"
    watch.becomes(agent, status="inactive", reason=reason, activity=None)


def test_a_process_that_goes_on_in_another_session(watch: WatchedCopilot) -> None:
    project = watch.project("clear")
    watch.copilot.model.answers("HELLO", {"text": "Hi there."})
    terminal = watch.copilot.interactive(project)
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    before = watch.becomes(watch.of_session(project), activity="idle")
    terminal.say("/clear")
    watch.becomes(before, status="inactive", reason="ended")
    after = watch.of_process(before["pid"], activity="idle")
    assert after["agent_id"] != before["agent_id"]
    terminal.say("/quit")
    watch.becomes(after, status="inactive", reason="ended")


def test_two_at_once_in_one_project(watch: WatchedCopilot) -> None:
    project, gate = watch.project("two"), watch.gate("two")
    watch.copilot.model.answers("BOTH", bash(gate.waiting), {"text": "Over."})
    both = [watch.copilot.printing(project, "BOTH", ALLOWED) for _ in range(2)]
    ids = {watch.of_process(one.pid, activity="working")["agent_id"] for one in both}
    assert len(ids) == 2 and {one["agent_id"] for one in watch.agents(project)} == ids
    gate.open()
    assert [one.process.wait(PATIENCE) for one in both] == [0, 0]
    eventually(lambda: {one["reason"] for one in watch.agents(project)} == {"ended"})


def test_a_shell_that_goes_on_in_the_background(watch: WatchedCopilot) -> None:
    project, gate = watch.project("shell"), watch.gate("shell")
    watch.copilot.model.answers("ASIDE", bash(gate.waiting, "async"), {"text": "It goes on."})
    terminal = watch.copilot.interactive(project, ALLOWED)
    terminal.say("ASIDE")
    terminal.shows("It goes on.")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="working", tool=None, background=1)
    gate.open()
    watch.becomes(agent, activity="idle", background=0)


def test_what_a_command_leaves_behind_says_whose_it_is(watch: WatchedCopilot) -> None:
    """Nobody has seen it below its agent: the command takes no time. A subagent's says what nobody knows."""
    project, gate = watch.project("left"), watch.gate("left")

    def leave(name: str) -> dict[str, object]:
        return bash(f"setsid sh -c 'echo $$ >{name}; exec sleep 1000' >/dev/null 2>&1 &")

    sent = {"description": "look", "prompt": "SUBLEFT", "agent_type": "general-purpose", "name": "looks"}
    watch.copilot.model.answers(
        "LEAVE",
        {"calls": [["task", {**sent, "mode": "sync"}]]},
        bash(gate.waiting),
        leave("own"),
        {"text": "Up."},
    )
    watch.copilot.model.answers("SUBLEFT", leave("subagents"), {"text": "Up as well."})
    running = watch.copilot.printing(project, "LEAVE", "--allow-all")
    agent = watch.of_session(project)
    pids = {}

    def pid_of(name: str) -> int:
        pids[name] = int(eventually(lambda: (project / name).exists() and (project / name).read_text()), 10)
        return pids[name]

    def listed() -> dict[int, dict[str, object]]:
        return {one["pid"]: one for one in watch.daemon.rpc("orphans.list")["orphans"]}

    try:
        subagents = pid_of("subagents")
        gate.open()
        own = pid_of("own")
        assert running.process.wait(PATIENCE) == 0
        watch.becomes(agent, status="inactive", reason="ended")
        left = eventually(lambda: found if own in (found := listed()) else None)
        assert (left[own]["agent_id"], left[own]["kind"]) == (agent["agent_id"], "copilot")
        assert subagents not in left
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["background", "sync"])
def test_a_subagent_is_background_work(watch: WatchedCopilot, mode: str) -> None:
    project, gate = watch.project(f"subagent-{mode}"), watch.gate(f"subagent-{mode}")
    sent = {"description": "look", "prompt": f"SUB{mode}", "agent_type": "general-purpose", "name": "looks"}
    calls = {"calls": [["task", {**sent, "mode": mode}]]}
    watch.copilot.model.answers(f"DELEGATE{mode}", calls, {"text": "It is away."})
    watch.copilot.model.answers(f"SUB{mode}", bash(gate.waiting), {"text": "I looked."})
    terminal = watch.copilot.interactive(project, ALLOWED)
    terminal.say(f"DELEGATE{mode}")
    agent = watch.of_session(project)
    tool = None if mode == "background" else "task"
    watch.becomes(agent, activity="working", tool=tool, background=1)
    assert len(watch.agents(project)) == 1
    gate.open()
    watch.becomes(agent, activity="idle", background=0)


def test_tokens(watch: WatchedCopilot) -> None:
    """Each of two answers takes 1,200 tokens in, 500 of them cached, and gives 30."""
    project = watch.project("tokens")
    watch.copilot.model.answers("COUNT", {"text": "One."})
    terminal = watch.copilot.interactive(project)
    agent = watch.becomes(watch.of_session(project), activity="idle")
    terminal.say("COUNT")
    terminal.shows("One.")
    counted = {"input": 700, "output": 30, "cache_read": 500, "cache_write": 0}

    def tokens(times: int) -> bool:
        found = watch.daemon.agent(agent["agent_id"], agent["workspace"])["tokens"]
        return {name: found[name] for name in counted} == {k: v * times for k, v in counted.items()}

    eventually(lambda: tokens(1))
    watch.becomes(agent, context_tokens=1200)
    terminal.say("COUNT")
    eventually(lambda: tokens(2))


def test_a_provider_that_refuses(watch: WatchedCopilot) -> None:
    project = watch.project("refused")
    watch.copilot.model.answers("PAY", {"error": 401, "kind": "invalid_request_error"})
    terminal = watch.copilot.interactive(project)
    terminal.say("PAY")
    terminal.shows("Authentication failed")
    agent = watch.of_session(project)
    watch.becomes(agent, activity="blocked", within=3 * PATIENCE)
    watch.needs_human(agent, "blocked")
    watch.copilot.model.answers("PAID", {"text": "Welcome back."})
    terminal.say("PAID")
    terminal.shows("Welcome back.")
    watch.becomes(agent, activity="idle")
    watch.needs_human(agent)


def test_it_is_listed_once_where_processes_are_looked_for(tmp_path: Path) -> None:
    with copilot(tmp_path) as one:
        gate = Gate(tmp_path / "gate")
        one.model.answers("WORK", bash(gate.waiting), {"text": "Over."})
        (tmp_path / "app").mkdir()
        running = one.printing(tmp_path / "app", "WORK", ALLOWED)
        pid = running.pid
        more = {"COORDD_PROCESSES_ENABLED": "true", "COORDD_SAMPLING_INTERVAL": "1s"}
        with users_coordd(one.home, **more) as daemon:
            watch = WatchedCopilot(tmp_path, one, daemon)
            agent = watch.of_process(pid, activity="working", kind="copilot")
            later = one.printing(tmp_path / "app", "WORK", ALLOWED)
            other = watch.of_process(later.pid, activity="working", kind="copilot")
            here = {one["agent_id"] for one in watch.agents(tmp_path / "app")}
            assert here == {agent["agent_id"], other["agent_id"]}
            gate.open()


def test_a_restart_of_coordd_changes_nothing(tmp_path: Path) -> None:
    """It is known who they are; of one that was killed meanwhile the lock lies there still."""
    with copilot(tmp_path) as one:
        gate = Gate(tmp_path / "gate")
        one.model.answers("WORK", bash(gate.waiting), {"text": "Over."})
        project = tmp_path / "app"
        project.mkdir()
        with users_coordd(one.home) as daemon:
            watch = WatchedCopilot(tmp_path, one, daemon)
            kept, killed = (one.printing(project, "WORK", ALLOWED) for _ in range(2))
            before = {
                run.pid: watch.of_process(run.pid, activity="working", tool="bash") for run in (kept, killed)
            }
            daemon.process.kill()
            daemon.process.wait(PATIENCE)
        killed_pid = killed.pid
        killed.kill()
        killed.process.wait(PATIENCE)
        with users_coordd(one.home) as daemon:
            watch = WatchedCopilot(tmp_path, one, daemon)
            after = watch.of_process(kept.pid, activity="working")
            same = ("agent_id", "session_id", "workspace", "pid", "activity_since", "tool", "tool_since")
            assert {name: after[name] for name in same} == {name: before[kept.pid][name] for name in same}
            watch.becomes(before[killed_pid], status="inactive", reason="killed")
            assert len(watch.agents(project)) == 2
            gate.open()
            assert kept.process.wait(PATIENCE) == 0
            watch.becomes(after, status="inactive", reason="ended")


@pytest.mark.parametrize("told", ["running before", "started after"])
def test_a_home_that_a_process_names(tmp_path: Path, told: str) -> None:
    (tmp_path / "app").mkdir()
    with copilot(tmp_path, tmp_path / "elsewhere") as one:
        gate = Gate(tmp_path / "gate")
        one.model.answers("WORK", bash(gate.waiting), {"text": "Over."})
        if told == "running before":
            running = one.printing(tmp_path / "app", "WORK", ALLOWED)
            assert running.pid
        with users_coordd(one.home, COORDD_SAMPLING_INTERVAL="1s") as daemon:
            if told == "started after":
                running = one.printing(tmp_path / "app", "WORK", ALLOWED)
            watch = WatchedCopilot(tmp_path, one, daemon)
            agent = watch.of_process(running.pid, activity="working", kind="copilot")
            running.kill()
            watch.becomes(agent, status="inactive", reason="killed")
