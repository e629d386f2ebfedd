"""Claude Code itself beside a coordd that was not told of it: what it does is what is shown."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from claude_scene import Watched, watched
from live import Project
from model_stub import call
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.claude

QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
}


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("claude")) as one:
        yield one


def test_a_long_call_in_print_mode(watch: Watched) -> None:
    project, gate = watch.project("printing"), watch.gate("printing")
    watch.claude.model.answers("LONGCALL", call("Bash", command=gate.waiting), {"text": "It is over."})
    process = watch.claude.printing(project, "LONGCALL", "--allowedTools", "Bash")

    agent = watch.of_process(process.pid, activity="working", tool="Bash")
    session = watch.claude.record(process.pid)["sessionId"]
    expected = {
        "kind": "claude-code",
        "agent_id": session,
        "session_id": session,
        "project": str(project),
        "workspace": str(project),
        "status": "active",
        "reason": "process",
        "waiting_for": None,
        "background": 0,
    }
    assert {name: agent[name] for name in expected} == expected
    assert agent["model"].startswith("claude-")
    assert watch.attention(agent) == []

    gate.open()
    assert process.wait(PATIENCE) == 0
    watch.becomes(agent, status="inactive", reason="ended", activity=None, tool=None)


def test_idle_and_thinking(watch: Watched) -> None:
    terminal = watch.claude.interactive(watch.project("thinking"))
    agent = watch.of_process(terminal.pid, activity="idle", tool=None, waiting_for=None)
    assert (agent["kind"], agent["tty"]) == ("claude-code", terminal.tty)
    assert agent["name"] == watch.claude.record(terminal.pid)["name"]

    watch.claude.model.answers("THINK", {"hold": "thought", "text": "I thought."})
    terminal.say("THINK")
    watch.becomes(agent, activity="working", tool=None)
    watch.claude.model.go_on("thought")
    watch.becomes(agent, activity="idle")


def test_a_permission_that_is_granted(watch: Watched) -> None:
    gate = watch.gate("granted")
    command = f"{gate.waiting}; touch {watch.directory}/granted"
    watch.claude.model.answers("GRANTED", call("Bash", command=command), {"text": "It was."})
    terminal = watch.claude.interactive(watch.project("granted"))
    agent = watch.of_process(terminal.pid, activity="idle")

    terminal.say("GRANTED")
    watch.becomes(agent, activity="waiting", waiting_for="permission prompt", tool="Bash")
    watch.needs_human(agent, "waiting")
    terminal.keys("Enter")
    watch.becomes(agent, activity="working", waiting_for=None, tool="Bash")
    watch.needs_human(agent)
    gate.open()
    watch.becomes(agent, activity="idle", tool=None)


@pytest.mark.parametrize("refusal", ["Escape", "3"])
def test_a_permission_that_is_refused(watch: Watched, refusal: str) -> None:
    command = f"touch {watch.directory}/refused"
    watch.claude.model.answers("REFUSED", call("Bash", command=command), {"text": "A pity."})
    terminal = watch.claude.interactive(watch.project(f"refused-{refusal}"))
    terminal.say("REFUSED")
    agent = watch.of_process(terminal.pid, activity="waiting", waiting_for="permission prompt")
    terminal.shows("Do you want to proceed?")
    terminal.keys(refusal)
    watch.becomes(agent, activity="idle", waiting_for=None, tool=None)
    assert not (watch.directory / "refused").exists()


def test_a_question(watch: Watched) -> None:
    watch.claude.model.answers("QUESTION", call("AskUserQuestion", questions=[QUESTION]), {"text": "Thanks."})
    terminal = watch.claude.interactive(watch.project("question"))
    terminal.say("QUESTION")
    agent = watch.of_process(terminal.pid, activity="waiting", tool="AskUserQuestion")
    assert agent["waiting_for"] in {"question", "permission prompt"}  # its record names the second
    watch.needs_human(agent, "waiting")
    terminal.shows("Enter to select")
    terminal.keys("Enter")
    watch.becomes(agent, activity="idle", waiting_for=None, tool=None)
    watch.needs_human(agent)


def test_a_plan_that_awaits_approval(watch: Watched) -> None:
    watch.claude.model.answers("PLAN", call("ExitPlanMode", plan="1. Nothing"), {"text": "Right."})
    terminal = watch.claude.interactive(watch.project("plan"), "--permission-mode", "plan")
    terminal.say("PLAN")
    agent = watch.of_process(terminal.pid, activity="waiting", tool="ExitPlanMode")
    assert agent["waiting_for"] in {"plan approval", "permission prompt"}
    terminal.shows("Exit plan mode?")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle", waiting_for=None, tool=None)


def test_escape_before_the_first_word(watch: Watched) -> None:
    """The transcript then has the prompt, and no word of the turn's end: only the session's record tells."""
    watch.claude.model.answers("NEVER", {"hold": "never", "text": "Too late."})
    terminal = watch.claude.interactive(watch.project("escape"))
    terminal.say("NEVER")
    eventually(lambda: watch.claude.model.asked("NEVER"))
    agent = watch.of_process(terminal.pid, activity="working")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle")


def test_a_background_shell(watch: Watched) -> None:
    gate = watch.gate("shell")
    shell = call("Bash", command=gate.waiting, run_in_background=True)
    watch.claude.model.answers("SHELL", shell, {"text": "It goes on."}, {"text": "It ended."})
    terminal = watch.claude.interactive(watch.project("shell"), "--allowedTools", "Bash")
    terminal.say("SHELL")
    terminal.shows("It goes on.")
    agent = watch.of_process(terminal.pid, activity="working", background=1, tool=None)
    gate.open()
    terminal.shows("It ended.")
    watch.becomes(agent, activity="idle", background=0)


def test_a_subagent_that_the_turn_waits_for(watch: Watched) -> None:
    gate = watch.gate("subagent")
    asked = call("Agent", description="look", prompt="LOOKING", subagent_type="general-purpose")
    watch.claude.model.answers("DELEGATE", asked, {"text": "It looked."})
    watch.claude.model.answers("LOOKING", call("Bash", command=gate.waiting), {"text": "I looked."})
    terminal = watch.claude.interactive(watch.project("subagent"), "--allowedTools", "Bash", "Agent")
    terminal.say("DELEGATE")
    eventually(lambda: watch.claude.model.asked("LOOKING"))
    agent = watch.of_process(terminal.pid, activity="working", tool="Agent")
    assert len(watch.agents(watch.directory / "subagent")) == 1  # the subagent is none of its own
    gate.open()
    watch.becomes(agent, activity="idle", tool=None)


def test_a_subagent_in_the_background(watch: Watched) -> None:
    gate = watch.gate("aside")
    asked = call(
        "Agent", description="look", prompt="ASIDE", subagent_type="general-purpose", run_in_background=True
    )
    watch.claude.model.answers("DETACH", asked, {"text": "It is away."}, {"text": "It came back."})
    watch.claude.model.answers("ASIDE", call("Bash", command=gate.waiting), {"text": "I looked."})
    terminal = watch.claude.interactive(watch.project("aside"), "--allowedTools", "Bash", "Agent")
    terminal.say("DETACH")
    terminal.shows("It is away.")
    agent = watch.of_process(terminal.pid, activity="working", background=1, tool=None)
    gate.open()
    terminal.shows("It came back.")
    watch.becomes(agent, activity="idle", background=0)


def test_a_provider_that_refuses(watch: Watched) -> None:
    """It shows half a minute after the program has given up; while it tries again it leaves no word of it."""
    watch.claude.model.answers("LIMITED", {"error": 429, "kind": "rate_limit_error"})
    terminal = watch.claude.interactive(watch.project("limited"), CLAUDE_CODE_MAX_RETRIES="1")
    terminal.say("LIMITED")
    terminal.shows("API Error: Request rejected (429)")
    agent = watch.of_process(terminal.pid)
    watch.becomes(agent, activity="blocked", within=3 * PATIENCE)
    watch.needs_human(agent, "blocked")

    watch.claude.model.answers("LIMITED", {"text": "Welcome back."})
    terminal.say("LIMITED")
    terminal.shows("Welcome back.")
    watch.becomes(agent, activity="idle")
    watch.needs_human(agent)


def test_coordctl_tells_the_same(watch: Watched) -> None:
    project = watch.project("told")
    terminal = watch.claude.interactive(project)
    agent = watch.of_process(terminal.pid, activity="idle")
    document = json.loads(watch.daemon.ctl("agents", "--json").stdout)
    assert document["schema"] == 1
    (told,) = (one for one in document["agents"] if one["project"] == str(project))
    changing = {"timestamp", "uptime", "last_heartbeat_age", "processes", "cpu_percent", "rss"}
    assert {k: v for k, v in told.items() if k not in changing} == {
        k: v for k, v in agent.items() if k not in changing
    }
    shown = watch.daemon.ctl("agent", agent["agent_id"])
    assert shown.returncode == 0 and agent["agent_id"] in shown.stdout


def test_two_sessions_in_one_project_are_two_agents(watch: Watched) -> None:
    project = watch.project("two")
    first, second = (watch.claude.interactive(project) for _ in range(2))
    ids = {watch.of_process(one.pid, activity="idle")["agent_id"] for one in (first, second)}
    assert ids == {watch.claude.record(one.pid)["sessionId"] for one in (first, second)}
    assert {one["agent_id"] for one in watch.agents(project)} == ids


def test_a_session_in_a_worktree_belongs_to_the_project(watch: Watched) -> None:
    project, tree = watch.project("main-tree"), watch.directory / "side-tree"
    repository = Project(project, coordination=False)
    repository.git("init", "-q")
    repository.git("commit", "-q", "--allow-empty", "-m", "first")
    repository.git("worktree", "add", "-q", str(tree))
    (project / "src").mkdir()
    above = watch.claude.interactive(project / "src")
    beside = watch.claude.interactive(tree)
    agent = watch.of_process(above.pid, project=str(project))
    assert agent["workspace"] == str(project)
    agent = watch.of_process(beside.pid, project=str(project))
    assert agent["workspace"] == str(tree)


def test_twenty_at_once_are_twenty_agents(watch: Watched) -> None:
    project, gate = watch.project("twenty"), watch.gate("twenty")
    watch.claude.model.answers("TWENTY", call("Bash", command=gate.waiting), {"text": "Over."})
    processes = [watch.claude.printing(project, "TWENTY", "--allowedTools", "Bash") for _ in range(20)]

    def all_work() -> bool:
        agents = [one for one in watch.agents(project) if one["activity"] == "working"]
        return {one["pid"] for one in agents if one["tool"] == "Bash"} == {one.pid for one in processes}

    eventually(all_work, within=2 * PATIENCE)
    assert len(watch.agents(project)) == len(processes)
    gate.open()
    for process in processes:
        assert process.wait(PATIENCE) == 0

    def all_ended() -> bool:
        agents = watch.agents(project)
        return len(agents) == len(processes) and {one["reason"] for one in agents} == {"ended"}

    eventually(all_ended)


def test_a_server_that_it_started_outlives_it_and_is_named_as_its_orphan(watch: Watched) -> None:
    project = watch.project("serving")
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(10000)"
    command = f'nohup python3 -c "{code}" >/dev/null 2>&1 & echo $! >{project}/pid'
    watch.claude.model.answers("SERVER", call("Bash", command=command), {"hold": "served", "text": "Served."})
    process = watch.claude.printing(project, "SERVER", "--allowedTools", "Bash")
    agent = watch.of_process(process.pid)
    pid = int(eventually(lambda: (project / "pid").exists() and (project / "pid").read_text().strip()))

    def orphans() -> dict[int, dict[str, Any]]:
        return {one["pid"]: one for one in watch.daemon.rpc("orphans.list")["orphans"]}

    try:
        assert pid not in orphans()  # the session goes on
        process.kill()
        watch.becomes(agent, status="inactive", reason="killed")
        one = eventually(lambda: orphans().get(pid))
        assert (one["agent_id"], one["kind"]) == (agent["agent_id"], "claude-code")
        assert (one["workspace"], one["name"]) == (str(project), "python3")
        assert len(one["ports"]) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
        watch.claude.model.go_on("served")
    eventually(lambda: pid not in orphans())
