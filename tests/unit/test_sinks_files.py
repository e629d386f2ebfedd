import errno
import os
import shutil
import threading

import pytest

from coordd.sinks.files import RecordFile
from coordd.sinks.ledger import Ledger
from coordd.sinks.regular import point

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86_400.0


class Disk:
    """A write(2) that takes ``room`` bytes and then says that the disk is full."""

    def __init__(self):
        self.room = None
        self.writes = 0

    def write(self, descriptor, data):
        self.writes += 1
        if self.room is None:
            return os.write(descriptor, data)
        count = min(self.room, len(data))
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= count
        return os.write(descriptor, data[:count])


class Heard:
    def __init__(self):
        self.paths = []
        self.damages = []

    def recreated(self, path):
        self.paths.append(os.path.basename(path))

    def damaged(self, damage):
        self.damages.append(damage)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def ledger():
    ledger = Ledger()
    yield ledger
    ledger.sync()


@pytest.fixture
def make(tmp_path, disk, heard, ledger):
    made = []

    def factory(**options):
        options = {"series": "agent", "extension": "jsonl", "link": "agent.jsonl"} | options
        file = RecordFile(
            directory=str(tmp_path / "m"), ledger=ledger, listener=heard, write=disk.write, **options
        )
        made.append(file)
        return file

    yield factory
    for file in made:
        file.close()


def content(path):
    return path.read_bytes().decode()


def test_one_write_of_whole_lines_behind_a_relative_symlink(tmp_path, make, disk):
    file = make()
    assert not (tmp_path / "m").exists(), "a constructor starts nothing"
    assert file.append([b"1", b"2"], NOON).taken == 2
    assert disk.writes == 1
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    assert content(path) == "1\n2\n"
    assert os.readlink(tmp_path / "m" / "agent.jsonl") == path.name
    assert file.written == 2
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o700


def test_a_newline_inside_a_record_is_refused(make):
    with pytest.raises(ValueError, match="newline"):
        make().append([b"a\nb"], NOON)


def test_midnight_needs_no_record(tmp_path, make):
    file = make()
    file.append([b"1"], NOON)
    file.roll(NOON + 43_199.9)
    assert os.readlink(file.link) == "agent_2026-11-22.jsonl"
    file.roll(NOON + 43_200)
    assert os.readlink(file.link) == "agent_2026-11-23.jsonl"
    assert content(tmp_path / "m" / "agent_2026-11-23.jsonl") == ""


def test_a_full_part_is_followed_by_the_next_number(tmp_path, make):
    file = make(max_part_bytes=4)
    for line in (b"1", b"2", b"3", b"4", b"5"):
        file.append([line], NOON)
    names = sorted(os.listdir(tmp_path / "m"))
    assert names == [
        "agent.jsonl",
        "agent_2026-11-22.2.jsonl",
        "agent_2026-11-22.3.jsonl",
        "agent_2026-11-22.jsonl",
    ]
    assert content(tmp_path / "m" / "agent.jsonl") == "5\n"
    assert content(tmp_path / "m" / "agent_2026-11-22.2.jsonl") == "3\n4\n"


def test_a_restart_goes_on_in_the_highest_part_unless_it_is_full_or_compressed(tmp_path, make):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "agent_2026-11-22.jsonl.gz").write_bytes(b"gz")
    make(max_part_bytes=4).append([b"1"], NOON)
    assert content(tmp_path / "m" / "agent_2026-11-22.2.jsonl") == "1\n"
    make(max_part_bytes=4).append([b"2"], NOON)
    assert content(tmp_path / "m" / "agent_2026-11-22.2.jsonl") == "1\n2\n"
    make(max_part_bytes=4).append([b"3"], NOON)
    assert content(tmp_path / "m" / "agent_2026-11-22.3.jsonl") == "3\n"
    assert (tmp_path / "m" / "agent_2026-11-22.jsonl.gz").read_bytes() == b"gz"


def test_a_clock_that_goes_back_a_day_goes_on_in_that_day(tmp_path, make):
    file = make()
    for day, line in ((0, b"1"), (1, b"2"), (0, b"3")):
        file.append([line], NOON + day * DAY)
    assert content(tmp_path / "m" / "agent_2026-11-22.jsonl") == "1\n3\n"
    assert os.readlink(file.link) == "agent_2026-11-22.jsonl"


