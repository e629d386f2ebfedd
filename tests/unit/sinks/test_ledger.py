"""Test which records count as durable when fsyncs fail, hang or come late."""

import errno
import os
import threading

import pytest

from coordd.sinks.folder import Folder
from coordd.sinks.ledger import Ledger


class Disk:
    """Fails the fsyncs it is told to; ``during`` runs in the middle of one."""

    def __init__(self):
        self.fault = None
        self.during = lambda: None
        self.synced = []

    def __call__(self, descriptor):
        os.fstat(descriptor)  # EBADF, were it closed too early
        self.synced.append(descriptor)
        self.during()
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def directory_disk():
    return Disk()


@pytest.fixture
def ledger(disk, directory_disk):
    return Ledger(fsync=disk, fsync_directory=directory_disk)


@pytest.fixture
def open_file(tmp_path, ledger):
    opened = []

    def opener(name="a"):
        descriptor = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)
        opened.append(descriptor)
        ledger.opened(descriptor, name)
        return descriptor

    yield opener
    for descriptor in opened:
        ledger.retire(descriptor)
    disk = ledger._fsync
    disk.fault, disk.during = None, lambda: None
    ledger.sync()


def lines(count):
    return [b"%d" % n for n in range(count)]


def test_records_count_once_synced(ledger, open_file):
    descriptor = open_file()
    assert not ledger.dirty
    ledger.wrote(descriptor, lines(3), end=3)
    assert ledger.dirty
    assert ledger.durable == 0
    ledger.sync()
    assert (ledger.durable, ledger.dirty, ledger.error) == (3, False, None)


def test_a_failed_fsync_is_final_for_what_came_before_it(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, lines(3), end=3)
    disk.fault = errno.EIO
    ledger.sync()
    assert (ledger.durable, ledger.failed, ledger.suspects(descriptor)) == (0, True, True)
    assert ledger.error == "a: fsync: Input/output error"
    disk.fault = None
    assert ledger.dirty, "there is something to do, for whoever writes"
    ledger.sync()
    assert (ledger.durable, ledger.error) == (0, "a: fsync: Input/output error")
    (unsynced,) = ledger.unsynced(None)
    assert (unsynced.lines, unsynced.forgotten, unsynced.safe) == (lines(3), 0, 0)
    assert ledger.unsynced(None) == []
    other = open_file("b")
    ledger.wrote(other, lines(3), end=3)
    ledger.sync()
    assert (ledger.durable, ledger.error, ledger.dirty) == (3, None, False)


def test_what_the_last_good_fsync_covered_goes_along_and_nothing_before(ledger, disk, open_file):
    """A file system may notice late."""
    descriptor = open_file()
    for line, end in ((b"old", 4), (b"last", 9)):
        ledger.wrote(descriptor, [line], end=end)
        ledger.sync()
    assert ledger.durable == 2
    ledger.wrote(descriptor, [b"new"], end=13)
    disk.fault = errno.EIO
    ledger.sync()
    (unsynced,) = ledger.unsynced(None)
    assert (unsynced.lines, unsynced.safe, ledger.durable) == ([b"last", b"new"], 4, 1)


def test_what_is_kept_of_the_last_good_fsync_is_bounded(ledger, disk, open_file):
    descriptor = open_file()
    large = [b"x" * 1000] * 5000
    ledger.wrote(descriptor, large, end=5_005_000)
    ledger.sync()
    ledger.wrote(descriptor, [b"new"], end=5_005_004)
    disk.fault = errno.EIO
    ledger.sync()
    (unsynced,) = ledger.unsynced(None)
    assert (unsynced.lines, unsynced.safe, ledger.durable) == ([b"new"], 5_005_000, 5000)


def test_what_is_written_while_and_after_an_fsync_fails_is_doubtful_too(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, [b"1"], end=2)
    disk.fault = errno.ENOSPC
    disk.during = lambda: ledger.wrote(descriptor, [b"2"], end=4)
    ledger.sync()
    ledger.wrote(descriptor, [b"3"], end=6)
    (unsynced,) = ledger.unsynced(None)
    assert unsynced.lines == [b"1", b"2", b"3"]


