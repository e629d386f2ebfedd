"""The record files against real faults: full disks, failing fsyncs, kill -9, and a real tail -F."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from waiting import eventually

from coordd.records.names import parse_part
from coordd.sinks.base import Batch
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0
PRELUDE = """
import json, os, sys
from coordd.sinks.base import Batch
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
NOON, DIRECTORY = 1795348800.0, sys.argv[1]
def make(**options):
    return JsonlSink(folder=HeldFolder(DIRECTORY), random=lambda: 0.0, **options)
def say(**values):
    print(json.dumps(values), flush=True)
def status(sink):
    s = sink.status()
    return dict(state=s.state, written=s.written, backlog=s.backlog, dropped=s.dropped, error=s.error,
                durable=sink.durable)
"""


def script(body):
    return PRELUDE + textwrap.dedent(body)


def run(command, **options):
    """Output of a command that must succeed, one JSON document a line."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines_of(directory, series="agent"):
    """All lines of a series, oldest part first; the last one must be whole."""
    parts = [(parse_part(name, series, "jsonl"), name) for name in os.listdir(directory)]
    lines = []
    for _, name in sorted((part, name) for part, name in parts if part is not None):
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        assert data.endswith(b"\n") or not data, name
        lines += data.splitlines()
    return lines


FULL_BY_LIMIT = script("""
    import resource
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = make(backlog=50)
    sink.open(wall=NOON, mono=0.0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1005, hard))
    for n in range(40):
        sink.write(Batch(agent=[b"%09d" % (n * 3 + k) for k in range(3)]), wall=NOON, mono=n / 1000)
    full = status(sink)
    size = os.path.getsize(DIRECTORY + "/agent.jsonl")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    sink.pump(wall=NOON, mono=10.0)
    say(full=full, size=size, after=status(sink), kinds=[n.kind for n in sink.take_notices()])
    sink.close(wall=NOON, mono=10.0)
""")


def test_a_full_file_system_tears_a_line_and_finishes_it_when_space_returns(tmp_path):
    (said,) = run([sys.executable, "-c", FULL_BY_LIMIT, str(tmp_path)])
    assert said["size"] == 1005, "a short write left half a line"
    assert said["full"] == {
        "state": "failing",
        "written": 100,
        "backlog": 20,
        "dropped": 0,
        "error": f"{tmp_path}/agent_2026-11-22.jsonl: File too large",
        "durable": 0,
    }
    assert said["after"]["written"] == 120
    assert said["after"]["state"] == "ok"
    assert said["kinds"] == ["sink.failed", "sink.recovered"]
    assert lines_of(tmp_path) == [b"%09d" % n for n in range(120)]


KILLED = script("""
    first = int(sys.argv[2])
    sink = make(max_part_bytes=400_000)
    sink.open(wall=NOON, mono=0.0)
    say(damaged=sum(n.kind == "records.damaged" for n in sink.take_notices()))
    while True:
        lines = [b'{"n":%d,"x":"%s"}' % (first + k, b"x" * 2000) for k in range(50)]
        sink.write(Batch(agent=lines), wall=NOON, mono=0.0)
        first += len(lines)
        say(acknowledged=first)
""")


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    directory = tmp_path / "m"
    acknowledged, first, promised = 0, 0, set()
    for turn in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(directory), str(first)], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            for _ in range(turn + 1):
                acknowledged = json.loads(process.stdout.readline())["acknowledged"]
            process.send_signal(signal.SIGKILL)
            # What was said before the kill and not read yet is a promise too.
            for line in process.stdout.read().splitlines():
                acknowledged = json.loads(line)["acknowledged"]
        promised |= set(range(first, acknowledged))
        first = acknowledged + 10_000  # what was written and not acknowledged must not be mistaken for it
    sink = JsonlSink(folder=HeldFolder(str(directory)), random=lambda: 0.0)
    sink.open(wall=NOON, mono=0.0)
    sink.close(wall=NOON, mono=0.0)
    numbers = [json.loads(line)["n"] for line in lines_of(directory)]
    assert numbers == sorted(set(numbers))
    assert promised <= set(numbers)


def test_a_writer_and_a_syncer_through_hundreds_of_rotations(tmp_path):
    sink = JsonlSink(folder=HeldFolder(str(tmp_path / "m")), random=lambda: 0.0, max_part_bytes=1)
    sink.open(wall=NOON, mono=0.0)
    ended = threading.Event()

    def sync():
        while not ended.is_set():
            sink.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    try:
        for n in range(300):
            sink.write(Batch(agent=[b"%d" % n]), wall=NOON, mono=0.0)
    finally:
        ended.set()
        thread.join(60)
    sink.close(wall=NOON, mono=0.0)
    assert (sink.status().state, sink.status().written, sink.durable) == ("ok", 300, 300)
    assert lines_of(tmp_path / "m") == [b"%d" % n for n in range(300)]


class Room:
    """write(2) on a disk with so much room; None is plenty."""

    left = None

    def write(self, descriptor, data):
        if self.left is None:
            return os.write(descriptor, data)
        if self.left == 0:
            raise OSError(28, "No space left on device")
        count = os.write(descriptor, data[: self.left])
        self.left -= count
        return count


