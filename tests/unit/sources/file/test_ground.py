"""Test what a search is kept off, and what it says to wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordd.sources.file.ground import GivenUp, Ground
from coordd.sources.file.workspaces import expand


def test_what_lies_in_a_directory_that_does_not_answer_is_not_touched() -> None:
    ground = Ground(["/nfs", "/home/u/link"])
    assert [ground.may(path) for path in ("/nfs", "/nfs/a/b", "/nfs2", "/home/u", "/home/u/link/x", "/")] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert ground.left_out == {"/nfs": [], "/home/u/link": []}


def test_a_search_waits_for_the_uppermost_directory_that_it_has_not_reached() -> None:
    ground = Ground(["/nowhere/at/all"])
    assert not ground.leads("/nowhere/at/all/x/*", "/nowhere/at/all/x")
    assert ground.left_out == {"/nowhere/at/all": ["/nowhere/at/all/x/*"]}
    assert ground.give_up() == "/nowhere/at"
    with pytest.raises(GivenUp):
        ground.may("/nowhere")
    assert Ground().give_up() is None


def test_entries_are_looked_for_beside_one_that_may_not_be_touched(tmp_path: Path) -> None:
    for name in ("src/a", "src/b", "far/c", "far/d"):
        (tmp_path / name / ".claude" / "coordination").mkdir(parents=True)
    entries = [f"{tmp_path}/{name}" for name in ("far/c", "far/*", "src/*", "src/[b]", "far/[c]")]
    ground = Ground([f"{tmp_path}/far", f"{tmp_path}/src/b"])
    found = expand(entries, ground=ground)
    assert found.paths == (f"{tmp_path}/far/c", f"{tmp_path}/src/a")
    assert found.explicit == {f"{tmp_path}/far/c"}
    assert ground.left_out == {
        f"{tmp_path}/far": [entries[0], entries[1], entries[4]],
        f"{tmp_path}/src/b": [],
    }
