"""What the real Claude Code leaves on a machine: the facts that coordd's reading of it is built on.

No coordd runs here. A newer program that fails one of these writes something else, and sources/claude_code/
has to learn it before the version in .ci/claude-code is raised.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from claude_code import ClaudeCode, Gate, Terminal
from claude_scene import claude_code
from model_stub import TITLE, call
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.claude


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def claude(directory: Path) -> Iterator[ClaudeCode]:
    with claude_code(directory) as one:
        yield one


@pytest.fixture
def project(directory: Path, request: pytest.FixtureRequest) -> Path:
    path = directory / str(abs(hash(request.node.name)))
    path.mkdir()
    return path


def states(claude: ClaudeCode, terminal: Terminal, status: str) -> dict[str, Any]:
    """Wait until its record has this status; return the record."""

    def found() -> dict[str, Any] | None:
        record = claude.record(terminal.pid)
        return record if record["status"] == status else None

    return eventually(found, what=f"status {status}") or {}


def ended(pid: int) -> bool:
    """Return whether a process is gone, or is a zombie that its parent did not collect yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def tools(claude: ClaudeCode, session: str) -> tuple[list[str], list[str]]:
    """Return the ids of the calls in a transcript, and of the results."""
    blocks = [
        block
        for line in claude.transcript(session)
        if isinstance(line.get("message", {}).get("content"), list)
        for block in line["message"]["content"]
    ]
    calls = [one["id"] for one in blocks if one["type"] == "tool_use"]
    return calls, [one["tool_use_id"] for one in blocks if one["type"] == "tool_result"]


def test_it_can_talk_to_nobody_but_its_model(claude: ClaudeCode, project: Path) -> None:
    terminal = claude.interactive(project)
    devices = Path(f"/proc/{terminal.pid}/net/dev").read_text().splitlines()[2:]
    names = {line.partition(":")[0].strip() for line in devices}
    assert names == {"lo"} if os.getuid() == 0 else "lo" in names


def test_a_record_names_its_process_and_what_it_does(claude: ClaudeCode, project: Path) -> None:
    terminal = claude.interactive(project)
    record = states(claude, terminal, "idle")
    stat = Path(f"/proc/{terminal.pid}/stat").read_text().rpartition(")")[2].split()
    assert record["procStart"] == stat[19]  # field 22 of all, see proc(5)
    assert (record["pid"], record["cwd"]) == (terminal.pid, str(project))
    assert (record["entrypoint"], record["nameSource"]) == ("cli", "derived")
    assert (claude.config / "sessions").stat().st_mode & 0o777 == 0o700

    claude.model.answers("PERMIT", call("Bash", command=f"touch {project}/made"), {"text": "Done so."})
    terminal.say("PERMIT")
    record = states(claude, terminal, "waiting")
    assert record["waitingFor"] == "permission prompt"
    calls, results = eventually(lambda: found if (found := tools(claude, record["sessionId"]))[0] else None)
    assert len(calls) == 1 and results == []
    terminal.keys("Enter")
    states(claude, terminal, "idle")
    eventually(lambda: tools(claude, record["sessionId"]) == (calls, calls))
    eventually(lambda: claude.transcript(record["sessionId"])[-1].get("subtype") == "turn_duration")


def test_print_mode_gives_itself_no_status(claude: ClaudeCode, directory: Path, project: Path) -> None:
    gate = Gate(directory / "print.gate")
    claude.model.answers("PRINT", call("Bash", command=gate.waiting), {"text": "Done so."})
    process = claude.printing(project, "PRINT", "--allowedTools", "Bash")
    record = eventually(lambda: claude.record(process.pid))
    assert record["entrypoint"] == "sdk-cli" and "status" not in record
    calls, results = eventually(lambda: found if (found := tools(claude, record["sessionId"]))[0] else None)
    assert len(calls) == 1 and results == []
    gate.open()
    assert process.wait(PATIENCE) == 0
    assert not claude.has_record(process.pid)
    assert tools(claude, record["sessionId"]) == (calls, calls)


def interrupt_twice(terminal: Terminal) -> None:
    terminal.keys("C-c")
    terminal.shows("Press Ctrl-C again to exit")
    terminal.keys("C-c")


@pytest.mark.parametrize(
    "end",
    [
        lambda terminal: terminal.say("/exit"),
        interrupt_twice,
        Terminal.hang_up,
        lambda terminal: os.kill(terminal.pid, signal.SIGTERM),
    ],
    ids=["exit", "ctrl-c", "terminal closed", "SIGTERM"],
)
def test_whoever_ends_in_order_takes_its_record_away(
    claude: ClaudeCode, project: Path, end: Callable[[Terminal], object]
) -> None:
    terminal = claude.interactive(project)
    assert claude.has_record(terminal.pid)
    end(terminal)
    eventually(lambda: ended(terminal.pid))
    assert not claude.has_record(terminal.pid)


def test_who_is_killed_leaves_its_record_until_the_next_one_starts(claude: ClaudeCode, project: Path) -> None:
    claude.model.answers("NEVER", {"hold": "never", "text": "Too late."})
    process = claude.printing(project, "NEVER")
    eventually(lambda: claude.model.asked("NEVER"))
    process.kill()
    process.wait(PATIENCE)
    assert claude.has_record(process.pid)
    claude.interactive(project)  # where a zombie has the pid, the record stays
    eventually(lambda: not claude.has_record(process.pid))


