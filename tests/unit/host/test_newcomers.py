"""Test that processes which have started are told once, with real ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import eventually

from coordd.host.newcomers import Newcomers
from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.host.processes import glance, start_of


@contextmanager
def sleeping() -> Iterator[int]:
    with subprocess.Popen(["sleep", "100"]) as child:
        try:
            eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
            yield child.pid
        finally:
            child.kill()


def told(newcomers: Newcomers) -> dict[int, ProcessFacts]:
    return {one.process.pid: one for one in newcomers.look()}


def test_a_process_is_told_once_and_the_first_look_tells_of_all() -> None:
    newcomers = Newcomers()
    assert os.getpid() in told(newcomers)
    with sleeping() as pid:
        found = told(newcomers)
        assert found[pid].process.start == start_of(pid)
        assert (found[pid].name, found[pid].uid, found[pid].parent) == ("sleep", os.geteuid(), os.getpid())
        assert os.getpid() not in found
        assert pid not in told(newcomers)
        newcomers.forget()
        assert {pid, os.getpid()} <= told(newcomers).keys()


def test_what_cannot_be_looked_at_hides_no_other() -> None:
    def look(pid: int) -> ProcessFacts | None:
        if pid == 1:
            raise ProbeFailed("it hides")
        return None if pid == 2 else glance(os.getpid())

    found = Newcomers(pids=lambda: [1, 2, 3], glance=look).look()
    assert [one.process.pid for one in found] == [os.getpid()]


def test_a_pid_that_is_used_again_is_told_after_a_look_without_it() -> None:
    there = [1, 7]
    newcomers = Newcomers(pids=lambda: there, glance=lambda pid: glance(os.getpid()))
    assert len(newcomers.look()) == 2
    there.remove(7)
    assert newcomers.look() == []
    there.append(7)
    assert len(newcomers.look()) == 1
