"""A wrong command line is told in one shape by both programs: what, the usage, where help is; exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from live import environment
from waiting import PATIENCE

PROGRAMS = {"coordd": "coordd", "coordctl": "coordd.cli"}
TOO_LONG = "/" + "x" * 200

WRONG = [
    ("coordd", "rn", "coordd"),
    ("coordd", "--no-such run", "coordd"),
    ("coordd", "run --no-such", "coordd run"),
    ("coordd", "run --layout nowhere", "coordd run"),
    ("coordd", "run extra", "coordd run"),
    ("coordd", "run --workspace", "coordd run"),
    ("coordd", "start --no-such", "coordd start"),
    ("coordd", "check-config extra", "coordd check-config"),
    ("coordd", "check-redis --no-such", "coordd check-redis"),
    ("coordd", "service instal", "coordd service"),
    ("coordd", "service install --listen 1", "coordd service install"),
    ("coordctl", "statsu", "coordctl"),
    ("coordctl", "--no-such status", "coordctl"),
    ("coordctl", "--timeout soon status", "coordctl"),
    ("coordctl", "status --no-such", "coordctl status"),
    ("coordctl", "agents --status dead", "coordctl agents"),
    ("coordctl", "agent", "coordctl agent"),
    ("coordctl", "tail -n -1", "coordctl tail"),
    ("coordctl", "history agent --since soon", "coordctl history"),
    ("coordctl", "history system --step x", "coordctl history"),
    ("coordctl", "history system --agent a", "coordctl history"),
    ("coordctl", "rpc status {", "coordctl rpc"),
    ("coordctl", "history agent --since", "coordctl history"),
    ("coordctl", "--socket", "coordctl"),
    ("coordd", "service install --listen", "coordd service install"),
    ("coordctl", "records foo", "coordctl records"),
    ("coordctl", f"--socket {TOO_LONG} status", "coordctl status"),
    ("coordctl", f"--socket {TOO_LONG} agents", "coordctl agents"),
    ("coordctl", "dashboard --no-such", "coordctl dashboard"),
]


@pytest.mark.parametrize(("program", "words", "command"), WRONG)
def test_a_wrong_command_line_has_one_shape(tmp_path: Path, program: str, words: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", PROGRAMS[program], *words.split(" ")],
        capture_output=True,
        text=True,
        env=environment(tmp_path / "home"),
        cwd=tmp_path,
        timeout=PATIENCE,
        check=False,
    )
    what, usage, help_line = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(rf"{program}: .{{8}}", what)
    assert usage.startswith(f"Usage: {command} [")
    assert help_line == f"Try '{command} --help'."


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_any_command_there_is_the_help(tmp_path: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", PROGRAMS[program]],
        capture_output=True,
        text=True,
        env=environment(tmp_path / "home"),
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, "Examples:" in done.stderr) == (2, "", True)
