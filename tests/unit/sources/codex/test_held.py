"""Who holds which rollout open, wherever it lies by now: asked of real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from played_codex import CodexHome, PlayedCodex, codex_home

from coordd.host.process_facts import ProcessFacts
from coordd.host.processes import glance
from coordd.sources.codex.held import Held, held_by, held_still, open_held

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CodexHome]:
    with codex_home(Path(os.path.realpath(tmp_path)) / ".codex") as one:
        yield one


def facts(one: PlayedCodex) -> ProcessFacts:
    seen = glance(one.process.pid)
    assert seen is not None
    return seen


def held(one: PlayedCodex, home: CodexHome) -> list[Held]:
    found = held_by(facts(one), str(home.path))
    assert found is not None
    return found


def test_a_rollout_that_is_held_to_write(home: CodexHome) -> None:
    one = home.session("a-1")
    (found,) = held(one, home)
    assert (found.path, found.session_id) == (str(one.path), "a-1")
    assert held_still(found) == found
    assert held_by(facts(one), f"{home.path}-other") == []
    one.holder.tell("close", one.path)
    assert held(one, home) == [] and held_still(found) is None


def test_who_only_reads_it_holds_nothing(home: CodexHome) -> None:
    one = home.session("a")
    reader = home.holder()
    reader.tell("read", one.path)
    assert held(PlayedCodex(home, "a", reader), home) == []


def test_files_beside_rollouts_are_nothing(home: CodexHome) -> None:
    one = home.session("a")
    for name in ("rollout-2026-11-28T00-44-18-b.jsonl.tmp", "other.jsonl", "rollout-x-b.jsonl"):
        one.holder.tell("open", home.day() / name)
    (home.sessions / "x").mkdir()
    one.holder.tell("open", home.sessions / "x" / "rollout-2026-11-28T00-44-18-b.jsonl")
    (link := home.day("2026/11/29") / "rollout-2026-11-28T00-44-18-c.jsonl").symlink_to(home.path / "real")
    one.holder.tell("open", link)
    assert [found.session_id for found in held(one, home)] == ["a"]


def test_one_that_was_removed_or_replaced_before_it_was_known_is_nobodys(home: CodexHome) -> None:
    one, other = home.session("a"), home.session("b")
    one.path.unlink()
    assert held(one, home) == []
    other.path.rename(home.path / "away")
    other.path.write_text("another file\n")
    assert held(other, home) == []


def test_a_file_of_another_user_is_nobodys(home: CodexHome) -> None:
    one = home.session("a")
    assert held_by(replace(facts(one), uid=os.geteuid() + 1), str(home.path)) == []


def test_a_process_that_is_gone_holds_nothing(home: CodexHome) -> None:
    one = home.session("a")
    seen = facts(one)
    one.holder.kill()
    assert held_by(seen, str(home.path)) == []


def _renamed(one: PlayedCodex, home: CodexHome) -> None:
    one.path.rename(one.path.with_name("kept.jsonl"))


def _archived(one: PlayedCodex, home: CodexHome) -> None:
    (home.path / "archived_sessions").mkdir()
    one.path.rename(home.path / "archived_sessions" / one.path.name)


def _removed(one: PlayedCodex, home: CodexHome) -> None:
    one.path.unlink()


def _compressed(one: PlayedCodex, home: CodexHome) -> None:
    one.path.with_name(f"{one.path.name}.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    one.path.unlink()


def _replaced(one: PlayedCodex, home: CodexHome) -> None:
    one.path.rename(home.path / "away")
    one.path.write_text("another file\n")


def _moved_with_its_folder(one: PlayedCodex, home: CodexHome) -> None:
    home.sessions.rename(home.path / "old")


def _moved_with_its_home(one: PlayedCodex, home: CodexHome) -> None:
    home.path.rename(f"{home.path}-old")


MOVES = [_renamed, _archived, _removed, _compressed, _replaced, _moved_with_its_folder, _moved_with_its_home]


@pytest.mark.parametrize("move", MOVES)
def test_what_is_held_is_the_file(home: CodexHome, move: Callable[[PlayedCodex, CodexHome], None]) -> None:
    one = home.session("a")
    (before,) = held(one, home)
    move(one, home)
    now = held_still(before)
    assert now is not None and (now.session_id, now.mark) == ("a", before.mark)
    again = held_by(facts(one), str(home.path), {"a": before})
    assert again is not None and [each.mark for each in again] == [before.mark]
    descriptor = open_held(now)
    assert b"session_meta" in os.read(descriptor, 4096)
    os.close(descriptor)
    one.holder.kill()
    assert held_still(now) is None


@pytest.mark.parametrize("move", [_archived, _removed, _moved_with_its_folder, _moved_with_its_home])
def test_one_of_the_last_run_is_known_by_its_name(
    home: CodexHome, move: Callable[[PlayedCodex, CodexHome], None]
) -> None:
    one = home.session("a")
    move(one, home)
    assert held(one, home) == []
    found = held_by(facts(one), str(home.path), {"a": None, "b": None})
    assert found is not None and [each.session_id for each in found] == ["a"]


def test_a_descriptor_that_leads_to_another_file_holds_nothing(home: CodexHome) -> None:
    one = home.session("a")
    (before,) = held(one, home)
    one.holder.tell("close", one.path)
    one.holder.tell("open", other := one.path.with_name(one.path.name.replace("-a.", "-b.")))
    assert os.readlink(str(before.link)) == str(other), "it takes the lowest number that is free"
    assert held_still(before) is None
    assert held_by(facts(one), str(home.path), {"a": before}) == [
        before._replace(path=str(other), session_id="b", mark=(other.stat().st_dev, other.stat().st_ino))
    ]


@pytest.mark.parametrize("says", ["a", "b", None])
def test_an_inode_that_was_used_again_is_the_session_that_it_says(home: CodexHome, says: str | None) -> None:
    one = home.session("a")
    (before,) = held(one, home)
    one.holder.tell("close", one.path)
    other = home.path / "notes"
    other.write_text(json.dumps({"type": "session_meta", "payload": {"id": says}}) + "\n" if says else "")
    one.holder.tell("open", other)
    used_again = before._replace(mark=(other.stat().st_dev, other.stat().st_ino))
    assert (held_still(used_again) is not None) is (says == "a")


def test_once_it_is_closed_only_that_file_is_read_at_its_path(home: CodexHome) -> None:
    one = home.session("a")
    (before,) = held(one, home)
    one.holder.kill()
    os.close(open_held(before))
    one.path.rename(home.path / "away")
    one.path.write_text("another file\n")
    with pytest.raises(FileNotFoundError):
        open_held(before)


@pytest.mark.root
@pytest.mark.parametrize("mounted", ["home", "sessions"])
def test_one_that_is_held_by_another_path_of_a_bind_mount(home: CodexHome, mounted: str) -> None:
    """The process has it by the path below the mount, and the home is known by where it really lies."""
    source = home.path if mounted == "home" else home.sessions
    place = home.path.with_name("mounted")
    place.mkdir()
    subprocess.run(["mount", "--bind", source, place], check=True)
    try:
        holder = home.holder()
        home.day()
        sessions = place / "sessions" if mounted == "home" else place
        path = sessions / "2026/11/28/rollout-2026-11-28T00-44-18-a.jsonl"
        holder.tell("open", path)
        seen = glance(holder.process.pid)
        assert seen is not None
        found = held_by(seen, str(home.path))
        assert found is not None and [each.path for each in found] == [str(path)]
        assert held_by(seen, f"{home.path}-other") == []
        holder.kill()
    finally:
        subprocess.run(["umount", place], check=True)
