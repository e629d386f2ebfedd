"""A Claude Code that has just started may name a home that nobody knew."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from waiting import eventually

from coordd.sources.claude_code.homes import Programs


def test_a_program_that_started_since_the_last_look_is_told_once(tmp_path: Path) -> None:
    programs, program = Programs(), tmp_path / "claude"
    shutil.copy("/bin/sleep", program)
    programs.started()
    with subprocess.Popen(["sleep", "100"]) as other, subprocess.Popen([program, "100"]) as running:
        try:
            # its name is that of the program from the moment at which that runs
            named = Path(f"/proc/{running.pid}/comm")
            eventually(lambda: named.read_text() == "claude\n")
            assert programs.started()
            assert not programs.started()
        finally:
            running.kill()
            other.kill()


def test_other_programs_are_none(tmp_path: Path) -> None:
    programs = Programs()
    programs.started()
    with subprocess.Popen(["sleep", "100"], cwd=tmp_path) as other:
        try:
            eventually(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n")
            assert not programs.started()
        finally:
            other.kill()
