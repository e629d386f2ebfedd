"""A program that has just started may name a home that nobody knew."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from coordd.host.processes import glance
from coordd.runtime.worker import Worker
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.codex.finder import CodexFinder
from coordd.sources.copilot.finder import CopilotFinder
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.watch import Watch

KINDS = [
    (ClaudeCodeFinder, "claude", "CLAUDE_CONFIG_DIR"),
    (CodexFinder, "codex", "CODEX_HOME"),
    (CopilotFinder, "copilot", "COPILOT_HOME"),
]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    workers: list[Worker] = []

    def made(kind: Any, **homes: Any) -> Any:
        workers.extend(Worker(name, replaceable=True) for name in ("homes", "places"))
        return kind(
            enabled=True,
            homes=HomesWanted(user=str(tmp_path / "user"), **homes),
            wanted=lambda _: True,
            workspaces=dict,
            worker=workers[-2],
            places=workers[-1],
            watch=Watch(),
        )

    yield made
    for one in workers:
        one.close()


@pytest.mark.parametrize(("kind", "program", "variable"), KINDS)
def test_a_running_process_names_its_home(
    make: Any, tmp_path: Path, kind: Any, program: str, variable: str
) -> None:
    (home := tmp_path / "elsewhere").mkdir()
    shutil.copy(shutil.which("sleep") or "", tmp_path / program)
    finder = make(kind)
    with subprocess.Popen([tmp_path / program, "1000"], env={variable: str(home), "OTHER": "x"}) as child:
        try:
            eventually(lambda: (seen := glance(child.pid)) is not None and seen.name == program)
            found = asyncio.run(finder.find())
            assert str(home) in [name.path for name in found]
        finally:
            child.kill()


@pytest.mark.parametrize(("kind", "program", "variable"), KINDS)
def test_whose_programs_they_are(make: Any, kind: Any, program: str, variable: str) -> None:
    seen = glance(os.getpid())
    assert seen is not None
    own, others = replace(seen, name=program), replace(seen, name=program, uid=os.geteuid() + 1)
    assert make(kind).is_program(own)
    assert not make(kind).is_program(replace(own, name="sleep"))
    assert not make(kind).is_program(others), "another user's"
    assert make(kind, users="/home").is_program(others), "everybody's homes are looked for"


@pytest.mark.parametrize(("kind", "_program", "_variable"), KINDS)
def test_others_processes_are_not_looked_at_where_only_the_own_ones_count(
    make: Any, kind: Any, _program: str, _variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of Copilot is known by its file, which is closed to all but its user and who may look into it."""
    asked: list[int] = []
    monkeypatch.setattr(kind, "is_named_so", lambda _, seen: asked.append(seen.uid) or True)
    seen = glance(os.getpid())
    assert seen is not None
    every = [seen, replace(seen, uid=os.geteuid() + 1), replace(seen, uid=None)]
    assert list(map(make(kind).is_program, every)) == [True, False, False]
    assert asked == [os.geteuid()]
