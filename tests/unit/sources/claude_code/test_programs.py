"""A Claude Code that has just started may name a home that nobody knew."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from waiting import eventually

from coordd.host.processes import glance
from coordd.sources.claude_code.programs import home_of, is_program, running_programs


def test_a_running_process_names_its_home(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    shutil.copy(shutil.which("sleep") or "", program)
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "elsewhere"), "OTHER": "secret"}
    with subprocess.Popen([program, "1000"], env=environment) as child:
        try:
            eventually(lambda: child.pid in running_programs())
            eventually(lambda: home_of(child.pid) == str(tmp_path / "elsewhere"))
            seen = glance(child.pid)
            assert seen is not None
            assert is_program(seen)
            assert not is_program(replace(seen, uid=os.geteuid() + 1)), "another user's"
        finally:
            child.kill()
    with subprocess.Popen([shutil.which("sleep") or "", "1000"], env=environment) as child:
        try:
            assert child.pid not in running_programs()
        finally:
            child.kill()
