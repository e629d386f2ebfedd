"""Which rights a process was given on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coordd.host.capabilities import reads_everything

ASK = "from coordd.host.capabilities import reads_everything as r; print(r())"


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("CapAmb:\t0000000000080004", True),
        ("CapAmb:\t0000000000000004", False),
        ("CapAmb:\t0000000000080000", False),
        ("CapEff:\t000001ffffffffff", False),
        ("CapAmb:\tnonsense", False),
        ("CapAmb:", False),
    ],
)
def test_the_ambient_set_tells(tmp_path: Path, line: str, given: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\n{line}\n")
    assert reads_everything(status=str(status)) is given
    assert reads_everything(status=str(tmp_path / "none")) is False


@pytest.mark.root
def test_root_has_it_only_where_it_was_given() -> None:
    def said(*given: str) -> str:
        argv = [*given, sys.executable, "-c", ASK]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    both = "+dac_read_search,+sys_ptrace"
    assert said() == "False"
    assert said("setpriv", f"--inh-caps={both}", f"--ambient-caps={both}") == "True"
