"""Faults of the machine under the real daemon: a full disk, clocks that are set, a file system that hangs."""

from __future__ import annotations

import glob
import os
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from faketime import set_clock
from live import Coordd, Project, read_records, watching
from waiting import eventually

pytestmark = pytest.mark.root

OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]


def problems(coordd: Coordd) -> str:
    return " ".join(coordd.rpc("status")["problems"])


def test_a_full_disk_is_said_stops_nothing_and_is_caught_up_with(project: Project, tmp_path: Path) -> None:
    metrics = project.claude / "metrics"
    metrics.mkdir()
    small = [*OWN_MOUNTS, "sh", "-c", f'mount -t tmpfs -o size=256k none "{metrics}" && exec "$@"', "sh"]
    with watching(project, tmp_path, prefix=small) as coordd:
        inside = Path(f"/proc/{coordd.pid}/root{metrics}")
        project.beat("before")
        eventually(lambda: read_records(inside, "agent"))
        filler = inside / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 4096)
        for n in range(100):
            project.beat(f"agent-{n}")
        # They are known and answered although nothing can be written, and the fault is said.
        eventually(lambda: coordd.rpc("status")["agents"]["active"] == 101)
        eventually(lambda: "No space left" in problems(coordd))
        assert coordd.ctl("status").returncode == 1
        sink = coordd.rpc("status")["sinks"]["jsonl"]
        assert sink["backlog"] > 0
        assert sink["dropped"] == 0
        assert coordd.rpc("status")["sinks"]["csv"]["state"] == "ok"

        filler.unlink()
        eventually(
            lambda: (
                coordd.rpc("status")["sinks"]["jsonl"]
                == sink
                | {
                    "state": "ok",
                    "backlog": 0,
                    "error": None,
                    "written": coordd.rpc("status")["sinks"]["jsonl"]["written"],
                }
            )
        )
        names = [record["agent_id"] for record in read_records(inside, "agent")]
        assert sorted(names) == sorted(["before", *(f"agent-{n}" for n in range(100))])
        eventually(
            lambda: (
                [e["kind"] for e in read_records(inside, "event") if e["kind"].startswith("sink.")]
                == ["sink.failed", "sink.recovered"]
            )
        )


def faketime_library() -> str:
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return library


def faked_clock(offset: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is off by what stands in the file."""
    return {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


YEAR = 365 * 86400


def to_1970() -> int:
    return 90_000 - int(time.time())


def before_midnight() -> int:
    """From now to two seconds before a midnight (UTC)."""
    return 86400 - int(time.time()) % 86400 - 2


@pytest.mark.parametrize(
    "settings",
    [
        lambda: [0, YEAR, 0],
        lambda: [to_1970(), 0],  # a board without a clock, until NTP answers
        lambda: [before_midnight(), before_midnight() + 10, before_midnight()] * 2,
        lambda: [0, 20 * YEAR, -20 * YEAR, 3600, -3600, to_1970(), 0],
    ],
    ids=["a year", "1970", "midnight", "many"],
)
def test_a_clock_that_jumps_far_costs_nothing(
    project: Project, tmp_path: Path, settings: Callable[[], list[int]]
) -> None:
    """No list of missed runs (450 MB for a year), no job before its time, and answers all the while."""
    first, *jumps = settings()
    offset = tmp_path / "offset"
    set_clock(offset, f"{first:+d}")
    with watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s", **faked_clock(offset)) as coordd:

        def samples() -> int:
            return int(coordd.rpc("status")["sinks"]["csv"]["written"])

        def peak() -> int:
            lines = Path(f"/proc/{coordd.pid}/status").read_text().splitlines()
            return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))

        eventually(lambda: samples() >= 2)
        before = peak()
        moved = 0
        for last, jump in pairwise([first, *jumps]):
            moved += jump != last
            set_clock(offset, f"{jump:+d}")
            steps = moved

            def noticed(steps: int = steps) -> bool:
                events = coordd.rpc("history.query", {"type": "event", "limit": 1000})["records"]
                return sum(event["kind"] == "clock.stepped" for event in events) == steps

            eventually(noticed)
            count = samples()
            eventually(lambda count=count: samples() >= count + 3)
        assert peak() < before + 30
        assert coordd.rpc("status")["health"] == "ok"


def test_a_clock_that_is_set_stops_no_sampling_and_kills_no_agent(project: Project, tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    set_clock(offset, "+0")
    fake = {
        **faked_clock(offset),
        "COORDD_SAMPLING_INTERVAL": "1s",
        "COORDD_AGENTS_TIMEOUT": "20s",  # every look at a faked clock reads a file: this daemon is slow
    }
    with watching(project, tmp_path, **fake) as coordd:

        def beat() -> None:
            project.beat("alive", f"{time.time():.3f}")

        def samples() -> int:
            return len(project.records("system"))

        def steps() -> list[float]:
            return [e["detail"]["seconds"] for e in project.records("event") if e["kind"] == "clock.stepped"]

        beat()
        eventually(lambda: coordd.statuses() == {"alive": "active"})
        for number, (setting, step) in enumerate(
            (("+3600", 3600), ("-86400", -90000), ("+0", 86400)), start=1
        ):
            set_clock(offset, setting)

            def noticed(number: int = number, step: int = step) -> bool:
                beat()
                assert coordd.statuses() == {"alive": "active"}
                return len(steps()) == number and any(abs(one - step) < 5 for one in steps())

            eventually(noticed)
            before = samples()

            def sampling(before: int = before) -> bool:
                beat()
                assert coordd.statuses() == {"alive": "active"}
                return samples() >= before + 3

            eventually(sampling)
        assert {record["status"] for record in project.records("agent")} == {"active"}
        # And one that really falls silent is still found out.
        eventually(lambda: coordd.statuses() == {"alive": "inactive"}, within=60)


def test_a_file_system_that_hangs_hurts_no_other_workspace(project: Project, tmp_path: Path) -> None:
    """Every look into one workspace is stopped for seconds, as a dead NFS server does."""
    project.beat("near")
    hanging = Project(tmp_path / "far")
    hanging.beat("distant")
    sock = tmp_path / "c.sock"
    with watching(
        project, tmp_path, "--workspace", str(hanging.root), "--socket", str(sock), sock=sock
    ) as coordd:
        eventually(lambda: coordd.statuses() == {"near": "active", "distant": "active"})
        tracer = subprocess.Popen(
            [
                "strace", "-f", "-qq", "-o", os.devnull, "-p", str(coordd.pid),
                "-P", str(hanging.coordination), "-P", str(hanging.agents),
                "-e", "trace=openat", "-e", "inject=openat:delay_enter=12s",
            ]
        )  # fmt: skip
        try:
            eventually(lambda: "TracerPid:\t0" not in Path(f"/proc/{coordd.pid}/status").read_text())
            hanging.beat("distant")
            eventually(lambda: "does not answer" in problems(coordd))
            project.beat("near-by")
            eventually(lambda: coordd.statuses().get("near-by") == "active")
            assert coordd.rpc("status")["agents"]["total"] == 3
        finally:
            tracer.terminate()
            tracer.wait()
        eventually(lambda: coordd.rpc("status")["health"] == "ok")
        assert coordd.statuses()["distant"] == "active"
