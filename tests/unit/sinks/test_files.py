"""Test a series of record files: rotation, torn lines, the symlink, and files that others removed or made."""

import errno
import os
import shutil
import threading
from dataclasses import replace

import pytest

from coordd.records.names import RecordSeries
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger
from coordd.sinks.record_file import RecordFile

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
AGENT = RecordSeries("agent", "jsonl", "agent.jsonl")
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
        file = RecordFile(
            folder=HeldFolder(str(tmp_path / "m")),
            series=replace(AGENT, header=options.pop("header", None)),
            ledger=options.pop("ledger", ledger),
            listener=heard,
            write=disk.write,
            **options,
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
        ".coordd-files.jsonl",
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


@pytest.mark.parametrize("change", ["removed", "another part"])
def test_a_changed_symlink_is_put_right(tmp_path, make, heard, change):
    file = make()
    file.append([b"1"], NOON)
    os.unlink(file.link)
    if change == "another part":
        os.symlink("agent_2026-11-01.jsonl", file.link)
    assert file.check(NOON) is True
    assert os.readlink(file.link) == "agent_2026-11-22.jsonl"
    assert heard.paths == ["agent.jsonl"]
    assert file.check(NOON) is False


@pytest.mark.parametrize("name", ["agent.jsonl", ".agent.jsonl.tmp"])
@pytest.mark.parametrize("target", ["/etc/passwd", "notes.txt", "sub/agent_2026-11-22.jsonl"])
def test_a_symlink_of_somebody_elses_stays(tmp_path, make, heard, name, target):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / name).symlink_to(target)
    file = make()
    assert file.append([b"1"], NOON).error is None
    assert file.check(NOON) is False
    assert os.readlink(tmp_path / "m" / name) == target
    assert f"mv {tmp_path}/m/{name}" in (file.trouble or "")
    assert heard.paths == []


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


KINDS = ["symlink", "fifo", "directory", "file", "empty", "gzipped"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_somebody_has_is_passed_over(tmp_path, make, kind):
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = path.with_name(path.name + ".gz") if kind == "gzipped" else path
        path.write_text("" if kind == "empty" else "a stranger's\n")
    (tmp_path / "m" / "agent_2026-11-22.999999999.jsonl").write_text("the last number there is\n")
    before = path.lstat()
    for line in (b"1", b"2"):  # each by a daemon of its own
        file = make()
        assert file.append([line], NOON).taken == 1
        assert file.trouble is None
        assert os.readlink(file.link) == "agent_2026-11-22.2.jsonl"
    assert content(tmp_path / "m" / "agent_2026-11-22.2.jsonl") == "1\n2\n"
    assert victim.read_text() == "precious\n"
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)


def test_a_file_that_took_the_place_of_ours_is_not_written_to(tmp_path, make):
    file = make()
    file.append([b"1"], NOON)
    path = tmp_path / "m" / "agent_2026-11-22.jsonl"
    path.unlink()
    path.write_text("a stranger's\n")
    file.append([b"2"], NOON)
    assert content(path) == "a stranger's\n"
    assert content(tmp_path / "m" / "agent.jsonl") == "2\n"


@pytest.mark.parametrize("size", [0, 1, 5])
def test_the_manifest_comes_before_the_first_line(tmp_path, make, disk, size):
    """A kill right behind the first bytes of a file leaves one that is known as coordd's all the same."""
    disk.room = size
    make().append([b'{"timestamp":"2026-11-22T12:00:00.123Z","host":"h"}'], NOON)
    disk.room = None
    make().append([b"next"], NOON)
    assert sorted(path.name for path in (tmp_path / "m").glob("agent_*.jsonl")) == ["agent_2026-11-22.jsonl"]
    assert content(tmp_path / "m" / "agent.jsonl") == "next\n"


def test_no_line_is_written_without_one_in_the_manifest(tmp_path, make):
    (tmp_path / "m" / ".coordd-files.jsonl").mkdir(parents=True)
    appended = make().append([b"1"], NOON)
    assert appended.taken == 0
    assert "mv " in str(appended.error)
    assert not list((tmp_path / "m").glob("agent*"))


