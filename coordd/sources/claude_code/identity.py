"""Give each process of a session the id that its agent has for as long as the process lives.

Pure. It is the first session id that coordd saw of the process, kept over ``/clear`` and resume. Where a
living process has that id, or that session, already, it is ``<session id>~<pid>``.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from coordd.host.process_facts import Process


class Holder(NamedTuple):
    """A living process of a session: the id of its agent, and that of the session that it is in now."""

    process: Process
    agent_id: str
    session_id: str


class Holders:
    """All living processes of sessions, found by their ids without going through the others.

    ``touched`` are the sessions in which processes have come or gone; who has seen to that empties it.
    """

    def __init__(self) -> None:
        self.touched: set[str] = set()
        self._holders: dict[Process, Holder] = {}
        self._agents: dict[str, int] = {}
        self._in: dict[str, set[Process]] = {}

    def put(self, one: Holder) -> None:
        """Add a process, or note that it goes on in another session."""
        if self._holders.get(one.process) == one:
            return
        self.drop(one.process)
        self._holders[one.process] = one
        self._agents[one.agent_id] = self._agents.get(one.agent_id, 0) + 1
        self._in.setdefault(one.session_id, set()).add(one.process)
        self.touched.add(one.session_id)

    def drop(self, process: Process) -> None:
        """Forget a process that has ended; one that is not known is passed over."""
        one = self._holders.pop(process, None)
        if one is None:
            return
        self._agents[one.agent_id] -= 1
        if not self._agents[one.agent_id]:
            del self._agents[one.agent_id]
        inside = self._in[one.session_id]
        inside.discard(process)
        if not inside:
            del self._in[one.session_id]
        self.touched.add(one.session_id)

    def within(self, session_id: str) -> AbstractSet[Process]:
        """Return the processes that are in a session now."""
        return self._in.get(session_id, frozenset())

    def first(self, session_id: str) -> Process | None:
        """Return the process that traces which name the session mean: the first in it."""
        inside = self.within(session_id)
        return min(inside, key=lambda process: (process.start, process.pid), default=None)

    def agent_id_of(self, process: Process, session_id: str) -> str:
        """Return the id of a new process's agent."""
        taken = session_id in self._agents or session_id in self._in
        return f"{session_id}~{process.pid}" if taken else session_id

    def __len__(self) -> int:
        return len(self._holders)


def session_of(agent_id: str) -> str:
    """Return the session id that an agent's id was made of."""
    return agent_id.rpartition("~")[0] or agent_id
