"""Any history of writes, full disks, rotations, removed directories and crashes, against one sink.

Whatever happens: every line that stands in the files is whole, in order and there once; what the sink counts
as written is exactly what stands there; what is missing is counted as dropped or was waiting at a crash.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordd.records.names import parse_part
from coordd.sinks.base import Batch
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
LIMIT = 8


class Histories(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.directory = self.root / "metrics"
        self.elsewhere: list[Path] = []
        self.room: int | None = None
        self.wall = NOON
        self.mono = 0.0
        self.made = 0
        self.lost_at_crash = 0
        self.written_before = 0
        self.dropped_before = 0
        self.start()

    def start(self):
        self.sink = JsonlSink(
            folder=HeldFolder(str(self.directory)),
            random=lambda: 0.0,
            backlog=LIMIT,
            max_part_bytes=60,
            write=self.write_to_disk,
            fsync=lambda descriptor: None,
        )
        self.sink.open(wall=self.wall, mono=self.mono)

    def write_to_disk(self, descriptor, data):
        if self.room is None:
            return os.write(descriptor, data)
        count = min(self.room, len(data))
        if count == 0:
            raise OSError(errno.ENOSPC, "full")
        self.room -= count
        return os.write(descriptor, data[:count])

    @rule(count=st.integers(1, 12), later=st.floats(0, 3))
    def write(self, count, later):
        self.mono += later
        lines = [b"%06d-%s" % (n, b"x" * (n % 7)) for n in range(self.made, self.made + count)]
        self.made += count
        self.sink.write(Batch(agent=lines), wall=self.wall, mono=self.mono)

    @rule(room=st.integers(0, 40))
    def disk_fills(self, room):
        self.room = room

    @rule()
    def space_returns(self):
        self.room = None

    @rule(later=st.floats(0, 3))
    def time_passes(self, later):
        self.mono += later
        self.sink.pump(wall=self.wall, mono=self.mono)

    @rule()
    def next_day(self):
        self.wall += 86_400
        self.sink.roll(wall=self.wall, mono=self.mono)

    @rule()
    def look(self):
        self.sink.check(wall=self.wall, mono=self.mono)

    @rule()
    def sync(self):
        self.sink.sync()

    @precondition(lambda self: self.directory.exists())
    @rule()
    def directory_is_moved(self):
        moved = self.root / f"moved{len(self.elsewhere)}"
        os.rename(self.directory, moved)
        self.elsewhere.append(moved)

    @rule()
    def killed_and_started_again(self):
        status = self.sink.status()
        self.lost_at_crash += status.backlog
        self.written_before += status.written
        self.dropped_before += status.dropped
        for file in self.sink._files.values():  # what the kernel does with a dead process's descriptors
            file._current.close()
        self.sink._ledger.sync()
        self.start()

    @invariant()
    def lines_are_whole_in_order_once_and_all_accounted_for(self):
        status = self.sink.status()
        numbers = []
        for directory in [*self.elsewhere, *([self.directory] if self.directory.exists() else [])]:
            # A moved directory stays as it was left: its last line may be torn for ever.
            numbers += self.numbers_in(directory)
        assert numbers == sorted(set(numbers))
        assert len(numbers) == self.written_before + status.written
        dropped = self.dropped_before + status.dropped
        assert len(numbers) + dropped + self.lost_at_crash + status.backlog == self.made
        assert status.backlog <= LIMIT + 1
        assert self.sink.durable <= status.written
        if status.state == "ok":
            assert status.backlog == 0
            assert self.sink.retry_at is None
        else:
            assert self.sink.retry_at is not None

    def numbers_in(self, directory):
        parts = [(parse_part(name, "agent", "jsonl"), name) for name in os.listdir(directory)]
        for _, name in sorted((part, name) for part, name in parts if part is not None):
            for line in (directory / name).read_bytes().split(b"\n")[:-1]:
                number = int(line[:6])
                assert line == b"%06d-%s" % (number, b"x" * (number % 7))
                yield number

    def teardown(self):
        self.sink.close(wall=self.wall, mono=self.mono)
        shutil.rmtree(self.root)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