def test_memory_is_bounded_and_what_it_lacks_is_counted(disk, tmp_path):
    ledger = Ledger(fsync=disk, max_lines=2)
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    ledger.opened(descriptor, "a")
    ledger.wrote(descriptor, lines(5), end=10)
    disk.fault = errno.EIO
    ledger.sync()
    (unsynced,) = ledger.unsynced(None)
    assert (unsynced.lines, unsynced.forgotten) == ([b"3", b"4"], 3)
    disk.fault = None
    ledger.retire(descriptor)
    ledger.sync()


@pytest.mark.parametrize("grown", [False, True])
def test_the_doubtful_tail_goes_once_it_is_on_disk_elsewhere(ledger, disk, open_file, tmp_path, grown):
    old = os.open(tmp_path / "old", os.O_RDWR | os.O_CREAT)
    ledger.opened(old, "old")
    os.write(old, b"safe\n")
    ledger.wrote(old, [b"safe"] * 2, end=5)
    ledger.sync()
    ledger.wrote(old, [], end=5)
    ledger.sync()
    os.write(old, b"tail\n")
    ledger.wrote(old, [b"tail"], end=10)
    disk.fault = errno.EIO
    ledger.sync()
    ledger.unsynced(None)
    new = open_file("new")
    ledger.wrote(new, [b"tail"], end=5)
    ledger.retire(old, cut=True)
    ledger.sync()
    assert (tmp_path / "old").read_bytes() == b"safe\ntail\n", "the new one failed as well"
    ledger.unsynced(None)
    ledger.renew(new)
    ledger.wrote(new, [b"tail"], end=5)
    disk.fault = None
    if grown:
        with (tmp_path / "old").open("ab") as somebody:
            somebody.write(b"more\n")
    ledger.sync()
    assert (tmp_path / "old").read_bytes() == (b"safe\ntail\nmore\n" if grown else b"safe\n")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(old)


def test_a_closed_part_whose_last_fsync_fails_is_given_back(ledger, disk, tmp_path):
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    owner = object()
    ledger.opened(descriptor, "a", owner=owner)
    ledger.wrote(descriptor, lines(2), end=4)
    ledger.retire(descriptor)
    disk.fault = errno.EIO
    ledger.sync()
    assert ledger.unsynced(None) == []
    (unsynced,) = ledger.unsynced(owner)
    assert unsynced.lines == lines(2)
    disk.fault = None
    ledger.retire(descriptor, cut=True)
    ledger.sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_records_written_while_an_fsync_succeeds_count_with_the_next(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, lines(1), end=1)
    disk.during = lambda: ledger.wrote(descriptor, lines(5), end=5)
    ledger.sync()
    assert ledger.durable == 1
    disk.during = lambda: None
    ledger.sync()
    assert ledger.durable == 6


def test_a_retired_file_is_synced_then_closed(tmp_path, ledger, disk):
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    ledger.opened(descriptor, "a")
    ledger.wrote(descriptor, lines(1), end=1)
    ledger.retire(descriptor)
    os.fstat(descriptor)
    ledger.sync()
    assert disk.synced == [descriptor]
    assert ledger.durable == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert not ledger.dirty


def test_a_file_retired_in_the_middle_of_its_fsync_stays_open_until_the_end(tmp_path, ledger, disk):
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    ledger.opened(descriptor, "a")
    ledger.wrote(descriptor, lines(1), end=1)
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(30)
        os.fstat(descriptor)

    disk.during = wait
    thread = threading.Thread(target=ledger.sync)
    thread.start()
    assert inside.wait(30)
    ledger.retire(descriptor)  # returns at once: a slow disk does not hold the writer
    assert ledger.dirty
    go_on.set()
    thread.join(30)
    assert ledger.durable == 1
    os.fstat(descriptor)
    disk.during = lambda: None
    ledger.sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_new_name_must_be_durable_before_the_records_under_it(tmp_path, ledger, directory_disk, open_file):
    descriptor = open_file()
    folder = Folder.at(str(tmp_path))
    ledger.entered(folder)
    folder.close()
    ledger.wrote(descriptor, lines(2), end=2)
    directory_disk.fault = errno.EIO
    ledger.sync()
    assert ledger.durable == 0
    assert "fsync" in (ledger.error or "")
    ledger.wrote(descriptor, lines(3), end=3)
    ledger.sync()
    assert ledger.durable == 0, "the directory still fails"
    directory_disk.fault = None
    ledger.wrote(descriptor, lines(4), end=4)
    ledger.sync()
    assert (ledger.durable, ledger.error) == (4, None)
