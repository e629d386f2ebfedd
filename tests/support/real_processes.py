"""Start real processes for tests: sleepers, zombies, and processes that have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from waiting import eventually

from coordd.host import processes
from coordd.host.process_facts import Process


def process_of(pid: int) -> Process:
    """Return the identity of a process that lives."""
    start = processes.start_of(pid)
    assert start is not None
    return Process(pid, start)


@contextmanager
def python(code: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code until the end of the block; return once it has printed a line, which is read."""
    options = {"stdin": subprocess.PIPE, **options}
    child: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]  # options are a test's own
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert child.stdout is not None
        child.said = child.stdout.readline().strip()  # type: ignore[attr-defined]  # for the test
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def sleeper(**options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a process that does nothing until it is killed or its standard input ends."""
    with python("import sys; print('here', flush=True); sys.stdin.read()", **options) as child:
        yield child


def is_zombie(pid: int) -> Callable[[], bool]:
    """Return a probe: whether a process has ended, whoever may wait for it."""

    def probe() -> bool:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"Z"

    return probe


@contextmanager
def zombie() -> Iterator[Process]:
    """Have a process that was killed and is not waited for until the end of the block."""
    with sleeper() as child:
        process = process_of(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        eventually(is_zombie(child.pid))
        yield process