def test_tail_follows_through_size_midnight_and_a_full_disk(tmp_path):
    directory = tmp_path / "m"
    room = Room()
    sink = JsonlSink(
        folder=HeldFolder(str(directory)), random=lambda: 0.0, max_part_bytes=60_000, write=room.write
    )
    sink.open(wall=NOON, mono=0.0)
    gnu = subprocess.run(["tail", "--version"], capture_output=True, check=False).returncode == 0
    pace = ["-s", "0.05"] if gnu else []
    output = tmp_path / "followed"
    expected = b""
    with open(output, "wb") as followed:
        tail = subprocess.Popen(
            ["tail", "-n", "+1", *pace, "-F", str(directory / "agent.jsonl")],
            stdout=followed,
            stderr=subprocess.DEVNULL,
        )
    try:

        def write(count, wall):
            nonlocal expected
            start = expected.count(b"\n")
            lines = [b'{"n":%d,"x":"%s"}' % (n, b"x" * 100) for n in range(start, start + count)]
            sink.write(Batch(agent=lines), wall=wall, mono=0.0)
            expected += b"".join(line + b"\n" for line in lines)

        def caught_up():
            eventually(lambda: output.stat().st_size >= len(expected), what="tail stopped following")

        def rotate(count, before, wall):
            """Lines right before a rotation are what a careless one loses; tail must look between two."""
            write(count, before)
            write(1, wall)
            caught_up()

        write(100, NOON)
        caught_up()
        rotate(300, NOON, NOON + DAY)
        rotate(600, NOON + DAY, NOON + DAY)
        rotate(300, NOON + DAY, NOON + 2 * DAY)
        room.left = 1234
        write(100, NOON + 2 * DAY)
        assert sink.status().state == "failing"
        sink.roll(wall=NOON + 3 * DAY, mono=0.0)
        room.left = None
        sink.pump(wall=NOON + 3 * DAY, mono=10.0)
        assert sink.status().state == "ok"
        caught_up()
        assert output.read_bytes() == expected
        assert len({name for name in os.listdir(directory) if name.startswith("agent_")}) == 5
    finally:
        tail.kill()
        tail.wait()
        sink.close(wall=NOON, mono=0.0)


FULL_TMPFS = script("""
    sink = make(backlog=10_000)
    sink.open(wall=NOON, mono=0.0)
    filler = DIRECTORY + "/filler"
    with open(filler, "wb") as file:
        file.write(bytes(128 * 1024))
    n = 0
    while sink.status().state == "ok":
        sink.write(Batch(agent=[b'{"n":%d,"x":"%s"}' % (n + k, b"x" * 333) for k in range(10)]),
                   wall=NOON, mono=0.0)
        n += 10
    sink.sync()
    full = status(sink)
    torn = not open(DIRECTORY + "/agent.jsonl", "rb").read().endswith(b"\\n")
    sink.roll(wall=NOON + 86400, mono=0.0)
    os.unlink(filler)
    sink.pump(wall=NOON + 86400, mono=10.0)
    after = status(sink)
    sink.close(wall=NOON + 86400, mono=10.0)
    text = b"".join(open(f"{DIRECTORY}/agent_2026-11-{day}.jsonl", "rb").read() for day in (22, 23))
    numbers = [json.loads(line)["n"] for line in text.splitlines()]
    say(full=full, torn=torn, after=after, made=n, complete=numbers == list(range(n)))
""")

NO_INODES = script("""
    sink = make()
    sink.open(wall=NOON, mono=0.0)
    made = []
    try:
        while True:
            made.append(DIRECTORY + f"/file{len(made)}")
            open(made[-1], "x").close()
    except OSError:
        made.pop()
    sink.roll(wall=NOON + 86400, mono=0.0)
    full = status(sink)
    sink.write(Batch(agent=[b"1"]), wall=NOON + 86400, mono=0.0)
    waiting = status(sink)
    for path in made:
        os.unlink(path)
    sink.pump(wall=NOON + 86400, mono=10.0)
    say(full=full, waiting=waiting, after=status(sink), link=os.readlink(DIRECTORY + "/agent.jsonl"))
    sink.close(wall=NOON + 86400, mono=10.0)
""")


def on_tmpfs(options, body, mount_point):
    """Run a script with a tmpfs of its own, which ends with it."""
    mount_point.mkdir()
    shell = f'mount -t tmpfs -o {options} coordd-test "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", shell, "sh"]
    return run([*command, str(mount_point), sys.executable, body])


@pytest.mark.root
def test_a_full_tmpfs(tmp_path):
    (said,) = on_tmpfs("size=256k", FULL_TMPFS, tmp_path / "disk")
    assert said["full"]["state"] == "failing"
    assert said["full"]["error"].endswith("No space left on device")
    assert said["full"]["durable"] == said["full"]["written"]
    assert said["full"]["written"] + said["full"]["backlog"] == said["made"]
    assert said["torn"]
    assert (said["after"]["state"], said["after"]["dropped"]) == ("ok", 0)
    assert said["complete"]


