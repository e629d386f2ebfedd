"""Claude Code itself with hooks that ``coordctl hooks install`` gave it: what it calls, and what is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_code import ClaudeCode, Terminal
from claude_scene import Watched, claude_code, users_coordd
from live import read_records
from model_stub import call
from waiting import PATIENCE, NotYet, eventually

pytestmark = pytest.mark.claude

QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
}


class Hooked:
    """A user whose Claude Code has the hooks."""

    def __init__(self, directory: Path, claude: ClaudeCode) -> None:
        self.directory = directory
        self.claude = claude
        self.folder = claude.home / ".local/state/coordd/hooks"

    def ctl(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "coordd.cli", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.claude.home)},
            cwd=cwd or self.directory,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def project(self, name: str, *, workspace: bool = False) -> Path:
        path = self.directory / name
        (path / ".claude/coordination/agents" if workspace else path).mkdir(parents=True)
        return path

    def told(self, session: str, folder: Path | None = None) -> list[str]:
        """Return the events that hooks have told of a session, the oldest first."""
        files = list((folder or self.folder).glob(f"{session}.*"))
        return [path.suffix[1:] for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def last(self, session: str, *events: str) -> None:
        """Wait until these are the last that hooks told of a session, in whatever order."""

        def seen() -> bool:
            told = self.told(session)
            if set(told[-len(events) :]) != set(events):
                raise NotYet(told)
            return True

        eventually(seen, what=f"{events} are told")

    def session(self, terminal: Terminal) -> str:
        return str(self.claude.record(terminal.pid)["sessionId"])


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooked]:
    directory = tmp_path_factory.mktemp("hooked")
    with claude_code(directory) as claude:
        one = Hooked(directory, claude)
        one.ctl("hooks", "install")
        yield one


def test_a_turn_in_print_mode(hooked: Hooked) -> None:
    gate = hooked.directory / "print.gate"
    project = hooked.project("printing", workspace=True)
    waiting = f"until [ -e {gate} ]; do sleep 0.05; done"
    hooked.claude.model.answers(
        "PRINT",
        {"calls": [["Bash", {"command": waiting}], ["Read", {"file_path": str(project / "x")}]]},
        call("Bash", command="exit 3"),
        {"text": "It is over."},
    )
    process = hooked.claude.printing(project, "PRINT", "--allowedTools", "Bash,Read")
    session = eventually(lambda: hooked.claude.record(process.pid)["sessionId"])
    hooked.last(session, "PreToolUse", "heartbeat")  # one call is over, and the other is open
    gate.touch()
    output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "It is over.\n")
    expected = {"SessionStart", "PreToolUse", "heartbeat", "PostToolBatch", "Stop", "SessionEnd"}
    eventually(lambda: set(hooked.told(session)) == expected)
    agents = project / ".claude/coordination/agents"
    assert set(hooked.told(session, agents)) == expected
    assert set(os.listdir(agents)) == {f"{session}.{event}" for event in expected}


def test_a_permission_and_a_question(hooked: Hooked) -> None:
    claude = hooked.claude
    terminal = claude.interactive(hooked.project("asking"))
    session = hooked.session(terminal)
    hooked.last(session, "SessionStart")
    claude.model.answers("ASKS", call("Bash", command=f"touch {hooked.directory}/asked"), {"text": "It was."})
    terminal.say("ASKS")
    terminal.shows("Do you want to proceed?")
    hooked.last(session, "PermissionRequest")
    terminal.keys("Enter")
    terminal.shows("It was.")
    hooked.last(session, "Stop")
    assert (hooked.directory / "asked").exists()
    claude.model.answers("QUESTION", call("AskUserQuestion", questions=[QUESTION]), {"text": "Thanks."})
    terminal.say("QUESTION")
    terminal.shows("Enter to select")
    hooked.last(session, "Question")
    terminal.keys("Enter")
    terminal.shows("Thanks.")
    hooked.last(session, "Stop")
    assert "hook error" not in terminal.screen()


def test_clear_ends_one_session_and_begins_another(hooked: Hooked) -> None:
    terminal = hooked.claude.interactive(hooked.project("cleared"))
    first = hooked.session(terminal)
    hooked.claude.model.answers("HELLO", {"text": "Hello yourself."})
    terminal.say("HELLO")
    hooked.last(first, "Stop")
    second = hooked.claude.clear(terminal)
    hooked.last(first, "SessionEnd")
    hooked.last(second, "SessionStart")


def test_a_turn_that_fails(hooked: Hooked) -> None:
    hooked.claude.model.answers("REFUSE", {"error": 400, "kind": "invalid_request_error"})
    terminal = hooked.claude.interactive(hooked.project("failing"))
    session = hooked.session(terminal)
    terminal.say("REFUSE")
    hooked.last(session, "StopFailure")


def test_input_that_no_hook_reads_holds_up_nobody(hooked: Hooked) -> None:
    """A hook is given all that a call is given: more than a pipe holds, and the script reads none of it."""
    project = hooked.project("large")
    large = "x" * 400_000
    hooked.claude.model.answers(
        "LARGE",
        call("Bash", command=f": {large[:150_000]}; echo bash-$((20 + 3))"),
        call("Write", file_path=str(project / "large"), content=large),
        {"text": "It is written."},
    )
    process = hooked.claude.printing(
        project, "LARGE", "--allowedTools", "Bash,Write", "--debug-file", "debug"
    )
    output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "It is written.\n")
    assert (project / "large").read_text() == large
    terminal = hooked.claude.interactive(hooked.project("large-asks"))
    session = hooked.session(terminal)
    hooked.claude.model.answers(
        "PERMIT", call("Write", file_path=str(project / "other"), content=large), {"text": "Permitted."}
    )
    terminal.say("PERMIT")
    terminal.shows("Do you want to")
    hooked.last(session, "PermissionRequest")
    terminal.keys("Enter")
    terminal.shows("Permitted.")
    assert (project / "other").read_text() == large
    assert "hook error" not in terminal.screen()


def test_a_script_that_is_gone_holds_up_nobody(hooked: Hooked) -> None:
    script = hooked.claude.home / ".local/share/coordd/hook"
    away = script.with_name("away")
    script.rename(away)
    try:
        hooked.claude.model.answers("GONE", call("Bash", command="true"), {"text": "Nobody missed it."})
        process = hooked.claude.printing(hooked.project("gone"), "GONE", "--allowedTools", "Bash")
        output, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (0, "Nobody missed it.\n")
    finally:
        away.rename(script)


def test_settings_of_a_project_alone(tmp_path: Path) -> None:
    with claude_code(tmp_path) as claude:
        hooked = Hooked(tmp_path, claude)
        project, other = hooked.project("with"), hooked.project("without")
        hooked.ctl("hooks", "install", "--project", cwd=project)
        for path in (project, other):
            claude.model.answers("HELLO", {"text": "Hello."})
            process = claude.printing(path, "HELLO")
            assert process.communicate(timeout=PATIENCE)[0] == "Hello.\n"
        sessions = {name.partition(".")[0] for name in os.listdir(hooked.folder)}
        assert len(sessions) == 1
        assert "Stop" in hooked.told(sessions.pop())
        hooked.ctl("hooks", "uninstall", "--project", cwd=project)
        assert os.listdir(project / ".claude") == []


def test_one_agent_whatever_tells_of_it(hooked: Hooked) -> None:
    claude = hooked.claude
    with users_coordd(claude.home) as daemon:
        watch = Watched(hooked.directory, claude, daemon)
        gate = watch.gate("one")
        terminal = claude.interactive(hooked.project("one", workspace=True))
        agent = watch.of_process(terminal.pid, activity="idle")
        command = f"{gate.waiting}; touch {hooked.directory}/granted"
        claude.model.answers("GRANTED", call("Bash", command=command), {"text": "It is over."})
        terminal.say("GRANTED")
        watch.becomes(agent, activity="waiting", waiting_for="permission prompt")
        terminal.keys("Enter")
        watch.becomes(agent, activity="working", tool="Bash", waiting_for=None)
        gate.open()
        watch.becomes(agent, activity="idle")
        shown = watch.becomes(agent)
        assert set(shown["sources"]) == {"claude-code", "file", "hooks"}
        first = agent["agent_id"]
        second = claude.clear(terminal)
        watch.becomes(agent, session_id=second, activity="idle")
        alive = [one for one in watch.agents(Path(agent["project"])) if one["status"] == "active"]
        assert [one["agent_id"] for one in alive] == [first]
        assert any("hooks are installed" in line for line in daemon.ctl("doctor").stdout.splitlines())
        terminal.say("/exit")
        watch.becomes(agent, status="inactive", reason="ended")


@pytest.mark.root
def test_a_container_that_shares_the_project_and_nothing_else(tmp_path: Path) -> None:
    """Pids and a home of its own; coordd runs outside, with the home of another user."""
    outside = tmp_path / "outside"
    outside.mkdir()
    config = outside / ".config/coordd/coordd.toml"
    config.parent.mkdir(parents=True)
    with claude_code(tmp_path / "inside") as claude:
        hooked = Hooked(claude.home.parent, claude)
        hooked.ctl("hooks", "install")
        project = hooked.project("app", workspace=True)
        config.write_text(
            f'[coordination]\nworkspaces = [{json.dumps(str(project))}]\n[agents]\ntimeout = "4s"\n'
        )
        gate = hooked.directory / "gate"
        waiting = f"until [ -e {gate} ]; do sleep 0.05; done"
        claude.model.answers("CONTAINED", call("Bash", command=waiting), {"text": "Over."})
        claude.program_prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with users_coordd(outside) as daemon:
            process = claude.printing(project, "CONTAINED", "--allowedTools", "Bash")

            def shown(**expected: object) -> dict[str, Any]:
                (agent,) = daemon.rpc("agents.list")["agents"]
                if any(agent[name] != value for name, value in expected.items()):
                    raise NotYet({name: agent[name] for name in expected})
                return dict(agent)

            agent = eventually(lambda: shown(status="active", activity="working", sources=["file"]))
            expected = {"kind": "claude-code", "pid": None, "workspace": str(project), "reason": "heartbeat"}
            assert {name: agent[name] for name in expected} == expected
            assert agent["session_id"] == agent["agent_id"]
            eventually(lambda: shown(status="unknown", reason="quiet"))

            def recorded() -> set[str]:
                records = read_records(outside / ".local/state/coordd/metrics", "agent")
                return {one["reason"] for one in records}

            eventually(lambda: recorded() == {"heartbeat", "quiet"})
            gate.touch()
            assert process.wait(PATIENCE) == 0
            eventually(lambda: shown(status="inactive", reason="ended"))
            eventually(lambda: recorded() == {"heartbeat", "quiet", "ended"})


def test_the_agent_is_known_by_its_hooks_alone(hooked: Hooked) -> None:
    """As in a container: nothing of the session itself can be read."""
    claude = hooked.claude
    project = hooked.project("alone", workspace=True)
    config = claude.home / ".config/coordd/coordd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"[claude_code]\nenabled = false\n[coordination]\nworkspaces = [{json.dumps(str(project))}]\n"
        '[agents]\ntimeout = "4s"\n'
    )
    gate = hooked.directory / "alone.gate"
    waiting = f"until [ -e {gate} ]; do sleep 0.05; done"
    claude.model.answers("SOLITARY", call("Bash", command=waiting), {"text": "Over."})
    try:
        with users_coordd(claude.home) as daemon:
            process = claude.printing(project, "SOLITARY", "--allowedTools", "Bash")

            def shown(**expected: object) -> dict[str, Any]:
                (agent,) = [
                    one for one in daemon.rpc("agents.list")["agents"] if one["project"] == str(project)
                ]
                if any(agent[name] != value for name, value in expected.items()):
                    raise NotYet({name: agent[name] for name in expected})
                return dict(agent)

            agent = eventually(lambda: shown(status="active", activity="working"))
            assert (agent["kind"], agent["pid"]) == ("claude-code", None)
            assert set(agent["sources"]) == {"file", "hooks"}
            eventually(lambda: shown(status="unknown", reason="quiet"))
            gate.touch()
            assert process.wait(PATIENCE) == 0
            eventually(lambda: shown(status="inactive", reason="ended"))
    finally:
        config.unlink()
