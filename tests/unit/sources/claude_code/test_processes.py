"""What a look at a process tells, and which record is its own."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from waiting import eventually

from coordd.host.process_facts import Process
from coordd.sources.claude_code.processes import (
    Seen,
    fits,
    is_helper,
    is_named_so,
    look,
    parse_stat,
    serves_others,
)

FIELDS = b"S 1 2 3 34817 5 6 7 8 9 10 11 12 13 14 15 16 17 18 82245 20"


def seen(name: str = "claude", started: float = 1000.0) -> Seen:
    return Seen(Process(5, 82245), name, started)


def test_the_own_process_is_seen_as_it_is() -> None:
    me = look(os.getpid())
    assert me is not None
    assert me.process.pid == os.getpid()
    assert 0 <= time.time() - me.started < 3600
    assert me.process.start > 0


def test_a_process_that_has_ended_is_not_seen() -> None:
    child = subprocess.Popen(["true"])
    eventually(lambda: look(child.pid) is None, what="a zombie has ended")
    child.wait()
    assert look(child.pid) is None


def test_a_name_may_hold_anything() -> None:
    one = parse_stat(5, b"5 (a) S (b\n) " + FIELDS, 1000.0)
    assert one is not None
    assert (one.name, one.process.start, one.tty) == ("a) S (b\n", 82245, "pts/1")
    assert one.started == 1000.0 + 82245 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "content", [b"", b"5 (x", b"5 (x) S 1 2", b"5 (x) Z" + FIELDS[1:], b"5 (x) X" + FIELDS[1:]]
)
def test_what_has_ended_or_is_cut_off_is_none(content: bytes) -> None:
    assert parse_stat(5, content, 0.0) is None


@pytest.mark.parametrize(
    ("terminal", "name"),
    [(34816, "pts/0"), (35071, "pts/255"), (34816 + (1 << 20), "pts/256"), (1025, None), (0, None)],
)
def test_the_terminal_is_named(terminal: int, name: str | None) -> None:
    one = parse_stat(5, b"5 (x) " + FIELDS.replace(b"34817", str(terminal).encode()), 0.0)
    assert one is not None
    assert one.tty == name


@pytest.mark.parametrize(
    ("name", "so"),
    [
        ("claude", True),
        ("claude.exe", True),
        ("2.1.289", True),
        ("2.1", False),
        ("sleep", False),
        ("claude-x", False),
    ],
)
def test_a_name_that_claude_code_gives_itself(name: str, so: bool) -> None:
    assert is_named_so(seen(name)) is so


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("82245", True),
        ("82246", False),
        ("Thu Jan  1 00:16:40 1970", True),
        ("Thu Jan  1 00:16:50 1970", False),
        ("soon", False),
        ("", False),
    ],
)
def test_a_start_is_compared_as_its_platform_writes_it(written: str, own: bool) -> None:
    assert fits(written, seen()) is own


@pytest.mark.parametrize(
    ("command", "serves"),
    [
        (b"claude\0daemon\0run\0", True),
        (b"claude\0--bg-pty-host\0", True),
        (b"claude\0bg-pty-host\0", True),
        (b"claude\0--bg-spare\0x\0", True),
        (b"claude\0-p\0daemon run\0", False),
        (b"claude\0--resume\0", False),
        (b"--bg-spare\0", False),
        (b"", False),
    ],
)
def test_a_process_that_serves_others_is_known_by_its_words(command: bytes, serves: bool) -> None:
    assert serves_others(command) is serves


def test_a_process_that_is_gone_serves_nobody() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert not is_helper(child.pid)