@pytest.mark.root
def test_no_inode_left_at_midnight(tmp_path):
    (said,) = on_tmpfs("size=1m,nr_inodes=14", NO_INODES, tmp_path / "disk")
    assert said["full"]["state"] == "failing"
    assert said["waiting"]["backlog"] == 1
    assert (said["after"]["state"], said["after"]["written"]) == ("ok", 1)
    assert said["link"] == "agent_2026-11-23.jsonl"


FAILING_FSYNC = script("""
    sink = make()
    sink.open(wall=NOON, mono=0.0)
    seen = []
    for n in range(4):
        sink.write(Batch(agent=[b"%d" % n] * 10), wall=NOON, mono=0.0)
        sink.sync()
        seen.append(status(sink))
    say(seen=seen, kinds=[n.kind for n in sink.take_notices()])
    sink.close(wall=NOON, mono=0.0)
""")


@pytest.mark.root
@pytest.mark.parametrize(
    ("error", "words"), [("EIO", "Input/output error"), ("ENOSPC", "No space left on device")]
)
def test_a_failed_fsync(tmp_path, error, words):
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
    inject = ["-e", f"inject=fdatasync:error={error}:when=2"]
    (said,) = run([*strace, *inject, sys.executable, "-c", FAILING_FSYNC, str(tmp_path)])
    assert [step["written"] for step in said["seen"]] == [10, 20, 30, 40]
    assert [step["durable"] for step in said["seen"]] == [10, 0, 30, 40]
    assert lines_of(tmp_path) == [b"%d" % n for n in range(4) for _ in range(10)], "in order, each once"
    assert os.readlink(tmp_path / "agent.jsonl") == "agent_2026-11-22.2.jsonl"
    assert [step["state"] for step in said["seen"]] == ["ok", "failing", "ok", "ok"]
    assert words in said["seen"][1]["error"]
    assert said["kinds"] == ["sink.failed", "sink.recovered"]


FSYNC_ALONE_SAYS_FULL = script("""
    import threading
    filler = sys.argv[2]
    sink = make()
    sink.open(wall=NOON, mono=0.0)
    told, seen, n, mono = [], [], 0, 0.0
    def write(count):
        global n
        lines = [b'{"n":%d,"x":"%s"}' % (n + k, b"x" * 900) for k in range(count)]
        sink.write(Batch(agent=lines), wall=NOON, mono=mono)
        if sink.status().state == "ok":
            told.extend(range(n, n + count))
        n += count
    for turn in range(60):
        mono += 5.0
        write(200)
        sink.sync()
        seen.append(status(sink))
        if turn == 40:
            os.unlink(filler)
        if sink.retry_at is not None and turn % 3 == 0:
            sink.pump(wall=NOON, mono=mono)
    mono += 10.0
    sink.pump(wall=NOON, mono=mono)
    sink.sync()
    after = status(sink)
    sink.close(wall=NOON, mono=mono)
    failed = [step for step in seen if step["state"] == "failing"]
    say(made=n, told=len(told), failed=len(failed), errors=sorted({step["error"] for step in failed}),
        after=after, told_list=told)
""")


@pytest.mark.root
def test_a_disk_that_says_at_fsync_alone_that_it_is_full(tmp_path):
    """ext4 in a sparse file on a tmpfs: its blocks are promised, and there is no room for them."""
    disk, mount_point, read_back = tmp_path / "disk", tmp_path / "ext4", tmp_path / "read"
    disk.mkdir()
    mount_point.mkdir()
    read_back.mkdir()
    shell = """
        set -e
        mount -t tmpfs -o size=12m coordd-test "$1"
        truncate -s 64m "$1/image"
        mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1 "$1/image"
        mount -o loop "$1/image" "$2"
        mkdir "$2/m"
        fallocate -l "$(($(stat -f -c '%a * %S' "$1") - 3000000))" "$1/filler"
        "$4" -c "$5" "$2/m" "$1/filler"
        # what is on disk, and not what the page cache has
        umount "$2"
        mount -o loop,ro "$1/image" "$2"
        cp "$2"/m/agent_*.jsonl "$3"
        umount "$2"
    """
    isolated = ["unshare", "--mount", "--propagation", "private", "sh", "-c", shell, "sh"]
    paths = [str(disk), str(mount_point), str(read_back)]
    (said,) = run([*isolated, *paths, sys.executable, FSYNC_ALONE_SAYS_FULL])
    assert said["failed"] > 0, said
    assert any("fsync" in error for error in said["errors"]), said["errors"]
    after = said["after"]
    assert (after["state"], after["backlog"]) == ("ok", 0)
    assert after["written"] + after["dropped"] == said["made"]
    numbers = [json.loads(line)["n"] for line in lines_of(read_back)]
    assert numbers == sorted(set(numbers)), "in order, each once, no line broken"
    assert after["dropped"] == 0
    assert numbers == list(range(said["made"]))
    assert set(said["told_list"]) <= set(numbers)
