"""Nothing of what people and Codex say to each other, or do, is ever written or told by coordd.

Words that occur nowhere else are planted wherever a Codex keeps what is said and done; then all that coordd
wrote, and all that it can be asked for, is searched for them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from claude_scene import users_coordd
from codex import ALLOWED, WatchedCodex, codex
from model_stub import call
from told import Listener, answers
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.codex

PLANTED = [
    "zqprompt", "zqanswer", "zqcommand", "zqoutput", "zqpath", "zqcontent", "zqquestion",
    "zqsubagent", "zqerror", "zqenviron", "zqmalformed", "zqinstructions", "zqlimit",
]  # fmt: skip


def words_in(text: str) -> list[str]:
    return [word for word in PLANTED if word in text]


def live_through_everything(watch: WatchedCodex) -> str:
    """Have Codex say and do what holds every planted word; return the id of a session."""
    model, project, gate = watch.codex.model, watch.project("app"), watch.gate("gate")
    (project / "AGENTS.md").write_text("zqinstructions\n")
    secret = project / "zqpath" / "file.txt"
    command = f"mkdir -p {secret.parent} {watch.directory}/zqcommand; echo zqcontent >{secret}; echo zqoutput"
    limits = {"limit-name": "zqlimit", "primary-used-percent": 1, "primary-window-minutes": 300}
    model.answers(
        "zqprompt",
        call("exec_command", cmd=f"{command}; {gate.waiting}"),
        call("zqcommand zqcommand", cmd="zqcommand"),  # a name that no tool has
        {"custom": ["apply_patch", f"*** Begin Patch\n*** Add File: {secret}\n+zqcontent\n*** End Patch"]},
        {"text": "zqanswer", "limits": limits},
    )
    question = {"id": "zqquestion", "header": "zqquestion", "question": "zqquestion?", "options": []}
    model.answers("QUERY", call("request_user_input", questions=[question]), {"text": "zqanswer"})
    model.answers("SEND", call("multi_agent_v1.spawn_agent", message="zqsubagent"), {"text": "zqanswer"})
    model.answers("zqsubagent", call("exec_command", cmd=command), {"text": "zqanswer"})
    model.answers("REFUSE", {"error": 400, "kind": "invalid_request_error", "message": "zqerror"})

    terminal = watch.codex.interactive(project, "--no-daemon", ALLOWED, SOME_TOKEN="zqenviron")
    terminal.say("say zqprompt")
    agent = watch.becomes(watch.of_session(project), activity="working", tool="exec_command")
    gate.open()
    terminal.shows("zqanswer")
    watch.becomes(agent, activity="idle")
    for word in ("QUERY", "SEND", "REFUSE"):
        terminal.say(word)
        eventually(lambda word=word: model.asked(word))
        watch.becomes(agent, activity="idle")
    with watch.codex.rollout(agent["session_id"]).open("a") as rollout:
        rollout.write('{"type": "zqmalformed", "payload": {"content": [zqmalformed\n[7, "zqmalformed"]\n')
        rollout.write('{"type": "event_msg", "timestamp": "zqmalformed", "payload": "zqmalformed"}\n')
        rollout.write('{"type": "turn_context", "payload": {"model": "zqmalformed zqmalformed", "cwd": 7}}\n')
        rollout.write('{"type": "zqmalformed", "payload": {"type": "zqmalformed"}}\n' * 30)
    watch.becomes(agent, activity="unknown")
    terminal.close()
    watch.becomes(agent, status="inactive")
    return str(agent["session_id"])


def test_nothing_that_is_said_or_done_is_kept_or_told(tmp_path: Path) -> None:
    with codex(tmp_path) as one:
        with users_coordd(one.home, COORDD_LOG_LEVEL="debug") as daemon:
            listener = Listener(daemon)
            live_through_everything(WatchedCodex(tmp_path, one, daemon))
            for answer in answers(daemon):
                assert words_in(answer) == [], answer
            assert daemon.stop() == 0
        heard = listener.heard()
        assert '"agent"' in heard and words_in(heard) == []
        assert words_in(daemon.logged()) == []

        rollouts = (one.config / "sessions").rglob("*.jsonl")
        spoken = "".join(path.read_text() for path in rollouts)
        assert set(words_in(spoken)) >= set(PLANTED) - {"zqenviron"}  # it was all there to be found
        written = [path for path in (one.home / ".local").rglob("*") if path.is_file()]
        assert any(path.name.startswith("agent_") for path in written)
        project = tmp_path / "app"
        theirs = {project / "zqpath" / "file.txt", project / "AGENTS.md"}
        for path in [*written, *(path for path in project.rglob("*") if path.is_file())]:
            if path not in theirs:
                assert words_in(path.read_text(errors="replace")) == [], path
                assert words_in(path.name) == [], path


def test_a_format_that_is_not_known_is_named_and_its_agent_unknown(tmp_path: Path) -> None:
    with codex(tmp_path) as one:
        one.model.answers("HELLO", {"text": "Hi there."})
        with users_coordd(one.home) as daemon:
            watch = WatchedCodex(tmp_path, one, daemon)
            project = watch.project("app")
            terminal = one.interactive(project, "--no-daemon")
            terminal.say("HELLO")
            agent = watch.becomes(watch.of_session(project), activity="idle")
            with one.rollout(agent["session_id"]).open("a") as rollout:
                rollout.write('{"type": "something else"}\n' * 30)
            watch.becomes(agent, status="active", activity="unknown")
            doctor = daemon.ctl("doctor").stdout
            assert "codex 0.171.0: a transcript in which nothing is known" in doctor
            one.model.answers("AGAIN", {"hold": "never", "text": "Too late."})
            terminal.say("AGAIN")
            watch.becomes(agent, activity="working", within=PATIENCE)
