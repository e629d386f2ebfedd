"""Measure what a hook adds to a tool call of an agent: the call as settings have it, run by /bin/sh."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness import ROOT, Figure, Settings

sys.path.insert(0, str(ROOT))

from coordd.cli.hooks.entries import groups
from coordd.cli.hooks.script import SHIPPED

SESSION = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
TARGET = "< 2 ms"


def measure(settings: Settings) -> Iterator[Figure]:
    """Yield the milliseconds of the one hook for which a tool call waits, by turns with a shell alone."""
    rounds = settings.pick(200, 1000)
    with tempfile.TemporaryDirectory(dir=settings.directory) as name:
        base = Path(name)
        script = base / "coordd" / "hook"
        script.parent.mkdir()
        shutil.copy(SHIPPED, script)
        script.chmod(0o755)
        project = base / "project"
        (project / ".claude/coordination/agents").mkdir(parents=True)
        (waited,) = [
            group["hooks"][0]["command"] for _, group in groups(str(script)) if _is_waited_for(group)
        ]
        alone = {"HOME": str(base), "CLAUDE_CODE_SESSION_ID": SESSION, "PATH": os.environ["PATH"]}
        for words, environ in (
            ("a hook before a tool call", alone),
            ("the same in a workspace", {**alone, "CLAUDE_PROJECT_DIR": str(project)}),
        ):
            value, floor = _medians(["/bin/sh", "-c", waited], environ, rounds)
            yield Figure(words, "ms", value, TARGET, "sh -c true", floor)


def _is_waited_for(group: Mapping[str, object]) -> bool:
    return "PreToolUse; true" in str(group)


def _medians(call: Sequence[str], environ: Mapping[str, str], rounds: int) -> tuple[float, float]:
    took: list[float] = []
    floor: list[float] = []
    for _ in range(rounds):
        took.append(_timed(call, environ))
        floor.append(_timed(["/bin/sh", "-c", "true"], environ))
    return statistics.median(took) * 1000, statistics.median(floor) * 1000


def _timed(call: Sequence[str], environ: Mapping[str, str]) -> float:
    began = time.perf_counter()
    pid = os.posix_spawn(call[0], call, environ)
    os.waitpid(pid, 0)
    return time.perf_counter() - began
