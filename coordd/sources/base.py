"""Define what every source of agents offers, and what it may tell in return.

A source reads one place: the files of one workspace, one Redis. It turns what it reads into traces and knows
no other source. It decides how it is read. When, is decided by what follows it (intake/source.py), which
holds one lock over each reading, so that no two calls of a source overlap::

    start(listener, known)       once, before anything else
    follow()  read_all()         in full: first how changes become known, then everything
    read_some(hints)             what the listener was told of, and what is due by itself
    reread(agent_ids)            before these agents are judged by their silence
    lost(trouble)                it is given up; follow() comes next, when it tells of anything or
                                 ``interval`` has passed
    stop()                       once, at the end; nothing is told after it

Whatever fails is a SourceLost, with the reason in words; nothing else is raised. A call ends in bounded time,
whatever hangs, and never blocks the loop. Everything that ails a source without making it unreadable is a
value in its state or in what was read. tests/integration/test_source_contract.py holds every source to this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, SourceTraces


class SourceLost(Exception):
    """Raised when a source cannot be read; the text completes "it cannot be read: ".

    ``gone`` is true where nothing is left to wait for: what was read had been found by chance and is removed.
    """

    def __init__(self, trouble: str, *, gone: bool = False) -> None:
        self.gone = gone
        super().__init__(trouble)


@dataclass(frozen=True, slots=True)
class Following:
    """How changes become known: they are announced (``push``), or found by reading (``poll``).

    ``state`` is how the source's state names it; ``reason`` says why it is polled, where that is worth words.
    """

    how: Literal["push", "poll"]
    state: str
    reason: str | None = None


class SourceListener(Protocol):
    """What a source tells; each method is called on the event loop and returns at once."""

    def changed(self, hints: Collection[Hashable] | None) -> None:
        """Note that something changed, as hints for :meth:`Source.read_some`; None: anything may have."""
        ...

    def readable(self) -> None:
        """Note that the source can be read (again): everything is to be read."""
        ...

    def lost(self, trouble: str) -> None:
        """Note that the source cannot be read, in words."""
        ...

    def standstill_changed(self) -> None:
        """Note that the state says now that agents cannot beat, or that they can again."""
        ...


class Source(Protocol):
    """One place where agents leave traces.

    ``state`` is what is shown of it; the source sets ``standstill``, the rest is set by who reads it.
    ``patience`` is the number of seconds that the start of coordd waits for the first reading.
    """

    state: SourceState
    patience: float

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes: first that it is readable, now or as soon as it is.

        Args:
            listener: is told.
            known: what this source is known to tell of, by the agent's id; it follows every change.
        """
        ...

    async def follow(self) -> Following:
        """Begin to follow what changes, as far as that is possible now; return how.

        What changes from here on is announced, or is found by the full reading that comes next.

        Raises:
            SourceLost: it cannot be read.
        """
        ...

    async def read_all(self) -> SourceTraces:
        """Read everything; agents that are known and not among the traces have left.

        The state of the traces is ``read``, or ``waiting`` where there is nothing to read yet.

        Raises:
            SourceLost: it cannot be read.
        """
        ...

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read what the hints name, and what else is due (:attr:`due`).

        Hints may name what is not there, or nothing at all.

        Raises:
            SourceLost: it cannot be read.
        """
        ...

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the last beats of these agents again, whether or not a change was announced.

        One without any trace is None in the change.

        Raises:
            SourceLost: it cannot be read.
        """
        ...

    def lost(self, trouble: str) -> None:
        """Give up what belongs to the present connection or watch; :meth:`follow` begins anew."""
        ...

    async def stop(self) -> None:
        """End, and let go of everything."""
        ...

    @property
    def interval(self) -> float:
        """Seconds until everything is to be read again unless it is told of; infinite: not before it is."""
        ...

    @property
    def due(self) -> float | None:
        """The monotonic time at which :meth:`read_some` has to be called even without a hint; None: never."""
        ...


class SourceFinder(Protocol):
    """Find the sources of one kind, now and whenever they may have changed."""

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to call ``changed``, on the event loop, whenever sources may have come or gone."""
        ...

    def stop(self) -> None:
        """End, and let go of everything."""
        ...

    async def find(self) -> Mapping[SourceName, Source] | None:
        """Return all sources of the kind that there are now; a known one is returned as the same object.

        None means that nobody can tell now: those known so far stay.
        """
        ...

    @property
    def interval(self) -> float:
        """Seconds until :meth:`find` is to be called again unless told; infinite: not before it is told."""
        ...


class OneSource:
    """Find one source that is there for as long as coordd runs, or none at all."""

    interval = math.inf

    def __init__(self, source: Source | None = None) -> None:
        self._found = {} if source is None else {source.state.name: source}

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: it never changes."""

    def stop(self) -> None:
        """Do nothing."""

    async def find(self) -> Mapping[SourceName, Source]:
        """Return the source by its name."""
        return self._found


RESCAN = 600.0
"""Seconds after which a source that announces its changes is read in full all the same."""
POLL = 2.0
"""Seconds between two full readings of a source that announces nothing."""
UNREADABLE = 30.0
"""Seconds between two attempts to read a source that cannot be read and does not tell when it can again."""
