"""Look at many processes in one call of a worker, so that one that hangs costs only itself.

A look at a process may hang as long as the process does. What was found before it counts, what is behind it
is looked at in another call, and the process itself is left alone until its look returns. It knows nothing of
claims or agents.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.runtime.worker import DeadlineMissed, Worker

T = TypeVar("T")

AT_ONCE = 500
"""The number of processes that are looked at in one call."""
DEADLINE = 2.0
"""Seconds in which one call has to be done."""
MOST_HANGING = 8
"""The number of looks that may hang at the same time, each in a thread; then no other is begun."""


class Machine(Protocol):
    """What is asked about processes; the module coordd.host.processes is one, and says what each returns."""

    def look(self, pid: int) -> ProcessFacts | None:
        """Return what one look at a process tells."""

    def start_of(self, pid: int) -> int | None:
        """Return the start of a process."""

    def find_contained(self, wanted: Collection[Process]) -> dict[Process, int]:
        """Return the pids of containers' processes."""


class Wanted(NamedTuple):
    """A process that somebody names: its pid, which may be that of a container, and its start if given."""

    pid: int
    start: int | None


Answer = ProcessFacts | None | ProbeFailed
"""What a look tells; None: there is no such process; an error says nothing."""


class Prober:
    """Look at processes in a worker's thread.

    Args:
        machine: looks at one process.
        worker: the thread; it has to be replaceable.
    """

    def __init__(self, *, machine: Machine, worker: Worker) -> None:
        self._machine = machine
        self._worker = worker
        self._hanging: dict[Wanted, asyncio.Future[Any]] = {}

    def hangs(self, wanted: Wanted) -> bool:
        """Return whether a look at it was begun and has not returned."""
        hanging = self._hanging.get(wanted)
        if hanging is not None and hanging.done():
            del self._hanging[wanted]
        return wanted in self._hanging

    async def look(self, wanted: Sequence[Wanted]) -> AsyncIterator[dict[Wanted, Answer]]:
        """Yield answers part by part, until there is one for each that is wanted."""
        for begin in range(0, len(wanted), AT_ONCE):
            some = wanted[begin : begin + AT_ONCE]
            while some:
                answers = await self._answers(some)
                yield answers
                some = some[len(answers) :]

    async def _answers(self, wanted: Sequence[Wanted]) -> dict[Wanted, Answer]:
        """Return answers for the first of them, up to one that hangs."""
        if sum(self.hangs(one) for one in list(self._hanging)) >= MOST_HANGING:
            return dict.fromkeys(wanted, ProbeFailed("too many looks hang"))
        probe = _Probe(self._machine, wanted)
        try:
            await self._worker.run(probe.run, deadline=DEADLINE)
        except DeadlineMissed as missed:
            probe.given_up = True
            answers = dict(zip(wanted, list(probe.answers), strict=False))
            if len(answers) < len(wanted):
                hangs = wanted[len(answers)]
                self._hanging[hangs] = missed.future
                answers[hangs] = ProbeFailed("it hangs")
            return answers
        return dict(zip(wanted, probe.answers, strict=True))


class _Probe:
    """One call in the thread; ``answers`` has what was found so far, in the order of ``wanted``.

    Setting ``given_up`` ends it before the next look.
    """

    def __init__(self, machine: Machine, wanted: Sequence[Wanted]) -> None:
        self.answers: list[Answer] = []
        self.given_up = False
        self._wanted = wanted
        self._machine = machine

    def run(self) -> None:
        """Find out which process each one means, then look at them."""
        contained = self._contained()  # first: no single process makes this hang
        for wanted in self._wanted:
            if self.given_up:  # those behind one that hung are in another call by now
                return
            pid = (
                wanted.pid
                if wanted.start is None
                else contained.get(Process(wanted.pid, wanted.start), wanted.pid)
            )
            self.answers.append(_tried(self._machine.look, pid))

    def _contained(self) -> dict[Process, int]:
        """Return the pids, as they are here, of those that may be of containers."""
        missing = [
            Process(pid, start)
            for pid, start in self._wanted
            if start is not None and _tried(self._machine.start_of, pid) != start
        ]
        found = _tried(self._machine.find_contained, missing) if missing else {}
        return found if isinstance(found, dict) else {}


def _tried(ask: Callable[[Any], T], about: object) -> T | ProbeFailed:
    try:
        return ask(about)
    except ProbeFailed as error:
        return error
    except Exception as error:  # psutil raises any kind of error for what it cannot parse
        return ProbeFailed(type(error).__name__)
