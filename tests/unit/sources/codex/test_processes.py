"""Who is a Codex: asked of real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from played_codex import CodexHome, codex_home

from coordd.host.processes import glance
from coordd.sources.codex import processes as processes_module
from coordd.sources.codex.processes import is_bundled, is_named_so
from coordd.sources.codex.programs import Programs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CodexHome]:
    with codex_home(Path(os.path.realpath(tmp_path)) / ".codex") as one:
        yield one


@pytest.mark.parametrize("name", ["codex", "codex-x86_64-un", "codex-aarch64-un", "codex.exe"])
def test_names_of_its_own(name: str) -> None:
    seen = glance(os.getpid())
    assert seen is not None and is_named_so(replace(seen, name=name))


@pytest.mark.parametrize("name", ["node", "codex-code-mode", "codexer", "Codex", "xcodex", "", None])
def test_names_of_others(name: str | None) -> None:
    seen = glance(os.getpid())
    assert seen is not None and not is_named_so(replace(seen, name=name))


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
