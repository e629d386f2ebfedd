"""Learn that a process has ended, at once and without looking again and again.

A process is known by its pid and its start, for pids are used again. How its end is learned:

=======================================================  ================================================
the kernel gives a descriptor (process_end.py)           it becomes readable: at once
it refuses, or :attr:`ProcessWatch.most` are open        its start is looked at by each ``check()``, and a
                                                         descriptor is asked for again
it cannot be told whether it is this very process        so too
=======================================================  ================================================

It knows nothing of agents, and has no timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from coordd.runtime.process_end import EndDescriptor, open_end
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.util.descriptors import shares
from coordd.util.slices import slices

log = logging.getLogger(__name__)

P = TypeVar("P", bound=tuple[int, int])
"""A process: its pid and its start."""

DEADLINE = 2.0
"""Seconds in which one slice of a check has to be done."""
_AT_ONCE = 2000
"""The number of processes that are looked at in one call."""
_UNLIMITED = 4096
"""Descriptors where the limit of the process is infinite."""


def descriptor_share() -> int:
    """Return how many descriptors may serve to watch processes."""
    share = shares().processes
    return _UNLIMITED if share < 0 else share


@dataclass(slots=True)
class _Watched(Generic[P]):
    callbacks: list[Callable[[P], None]] = field(default_factory=list)
    descriptor: EndDescriptor | None = None
    over: bool = False  # it has ended, which is about to be told


class ProcessWatch(Generic[P]):
    """Call back once when a process has ended; all who watch one process share one descriptor.

    Args:
        lives: returns whether this very process lives, None where that cannot be told; it must not wait. It
            is called on the loop, and for checks in the worker's thread.
        worker: the thread that checks.
        opener: opens what tells of the end of the process that has a pid now.
        most: the number of descriptors that may be open.
    """

    def __init__(
        self,
        *,
        lives: Callable[[P], bool | None],
        worker: Worker,
        opener: Callable[[int], EndDescriptor] = open_end,
        most: int | None = None,
    ) -> None:
        self.most = descriptor_share() if most is None else most
        self._lives = lives
        self._worker = worker
        self._opener = opener
        self._watched: dict[P, _Watched[P]] = {}
        self._checked: set[P] = set()
        self._open = 0
        self._hanging: asyncio.Future[Any] | None = None

    @property
    def watched(self) -> int:
        """The number of processes that are watched."""
        return len(self._watched)

    @property
    def checked(self) -> int:
        """The number of those that only checks tell of."""
        return len(self._checked)

    def watch(self, process: P, ended: Callable[[P], None]) -> bool:
        """Call ``ended`` once, on the loop and after this has returned, when the process has ended.

        Returns:
            False for one that has ended already, which is told of at the next turn of the loop.
        """
        found = self._watched.get(process)
        if found is not None:
            found.callbacks.append(ended)
            return not found.over
        found = self._watched[process] = _Watched([ended])
        self._begin(process)
        return not found.over

    def unwatch(self, process: P, ended: Callable[[P], None]) -> None:
        """Take back one :meth:`watch`; without one, this changes nothing."""
        found = self._watched.get(process)
        if found is None or ended not in found.callbacks:
            return
        found.callbacks.remove(ended)
        if not found.callbacks:
            del self._watched[process]
            self._let_go(process, found)

    async def check(self) -> None:
        """Look at the processes that the kernel does not tell of; to be called now and then.

        A check that hangs says nothing; while it does, there is no further one.
        """
        if self._hanging is not None and not self._hanging.done():
            return
        for some in slices(self._checked, _AT_ONCE):
            try:
                answers = await self._worker.run(self._look, some, deadline=DEADLINE)
            except DeadlineMissed as missed:
                self._hanging = missed.future
                return
            for process, alive in zip(some, answers, strict=True):
                self._take(process, alive)

    def close(self) -> None:
        """Watch nothing any longer; nobody is called back."""
        for process, watched in self._watched.items():
            self._let_go(process, watched)
        self._watched.clear()

    def _begin(self, process: P) -> None:
        """Have the kernel tell of the end; what it refuses is checked."""
        if self._open >= self.most:
            self._checked.add(process)
            return
        try:
            descriptor = self._opener(process[0])
        except ProcessLookupError:
            self._end_soon(process)
            return
        except OSError:
            self._checked.add(process)
            return
        # Its pid may have been used again before it was opened; from here on it cannot.
        alive = self._lives(process)
        if not alive:
            descriptor.close()
            if alive is None:
                self._checked.add(process)
            else:
                self._end_soon(process)
            return
        self._checked.discard(process)
        self._open += 1
        self._watched[process].descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor.fd, self._end, process)

    def _look(self, some: Sequence[P]) -> list[bool | None]:
        """Return whether each lives; runs in the worker's thread."""
        return [self._lives(process) for process in some]

    def _take(self, process: P, alive: bool | None) -> None:
        """Take over what a check tells of a process that may be watched otherwise by now, or no longer."""
        if process not in self._checked:
            return
        if alive:
            self._begin(process)
        elif alive is not None:
            self._end(process)

    def _end_soon(self, process: P) -> None:
        self._checked.discard(process)
        self._watched[process].over = True
        asyncio.get_running_loop().call_soon(self._end, process)

    def _end(self, process: P) -> None:
        watched = self._watched.pop(process, None)
        if watched is None:
            return
        self._let_go(process, watched)
        for ended in watched.callbacks:
            try:
                ended(process)
            except Exception:  # a bug in one must not keep it from the others
                log.exception("telling of the end of process %d failed", process[0])

    def _let_go(self, process: P, watched: _Watched[P]) -> None:
        self._checked.discard(process)
        descriptor, watched.descriptor = watched.descriptor, None
        if descriptor is not None:
            self._open -= 1
            asyncio.get_running_loop().remove_reader(descriptor.fd)
            descriptor.close()
