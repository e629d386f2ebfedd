import errno
import os
import threading

import pytest

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


def test_records_count_once_synced(ledger, open_file):
    descriptor = open_file()
    assert not ledger.dirty
    ledger.wrote(descriptor, 3, failures=ledger.failures)
    assert ledger.dirty
    assert ledger.durable == 0
    ledger.sync()
    assert (ledger.durable, ledger.dirty, ledger.error) == (3, False, None)


def test_a_failed_fsync_is_final_for_what_came_before_it(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, 3, failures=0)
    disk.fault = errno.EIO
    ledger.sync()
    assert ledger.durable == 0
    assert ledger.error == "a: fsync: Input/output error"
    disk.fault = None
    assert ledger.dirty, "asked again, to see whether the disk answers again"
    ledger.sync()
    assert (ledger.durable, ledger.error, ledger.dirty) == (0, None, False)
    ledger.wrote(descriptor, 2, failures=ledger.failures)
    ledger.sync()
    assert ledger.durable == 2


def test_records_written_while_the_failing_fsync_runs_never_count(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, 1, failures=0)
    disk.fault = errno.EIO
    disk.during = lambda: ledger.wrote(descriptor, 5, failures=0)
    ledger.sync()
    disk.fault, disk.during = None, lambda: None
    ledger.sync()
    assert ledger.durable == 0


def test_records_written_before_a_failure_and_reported_after_it_never_count(ledger, disk, open_file):
    descriptor = open_file()
    before = ledger.failures
    ledger.wrote(descriptor, 0, failures=before)
    disk.fault = errno.ENOSPC
    ledger.sync()
    disk.fault = None
    ledger.wrote(descriptor, 4, failures=before)
    ledger.sync()
    assert ledger.durable == 0


def test_records_written_while_an_fsync_succeeds_count_with_the_next(ledger, disk, open_file):
    descriptor = open_file()
    ledger.wrote(descriptor, 1, failures=0)
    disk.during = lambda: ledger.wrote(descriptor, 5, failures=0)
    ledger.sync()
    assert ledger.durable == 1
    disk.during = lambda: None
    ledger.sync()
    assert ledger.durable == 6


def test_a_retired_file_is_synced_then_closed(tmp_path, ledger, disk):
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    ledger.opened(descriptor, "a")
    ledger.wrote(descriptor, 1, failures=0)
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
    ledger.wrote(descriptor, 1, failures=0)
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
    ledger.entered(str(tmp_path))
    ledger.wrote(descriptor, 2, failures=0)
    directory_disk.fault = errno.EIO
    ledger.sync()
    assert ledger.durable == 0
    assert "fsync" in (ledger.error or "")
    ledger.wrote(descriptor, 3, failures=ledger.failures)
    ledger.sync()
    assert ledger.durable == 0, "the directory still fails"
    directory_disk.fault = None
    ledger.wrote(descriptor, 4, failures=ledger.failures)
    ledger.sync()
    assert (ledger.durable, ledger.error) == (4, None)
