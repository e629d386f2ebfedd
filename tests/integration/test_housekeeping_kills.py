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

from coordd.records import manifest, manifest_file
from coordd.records.scan import RecordQuery, Scan
from coordd.util.timestamps import format_utc

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0

HOUSEKEEPING = """
import os, sys
from coordd.sinks.housekeeping import Housekeeper
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.retention import Policy

def keep_house(directory):
    sink = JsonlSink(folder=HeldFolder(directory), random=lambda: 0.5)
    sink.folder.folder()
    policy = Policy(retention_days=1000, compress_after_days=1, max_bytes=1 << 40)
    return Housekeeper(writers=sink.files, policy=policy).run(1795348800.0)
"""

AT_EVERY_CALL = (
    HOUSEKEEPING
    + """
import gzip, itertools, json, shutil
from coordd.records.scan import RecordQuery, Scan

KERNEL = ("posix", "fcntl")  # the calls that change what is on disk, and those between which a kill can fall

def dying_at(number):
    calls = itertools.count()
    def profile(frame, event, argument):
        if event == "c_call" and argument.__module__ in KERNEL and next(calls) == number:
            os._exit(9)
    return profile

def records(directory):
    scan = Scan(directory, RecordQuery("agent"))
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
    left = sorted(name for name in os.listdir(work) if not name.startswith(".coordd-files.jsonl"))
    strangers = ["agent_2026-11-09.jsonl", "agent_2026-11-13.jsonl.gz"]
    assert left == sorted([f"agent_2026-11-{day}.jsonl.gz" for day in (10, 11, 12)] + strangers), number
    for name in strangers:
        with open(os.path.join(origin, name), "rb") as one, open(os.path.join(work, name), "rb") as other:
            assert one.read() == other.read(), (number, name)
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
    """A file as coordd makes it."""
    start = NOON + (day - 22) * DAY
    name = f"agent_2026-11-{day}.jsonl"
    with (directory / name).open("wb") as file:
        for n in range(count):
            record: dict[str, object] = {"timestamp": format_utc(start + n * 0.01), "host": "h"}
            record |= {"agent_id": "a", "cause": "start", "n": n}
            if pad:
                record["pad"] = os.urandom(pad).hex()
            line = json.dumps(record, separators=(",", ":")).encode()
            if n == 0:
                with (directory / manifest_file.NAME).open("ab") as listed:
                    listed.write(manifest.announcement(name, line))
            file.write(line + b"\n")


def identities(directory: Path) -> list[tuple[str, int]]:
    scan = Scan(str(directory), RecordQuery("agent"))
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
    for name in ("agent_2026-11-09.jsonl", "agent_2026-11-13.jsonl.gz"):
        line = b'{"timestamp":"2026-11-09T00:00:00.000Z","agent_id":"a"}\n' * 50
        (origin / name).write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
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
    left = sorted(name for name in os.listdir(tmp_path) if name != manifest_file.NAME)
    assert left == [f"agent_2026-11-{day}.jsonl.gz" for day in range(10, 16)]
    assert identities(tmp_path) == expected


WRITING_AT_EVERY_CALL = """
import itertools, os, shutil, sys
from coordd.records import manifest, manifest_file, provenance
from coordd.sinks.base import Batch
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink

KERNEL = ("posix", "fcntl")
NOON, DAY = 1795348800.0, 86400.0

def dying_at(number):
    calls = itertools.count()
    def profile(frame, event, argument):
        if event == "c_call" and argument.__module__ in KERNEL and next(calls) == number:
            os._exit(9)
    return profile

def write(directory, told):
    sink = JsonlSink(folder=HeldFolder(directory), random=lambda: 0.5, max_part_bytes=40)
    for n in range(6):
        sink.write(Batch(agent=[b"line %d%d" % (n, n)]), wall=NOON + n // 4 * DAY, mono=0.0)
        if sink.status().state == "ok":
            os.write(told, b"%d\\n" % n)
    sink.close(wall=NOON, mono=0.0)

def files(directory):
    found = {name for name in os.listdir(directory) if name.startswith("agent_")}
    folder = os.open(directory, os.O_RDONLY)
    claims = manifest.ManifestClaims.parse(manifest_file.read(folder) or b"")
    unproven = {name for name in found if not provenance.proves(claims, folder, name)}
    os.close(folder)
    return found, unproven

(work,) = sys.argv[1:]
for number in itertools.count():
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    with open(work + "/agent_2026-11-22.jsonl", "w") as file:
        file.write("a stranger's\\n")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        sys.setprofile(dying_at(number))
        write(work, writer)
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    told = {int(n) for n in os.read(reader, 100).split()}
    os.close(reader)
    assert os.waitstatus_to_exitcode(status) in (0, 9), status
    found, unproven = files(work)
    assert unproven <= {"agent_2026-11-22.jsonl"}, (number, unproven)
    text = b"".join(open(os.path.join(work, name), "rb").read() for name in found)
    assert all(b"line %d%d\\n" % (n, n) in text for n in told), (number, told, text)
    sink = JsonlSink(folder=HeldFolder(work), random=lambda: 0.5, max_part_bytes=40)
    sink.open(wall=NOON + DAY, mono=0.0)
    sink.write(Batch(agent=[b"after"]), wall=NOON + DAY, mono=0.0)
    sink.close(wall=NOON + DAY, mono=0.0)
    found, unproven = files(work)
    assert unproven <= {"agent_2026-11-22.jsonl"}, (number, unproven)
    assert open(work + "/agent_2026-11-22.jsonl").read() == "a stranger's\\n"
    assert b"after\\n" in open(os.path.join(work, "agent.jsonl"), "rb").read()
    if status == 0:
        break
print(number)
"""


def test_killed_at_every_call_while_files_are_begun(tmp_path: Path) -> None:
    """Nothing told is lost, and every file that coordd made is known as its own."""
    done = subprocess.run(
        [sys.executable, "-c", WRITING_AT_EVERY_CALL, str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100, "so many points were tried"
