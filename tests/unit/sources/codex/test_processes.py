"""Who is a Codex, and who holds which rollout open: asked of real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from played_codex import CodexHome, PlayedCodex, codex_home

from coordd.host.process_facts import ProcessFacts
from coordd.host.processes import glance
from coordd.sources.codex import processes as processes_module
from coordd.sources.codex.processes import Held, held_by, is_bundled, is_named_so, session_id_of, still_holds
from coordd.sources.codex.programs import Programs

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


@pytest.mark.parametrize("name", ["codex", "codex-x86_64-un", "codex-aarch64-un", "codex.exe"])
def test_names_of_its_own(name: str) -> None:
    seen = glance(os.getpid())
    assert seen is not None and is_named_so(replace(seen, name=name))


@pytest.mark.parametrize("name", ["node", "codex-code-mode", "codexer", "Codex", "xcodex", "", None])
def test_names_of_others(name: str | None) -> None:
    seen = glance(os.getpid())
    assert seen is not None and not is_named_so(replace(seen, name=name))


def test_a_rollout_that_is_held_to_write(home: CodexHome) -> None:
    one = home.session("a-1")
    (found,) = held(one, home)
    assert (found.path, found.session_id) == (str(one.path), "a-1")
    assert still_holds(one.process.pid, found)
    assert held_by(facts(one), f"{home.path}-other") == []
    one.holder.tell("close", one.path)
    assert held(one, home) == [] and not still_holds(one.process.pid, found)


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


def test_one_that_was_removed_or_replaced_is_held_no_more(home: CodexHome) -> None:
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


@pytest.mark.parametrize(
    "path", ["", "/", "/h/sessions", "/h/sessions/2026/11/28/rollout-2026-11-28T00-44-18-.jsonl"]
)
def test_paths_that_are_none(path: str) -> None:
    assert session_id_of(path, "/h") is None


def test_a_program_in_a_bundle_is_another(tmp_path: Path) -> None:
    place = tmp_path / "Codex.app" / "Contents" / "Resources"
    place.mkdir(parents=True)
    program = place / "codex"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    pid = os.spawnv(os.P_NOWAIT, program, ["codex", "1000"])
    try:
        while not (seen := glance(pid)) or seen.name != "codex":
            pass
        assert is_bundled(pid) and not is_bundled(os.getpid())
        assert pid not in [one.process.pid for one in Programs().look()]
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_programs_are_looked_at_once_and_forgotten_when_they_end(
    home: CodexHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, one = Programs(), home.session("a")
    asked: list[int] = []
    bundled = processes_module.is_bundled
    monkeypatch.setattr(
        "coordd.sources.codex.programs.is_bundled", lambda pid: asked.append(pid) or bundled(pid)
    )
    assert one.process in [seen.process for seen in programs.look()]
    assert one.process in [seen.process for seen in programs.look()]
    assert asked.count(one.process.pid) == 1
    one.holder.kill()
    assert one.process not in [seen.process for seen in programs.look(anew=True)]
