"""Start real processes for tests: sleepers, zombies, and processes that have ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
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
def python(code: str, *, arguments: Sequence[str] = (), **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code until the end of the block; return once it has printed a line, which is read."""
    options = {"stdin": subprocess.PIPE, **options}
    child: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]  # options are a test's own
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert child.stdout is not None
        child.said = child.stdout.readline().strip()  # type: ignore[attr-defined]  # for the test
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def becoming(*commands: list[str], **options: object) -> Iterator[Callable[[], Process]]:
    """Run a process that runs other programs in its place; yield what has it run the next one.

    A program that shall give way to the next reads one byte from its standard input, and then runs its
    arguments: the last ones are the commands that follow, each in JSON.
    """
    rest = [json.dumps(command) for command in commands]
    with python(f"print('here', flush=True)\n{GIVES_WAY}", arguments=rest, **options) as child:

        def next_one() -> Process:
            before = processes.image_of(child.pid)
            assert child.stdin is not None
            child.stdin.write("x")
            child.stdin.flush()
            eventually(lambda: processes.image_of(child.pid) != before, what="it runs another program")
            return process_of(child.pid)

        yield next_one


GIVES_WAY = (
    "import json, os, sys; os.read(0, 1); following = sys.argv[1:]; "
    "command = json.loads(following[0]); os.execv(command[0], [*command, *following[1:]])"
)
"""Python code that gives way to the program that follows."""


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
