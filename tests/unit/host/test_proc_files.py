"""Test the parsing of procfs: whatever a program is called, the fields behind are the right ones."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.host.proc_files import parse_stat, parse_status, terminal_name

FIELDS = b"4194560 300 10 0 0 7 5 40 2 20 0 3 0 98032 16904192 3399 18446744073709551615 1 1 0 0"


def stat(name: bytes = b"claude", state: bytes = b"S", terminal: bytes = b"34819") -> bytes:
    return b"1505 (%b) %b 4951 1505 2388 %b 4951 %b\n" % (name, state, terminal, FIELDS)


@given(st.binary(max_size=64))
def test_a_name_may_hold_spaces_parentheses_and_line_breaks(name: bytes) -> None:
    found = parse_stat(stat(name))
    assert (found.pid, found.parent, found.start, found.rss) == (1505, 4951, 98032, 3399)
    assert (found.own, found.waited) == (12, 42)
    assert found.name == name.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("state", "threads", "ended"),
    [
        (b"S", 3, False),
        (b"D", 1, False),
        (b"T", 1, False),
        (b"Z", 1, True),
        (b"X", 0, True),
        (b"Z", 3, False),  # its first thread has ended, and others go on
    ],
)
def test_a_zombie_has_ended_unless_other_threads_go_on(state: bytes, threads: int, ended: bool) -> None:
    content = stat(state=state).replace(b" 20 0 3 0 ", b" 20 0 %d 0 " % threads)
    assert parse_stat(content).ended is ended


@pytest.mark.parametrize("content", [b"", b"1505", b"1505 (claude", stat()[:60], b"x (y) S 1"])
def test_what_is_cut_off_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_stat(content)


def test_a_status_tells_the_effective_user_and_the_pids_from_outside_inwards() -> None:
    content = b"Name:\tUid:\\n7\nUmask:\t0022\nTgid:\t90\nPid:\t90\nUid:\t0\t1000\t0\t0\nNSpid:\t90\t12\t1\n"
    assert parse_status(content) == (1000, (90, 12, 1), True)
    assert parse_status(b"Name:\ta\nTgid:\t90\nPid:\t91\n") == (None, (), False)


@pytest.mark.parametrize(
    ("major", "minor", "name"),
    [
        (136, 3, "pts/3"),
        (136, 300, "pts/300"),
        (137, 1, "pts/257"),
        (4, 1, "tty1"),
        (4, 64, "ttyS0"),
        (0, 0, None),
        (229, 0, None),
    ],
)
def test_the_name_of_a_terminal(major: int, minor: int, name: str | None) -> None:
    assert terminal_name(os.makedev(major, minor)) == name


def test_a_terminal_with_a_high_number_is_written_as_a_negative_one() -> None:
    number = (136 << 8) | (0x80000 << 12 & 0xFFF00000)
    content = stat(terminal=b"%d" % (number - 2**32))
    assert parse_stat(content).terminal == number
