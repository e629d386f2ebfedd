"""Which places are homes of Claude Code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.sources.sessions import homes as homes_module
from coordd.sources.sessions.homes import (
    Candidate,
    HomesWanted,
    Look,
    found_homes,
    list_beside,
    look_at,
    named_candidates,
)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    user = Path(os.path.realpath(tmp_path)) / "user"
    user.mkdir()
    return user


def home(path: Path) -> Path:
    for one in ("sessions", "projects"):
        (path / one).mkdir(parents=True)
    return path


def looks(wanted: HomesWanted, *running: str) -> dict[Candidate, Look]:
    """Look at all candidates as the search does, in its order."""
    candidates = named_candidates(wanted)
    if wanted.user is not None:
        candidates += [Candidate(path, "beside") for path in list_beside(wanted.user).paths]
        candidates += [Candidate(path, "running") for path in running]
    return {one: look_at(one) for one in candidates}


def found(wanted: HomesWanted, *running: str) -> list[str]:
    seen = looks(wanted, *running)
    return [one.path for one in found_homes(seen, seen)]


def test_the_usual_home_and_those_beside_it_are_found(user: Path) -> None:
    home(user / ".claude-work")
    home(user / ".claude-x")
    (user / ".claude").mkdir()
    (user / ".claude-half" / "sessions").mkdir(parents=True)
    (user / ".claude.json").write_text("{}")
    home(user / "claude-no")
    names = [os.path.basename(path) for path in found(HomesWanted(user=str(user)))]
    assert names == [".claude", ".claude-work", ".claude-x"]


def test_what_is_named_is_a_home_even_before_it_is_there(user: Path) -> None:
    wanted = HomesWanted(configured=(str(user / "later"),), environment=str(user / "env"))
    seen = looks(wanted)
    assert found_homes(seen, seen) == [(str(user / "later"), True), (str(user / "env"), True)]
    assert [one.awaited for one in seen.values()] == [(str(user), ("later",)), (str(user), ("env",))]


def test_without_a_user_only_what_is_named_is_looked_for(user: Path) -> None:
    home(user / ".claude")
    assert found(HomesWanted(), str(user / ".claude")) == []
    assert found(HomesWanted(configured=(str(user / ".claude"),))) == [str(user / ".claude")]


def test_a_home_is_one_by_whatever_way_it_is_reached(user: Path) -> None:
    home(user / ".claude")
    (user / ".claude-link").symlink_to(".claude")
    wanted = HomesWanted(configured=(str(user / ".claude-link"),), user=str(user))
    assert found(wanted, str(user / ".claude-link" / ".." / ".claude")) == [str(user / ".claude")]


def test_a_home_that_a_process_names_and_is_not_there_is_none(user: Path) -> None:
    assert found(HomesWanted(user=str(user)), str(user / "nowhere")) == []


def test_names_in_the_users_directory_that_are_not_read_are_said(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes_module, "MAX_ENTRIES", 2)
    for name in ("a", "b"):
        (user / name).mkdir()
    assert not list_beside(str(user)).cut
    (user / "c").mkdir()
    assert list_beside(str(user)).cut
