"""What is left in a snapshot of an agent or a project that is purged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordd.records.selection import RecordSelection
from coordd.sinks.purged_snapshot import purge_snapshot, without

APP = "/home/me/src/app"


def document() -> dict[str, Any]:
    return {
        "schema": 1,
        "written_at": "2026-11-22T06:05:00.123Z",
        "ended_at": "2026-11-22T06:05:00.123Z",
        "status": {
            "problems": ["agent a-1 in ~/src/app is killed", "agent a-12 is killed", f"{APP}: x"],
            "attention": [{"subject": "a-1", "text": "killed"}, {"subject": "t", "text": "its holder a-12"}],
            "workspaces": [{"path": APP, "project": APP}, {"path": f"{APP}2", "project": f"{APP}2"}],
            "agents": {"total": 2},
        },
        "agents": [
            {"agent_id": "a-1", "workspace": APP, "project": APP},
            {"agent_id": "a-12", "workspace": f"{APP}2", "project": f"{APP}2"},
        ],
        "ended_today": [[APP, "a-1", 1.0], [f"{APP}2", "a-12", 2.0]],
        "forgotten": [[APP, "a-1", ["file"], None]],
    }


def test_nothing_names_the_agent_and_all_else_stays() -> None:
    purged = without(document(), RecordSelection(agent_id="a-1"))
    assert '"a-1"' not in json.dumps(purged)
    assert "a-1 " not in json.dumps(purged)
    assert [one["agent_id"] for one in purged["agents"]] == ["a-12"]
    assert purged["ended_today"] == [[f"{APP}2", "a-12", 2.0]]
    assert purged["forgotten"] == []
    assert purged["status"]["problems"] == ["agent a-12 is killed", f"{APP}: x"]
    assert [one["subject"] for one in purged["status"]["attention"]] == ["t"]
    assert purged["status"]["workspaces"] == document()["status"]["workspaces"]
    assert (purged["ended_at"], purged["status"]["agents"]) == (document()["ended_at"], {"total": 2})


def test_nothing_names_the_project_and_its_neighbour_stays() -> None:
    purged = without(document(), RecordSelection(place=APP))
    assert [one["path"] for one in purged["status"]["workspaces"]] == [f"{APP}2"]
    assert [one["agent_id"] for one in purged["agents"]] == ["a-12"]
    assert f"{APP}: x" not in purged["status"]["problems"]


@pytest.mark.parametrize("content", ["", "[1]", '{"schema":1,"agents":', "null"])
def test_what_is_no_snapshot_stays_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "snapshot.json"
    assert purge_snapshot(str(path), RecordSelection(agent_id="a"), root=None, mode=0o600) is None
    path.write_text(content)
    assert purge_snapshot(str(path), RecordSelection(agent_id="a"), root=None, mode=0o600) is not None
    assert path.read_text() == content


def test_a_snapshot_of_another_place_is_not_touched_in_a_project(tmp_path: Path) -> None:
    root = tmp_path / "app"
    path = root / ".claude" / "run" / "snapshot.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document()))
    before = path.read_bytes()
    assert purge_snapshot(str(path), RecordSelection(agent_id="a-1"), root=str(root), mode=0o600)
    assert path.read_bytes() == before
