"""Share what the readers of homes do: watch what may change, and say where sessions work.

What blocks belongs in one thread. What is watched is watched anew just before it is read, so that what
changes afterwards is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from coordd.agents.traces import AgentTraces
from coordd.sources.sessions.restored import Known
from coordd.sources.sessions.watch import Tell, Watch
from coordd.sources.sessions.work_tree import Place


class Shown(NamedTuple):
    """What is shown: where sessions work, by their working directory, and which of these places."""

    places: Mapping[str, Place]
    wanted: Callable[[Place], bool]


class Told(Protocol):
    """What the watches of a home tell, of every kind; each method is called on the loop."""

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""

    def folder_changed(self, mask: int, name: str) -> None:
        """Note an event in a folder in which sessions appear."""

    def lock_changed(self, mask: int, name: str) -> None:
        """Note that a session was locked, or is no longer."""


class Live(Protocol):
    """One session: ``place`` is where it works, ``workspace`` where coordd's last run has shown it.

    ``ended`` is whether its process has, or has let go of it; ``told`` whether anybody was told of it.
    """

    agent_id: str
    ended: bool
    told: bool
    place: Place | None
    workspace: str | None
    traces: AgentTraces | None

    @property
    def cwd(self) -> str | None:
        """Where it works, None where that is not known."""
        ...


K = TypeVar("K", bound=Hashable)
L = TypeVar("L", bound=Live)
T = TypeVar("T", bound=Hashable)


class Sessions(Protocol[K, L]):
    """The sessions of one home, by what tells one from another.

    ``over_limit`` is a sentence where there are more than are read; ``left`` are the agents that are told of
    no more.
    """

    live: dict[K, L]
    over_limit: str | None
    left: set[str]


class Reader(ABC, Generic[K, L, T]):
    """Read one home; a subclass for each kind says how.

    ``more`` are those of which there is more to read than was read.

    Args:
        home: its canonical path.
        sessions: the sessions of it.
        watch: tells of changes; it is armed here.
    """

    base: frozenset[Hashable]
    """The owners of what is watched whatever sessions there are: :meth:`follow` watches it."""

    def __init__(self, home: str, *, sessions: Any, watch: Watch) -> None:
        self.home = home
        self.sessions: Sessions[K, L] = sessions
        self.more: set[T] = set()
        self._watch = watch
        self._unwatched: dict[str, Exception] = {}

    @property
    @abstractmethod
    def malformed(self) -> dict[str, str]:
        """What cannot be used, by its path, and why."""

    @property
    def unwatched(self) -> Exception | None:
        """Why something could not be watched when it was tried last, None where all is."""
        return next(iter(self._unwatched.values()), None)

    @abstractmethod
    def follow(self) -> None:
        """Watch what is there whatever sessions there are; ``unwatched`` says whether that works."""

    @abstractmethod
    def look_at_all(self, known: Mapping[str, Known], wall: float) -> bool:
        """Find out which sessions there are now; return False where there is nothing to read yet.

        Raises:
            HomeUnreadable: it cannot be read.
        """

    @abstractmethod
    def traces(self, shown: Shown, wall: float, only: Collection[K] | None = None) -> dict[str, AgentTraces]:
        """Read the transcripts of sessions, and return their traces by agent.

        Args:
            shown: which sessions are shown, and where they work.
            wall: the time now in epoch seconds.
            only: these sessions; None: all.
        """

    def forget(self) -> None:
        """Watch nothing any more."""
        for owner in self._watch.owners:
            if isinstance(owner, tuple) and owner[0] == self.home:
                self._watch.forget(owner)

    def working_directories(self, only: Collection[K] | None) -> set[str]:
        """Return where sessions work that have not ended: these, or all."""
        return {one.cwd for one in self._some(only) if not one.ended and one.cwd is not None}

    def _some(self, only: Collection[K] | None) -> list[L]:
        live = self.sessions.live
        return list(live.values()) if only is None else [live[key] for key in only if key in live]

    def _place(self, one: L, shown: Shown) -> None:
        """Note where a session works that has not ended."""
        if not one.ended and one.cwd is not None:
            one.place = shown.places.get(one.cwd, one.place)

    def _is_wanted(self, one: L, shown: Shown) -> bool:
        """Return whether a session is shown; one that anybody was told of is, wherever it works by now."""
        if one.place is None and one.workspace is not None:
            return True  # it was shown by coordd's last run
        return one.told or (one.place is not None and shown.wanted(one.place))

    def _forget_dropped(self) -> None:
        """Watch nothing of sessions that are over, or told of no more."""
        for owner in self._watch.owners:
            if isinstance(owner, tuple) and owner[0] == self.home and not isinstance(owner[1], str):
                one = self.sessions.live.get(owner[1])
                if one is None or one.ended:
                    self._watch.forget(owner)

    def _arm(self, what: tuple[Hashable, ...], wanted: list[tuple[str, int]], tell: Tell) -> None:
        """Watch these paths for an owner, which is a session's if it does not begin with a word."""
        failed = self._watch.arm((self.home, *what), wanted, tell)
        if failed is not None:
            self._unwatched["base" if what[0] in self.base else "sessions"] = failed
