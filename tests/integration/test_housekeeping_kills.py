"""A kill while record files are compressed: at every point no reader misses a record or meets it twice."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from coordd.history.scan import Question, Scan
from coordd.timestamps import format_utc

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0

HOUSEKEEPING = """
import os, sys
from coordd.sinks.housekeeping import Housekeeper, Policy
from coordd.sinks.jsonl import JsonlSink

def keep_house(directory):
    sink = JsonlSink(metrics_dir=directory, random=lambda: 0.5)
    policy = Policy(retention_days=1000, compress_after_days=1, max_bytes=1 << 40)
    return Housekeeper(writers=sink.files, policy=policy).run(1795348800.0)
"""

AT_EVERY_CALL = (
    HOUSEKEEPING
    + """
import gzip, itertools, json, shutil
from coordd.history.scan import Question, Scan

OURS = ("compress.py", "housekeeping.py", "regular.py", "directories.py", "ledger.py")

def dying_at(number):
    calls = itertools.count()
    def profile(frame, event, argument):
        if event == "c_call" and frame.f_code.co_filename.endswith(OURS) and next(calls) == number:
            os._exit(9)
    return profile

def records(directory):
    scan = Scan(directory, Question("agent"))
    lines = [line for batch in scan.batches() for line, _ in batch]
    assert scan.damaged == 0, scan.damaged
    return lines

origin, work = sys.argv[1:]
expected = records(origin)
for number in itertools.count():
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(origin, work)
    child = os.fork()
    if child == 0:
        sys.setprofile(dying_at(number))
        keep_house(work)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, 9), status
    assert records(work) == expected, number
    report = keep_house(work)
    assert not report.notices, report.notices
    assert records(work) == expected, number
    assert sorted(os.listdir(work)) == [f"agent_2026-11-{day}.jsonl.gz" for day in (10, 11, 12)], number
    if status == 0:
        break
print(number)
"""
)

UNTIL_KILLED = (
    HOUSEKEEPING
    + """
print("ready", flush=True)
keep_house(sys.argv[1])
"""
)


def part(directory: Path, day: int, count: int, pad: int = 0) -> None:
    start = NOON + (day - 22) * DAY
    with (directory / f"agent_2026-11-{day}.jsonl").open("wb") as file:
        for n in range(count):
            record = {"timestamp": format_utc(start + n * 0.01), "agent_id": "a", "n": n}
            if pad:
                record["pad"] = os.urandom(pad).hex()
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")


def identities(directory: Path) -> list[tuple[str, int]]:
    scan = Scan(str(directory), Question("agent"))
    found = [(record["timestamp"], record["n"]) for batch in scan.batches() for _, record in batch]
    assert scan.damaged == 0
    return found


def test_killed_at_every_call_that_it_makes(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    part(origin, 10, 30)
    part(origin, 11, 500, pad=300)  # more than one block
    part(origin, 12, 30)
    both = origin / "agent_2026-11-12.jsonl"  # a kill between the rename and the end of the plain file
    both.with_name(f"{both.name}.gz").write_bytes(gzip.compress(both.read_bytes()))
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_CALL, str(origin), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50, "so many points were tried"


def test_sigkill_again_and_again(tmp_path: Path) -> None:
    for day in range(10, 16):
        part(tmp_path, day, 3000, pad=300)
    expected = identities(tmp_path)
    for turn in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(turn * 0.007)  # where it is by then is up to chance, and every place is right
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert identities(tmp_path) == expected
    subprocess.run([sys.executable, "-c", UNTIL_KILLED, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    assert sorted(os.listdir(tmp_path)) == [f"agent_2026-11-{day}.jsonl.gz" for day in range(10, 16)]
    assert identities(tmp_path) == expected
