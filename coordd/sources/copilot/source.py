"""Read one home of Copilot as a source. What is told, and how soon it is read:

=============================================  ===============================================================
the folder of a session was locked or          who works on it, and its events, with the next batch, or once
unlocked, or its events have changed           its last reading is a second ago
the folder of a session has appeared           the same, and until a process has locked it again and again, at
                                               growing pauses, for a minute
the home itself, or events were lost           everything
(something cannot be watched)                  everything, from then on every :data:`POLL` seconds, or as many
                                               as keep the cost low
=============================================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, NamedTuple

from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.host.process_facts import ProcessFacts
from coordd.runtime.pace import SHARE
from coordd.runtime.schedule import now
from coordd.sources.base import POLL
from coordd.sources.copilot.locks import KIND, SESSION_ID
from coordd.sources.copilot.reader import LOCKS, HomeReader
from coordd.sources.copilot.sessions import FOLDER, Sessions
from coordd.sources.sessions.keyed import SessionKey
from coordd.sources.sessions.source import SessionsSource
from coordd.sources.sessions.watch import GONE
from coordd.util import inotify as ino

LOOKED_FOR = 60.0
"""Seconds for which a new folder is looked into until a process has locked it."""
MAX_LOOKED_FOR = 100
"""Folders that are looked into again and again at once."""


class SessionHint(NamedTuple):
    """Something of a session has changed: who works on it, or its events."""

    session_id: str


class CopilotSource(SessionsSource[SessionKey, str]):
    """The sessions of one home; the arguments are those of :class:`SessionsSource`.

    Args:
        look: returns the process that has a pid.
    """

    kind = KIND
    rank = 22
    _reader: HomeReader

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None], **more: Any) -> None:
        super().__init__(home, **more)
        self._sessions = Sessions(home, look=look)
        self._reader = HomeReader(home, sessions=self._sessions, watch=self._watch, told=self)
        self._new: dict[str, float] = {}

    async def read_all(self) -> SourceTraces:
        """Read everything; it costs a look into the folder of each session that there ever was."""
        began = now().mono
        traces = await super().read_all()
        self._poll = max(POLL, SHARE * (now().mono - began))
        return traces

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the sessions that the hints name, those that have waited, and those that are looked for."""
        mono, wall = now().mono, now().wall
        wanted = {hint.session_id for hint in hints if isinstance(hint, SessionHint)}
        wanted |= self._throttle.take(mono)
        due = self._looks.is_due(mono)
        if due:
            wanted |= self._new.keys()
        changed: dict[str, AgentTraces | None] = {}
        if wanted:
            changed.update(await self._traces(await self._run(self._reader.look_at, wanted, wall)))
        if due:
            self._looks.looked(mono, now().mono)
        self._plan_looks()
        return self._change(changed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the sessions of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        wanted = {key.session_id for key in self._sessions.of_agents(asked)}
        if wanted:
            changed.update(await self._traces(await self._run(self._reader.look_at, wanted, now().wall)))
        return self._change(changed)

    def throttled(self, sessions: Iterable[SessionKey]) -> Iterable[str]:
        """Return as what these sessions are read once a second at most."""
        return {key.session_id for key in sessions}

    # What is told, on the loop.

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name == FOLDER:
            self._tell(None)

    def folder_changed(self, mask: int, name: str) -> None:
        """Note an event in the folder that holds those of all sessions."""
        if mask & (GONE | ino.Q_OVERFLOW) or name == LOCKS:
            self._tell(None)
        elif mask & ino.ISDIR and SESSION_ID.fullmatch(name):
            if len(self._new) < MAX_LOOKED_FOR:
                self._new[name] = now().mono + LOOKED_FOR
            self.session_changed(name)

    def lock_changed(self, mask: int, name: str) -> None:
        """Note that the folder of a session was locked, or is no longer."""
        if mask & (GONE | ino.Q_OVERFLOW):
            self._tell(None)
        elif mask & ino.CLOSE_WRITE and name.endswith(".lock"):
            self.session_changed(name.removesuffix(".lock"))

    def session_changed(self, session_id: str) -> None:
        """Note that something of a session changed."""
        self._tell_in_time(self._throttle, session_id, SessionHint(session_id))

    # Readings.

    def _plan_looks(self) -> None:
        """Look into new folders until a process has locked them, or for a minute."""
        locked = {key.session_id for key, one in self._sessions.live.items() if not one.ended}
        mono = now().mono
        self._new = {one: at for one, at in self._new.items() if one not in locked and mono < at}
        self._looks.plan(self._new.keys(), mono)
