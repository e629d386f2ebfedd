"""What a subagent's own transcript tells of its progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordd.sources.claude_code.subagents import SubagentFiles
from coordd.sources.claude_code.transcript import TranscriptReducer
from coordd.util.timestamps import format_utc

T0 = 1_795_800_000.0
WALL = T0 + 1000


def line(second: float, **more: object) -> str:
    return json.dumps({"timestamp": format_utc(T0 + second), **more}) + "\n"


@pytest.fixture
def reducer() -> TranscriptReducer:
    block = {"type": "tool_use", "id": "t", "name": "Task"}
    message = {"id": "m", "stop_reason": "tool_use", "content": [block]}
    reducer = TranscriptReducer(T0)
    reducer.feed([line(1, type="assistant", message=message).encode()], WALL)
    return reducer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "s" / "subagents"
    folder.mkdir(parents=True)
    (folder / "agent-a.meta.json").write_text('{"toolUseId":"t"}')
    return folder


def seen(reducer: TranscriptReducer) -> float | None:
    (work,) = reducer.turn().background
    return work.seen


def test_a_transcript_that_is_written_anew_in_place_is_read_anew(
    folder: Path, reducer: TranscriptReducer
) -> None:
    files = SubagentFiles(str(folder.parent.parent / "s.jsonl"))
    (folder / "agent-a.jsonl").write_text(line(5, type="user"))
    files.read(reducer, WALL)
    assert seen(reducer) == T0 + 5
    (folder / "agent-a.jsonl").write_text(line(9, type="user"))
    files.read(reducer, WALL)
    assert seen(reducer) == T0 + 9


def test_a_time_far_ahead_is_no_time(folder: Path, reducer: TranscriptReducer) -> None:
    files = SubagentFiles(str(folder.parent.parent / "s.jsonl"))
    ahead = line(2 * 86_400, type="user")
    (folder / "agent-a.jsonl").write_text(line(5, type="user") + ahead)
    files.read(reducer, WALL)
    assert seen(reducer) == T0 + 5
