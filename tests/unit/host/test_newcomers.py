"""Test that processes which have started are told once, with real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_processes import GIVES_WAY, becoming
from waiting import eventually

from coordd.host.newcomers import YOUNG, Newcomers
from coordd.host.proc_files import image_by, parse_stat
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.host.processes import glance, image_of, start_of


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


def test_one_that_runs_another_program_is_told_again() -> None:
    newcomers = Newcomers()
    waits = [sys.executable, "-c", GIVES_WAY]
    with becoming(waits, ["/bin/sleep", "100"]) as next_one:
        told(newcomers)
        process = next_one()  # its name is the same
        assert told(newcomers)[process.pid].process == process
        assert process.pid not in told(newcomers)
        assert next_one() == process
        assert told(newcomers)[process.pid].name == "sleep"
        assert process.pid not in told(newcomers)


def test_who_has_started_lately_and_shells_are_looked_at_again_and_nobody_else() -> None:
    wall = [0.0]
    asked: list[int] = []

    def look(pid: int) -> ProcessFacts:
        name = {1: "init", 2: "bash", 3: "uv"}[pid]
        return ProcessFacts(Process(pid, pid), 1, 990.0 if pid == 3 else 0.0, name=name, image=pid)

    def image(pid: int) -> int:
        asked.append(pid)
        return pid

    newcomers = Newcomers(pids=lambda: [1, 2, 3], glance=look, image=image, wall=lambda: wall[0])
    expected: list[tuple[float, list[int]]] = [
        (1000.0, []),
        (1001.0, [2, 3]),
        (990.0 + YOUNG, [2]),
        (5000.0, [2]),
    ]
    for at, again in expected:
        asked.clear()
        wall[0] = at
        newcomers.look()
        assert asked == again
    newcomers.forget()
    assert len(newcomers.look()) == 3


def test_of_a_process_of_another_user_the_name_tells() -> None:
    def image(stack: int, name: bytes, flags: int = 0) -> int:
        fields = [b"S", b"1", b"1", b"1", b"0", b"0", str(flags).encode(), *[b"0"] * 45]
        fields[19], fields[25] = b"700", str(stack).encode()
        return image_by(parse_stat(b"7 (" + name + b") " + b" ".join(fields)))

    assert image(0, b"sh") == image(0, b"sh") != image(0, b"aider")
    assert image(1, b"sh") != image(2, b"sh")
    assert image(0, b"kworker/0:1-events", 0x208040) == image(0, b"kworker/0:1-mm", 0x208040)


def test_what_cannot_be_looked_at_hides_no_other() -> None:
    def look(pid: int) -> ProcessFacts | None:
        if pid == 1:
            raise ProbeFailed("it hides")
        return None if pid == 2 else glance(os.getpid())

    found = Newcomers(pids=lambda: [1, 2, 3], glance=look).look()
    assert [one.process.pid for one in found] == [os.getpid()]


def test_a_pid_that_is_used_again_is_told_after_a_look_without_it() -> None:
    there = [1, 7]
    own = os.getpid()
    newcomers = Newcomers(pids=lambda: there, glance=lambda _: glance(own), image=lambda _: image_of(own))
    assert len(newcomers.look()) == 2
    there.remove(7)
    assert newcomers.look() == []
    there.append(7)
    assert len(newcomers.look()) == 1