def test_a_manifest_that_was_removed_comes_back_whole(tmp_path, make):
    file = make()
    file.append([b"1"], NOON)
    file.append([b"2"], NOON + DAY)
    manifest = tmp_path / "m" / ".coordd-files.jsonl"
    before = manifest.read_bytes()
    manifest.unlink()
    file.check(NOON + DAY)
    assert manifest.read_bytes() == before
    manifest.unlink()
    file.append([b"3"], NOON + 2 * DAY)
    assert manifest.read_bytes().startswith(before)


def test_a_tail_torn_by_an_earlier_process_is_set_aside_first(tmp_path, make, heard):
    make().append([b"1"], NOON)
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
    make(header=b"A,B").roll(NOON)
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


def fail(_descriptor):
    raise OSError(errno.EIO, "bad disk")


def test_what_a_failed_fsync_made_doubtful_is_given_back_in_order(tmp_path, make, disk):
    ledger = Ledger()
    file = make(ledger=ledger)
    for line in (b"safe", b"called safe"):
        file.append([line], NOON)
        ledger.sync()
    disk.room = 9
    file.append([b"one", b"two", b"three"], NOON)  # the third is torn
    ledger._fsync = fail
    ledger.sync()
    assert (ledger.failed, ledger.durable) == (True, 1)
    again = file.start_over()
    assert (again.lines, again.forgotten) == ([b"called safe", b"one", b"two", b"three"], 0)
    assert (file.written, file.torn) == (1, False)
    assert file.start_over() is None
    disk.room = None
    ledger._fsync = os.fdatasync
    file.append(again.lines, NOON)
    first = tmp_path / "m" / "agent_2026-11-22.jsonl"
    assert content(first).startswith("safe\ncalled safe\none\n"), "as long as the new one is not on disk"
    file.written_again()
    ledger.sync()
    assert (content(first), content(tmp_path / "m" / "agent.jsonl")) == (
        "safe\n",
        "called safe\none\ntwo\nthree\n",
    )
    assert (file.written, ledger.durable, ledger.error) == (5, 5, None)
    file.close()
    ledger.sync()


def test_a_record_written_around_a_failed_fsync_is_doubtful_as_well(make):
    ledger = Ledger(fsync=fail)
    file = make(ledger=ledger)
    file.append([b"one"], NOON)

    def write_then_fail(descriptor, data):
        count = os.write(descriptor, data)
        ledger.sync()  # in the thread of its own, between write(2) and the counting
        return count

    file._write = write_then_fail
    file.append([b"two"], NOON)
    assert file.start_over().lines == [b"one", b"two"]
    file.close()
    ledger.sync()


def test_a_disk_that_stays_full_gets_no_more_files(tmp_path, make):
    ledger = Ledger(fsync=fail)
    file = make(ledger=ledger)
    lines = [b"one", b"two"]
    for _ in range(5):
        file.append(lines, NOON)
        ledger.sync()
        lines = file.start_over().lines
        assert lines == [b"one", b"two"]
    ledger._fsync = os.fdatasync
    file.append(lines, NOON)
    file.written_again()
    ledger.sync()
    names = sorted(path.name for path in (tmp_path / "m").glob("agent_*"))
    assert names == ["agent_2026-11-22.2.jsonl", "agent_2026-11-22.jsonl"]
    assert content(tmp_path / "m" / "agent.jsonl") == "one\ntwo\n"
    assert content(tmp_path / "m" / "agent_2026-11-22.jsonl") == ""
    file.close()
    ledger.sync()


def test_a_reader_never_finds_the_symlink_missing(tmp_path):
    link = str(tmp_path / "agent.jsonl")
    folder = Folder.at(str(tmp_path))

    def point(number):
        folder.point(AGENT, f"agent_2026-11-22.{number}.jsonl")

    point(2)
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
    for n in range(2, 2000):
        point(n)
    ended.set()
    thread.join(30)
    folder.close()
    assert missing == []


def test_a_link_left_half_made_by_a_kill_is_in_nobodys_way(tmp_path, make):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / ".agent.jsonl.tmp").symlink_to("agent_2026-11-21.jsonl")
    make().append([b"1"], NOON)
    assert content(tmp_path / "m" / "agent.jsonl") == "1\n"
    assert not os.path.lexists(tmp_path / "m" / ".agent.jsonl.tmp")
