"""Test that a project's trace folder is understood where hooks leave files: sessions, and nobody else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from coordd.agents.hooks import EVENTS
from coordd.agents.traces import AgentTraces
from coordd.sources.file.agent_files import ALL_SUFFIXES, files_of_hint, suffixes_of
from coordd.sources.file.reader import WorkspaceReader
from coordd.sources.hook_files import EVENT_SUFFIXES

SESSION = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
T = 1_790_000_000.0


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    path = tmp_path / ".claude" / "coordination" / "agents"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def reader(tmp_path: Path) -> WorkspaceReader:
    return WorkspaceReader(str(tmp_path))


def touch(folder: Path, name: str, at: float, content: str = "") -> None:
    (folder / name).write_text(content)
    os.utime(folder / name, (at, at))


def scanned(reader: WorkspaceReader) -> dict[str, AgentTraces]:
    traces = reader.scan(time.time())
    assert traces.malformed == {}
    return dict(traces.agents)


def test_events_of_a_session_are_its_hooks(agents: Path, reader: WorkspaceReader) -> None:
    for number, event in enumerate(EVENTS):
        touch(agents, f"{SESSION}.{event}", T + number)
    (one,) = scanned(reader).values()
    assert one.agent_id == SESSION
    assert one.hooks is not None
    assert [getattr(one.hooks, field) for field in EVENTS.values()] == [T + n for n in range(len(EVENTS))]
    assert one.heartbeat is not None
    assert one.heartbeat.mtime == T + len(EVENTS) - 1


@pytest.mark.parametrize(
    "stem", ["build", "release-1", "a.b", SESSION[:-1], f"{SESSION}x", SESSION.replace("-", "_")]
)
@pytest.mark.parametrize("event", ["Stop", "SessionEnd", "PreToolUse"])
def test_a_file_with_such_an_ending_of_no_session_is_nobody(
    agents: Path, reader: WorkspaceReader, stem: str, event: str
) -> None:
    touch(agents, f"{stem}.{event}", T)
    touch(agents, "alpha.heartbeat", T)
    assert set(scanned(reader)) == {"alpha"}
    change = reader.read({f"{stem}.{event}"})
    assert set(change.agents.values()) == {None}
    assert change.malformed == {}


def test_each_event_is_read_by_its_own_hint(agents: Path, reader: WorkspaceReader) -> None:
    touch(agents, f"{SESSION}.heartbeat", T)
    scanned(reader)
    for number, event in enumerate(EVENTS):
        touch(agents, f"{SESSION}.{event}", T + 10 + number)
        one = reader.read({f"{SESSION}.{event}"}).agents[SESSION]
        assert one is not None
        assert one.hooks is not None
        assert one.heartbeat is not None
        assert one.hooks.last == one.heartbeat.mtime == T + 10 + number


def test_hints_of_every_file_name_the_session(agents: Path) -> None:
    for suffix in ALL_SUFFIXES:
        assert files_of_hint(SESSION + suffix) == (SESSION, (suffix,))
    assert files_of_hint(SESSION) == (SESSION, ALL_SUFFIXES)
    assert suffixes_of("alpha") == (".heartbeat", ".tasks", ".active")
    assert files_of_hint("alpha.Stop")[0] == "alpha.Stop"


def test_a_written_heartbeat_beside_events_counts_by_the_later_of_both(
    agents: Path, reader: WorkspaceReader
) -> None:
    touch(agents, f"{SESSION}.heartbeat", T + 5, "2026-09-21T14:13:25Z")
    touch(agents, f"{SESSION}.Stop", T)
    one = scanned(reader)[SESSION]
    assert one.heartbeat is not None
    assert one.heartbeat.written is not None
    touch(agents, f"{SESSION}.Stop", T + 9)
    later = scanned(reader)[SESSION]
    assert later.heartbeat is not None
    assert (later.heartbeat.written, later.heartbeat.mtime) == (None, T + 9)
    (agents / f"{SESSION}.Stop").unlink()
    assert scanned(reader)[SESSION].heartbeat in (one.heartbeat, later.heartbeat)


def test_registration_and_tasks_stay_beside_hooks(agents: Path, reader: WorkspaceReader) -> None:
    touch(agents, f"{SESSION}.active", T, '{"status": "active"}')
    touch(agents, f"{SESSION}.tasks", T, "t1\n")
    touch(agents, f"{SESSION}.Stop", T)
    one = scanned(reader)[SESSION]
    assert one.registration is not None
    assert one.tasks == ("t1",)
    assert one.hooks is not None
    assert one.hooks.word == "over"


def test_heartbeats_alone_tell_of_no_hooks_that_say_anything(agents: Path, reader: WorkspaceReader) -> None:
    touch(agents, f"{SESSION}.heartbeat", T)
    touch(agents, "alpha.heartbeat", T)
    found = scanned(reader)
    assert found["alpha"].hooks is None
    assert found[SESSION].hooks is not None
    assert not found[SESSION].hooks.told


def test_what_was_told_before_the_machine_was_started_is_of_a_session_that_ended(
    agents: Path, reader: WorkspaceReader
) -> None:
    touch(agents, f"{SESSION}.Stop", T)
    touch(agents, f"{SESSION}.heartbeat", T)
    reader.boot = T + 5
    hooks = scanned(reader)[SESSION].hooks
    assert hooks is not None
    assert (hooks.word, hooks.ended) == ("ended", T + 5)
    touch(agents, f"{SESSION}.SessionStart", T + 6)
    hooks = scanned(reader)[SESSION].hooks
    assert hooks is not None
    assert hooks.word == "over"


def test_what_is_removed_goes(agents: Path, reader: WorkspaceReader) -> None:
    for event in EVENTS:
        touch(agents, f"{SESSION}.{event}", T)
    scanned(reader)
    for event in EVENTS:
        (agents / f"{SESSION}.{event}").unlink()
        reader.read({f"{SESSION}.{event}"})
    assert scanned(reader) == {}
    assert EVENT_SUFFIXES


def test_what_lies_in_an_events_place_is_said_and_nobody(agents: Path, reader: WorkspaceReader) -> None:
    os.mkfifo(agents / f"{SESSION}.Stop")
    (agents / f"{SESSION}.PreToolUse").symlink_to("/etc/shadow")
    traces = reader.scan(time.time())
    assert dict(traces.agents) == {}
    assert set(traces.malformed.values()) == {"a FIFO", "a symbolic link, which is not followed"}