def test_a_shell_in_the_background(claude: ClaudeCode, directory: Path, project: Path) -> None:
    gate = Gate(directory / "shell.gate")
    shell = call("Bash", command=gate.waiting, run_in_background=True)
    claude.model.answers("SHELL", shell, {"text": "It goes on."}, {"text": "It ended."})
    terminal = claude.interactive(project, "--allowedTools", "Bash")
    terminal.say("SHELL")
    session = states(claude, terminal, "shell")["sessionId"]

    def origins() -> list[object]:
        return [line["origin"]["kind"] for line in claude.transcript(session) if "origin" in line]

    def begun() -> list[object]:
        results = [line.get("toolUseResult") for line in claude.transcript(session)]
        return [one["backgroundTaskId"] for one in results if isinstance(one, dict)]

    assert len(eventually(begun)) == 1
    assert origins() == ["human"]
    gate.open()
    states(claude, terminal, "idle")
    eventually(lambda: origins() == ["human", "task-notification"])


@pytest.mark.parametrize("aside", [False, True], ids=["awaited", "in the background"])
def test_a_subagent_writes_beside_the_transcript(
    claude: ClaudeCode, directory: Path, project: Path, aside: bool
) -> None:
    gate, word = Gate(directory / f"subagent-{aside}.gate"), f"LOOK{aside}"
    given = {"description": "look", "prompt": word, "subagent_type": "general-purpose"}
    claude.model.answers(f"SEND{aside}", call("Agent", **given, run_in_background=aside), {"text": "Sent."})
    claude.model.answers(word, call("Bash", command=gate.waiting), {"text": "I looked."})
    terminal = claude.interactive(project, "--allowedTools", "Bash", "Agent")
    terminal.say(f"SEND{aside}")
    eventually(lambda: claude.model.asked(word))
    session = states(claude, terminal, "busy")["sessionId"]

    def beside() -> list[Path]:
        return list((claude.config / "projects").glob(f"*/{session}/subagents/agent-*.jsonl"))

    assert len(eventually(beside)) == 1
    assert not any(line.get("isSidechain") for line in claude.transcript(session))
    if aside:
        eventually(lambda: claude.transcript(session)[-1].get("pendingBackgroundAgentCount") == 1)
        assert claude.record(terminal.pid)["status"] == "busy"  # though its turn is over
    gate.open()
    states(claude, terminal, "idle")


def test_a_refusal_is_written_once_it_is_given_up(claude: ClaudeCode, project: Path) -> None:
    claude.model.answers("LIMITED", {"error": 429, "kind": "rate_limit_error"})
    terminal = claude.interactive(project, CLAUDE_CODE_MAX_RETRIES="1")
    session = states(claude, terminal, "idle")["sessionId"]
    terminal.say("LIMITED")
    terminal.shows("API Error: Request rejected (429)")
    states(claude, terminal, "idle")
    eventually(lambda: claude.transcript(session)[-1].get("subtype") == "turn_duration")
    lines = claude.transcript(session)
    refusals = [line for line in lines if line.get("isApiErrorMessage")]
    assert [(line["error"], line["apiErrorStatus"]) for line in refusals] == [("rate_limit", 429)]
    assert not [line for line in lines if line.get("subtype") == "api_error"]  # of what it tried in between


@pytest.mark.parametrize(("given", "name"), [("", "made-by-the-model"), (" by-the-user", "by-the-user")])
def test_nothing_tells_whose_word_a_name_is(claude: ClaudeCode, project: Path, given: str, name: str) -> None:
    """A name that the model made of what was said looks like one that the user gave."""
    claude.model.answers("HELLO", {"text": "Hi there."})
    claude.model.answers(TITLE, {"text": '{"name": "made-by-the-model"}'})
    terminal = claude.interactive(project)
    assert states(claude, terminal, "idle")["nameSource"] == "derived"
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    terminal.say(f"/rename{given}")
    eventually(lambda: claude.record(terminal.pid)["name"] == name)
    record = claude.record(terminal.pid)
    assert "nameSource" not in record
    title = {"type": "custom-title", "customTitle": name, "sessionId": record["sessionId"]}
    eventually(lambda: title in claude.transcript(record["sessionId"]))


def test_clear_goes_on_as_another_session_of_the_same_process(claude: ClaudeCode, project: Path) -> None:
    claude.model.answers("HELLO", {"text": "Hi there."})
    terminal = claude.interactive(project)
    before = states(claude, terminal, "idle")["sessionId"]
    terminal.say("HELLO")
    terminal.shows("Hi there.")
    assert claude.clear(terminal) != before
    assert claude.record(terminal.pid)["status"] == "idle"

    terminal.say("/resume")
    states(claude, terminal, "waiting")
    assert claude.record(terminal.pid)["waitingFor"] == "dialog open"
    terminal.shows("HELLO")
    terminal.keys("Enter")
    eventually(lambda: claude.record(terminal.pid)["sessionId"] == before)