def test_a_torn_line_is_finished_where_it_began_before_anything_else(tmp_path, make, disk):
    file = make()
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    disk.room = 7
    appended = file.append([b"one", b"two", b"three"], NOON)
    assert (appended.taken, appended.error.errno, appended.error.filename) == (2, errno.ENOSPC, str(path))
    assert (content(path), file.torn, file.written) == ("one\ntwo", True, 1)
    assert file.append([b"three"], NOON).taken == 0
    with pytest.raises(OSError, match="No space"):
        file.roll(NOON + DAY)  # the rest belongs to the old day, so the old day stays
    disk.room = None
    assert file.append([b"three"], NOON + DAY).taken == 1
    assert (content(path), file.torn, file.written) == ("one\ntwo\n", False, 3)
    assert content(tmp_path / "m" / "agent_2026-11-23.jsonl") == "three\n"


def test_a_short_write_that_can_go_on_is_no_failure(tmp_path, make, monkeypatch):
    file = make()
    file._write = lambda descriptor, data: os.write(descriptor, data[:2])
    appended = file.append([b"one", b"two"], NOON)
    assert (appended.taken, appended.error, file.torn) == (2, None, False)
    assert content(tmp_path / "m" / "agent.jsonl") == "one\ntwo\n"


def test_a_disk_full_at_the_end_of_a_line_tears_nothing(make, disk):
    file = make()
    disk.room = 4
    appended = file.append([b"one", b"two"], NOON)
    assert (appended.taken, file.torn, file.written) == (1, False, 1)


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: os.rename(path, f"{path}.old")])
def test_a_vanished_directory_is_made_again(tmp_path, make, heard, gone):
    file = make()
    file.append([b"1"], NOON)
    gone(str(tmp_path / "m"))
    assert file.check(NOON) is True
    assert file.check(NOON) is False
    assert heard.paths == ["agent_2026-11-22.jsonl"]
    file.append([b"2"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "2\n"


def test_writing_notices_before_check_does(tmp_path, make, heard):
    file = make()
    file.append([b"1"], NOON)
    os.rename(tmp_path / "m", tmp_path / "old")
    file.append([b"2"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "2\n"
    assert content(tmp_path / "old" / "agent_2026-11-22.jsonl") == "1\n"
    assert heard.paths == ["agent_2026-11-22.jsonl"]


def test_a_record_torn_in_a_vanished_file_is_written_whole_into_the_new_one(tmp_path, make, disk):
    file = make()
    disk.room = 5
    file.append([b"one", b"two"], NOON)
    os.rename(tmp_path / "m", tmp_path / "old")
    disk.room = 0
    assert file.append([b"three"], NOON).taken == 0
    assert file.torn
    disk.room = None
    file.append([b"three"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "two\nthree\n"
    assert file.written == 3


def test_a_torn_line_in_an_emptied_file_is_written_whole(tmp_path, make, disk):
    file = make()
    disk.room = 5
    file.append([b"one", b"two"], NOON)
    os.truncate(tmp_path / "m" / "agent_2026-11-22.jsonl", 0)
    disk.room = None
    file.append([b"three"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "two\nthree\n"


@pytest.mark.parametrize("change", ["removed", "elsewhere"])
def test_a_changed_symlink_is_put_right(tmp_path, make, heard, change):
    file = make()
    file.append([b"1"], NOON)
    os.unlink(file.link)
    if change == "elsewhere":
        os.symlink("/etc/passwd", file.link)
    assert file.check(NOON) is True
    assert os.readlink(file.link) == "agent_2026-11-22.jsonl"
    assert heard.paths == ["agent.jsonl"]
    assert file.check(NOON) is False


def test_something_else_under_the_links_name_is_left_alone_and_said(tmp_path, make):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "agent.jsonl").write_text("mine")
    file = make()
    assert file.append([b"1"], NOON).error is None, "no reason to keep records waiting"
    assert "not a symlink" in (file.trouble or "")
    assert content(tmp_path / "m" / "agent.jsonl") == "mine"
    assert content(tmp_path / "m" / "agent_2026-11-22.jsonl") == "1\n"
    os.unlink(file.link)
    file.check(NOON)
    assert file.trouble is None
    assert os.readlink(file.link) == "agent_2026-11-22.jsonl"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_regular_file_is_neither_written_nor_waited_for(tmp_path, make, kind):
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    appended = make().append([b"1"], NOON)
    assert appended.taken == 0
    assert "not a regular file" in str(appended.error)
    assert victim.read_text() == "precious\n"


def test_a_tail_torn_by_an_earlier_process_is_set_aside_first(tmp_path, make, heard):
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    path.write_bytes(b"1\n2")
    make().append([b"3"], NOON)
    assert content(path) == "1\n3\n"
    assert [damage.size for damage in heard.damages] == [1]


def test_the_header_is_the_first_line_of_every_part_and_no_record(tmp_path, make):
    file = make(header=b"A,B", max_part_bytes=8)
    for line in (b"1,1", b"2,2", b"3,3"):
        file.append([line], NOON)
    file.roll(NOON + DAY)
    assert content(tmp_path / "m" / "agent_2026-11-22.jsonl") == "A,B\n1,1\n"
    assert content(tmp_path / "m" / "agent_2026-11-22.2.jsonl") == "A,B\n2,2\n"
    assert content(tmp_path / "m" / "agent_2026-11-23.jsonl") == "A,B\n"
    assert file.written == 3


@pytest.mark.parametrize("room", range(5))
def test_a_torn_header_is_finished_once(tmp_path, make, disk, room):
    file = make(header=b"A,B")
    disk.room = room
    assert file.append([b"1,1"], NOON).taken == 0
    disk.room = None
    assert file.append([b"1,1"], NOON).taken == 1
    assert content(tmp_path / "m" / "agent.jsonl") == "A,B\n1,1\n"
    assert file.written == 1


def test_a_header_torn_by_a_crash_is_written_anew(tmp_path, make):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "agent_2026-11-22.jsonl").write_bytes(b"A,")
    make(header=b"A,B").append([b"1,1"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "A,B\n1,1\n"


def test_a_header_comes_before_a_torn_record_that_moved_to_a_new_file(tmp_path, make, disk):
    file = make(header=b"A,B")
    disk.room = 6
    file.append([b"1,1"], NOON)
    shutil.rmtree(tmp_path / "m")
    disk.room = 5
    file.append([b"2,2"], NOON)
    disk.room = None
    file.append([b"2,2"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "A,B\n1,1\n2,2\n"


def test_a_record_torn_across_a_failed_fsync_is_never_called_durable(make, disk):
    faulty = Ledger(fsync=lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "bad disk")))
    file = make()
    file._ledger = faulty
    disk.room = 2
    file.append([b"one"], NOON)
    faulty.sync()
    disk.room = None
    faulty._fsync = os.fdatasync
    file.append([b"two"], NOON)
    faulty.sync()
    assert (file.written, faulty.durable) == (2, 1)
    file.close()
    faulty.sync()


def test_a_record_written_around_a_failed_fsync_is_never_called_durable(make, disk):
    def fail(descriptor):
        raise OSError(errno.EIO, "bad disk")

    ledger = Ledger(fsync=fail)
    file = make()
    file._ledger = ledger
    file.append([b"one"], NOON)

    def write_then_fail(descriptor, data):
        count = os.write(descriptor, data)
        ledger.sync()  # in the thread of its own, between write(2) and the counting
        return count

    file._write = write_then_fail
    file.append([b"two"], NOON)
    ledger._fsync = os.fdatasync
    ledger.sync()
    assert (file.written, ledger.durable) == (2, 0)
    file.close()
    ledger.sync()


def test_a_reader_never_finds_the_symlink_missing(tmp_path):
    link = str(tmp_path / "agent.jsonl")
    point(link, "0")
    ended = threading.Event()
    missing = []

    def read():
        while not ended.is_set():
            try:
                os.readlink(link)
            except FileNotFoundError as error:
                missing.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(2000):
        point(link, str(n))
    ended.set()
    thread.join(30)
    assert missing == []


def test_a_link_left_half_made_by_a_kill_is_in_nobodys_way(tmp_path, make):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / ".agent.jsonl.tmp").symlink_to("agent_2026-11-21.jsonl")
    make().append([b"1"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "1\n"
    assert not os.path.lexists(tmp_path / "m" / ".agent.jsonl.tmp")
