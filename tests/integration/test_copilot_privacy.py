"""Nothing of what people and Copilot say to each other, or do, is ever written or told by coordd.

Words that occur nowhere else are planted wherever a Copilot keeps what is said and done; then all that coordd
wrote, and all that it can be asked for, is searched for them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from claude_scene import users_coordd
from copilot import ALLOWED, WatchedCopilot, copilot
from model_stub import call
from told import Listener, answers
from waiting import eventually

pytestmark = pytest.mark.copilot

PLANTED = [
    "zqprompt", "zqanswer", "zqcommand", "zqoutput", "zqpath", "zqcontent", "zqquestion", "zqdescription",
    "zqsubagent", "zqerror", "zqenviron", "zqmalformed", "zqinstructions", "zqpermission", "zqfolder",
]  # fmt: skip


def words_in(text: str) -> list[str]:
    return [word for word in PLANTED if word in text]


def live_through_everything(watch: WatchedCopilot) -> str:
    """Have Copilot say and do what holds every planted word; return the id of a session."""
    model, project, gate = watch.copilot.model, watch.project("app"), watch.gate("gate")
    (project / "AGENTS.md").write_text("zqinstructions\n")
    secret = project / "zqpath" / "file.txt"
    command = f"mkdir -p {secret.parent} {watch.directory}/zqcommand; echo zqcontent >{secret}; echo zqoutput"

    def bash(said: str) -> dict[str, object]:
        return dict(call("bash", command=said, description="zqdescription", mode="sync", initial_wait=600))

    model.answers(
        "zqprompt",
        bash(f"{command}; {gate.waiting}"),
        call("zqcommand zqcommand", cmd="zqcommand"),  # a name that no tool has
        {"text": "zqanswer"},
    )
    schema = {"type": "object", "properties": {"zqquestion": {"type": "string"}}}
    question = call("ask_user", message="zqquestion?", requestedSchema=schema)
    model.answers("QUERY", question, {"text": "zqanswer"})
    sent = {"description": "zqdescription", "prompt": "zqsubagent", "agent_type": "general-purpose"}
    model.answers("SEND", {"calls": [["task", {**sent, "name": "zqsubagent"}]]}, {"text": "zqanswer"})
    model.answers("zqsubagent", bash(command), {"text": "zqanswer"})
    model.answers("REFUSE", {"error": 400, "kind": "invalid_request_error", "message": "zqerror"})
    model.answers("MAY", bash("touch zqpermission"), {"text": "zqanswer"})

    terminal = watch.copilot.interactive(project, ALLOWED, SOME_TOKEN="zqenviron")
    terminal.say("say zqprompt")
    agent = watch.becomes(watch.of_session(project), activity="working", tool="bash")
    gate.open()
    watch.becomes(agent, activity="idle")
    terminal.say("QUERY")
    terminal.shows("zqquestion?")
    watch.becomes(agent, activity="waiting", waiting_for="question")
    terminal.keys("Escape")
    watch.becomes(agent, activity="idle")
    for word in ("SEND", "REFUSE"):
        terminal.say(word)
        eventually(lambda word=word: model.asked(word))
        watch.becomes(agent, activity="idle")
    asked = watch.project("asked")
    asks = watch.copilot.interactive(asked)
    asks.say("MAY")
    asks.shows("Do you want to run this command?")
    watch.becomes(watch.of_session(asked), activity="waiting", waiting_for="permission prompt")
    asks.close()
    watch.becomes(watch.of_session(asked), status="inactive")

    folder = watch.copilot.folder(agent["session_id"])
    folder.with_name("zqfolder zqfolder").mkdir()
    (folder / "inuse.zqmalformed.lock").touch()
    told = [
        {"type": "zqmalformed", "data": {"content": "zqmalformed"}},
        {"type": "session.model_change", "data": {"newModel": "zqmalformed zqmalformed"}},
        {"type": "session.error", "data": {"errorType": "zqmalformed", "message": "zqmalformed"}},
        {"type": "tool.execution_start", "data": {"toolCallId": "1", "toolName": "zqmalformed zqmalformed"}},
    ]
    with (folder / "events.jsonl").open("a") as events:
        events.write('{"type": "zqmalformed", "data": {"content": [zqmalformed\n[7, "zqmalformed"]\n')
        events.writelines(json.dumps(one) + "\n" for one in told)
        events.write('{"type": "zqmalformed", "data": {"type": "zqmalformed"}}\n' * 30)
    watch.becomes(agent, activity="unknown")
    terminal.close()
    watch.becomes(agent, status="inactive")
    return str(agent["session_id"])


def test_nothing_that_is_said_or_done_is_kept_or_told(tmp_path: Path) -> None:
    with copilot(tmp_path) as one:
        with users_coordd(one.home, COORDD_LOG_LEVEL="debug") as daemon:
            listener = Listener(daemon)
            live_through_everything(WatchedCopilot(tmp_path, one, daemon))
            for answer in answers(daemon):
                assert words_in(answer) == [], answer
            assert daemon.stop() == 0
        heard = listener.heard()
        assert '"agent"' in heard and words_in(heard) == []
        assert words_in(daemon.logged()) == []

        kept = [path for path in (one.config / "session-state").rglob("*") if path.is_file()]
        spoken = "".join(f"{path.parent} {path.read_text(errors='replace')}" for path in kept)
        spoken += " ".join(path.name for path in (one.config / "session-state").iterdir())
        assert set(words_in(spoken)) >= set(PLANTED) - {"zqenviron"}  # it was all there to be found
        written = [path for path in (one.home / ".local").rglob("*") if path.is_file()]
        assert any(path.name.startswith("agent_") for path in written)
        for path in written:
            assert words_in(path.read_text(errors="replace")) == [], path
            assert words_in(path.name) == [], path


def test_a_format_that_is_not_known_is_named_and_its_agent_unknown(tmp_path: Path) -> None:
    with copilot(tmp_path) as one:
        one.model.answers("HELLO", {"text": "Hi there."})
        with users_coordd(one.home) as daemon:
            watch = WatchedCopilot(tmp_path, one, daemon)
            project = watch.project("app")
            terminal = one.interactive(project)
            terminal.say("HELLO")
            terminal.shows("Hi there.")
            agent = watch.becomes(watch.of_session(project), activity="idle")
            with (one.folder(agent["session_id"]) / "events.jsonl").open("a") as events:
                events.write('{"type": "something else"}\n' * 30)
            watch.becomes(agent, status="active", activity="unknown")
            doctor = daemon.ctl("doctor").stdout
            assert "copilot 1.0.102: a transcript in which nothing is known" in doctor
            one.model.answers("AGAIN", {"hold": "never", "text": "Too late."})
            terminal.say("AGAIN")
            watch.becomes(agent, activity="working")
