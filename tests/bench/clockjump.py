"""What a wall clock that jumps costs: the longest wait for an answer meanwhile, and the memory after it.

``python tests/bench/clockjump.py [+31536000s …]``; needs libfaketime. Each argument is a jump, one after the
other, in the form that libfaketime takes: ``+31536000`` is a year on, ``-1789000000`` lies in 1970.
"""

from __future__ import annotations

import sys
import tempfile
import time
from glob import glob
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import Coordd, Project, watching

WATCHED = 10.0
"""Seconds for which the daemon is asked after a jump; it wakes each second."""


def resident(coordd: Coordd) -> tuple[int, int]:
    """MiB now and at most."""
    lines = Path(f"/proc/{coordd.pid}/status").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith("Vm")}
    return sizes["VmRSS:"], sizes["VmHWM:"]


def main(jumps: list[str]) -> None:
    """Print a line a jump."""
    (library,) = glob("/usr/lib/*/faketime/libfaketime.so.1")
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        project = Project(base / "project")
        offset = base / "offset"
        offset.write_text(jumps[0])
        fake = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "COORDD_SAMPLING_INTERVAL": "1s",  # the daemon notices when it wakes: libfaketime moves no timer
        }
        with watching(project, base, **fake) as coordd:
            time.sleep(5)  # the interval jobs have run
            print(f"start at {jumps[0]}: rss {resident(coordd)[0]} MiB")
            for jump in jumps[1:]:
                offset.write_text(jump)
                worst, end = 0.0, time.monotonic() + WATCHED
                while time.monotonic() < end:
                    began = time.monotonic()
                    coordd.rpc("ping", timeout=600)
                    worst = max(worst, time.monotonic() - began)
                    time.sleep(0.01)
                now, peak = resident(coordd)
                print(
                    f"jump to {jump}: longest answer {worst:.2f} s, rss {now} MiB, at most {peak} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:] or ["+0", "+31536000", "+0"])
