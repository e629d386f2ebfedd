"""Keep the sessions of one home that are known by their process: one of these may have several at once.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a session of a process                         an agent with the session's id, or where it has another living
                                               process as well, ``<id>~<pid>``
one that has ended and goes on in another      the same agent, of that process
process
an agent of coordd's last run                  its id, if its session was found; else it has ended
more than MAX_SESSIONS                         the sessions that were found first, and a sentence
more that have ended than MAX_ENDED            the ones that ended last
=============================================  ===============================================================

How sessions are found is the kind's own; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from coordd.agents.session import Turn
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.sources.sessions.restored import Known
from coordd.sources.sessions.work_tree import Place

MAX_SESSIONS = 1000
"""Sessions of one home that live and are read."""
MAX_ENDED = 1000
"""Sessions of one home that have ended and are remembered; beyond it the oldest gives way."""
EARLY = 2.0
"""Seconds before the start of a process from which lines of a session are taken for its own."""


class SessionKey(NamedTuple):
    """A session, and the process that works on it: either may go on with another."""

    process: Process
    session_id: str


@dataclass(slots=True, eq=False)
class KeyedSession:
    """One session of one process, from the moment at which it was found.

    ``started`` is when the process was, in epoch seconds, None for one of coordd's last run that was not
    found again. ``since`` is when coordd saw it first. ``ended``: the process has, or has let go of it;
    nothing of it is read any more once it is ``settled``. ``problem`` says why what it writes cannot be used,
    ``told`` whether anybody was told of it.
    """

    key: SessionKey
    agent_id: str
    started: float | None
    since: float = 0.0
    tty: str | None = None
    problem: str | None = None
    ended: bool = False
    ties: bool = True
    settled: bool = False
    turn: Turn | None = None
    cwd: str | None = None
    place: Place | None = None
    workspace: str | None = None
    told: bool = False
    traces: AgentTraces | None = None

    @property
    def born(self) -> float | None:
        """The time from which on a turn is the process's own, in epoch seconds."""
        return None if self.started is None else self.started - EARLY


L = TypeVar("L", bound=KeyedSession)


class KeyedSessions(Generic[L]):
    """The sessions of one home; a subclass finds them.

    ``over_limit`` is a sentence where there are more than are read. ``left`` are the agents that are told of
    no more; who has seen to that empties it.

    Args:
        home: its canonical path.
    """

    session: type[L]
    """What makes one."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.live: dict[SessionKey, L] = {}
        self.over_limit: str | None = None
        self.left: set[str] = set()
        self._of: dict[str, set[SessionKey]] = {}  # by the session's id
        self._gone: dict[SessionKey, None] = {}  # those that have ended, the oldest first
        self._restored: dict[SessionKey, tuple[str, str | None]] = {}  # agent id and workspace

    def keep_restored(self, known: Mapping[str, Known]) -> None:
        """Take over the agents of coordd's last run, before sessions are looked for first."""
        for agent_id, one in known.items():
            if one.restored and one.process is not None:
                session_id = one.session_id or agent_id.rpartition("~")[0] or agent_id
                key = SessionKey(one.process, session_id)
                if key not in self.live and self._is_session_id(session_id):
                    self._restored[key] = agent_id, one.workspace

    def end_restored(self, wall: float) -> None:
        """Take those of coordd's last run for ended that were not found again."""
        for key, (agent_id, workspace) in self._restored.items():
            if key not in self.live:
                one = self.session(key, agent_id, None, since=wall, settled=True, workspace=workspace)
                self._put(one)
                self._has_ended(one)
        self._restored.clear()

    def forget_unknown(self, known: Mapping[str, Known]) -> None:
        """Drop sessions that have ended and that nobody tells of any more."""
        for key, one in list(self.live.items()):
            elsewhere = known.get(one.agent_id)
            if one.ended and one.told and (elsewhere is None or elsewhere.dormant):
                self.drop(key)

    def drop(self, key: SessionKey) -> None:
        """Tell of a session no more."""
        one = self._pop(key)
        if one is not None and not any(other.agent_id == one.agent_id for other in self._all_of(key)):
            self.left.add(one.agent_id)

    def of_agents(self, agent_ids: Iterable[str]) -> set[SessionKey]:
        """Return the sessions of these agents."""
        asked = frozenset(agent_ids)
        return {key for key, one in self.live.items() if one.agent_id in asked}

    def _is_session_id(self, _session_id: str) -> bool:
        """Return whether a session may have this id, which coordd's records name."""
        return True

    def _all_of(self, key: SessionKey) -> list[L]:
        """Return a session in all processes that have it, or had."""
        return [self.live[other] for other in self._of.get(key.session_id, ())]

    def _add(self, key: SessionKey, seen: ProcessFacts, wall: float, **more: Any) -> bool:
        """Add a session that was found; return False where there are too many."""
        if len(self.live) - len(self._gone) >= MAX_SESSIONS:
            self.over_limit = f"more than {MAX_SESSIONS:,} sessions: the rest is not read"
            return False
        first = all(one.ended for one in self._all_of(key))
        agent_id, workspace = self._restored.get(key, (None, None))
        if agent_id is None:
            agent_id = key.session_id if first else f"{key.session_id}~{seen.process.pid}"
        for other in [other for other in self._gone if self.live[other].agent_id == agent_id]:
            self.drop(other)  # the session goes on in this process
        self.left.discard(agent_id)
        told = {"ties": first, "workspace": workspace, **more}
        self._put(self.session(key, agent_id, seen.started, since=wall, tty=seen.tty, **told))
        return True

    def _put(self, one: L) -> None:
        self.live[one.key] = one
        self._of.setdefault(one.key.session_id, set()).add(one.key)

    def _pop(self, key: SessionKey) -> L | None:
        one = self.live.pop(key, None)
        self._gone.pop(key, None)
        discard(self._of, key.session_id, key)
        return one

    def _has_ended(self, one: L) -> None:
        """Remember how a session went; the one that ended first gives way."""
        one.ended = True
        self._gone[one.key] = None
        while len(self._gone) > MAX_ENDED:
            self.drop(next(iter(self._gone)))


G = TypeVar("G")


def discard(groups: dict[G, set[SessionKey]], group: G, key: SessionKey) -> None:
    """Take a session out of its group, and the group away once it is empty."""
    members = groups.get(group, set())
    members.discard(key)
    if not members:
        groups.pop(group, None)
