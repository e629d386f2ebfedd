"""Who a Claude Code is for coordd, and how it ended: over /clear, resume, signals, restarts of coordd."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claude_code import Gate, Terminal
from claude_scene import Agent, Watched, claude_code, users_coordd, watched
from model_stub import call
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.claude

NEVER = {"hold": "never", "text": "Too late."}


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("life")) as one:
        yield one


@pytest.fixture
def project(watch: Watched, request: pytest.FixtureRequest) -> Path:
    return watch.project(str(abs(hash(request.node.name))))


def interrupt_twice(terminal: Terminal) -> None:
    terminal.keys("C-c")
    terminal.shows("Press Ctrl-C again to exit")
    terminal.keys("C-c")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda terminal: terminal.say("/exit"), "ended"),
        (interrupt_twice, "ended"),
        (Terminal.hang_up, "ended"),
        (lambda terminal: os.kill(terminal.pid, signal.SIGTERM), "ended"),
        (lambda terminal: os.kill(terminal.pid, signal.SIGKILL), "killed"),
    ],
    ids=["exit", "ctrl-c", "terminal closed", "SIGTERM", "SIGKILL"],
)
def test_how_an_interactive_one_ended(
    watch: Watched, project: Path, end: Callable[[Terminal], object], reason: str
) -> None:
    terminal = watch.claude.interactive(project)
    agent = watch.of_process(terminal.pid, activity="idle")
    end(terminal)
    watch.becomes(agent, status="inactive", reason=reason, activity=None)
    watch.needs_human(agent, *(["killed"] if reason == "killed" else []))
    assert len(watch.agents(project)) == 1


def test_killed_in_the_middle_of_a_call(watch: Watched, project: Path) -> None:
    gate = watch.gate("killed")
    watch.claude.model.answers("KILLED", call("Bash", command=gate.waiting), {"text": "Over."})
    process = watch.claude.printing(project, "KILLED", "--allowedTools", "Bash")
    agent = watch.of_process(process.pid, activity="working", tool="Bash")
    process.kill()
    watch.becomes(agent, status="inactive", reason="killed", activity=None, tool=None)
    watch.needs_human(agent, "killed")

    # The next one to start tidies up what the killed one left; that changes nothing about how it ended.
    process.wait(PATIENCE)
    other = watch.of_process(watch.claude.interactive(project).pid, activity="idle")
    eventually(lambda: not watch.claude.has_record(process.pid))
    watch.becomes(other, activity="idle")
    watch.becomes(agent, status="inactive", reason="killed")


def test_an_agent_keeps_its_id_over_clear_and_resume(watch: Watched, project: Path) -> None:
    watch.claude.model.answers("HELLO", {"text": "Hi there."})
    terminal = watch.claude.interactive(project)
    agent = watch.of_process(terminal.pid, activity="idle")
    first = agent["agent_id"]
    terminal.say("HELLO")
    terminal.shows("Hi there.")

    second = watch.claude.clear(terminal)
    watch.becomes(agent, session_id=second, activity="idle", pid=terminal.pid)
    watch.claude.model.answers("AFTERWARDS", {"hold": "afterwards", "text": "Still here."})
    terminal.say("AFTERWARDS")
    watch.becomes(agent, session_id=second, activity="working")
    watch.claude.model.go_on("afterwards")
    watch.becomes(agent, activity="idle")

    terminal.say("/resume")
    watch.becomes(agent, activity="waiting", waiting_for="input")
    terminal.shows("Resume session", "HELLO")
    terminal.keys("Down", "Enter")
    eventually(lambda: watch.claude.record(terminal.pid)["sessionId"] == first)
    watch.becomes(agent, session_id=first, activity="idle")
    assert [one["agent_id"] for one in watch.agents(project)] == [first]


def test_a_session_that_is_resumed_is_the_agent_it_was(watch: Watched, project: Path) -> None:
    watch.claude.model.answers("RESUMABLE", {"text": "Hi there."})
    terminal = watch.claude.interactive(project)
    terminal.say("RESUMABLE")
    terminal.shows("Hi there.")
    agent = watch.of_process(terminal.pid, activity="idle")
    terminal.say("/exit")
    watch.becomes(agent, status="inactive", reason="ended")

    again = watch.claude.interactive(project, "--resume", agent["agent_id"])
    watch.becomes(agent, status="active", reason="process", activity="idle", pid=again.pid)
    assert len(watch.agents(project)) == 1

    # One session, two living processes: the later one has an id of its own.
    beside = watch.claude.interactive(project, "--resume", agent["agent_id"])
    other = watch.of_process(beside.pid, activity="idle", session_id=agent["agent_id"])
    assert other["agent_id"] == f"{agent['agent_id']}~{beside.pid}"
    watch.becomes(agent, status="active", pid=again.pid)
    os.kill(beside.pid, signal.SIGKILL)
    watch.becomes(other, status="inactive", reason="killed")
    watch.becomes(agent, status="active", reason="process", pid=again.pid)


def test_a_restart_of_coordd_changes_nothing(tmp_path: Path) -> None:
    """It is still known who they are, and what they do since when; how some ended meanwhile is found out."""
    with claude_code(tmp_path) as claude:
        gate = Gate(tmp_path / "gate")
        claude.model.answers("ASK", call("Bash", command=f"touch {tmp_path}/made"), {"text": "Thanks."})
        claude.model.answers("WORK", call("Bash", command=gate.waiting), {"text": "Over."})
        project = tmp_path / "app"
        project.mkdir()
        with users_coordd(claude.home) as daemon:
            watch = Watched(tmp_path, claude, daemon)
            cleared, killed, leaving = (claude.interactive(project) for _ in range(3))
            printing = claude.printing(project, "WORK", "--allowedTools", "Bash")
            before = {
                one.pid: watch.of_process(one.pid, activity="idle") for one in (cleared, killed, leaving)
            }
            before[printing.pid] = watch.of_process(printing.pid, activity="working", tool="Bash")
            claude.clear(cleared)
            cleared.say("ASK")
            session = claude.record(cleared.pid)["sessionId"]
            before[cleared.pid] = watch.becomes(
                before[cleared.pid], activity="waiting", session_id=session, tool="Bash"
            )
            watch.needs_human(before[cleared.pid], "waiting")
            daemon.process.kill()
            daemon.process.wait(PATIENCE)
        os.kill(killed.pid, signal.SIGKILL)
        leaving.say("/exit")
        eventually(lambda: not claude.has_record(leaving.pid))

        with users_coordd(claude.home) as daemon:
            watch = Watched(tmp_path, claude, daemon)
            for pid in (cleared.pid, printing.pid):
                shown = watch.of_process(
                    pid, activity=before[pid]["activity"]
                )  # a busy machine reads it late
                assert lasting(shown) == lasting(before[pid])
            watch.becomes(before[killed.pid], status="inactive", reason="killed")
            watch.becomes(before[leaving.pid], status="inactive", reason="ended")
            assert len(watch.agents(project)) == len(before)
            watch.needs_human(before[cleared.pid], "waiting")
            cleared.keys("Enter")
            watch.becomes(before[cleared.pid], activity="idle")
            gate.open()
            assert printing.wait(PATIENCE) == 0
            watch.becomes(before[printing.pid], status="inactive", reason="ended")


def lasting(agent: Agent) -> Agent:
    """Return what is the same as long as an agent goes on doing what it does."""
    who = "agent_id session_id workspace project kind pid proc_start tty"
    does = "status reason activity activity_since waiting_for tool tool_since"
    return {name: agent[name] for name in f"{who} {does}".split()}


def test_who_starts_before_coordd_is_seen_as_well(tmp_path: Path) -> None:
    with claude_code(tmp_path) as claude:
        claude.model.answers("EARLY", NEVER)
        project = tmp_path / "app"
        project.mkdir()
        idle = claude.interactive(project)
        busy = claude.interactive(project)
        busy.say("EARLY")
        eventually(lambda: claude.model.asked("EARLY"))
        started = time.time()
        with users_coordd(claude.home) as daemon:
            watch = Watched(tmp_path, claude, daemon)
            watch.of_process(idle.pid, activity="idle", reason="process")
            agent = watch.of_process(busy.pid, activity="working", reason="process")
            assert agent["uptime"] >= time.time() - started - 1


@pytest.mark.parametrize("place", ["home/.claude-work", "elsewhere"])
def test_another_home_of_the_same_user(tmp_path: Path, place: str) -> None:
    """One is found by its name; the other by a process that names it and runs when coordd starts."""
    (tmp_path / "home").mkdir()
    (tmp_path / "app").mkdir()
    with claude_code(tmp_path, tmp_path / place) as claude:
        claude.model.answers("ASK", call("Bash", command=f"touch {tmp_path}/made"), {"text": "Thanks."})
        terminal = claude.interactive(tmp_path / "app")
        with users_coordd(claude.home) as daemon:
            watch = Watched(tmp_path, claude, daemon)
            agent = watch.of_process(terminal.pid, activity="idle", kind="claude-code")
            terminal.say("ASK")
            watch.becomes(agent, activity="waiting", tool="Bash")
            os.kill(terminal.pid, signal.SIGTERM)
            watch.becomes(agent, status="inactive", reason="ended")
