"""A kill while records are purged: no other record is lost or doubled, and every file is still coordd's."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

from record_parts import announce, part

AT_EVERY_CALL = """
import itertools, json, os, shutil, sys
from coordd.records import manifest, manifest_file, provenance
from coordd.records.scan import RecordQuery, Scan
from coordd.records.selection import RecordSelection
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.purging import Purge

# The calls that change what is on disk: between two of them a kill leaves the same, wherever it falls. What
# an open(2) makes is changed, or written to, by the next of them.
CHANGES = {"write", "pwrite", "writev", "unlink", "rename", "link", "symlink", "ftruncate", "fchmod", "utime",
           "fsync", "fdatasync", "mkdir"}
NOON = 1795348800.0
STRANGERS = ["agent_2026-11-09.jsonl", "agent_2026-11-13.jsonl.gz"]

def dying_at(number):
    calls = itertools.count()
    def profile(frame, event, argument):
        if event == "c_call" and argument.__module__ == "posix" and argument.__name__ in CHANGES:
            if next(calls) == number:
                os._exit(9)
    return profile

def purge(directory):
    sink = JsonlSink(folder=HeldFolder(directory), random=lambda: 0.5)
    sink.open(wall=NOON, mono=0.0)
    one = Purge(writers=sink.files, selection=RecordSelection(agent_id="gone"), since="9")
    counted = one.count()
    if counted.current:
        sink.begin_next(counted.current, wall=NOON, mono=0.0)
    done = one.rewrite()
    sink.close(wall=NOON, mono=0.0)
    return done

def records(directory, kind):
    scan = Scan(directory, RecordQuery(kind))
    found = [record for batch in scan.batches() for _, record in batch]
    assert scan.damaged == 0, scan.damaged
    return [(one["timestamp"], one.get("n"), one.get("agent_id", one.get("subject"))) for one in found]

def damaged(directory):
    lines = []
    for name in sorted(os.listdir(directory)):
        if name.endswith(".damaged"):
            lines += open(os.path.join(directory, name), "rb").read().splitlines()
    return lines

def unproven(directory):
    folder = os.open(directory, os.O_RDONLY)
    claims = manifest.ManifestClaims.parse(manifest_file.read(folder) or b"")
    names = [name for name in os.listdir(directory) if name.startswith(("agent_", "event_"))]
    found = {name for name in names if not provenance.is_own(claims, folder, name)}
    os.close(folder)
    return found

origin, work = sys.argv[1:]
before = {kind: records(origin, kind) for kind in ("agent", "event")}
kept = {kind: [one for one in all_ if one[2] != "gone"] for kind, all_ in before.items()}
assert all(kept[kind] != before[kind] for kind in kept)
for number in itertools.count():
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(origin, work, symlinks=True)
    child = os.fork()
    if child == 0:
        sys.setprofile(dying_at(number))
        purge(work)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, 9), status
    for kind in kept:
        found = records(work, kind)
        assert [one for one in found if one[2] != "gone"] == kept[kind], (number, kind)
        assert all(one in before[kind] for one in found), (number, kind)
    assert unproven(work) == set(STRANGERS), (number, unproven(work))
    done = purge(work)
    assert {os.path.basename(one.path) for one in done.left} == set(STRANGERS), (number, done.left)
    for kind in kept:
        assert records(work, kind) == kept[kind], (number, kind)
    assert damaged(work) == [b'{"timestamp":"2026-11-20T00:00:00.000Z","host":"h","agent_id":"st'], number
    assert unproven(work) == set(STRANGERS), (number, unproven(work))
    left = [name for name in os.listdir(work) if name.endswith(".tmp")]
    assert left == [], (number, left)
    for name in STRANGERS:
        with open(os.path.join(origin, name), "rb") as one, open(os.path.join(work, name), "rb") as other:
            assert one.read() == other.read(), (number, name)
    with open(os.path.join(work, "agent.jsonl"), "rb") as current:
        assert b'"gone"' not in current.read()
    if status == 0:
        break
print(number)
"""


def test_killed_at_every_call_that_it_makes(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    mixed = ["gone", "stays", "gone", "stays", "stays"]
    part(origin, "agent_2026-11-10.jsonl", 10, mixed, packed=True)
    part(origin, "agent_2026-11-11.jsonl", 11, ["gone"] * 3, packed=True)
    part(origin, "agent_2026-11-12.jsonl", 12, ["gone"] * 3)
    part(origin, "agent_2026-11-14.jsonl", 14, ["stays"] * 3)
    part(origin, "agent_2026-11-20.jsonl", 20, mixed * 300, pad=200)  # more than one block
    part(origin, "agent_2026-11-22.jsonl", 22, mixed)  # the current one
    part(origin, "event_2026-11-20.jsonl", 20, mixed[::-1])
    aside = "agent_2026-11-20.jsonl.damaged"
    torn = b'{"timestamp":"2026-11-20T00:00:00.000Z","host":"h","agent_id":"'
    announce(origin, aside, torn + b"gon")
    (origin / aside).write_bytes(torn + b"gon\n" + torn + b"st\n" + torn + b'gone","cause\n')
    line = b'{"timestamp":"2026-11-09T00:00:00.000Z","agent_id":"gone"}\n' * 50
    (origin / "agent_2026-11-09.jsonl").write_bytes(line)
    (origin / "agent_2026-11-13.jsonl.gz").write_bytes(gzip.compress(line))
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_CALL, str(origin), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40, "so many points were tried"
