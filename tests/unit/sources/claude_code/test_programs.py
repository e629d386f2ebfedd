"""A Claude Code that has just started may name a home that nobody knew."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from waiting import eventually

from coordd.sources.claude_code.programs import Programs, home_of, running_programs


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


def test_a_running_process_names_its_home(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    shutil.copy(shutil.which("sleep") or "", program)
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "elsewhere"), "OTHER": "secret"}
    with subprocess.Popen([program, "1000"], env=environment) as child:
        try:
            eventually(lambda: child.pid in running_programs())
            eventually(lambda: home_of(child.pid) == str(tmp_path / "elsewhere"))
        finally:
            child.kill()
    with subprocess.Popen([shutil.which("sleep") or "", "1000"], env=environment) as child:
        try:
            assert child.pid not in running_programs()
        finally:
            child.kill()
