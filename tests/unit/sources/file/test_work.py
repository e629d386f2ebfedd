"""Test that partial readings add up to the result of a full one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Progress
from coordd.sources.file.hints import WorkFile
from coordd.sources.file.reader import WorkspaceReader

NAMES = {
    "claims": ("a.claim", "a.json", "b.claim", "b.md.claim", "c.json", ".a.claim", "a.tmp", "note"),
    "tasks": ("a", "a.md", "b.md", "b.json", "c", "c.1", ".d", "e.bak", "x" * 200 + ".md"),
    "status": ("a.progress", "b.progress", "zz.progress", "zz.tmp"),
}
CONTENTS = {
    "claims": (
        "",
        "{",
        '{"agent_id": "x", "claimed_at": 100, "ttl": 300}',
        '{"agent_id": "y", "claimed_at": 200, "expires_at": 900}',
        '{"agent_id": "x", "claimed_at": 300, "status": "done"}',
        '{"agent_id": "x", "claimed_at": 400, "status": "released"}',
    ),
    "tasks": ("", "whatever"),
    "status": ("", '{"progress": 10}', '{"progress": 101}', '{"progress": 20, "message": "m"}'),
}


def op() -> st.SearchStrategy[tuple[str, str, str]]:
    def of(folder: str) -> st.SearchStrategy[tuple[str, str, str]]:
        does = st.sampled_from(("remove", "link", *CONTENTS[folder]))
        return st.tuples(st.just(folder), st.sampled_from(NAMES[folder]), does)

    return st.sampled_from(tuple(NAMES)).flatmap(of)


class Kept:
    """Keep what partial readings report, as a follower does."""

    def __init__(self, reader: WorkspaceReader) -> None:
        self.reader = reader
        traces = reader.scan(0.0)
        assert traces.claims is not None
        assert traces.progress is not None
        self.claims: dict[str, Claim] = dict(traces.claims)
        self.progress: dict[str, Progress] = dict(traces.progress)
        self.available = set(traces.tasks_available or ())

    def read(self, files: set[WorkFile]) -> None:
        change = self.reader.read(files)
        assert not change.rescan_needed
        assert change.agents == {}
        mine: Any
        for told, mine in ((change.work.claims, self.claims), (change.work.progress, self.progress)):
            for task, value in told.items():
                if value is None:
                    mine.pop(task, None)
                else:
                    mine[task] = value
        for task, there in change.work.available.items():
            (self.available.add if there else self.available.discard)(task)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(op(), min_size=1, max_size=4), max_size=8))
def test_partial_readings_add_up_to_a_full_one(batches: list[list[tuple[str, str, str]]]) -> None:
    with TemporaryDirectory() as directory:
        base = Path(directory) / ".claude" / "coordination"
        for folder in ("agents", *NAMES):
            (base / folder).mkdir(parents=True)
        kept = Kept(WorkspaceReader(directory))
        for batch in batches:
            for folder, name, does in batch:
                path = base / folder / name
                path.unlink(missing_ok=True)
                if does == "link":
                    path.symlink_to("/etc/hostname")
                elif does != "remove":
                    path.write_text(does)
            kept.read({WorkFile(folder, name) for folder, name, _ in batch})
            truth = WorkspaceReader(directory).scan(0.0)
            assert kept.claims == truth.claims
            assert kept.progress == truth.progress
            assert sorted(kept.available) == list(truth.tasks_available or ())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / ".claude" / "coordination"
    for folder in ("agents", "claims", "tasks", "status"):
        (base / folder).mkdir(parents=True)
    return base


def test_a_released_claim_gives_its_task_back_and_a_finished_one_does_not(base: Path) -> None:
    for task in ("one", "two", "three"):
        (base / "tasks" / f"{task}.json").touch()
        status = {"one": "claimed", "two": "released", "three": "done"}[task]
        (base / "claims" / f"{task}.json").write_text(json.dumps({"agent_id": "a", "status": status}))
    assert WorkspaceReader(str(base.parents[1])).scan(0.0).tasks_available == ("two",)


def test_a_change_is_read_without_looking_at_anything_else(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(50):
        (base / "claims" / f"t{n}.claim").write_text('{"agent_id": "a"}')
    reader = WorkspaceReader(str(base.parents[1]))
    reader.scan(0.0)
    (base / "claims" / "t7.claim").write_text('{"agent_id": "b"}')

    def refuse(*_: object) -> None:
        raise AssertionError("a folder was listed")

    monkeypatch.setattr(os, "scandir", refuse)
    change = reader.read({WorkFile("claims", "t7.claim"), WorkFile("claims", "t8.claim")})
    assert change.work.claims == {"t7": Claim("t7", agent_id="b")}


def test_a_folder_that_is_gone_asks_for_a_full_reading_until_there_was_one(base: Path) -> None:
    reader = WorkspaceReader(str(base.parents[1]))
    (base / "claims" / "t.claim").write_text('{"agent_id": "a"}')
    assert set(reader.scan(0.0).claims or ()) == {"t"}
    (base / "claims").rename(base / "away")
    assert reader.read({WorkFile("claims", "t.claim")}).rescan_needed
    assert reader.read({WorkFile("status", "t.progress")}).rescan_needed
    assert reader.scan(0.0).claims == {}
    assert not reader.read({WorkFile("status", "t.progress")}).rescan_needed


def test_a_malformed_claim_is_named_by_the_partial_reading_too(base: Path) -> None:
    reader = WorkspaceReader(str(base.parents[1]))
    reader.scan(0.0)
    (base / "claims" / "t.claim").write_text("{")
    change = reader.read({WorkFile("claims", "t.claim")})
    assert change.malformed == {str(base / "claims" / "t.claim"): "not JSON"}
    assert change.work.claims == {"t": Claim("t")}
