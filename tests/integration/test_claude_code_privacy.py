"""Nothing of what people and agents say to each other, or do, is ever written or told by coordd.

Words that occur nowhere else are planted wherever a Claude Code keeps what is said and done; then all that
coordd wrote, and all that it can be asked for, is searched for them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from claude_scene import Watched, claude_code, users_coordd
from model_stub import TITLE, call
from told import Listener, answers
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.claude

PLANTED = [
    "zqprompt", "zqanswer", "zqcommand", "zqdescription", "zqoutput", "zqpath", "zqcontent", "zqquestion",
    "zqoption", "zqplan", "zqsubagent", "zqerror", "zqargument", "zqenviron", "zqwaiting", "zqmalformed",
    "zqtitle",
]  # fmt: skip


def words_in(text: str) -> list[str]:
    return [word for word in PLANTED if word in text]


def live_through_everything(watch: Watched) -> None:
    """Have Claude Code say and do what holds every planted word."""
    claude, project = watch.claude, watch.project("app")
    model = claude.model
    secret = project / "zqpath" / "file.txt"
    gate = watch.gate("gate")
    # mkdir: what merely reads would be done without asking
    command = f"mkdir -p {watch.directory}/zqcommand; echo zqoutput; {gate.waiting}"
    run = call("Bash", command=command, description="zqdescription")
    model.answers("zqprompt", run, {"text": "zqanswer"})
    model.answers("WRITE", call("Write", file_path=str(secret), content="zqcontent"), {"text": "zqanswer"})
    question = {
        "question": "zqquestion?",
        "header": "zqquestion",
        "multiSelect": False,
        "options": [{"label": f"zqoption {n}", "description": "zqoption"} for n in range(2)],
    }
    model.answers("QUERY", call("AskUserQuestion", questions=[question]), {"text": "zqanswer"})
    given = {"description": "zqdescription", "prompt": "zqsubagent", "subagent_type": "general-purpose"}
    model.answers("SEND", call("Agent", **given), {"text": "zqanswer"})
    model.answers("zqsubagent", run, {"text": "zqanswer"})
    model.answers("PLAN", call("ExitPlanMode", plan="1. zqplan"), {"text": "zqanswer"})
    model.answers(TITLE, {"text": '{"name": "zqtitle"}'})
    model.answers("REFUSE", {"error": 400, "kind": "invalid_request_error", "message": "zqerror"})

    terminal = claude.interactive(project, SOME_TOKEN="zqenviron")
    agent = watch.of_process(terminal.pid, activity="idle")
    terminal.say("say zqprompt")
    watch.becomes(agent, activity="waiting", tool="Bash")
    record = claude.config / "sessions" / f"{terminal.pid}.json"
    for words, phrase in [("zqwaiting for zqwaiting", "input"), ("approve zqwaiting", "permission prompt")]:
        tell_it_waits_for(record, words)
        watch.becomes(agent, activity="waiting", waiting_for=phrase)
    watch.needs_human(agent, "waiting")
    terminal.shows("Do you want to proceed?")
    terminal.keys("Enter")
    watch.becomes(agent, activity="working", tool="Bash")
    gate.open()
    watch.becomes(agent, activity="idle")
    terminal.say("/rename")  # the model makes a name of what was said
    eventually(lambda: claude.record(terminal.pid)["name"] == "zqtitle")
    for word, tool in [("WRITE", "Write"), ("QUERY", "AskUserQuestion")]:
        terminal.say(word)
        watch.becomes(agent, activity="waiting", tool=tool)
        terminal.keys("Enter")
        watch.becomes(agent, activity="idle")
    assert secret.read_text() == "zqcontent"
    terminal.say("SEND")
    watch.becomes(agent, activity="waiting")
    terminal.keys("Enter")
    watch.becomes(agent, activity="idle")
    terminal.say("REFUSE")
    session = agent["session_id"]
    eventually(lambda: any(line.get("isApiErrorMessage") for line in claude.transcript(session)))
    with next((claude.config / "projects").glob(f"*/{session}.jsonl")).open("a") as transcript:
        transcript.write('{"type": "zqmalformed", "message": {"content": [zqmalformed\n[7, "zqmalformed"]\n')
        transcript.write('{"type": "assistant", "timestamp": "zqmalformed", "message": "zqmalformed"}\n')
    (claude.config / "sessions" / "4242.json").write_text('{"pid": 4242, "status": zqmalformed')
    os.kill(terminal.pid, 9)
    watch.becomes(agent, status="inactive", reason="killed")

    planning = claude.interactive(project, "--permission-mode", "plan")
    agent = watch.of_process(planning.pid, activity="idle")
    planning.say("PLAN")
    watch.becomes(agent, activity="waiting", tool="ExitPlanMode")

    last = watch.gate("last")
    model.answers("zqargument", call("Bash", command=f"echo zqoutput; {last.waiting}"), {"text": "zqanswer"})
    printing = claude.printing(project, "say zqargument", "--allowedTools", "Bash")
    agent = watch.of_process(printing.pid, activity="working", tool="Bash")
    last.open()
    assert "zqanswer" in printing.communicate(timeout=PATIENCE)[0]
    watch.becomes(agent, status="inactive", reason="ended")


def tell_it_waits_for(record: Path, words: str) -> None:
    """Say in a session's record that it waits for something that no coordd knows."""
    said = {**json.loads(record.read_bytes()), "waitingFor": words}
    new = record.with_name("new")
    new.write_text(json.dumps(said))
    new.rename(record)


def test_nothing_that_is_said_or_done_is_kept_or_told(tmp_path: Path) -> None:
    with claude_code(tmp_path) as claude:
        with users_coordd(claude.home, COORDD_LOG_LEVEL="debug") as daemon:
            listener = Listener(daemon)
            live_through_everything(Watched(tmp_path, claude, daemon))
            for answer in answers(daemon):
                assert words_in(answer) == [], answer
            assert daemon.stop() == 0
        heard = listener.heard()
        assert '"agent"' in heard and words_in(heard) == []
        assert words_in(daemon.logged()) == []

        spoken = "".join(path.read_text() for path in claude.config.glob("projects/**/*.jsonl"))
        assert set(words_in(spoken)) >= set(PLANTED) - {
            "zqenviron",
            "zqwaiting",
        }  # it was all there to be found
        written = [path for path in (claude.home / ".local").rglob("*") if path.is_file()]
        assert any(path.name.startswith("agent_") for path in written)
        project = tmp_path / "app"
        theirs = project / "zqpath" / "file.txt"
        for path in [*written, *(path for path in project.rglob("*") if path.is_file() and path != theirs)]:
            assert words_in(path.read_text(errors="replace")) == [], path
            assert words_in(path.name) == [], path
