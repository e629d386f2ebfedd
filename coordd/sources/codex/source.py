"""Read one home of Codex as a source. What is told, and how soon it is read:

=============================================  ===============================================================
a rollout has changed, or was closed           it is read with the next batch, or once its last reading is a
                                               second ago; whether it is still held is looked at then
a rollout or a folder has appeared, a session  who holds what, with the next batch; a session that was locked
was locked, a program has started              is looked for again until its rollout is held (looks.py); not
                                               twice within a second
the home itself, or events were lost           everything
(something cannot be watched)                  everything, from then on every :data:`POLL` seconds
=============================================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, NamedTuple

from coordd.agents.traces import AgentsChange, AgentTraces
from coordd.host.process_facts import ProcessFacts
from coordd.runtime.schedule import now
from coordd.sources.codex.processes import KIND
from coordd.sources.codex.reader import HomeReader
from coordd.sources.codex.sessions import Sessions
from coordd.sources.sessions.keyed import SessionKey
from coordd.sources.sessions.source import SessionsSource
from coordd.sources.sessions.throttle import Throttle
from coordd.sources.sessions.watch import GONE
from coordd.util import inotify as ino

LOOKED_FOR = 60.0
"""Seconds for which a rollout is looked for whose session was locked."""
MAX_LOOKED_FOR = 100
"""Sessions whose rollouts are looked for at once."""


class RolloutHint(NamedTuple):
    """The rollout of a session has changed, or was closed."""

    key: SessionKey


class LookHint(NamedTuple):
    """Somebody may hold another rollout by now; ``folders``: a folder may have appeared as well."""

    folders: bool


_LOOKS = (LookHint(folders=False), LookHint(folders=True))


class CodexSource(SessionsSource[SessionKey, SessionKey]):
    """The sessions of one home; the arguments are those of :class:`SessionsSource`.

    Args:
        look: returns the process that has a pid.
    """

    kind = KIND
    rank = 21
    _reader: HomeReader

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None], **more: Any) -> None:
        super().__init__(home, **more)
        self._sessions = Sessions(home, look=look)
        self._reader = HomeReader(home, sessions=self._sessions, watch=self._watch, told=self)
        self._looking: Throttle[LookHint] = Throttle()
        self._locked: dict[str, float] = {}

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the rollouts that the hints name, those that have waited, and look who holds what."""
        mono, wall = now().mono, now().wall
        keys = {hint.key for hint in hints if isinstance(hint, RolloutHint)} | self._throttle.take(mono)
        looks = {hint for hint in hints if isinstance(hint, LookHint)} | self._looking.take(mono)
        due = self._looks.is_due(mono)
        if keys:
            keys = await self._run(self._reader.look_at, keys, wall)
        if looks or due:
            self._looking.was_read(_LOOKS, mono)
            keys |= await self._run(self._look, wall, LookHint(folders=True) in looks)
            if due:
                self._looks.looked(mono, now().mono)
        changed: dict[str, AgentTraces | None] = {}
        if keys:
            changed.update(await self._traces(keys))
        self._plan_looks()
        self._poll_if_unwatched()
        return self._change(changed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the rollouts of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        keys = self._sessions.of_agents(asked)
        if keys:
            keys = await self._run(self._reader.look_at, keys, now().wall)
            changed.update(await self._traces(keys))
        return self._change(changed)

    def throttled(self, sessions: Iterable[SessionKey]) -> Iterable[SessionKey]:
        """Return as what these sessions are read once a second at most."""
        return sessions

    @property
    def due(self) -> float | None:
        """When what has changed may be read that may not be yet, or what is missing is to be looked for."""
        times = (super().due, self._looking.due)
        return min((one for one in times if one is not None), default=None)

    # What is told, on the loop.

    def program_started(self) -> None:
        """Note that a program of Codex has started: it may hold a rollout, of any day."""
        self._look_soon(folders=False)

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name in ("sessions", "thread-writer-locks"):
            self._tell(None)

    def folder_changed(self, mask: int, name: str) -> None:
        """Note an event in ``sessions/``, or in a folder below it."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif mask & (GONE | ino.ISDIR):
            self._look_soon(folders=True)
        elif name.startswith("rollout-"):
            self._look_soon(folders=False)

    def lock_changed(self, mask: int, name: str) -> None:
        """Note that a session was locked, or is no longer."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
            return
        if not name.endswith(".lock"):  # somebody lists the folder
            return
        session_id = name.removesuffix(".lock")
        if mask & ino.CLOSE_WRITE:
            self._locked.pop(session_id, None)
        elif session_id not in self._locked and len(self._locked) < MAX_LOOKED_FOR:
            self._locked[session_id] = now().mono + LOOKED_FOR
        self._look_soon(folders=False)

    def _look_soon(self, *, folders: bool) -> None:
        """Have it looked at who holds what: at once, or once the last look is a second ago."""
        hint = LookHint(folders)
        self._tell_in_time(self._looking, hint, hint)

    def rollout_changed(self, key: SessionKey) -> None:
        """Note that a rollout changed, or was closed."""
        self._tell_in_time(self._throttle, key, RolloutHint(key))

    # Readings.

    def _look(self, wall: float, folders: bool) -> set[SessionKey]:
        return self._reader.look(wall, folders_too=folders)

    def _plan_looks(self) -> None:
        """Look for sessions that were locked until their rollouts are held, or for a minute."""
        held = {key.session_id for key, one in self._sessions.live.items() if not one.ended}
        mono = now().mono
        self._locked = {one: at for one, at in self._locked.items() if one not in held and mono < at}
        self._looks.plan(self._locked.keys(), mono)

    async def _traces(self, only: set[SessionKey] | None) -> dict[str, AgentTraces]:
        traces = await super()._traces(only)
        self.state.limits = tuple(self._sessions.limits)
        return traces
