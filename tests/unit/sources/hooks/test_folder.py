"""Test the folder of hooks on a real file system: names and times are read, and nothing is opened."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.hooks import EVENTS
from coordd.sources.hooks.folder import HookFolder, is_session, session_named

ONE = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
OTHER = "00000000-0b1c-4a57-9a38-0f6b0de0a5c1"
ALONE = "A0000000-0b1c-4a57-9a38-0f6b0de0a5c1"


def touch(folder: Path, name: str, at: float | None = None) -> float:
    (folder / name).touch()
    at = time.time() if at is None else at
    os.utime(folder / name, (at, at))
    return (folder / name).stat().st_mtime_ns / 1e9


def test_files_of_a_session_are_its_hooks(tmp_path: Path) -> None:
    times = {event: touch(tmp_path, f"{ONE}.{event}", 1e9 + n) for n, event in enumerate(EVENTS)}
    touch(tmp_path, f"{OTHER}.Stop")
    agents = HookFolder(str(tmp_path)).read_all()
    assert set(agents) == {ONE, OTHER}
    hooks = agents[ONE].hooks
    assert hooks is not None
    assert {event: getattr(hooks, field) for event, field in EVENTS.items()} == times
    beat = agents[ONE].heartbeat
    assert beat is not None
    assert (beat.written, beat.mtime) == (None, max(times.values()))


def test_only_a_later_file_is_another_beat(tmp_path: Path) -> None:
    touch(tmp_path, f"{ONE}.Stop", 1000.0)
    touch(tmp_path, f"{ONE}.PreToolUse", 2000.0)
    folder = HookFolder(str(tmp_path))
    first = folder.read_all()[ONE]
    assert folder.read_all()[ONE] is first
    assert folder.read([ONE])[ONE] is first

    (tmp_path / f"{ONE}.PreToolUse").unlink()
    older = folder.read([ONE])[ONE]
    assert older is not None
    assert older.heartbeat == first.heartbeat
    assert older.hooks != first.hooks
    touch(tmp_path, f"{ONE}.Stop", 3000.0)
    later = folder.read([ONE])[ONE]
    assert later is not None
    assert later.heartbeat != first.heartbeat
    (tmp_path / f"{ONE}.Stop").unlink()
    assert folder.read([ONE]) == {ONE: None}
    assert folder.read_all() == {}


def test_what_was_told_before_the_machine_was_started_is_of_a_session_that_ended(tmp_path: Path) -> None:
    for session, at in ((ONE, 1000.0), (OTHER, 3000.0)):
        touch(tmp_path, f"{session}.Stop", at)
        touch(tmp_path, f"{session}.heartbeat", at - 100)
    touch(tmp_path, f"{ALONE}.heartbeat", 1000.0)
    folder = HookFolder(str(tmp_path))
    folder.boot = 2000.0
    words = {name: one.hooks.word for name, one in folder.read_all().items() if one.hooks is not None}
    assert words == {ONE: "ended", OTHER: "over", ALONE: "works"}
    ended = folder.read([ONE])[ONE]
    assert ended is not None
    assert ended.hooks is not None
    assert ended.hooks.ended == 2000.0


def test_nothing_is_opened_and_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{ONE}.Stop")
    (tmp_path / f"{ONE}.heartbeat").symlink_to("/etc/shadow")
    (tmp_path / f"{OTHER}.Stop").mkdir()
    (tmp_path / f"{OTHER}.heartbeat").touch()
    (tmp_path / f"{OTHER}.heartbeat").chmod(0)
    (tmp_path / f"{OTHER}.SessionEnd").write_text("a secret")
    folder = HookFolder(str(tmp_path))
    assert set(folder.read_all()) == {OTHER}
    assert folder.malformed == {
        f"{tmp_path}/{ONE}.Stop": "a FIFO",
        f"{tmp_path}/{ONE}.heartbeat": "a symbolic link, which is not followed",
        f"{tmp_path}/{OTHER}.Stop": "a directory",
        f"{tmp_path}/{OTHER}.SessionEnd": "not empty, as all that hooks leave is",
    }
    (tmp_path / f"{ONE}.Stop").unlink()
    touch(tmp_path, f"{ONE}.Stop")
    assert folder.read([ONE])[ONE] is not None
    assert f"{tmp_path}/{ONE}.Stop" not in folder.malformed


@pytest.mark.parametrize(
    "name",
    [
        "x",
        ".Stop",
        f"{ONE}",
        f"{ONE}.stop",
        f"{ONE}.Stop~",
        f"{ONE}.Stop.tmp",
        "a b.Stop",
        "é.Stop",
        "short.Stop",
        f"{ONE}0.Stop",
        f"{ONE[:-1]}.Stop",
        f"{ONE[:-1]}g.Stop",
        f"{ONE.replace('-', '_')}.Stop",
        f"{ONE.replace('-', '')}.Stop",
    ],
)
def test_other_names_are_nobody(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    folder = HookFolder(str(tmp_path))
    assert folder.read_all() == {}
    assert folder.malformed == {}
    assert session_named(name) is None


@given(st.text())
def test_whatever_is_asked_for_is_nobody_or_a_session(text: str) -> None:
    assert not is_session(text) or ("/" not in text and len(text) == 36)


def test_more_files_than_are_read_are_said(tmp_path: Path) -> None:
    sessions = [str(uuid.UUID(int=number)) for number in range(20)]
    for session in sessions:
        touch(tmp_path, f"{session}.Stop")
    folder = HookFolder(str(tmp_path), max_files=5)
    assert len(folder.read_all()) == 5
    assert folder.over_limit == "more than 5 files of hooks; the rest is not read"
    assert sum(one is not None for one in folder.read(sessions).values()) == 5


@pytest.mark.parametrize("place", ["missing", "file"])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, place: str) -> None:
    touch(tmp_path, "file")
    folder = HookFolder(str(tmp_path / place))
    for call in (folder.read_all, lambda: folder.read([ONE])):
        with pytest.raises(OSError):
            call()
