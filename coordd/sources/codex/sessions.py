"""Keep the sessions of one home by who holds their rollouts open.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a rollout that a process of Codex holds open   a session; a process may hold several
one that another living process holds as well  a session with an id of its own, ``<id>~<pid>``
one that lies elsewhere by now, and is held    the session goes on
one that is held no longer, or the process     the session stays as it was last known; how it ended is judged
has ended                                      elsewhere
one that is held again                         the session goes on
a process whose files cannot be seen           whatever was known of it stays
an agent of coordd's last run                  its id, if its process holds its rollout; else it has ended
more than MAX_SESSIONS                         the sessions that were found first, and a sentence
more that have ended than MAX_ENDED            the ones that ended last
=============================================  ===============================================================

All calls may block, and belong in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from coordd.agents.limits import ToldLimit, newest
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.sources.codex.held import Held, held_by, held_still
from coordd.sources.codex.live import LiveSession, SessionKey
from coordd.sources.codex.programs import Programs
from coordd.sources.sessions.restored import Known

MAX_SESSIONS = 1000
"""Rollouts of one home that are held open and read."""
MAX_ENDED = 1000
"""Sessions of one home that have ended and are remembered; beyond it the oldest gives way."""


class Sessions:
    """The sessions of one home.

    ``over_limit`` is a sentence where there are more than are read. ``left`` are the agents that are told of
    no more, ``ended`` the sessions that have ended since, ``added`` those that have come, or have another
    rollout; who has seen to that empties them. ``limits`` is what was told of the home's account.

    Args:
        home: its canonical path.
        programs: returns the processes that may hold rollouts; ``anew``: of all, whatever is known.
        look: returns the process that has a pid.
    """

    def __init__(
        self,
        home: str,
        *,
        look: Callable[[int], ProcessFacts | None],
        programs: Callable[[bool], Collection[ProcessFacts]] | None = None,
    ) -> None:
        self.home = home
        self.live: dict[SessionKey, LiveSession] = {}
        self.over_limit: str | None = None
        self.left: set[str] = set()
        self.ended: set[SessionKey] = set()
        self.added: set[SessionKey] = set()
        self.limits: list[ToldLimit] = []
        own = Programs()
        self._programs = programs or (lambda anew: own.look(anew=anew))
        self._look = look
        self._of: dict[Process, set[SessionKey]] = {}
        self._gone: dict[SessionKey, None] = {}  # those that have ended, the oldest first
        self._restored: dict[SessionKey, tuple[str, str | None]] = {}  # agent id and workspace

    def look_at_all(self, wall: float, *, anew: bool = False) -> None:
        """Look who holds what now."""
        self.over_limit = None
        seen = {one.process: one for one in self._programs(anew)}
        for process in [one for one in self._of if one not in seen]:
            if any(not self.live[key].ended for key in self._of[process]):
                self._look_again(process, wall)
        for one in sorted(seen.values(), key=lambda one: one.process.start):
            self._take(one, wall)

    def look_at(self, keys: Iterable[SessionKey], wall: float) -> None:
        """Look whether these sessions are still held."""
        for key in keys:
            one = self.live.get(key)
            if one is None or one.ended:
                continue
            now = held_still(one.held) if one.held is not None else None
            if now is None:
                self._look_again(key.process, wall)
            else:
                one.held = now

    def keep_restored(self, known: Mapping[str, Known]) -> None:
        """Take over the agents of coordd's last run, before who holds what is looked at first."""
        for agent_id, one in known.items():
            if one.restored and one.process is not None:
                session_id = one.session_id or agent_id.rpartition("~")[0] or agent_id
                key = SessionKey(one.process, session_id)
                if key not in self.live:
                    self._restored[key] = agent_id, one.workspace

    def end_restored(self, wall: float) -> None:
        """Take those of coordd's last run for ended whose rollouts nobody holds now."""
        for key, (agent_id, workspace) in self._restored.items():
            if key not in self.live:
                one = LiveSession(key, agent_id, None, None, since=wall, settled=True, workspace=workspace)
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
        if one is not None and not any(other.agent_id == one.agent_id for other in self.live.values()):
            self.left.add(one.agent_id)

    def note_limits(self, told: Collection[ToldLimit]) -> None:
        """Take over what a rollout tells of the account."""
        if told:
            self.limits = newest([*self.limits, *told])

    def of_agents(self, agent_ids: Collection[str]) -> set[SessionKey]:
        """Return the sessions of these agents."""
        asked = frozenset(agent_ids)
        return {key for key, one in self.live.items() if one.agent_id in asked}

    def subagents_of(self, one: LiveSession) -> list[LiveSession]:
        """Return the living sessions that are subagents of this one, in the same process."""
        beside = (self.live[key] for key in self._of.get(one.key.process, ()))
        return [
            other
            for other in beside
            if not other.ended and other.head is not None and other.head.parent == one.key.session_id
        ]

    def _look_again(self, process: Process, wall: float) -> None:
        try:
            seen = self._look(process.pid)
        except ProbeFailed:
            return  # it cannot be told
        if seen is not None and seen.process == process:
            self._take(seen, wall)
            return
        for key in list(self._of.get(process, ())):
            if key in self.live and not self.live[key].ended:
                self._has_ended(self.live[key])

    def _take(self, seen: ProcessFacts, wall: float) -> None:
        """Bring the sessions of a living process up to date."""
        held = held_by(seen, self.home, self._known_of(seen.process))
        if held is None:
            return
        found = {SessionKey(seen.process, one.session_id): one for one in held}
        for key in list(self._of.get(seen.process, ())):
            one = self.live.get(key)
            if one is None:
                continue
            if key not in found:
                if not one.ended:
                    self._has_ended(one)
            elif one.ended:
                self._pop(key)  # it is held again, as if it were new
            else:
                if one.held is not None and one.held.mark != found[key].mark:
                    self.added.add(key)  # it is another file, which is to be read and watched
                one.held, one.started = found[key], seen.started  # by the clock as it is now
        for key, rollout in found.items():
            if key not in self.live:
                self._add(key, rollout, seen, wall)

    def _known_of(self, process: Process) -> dict[str, Held | None]:
        """Return the sessions of a process that have not ended, each with its rollout as far as known."""
        known: dict[str, Held | None] = {
            key.session_id: None for key in self._restored if key.process == process
        }
        for key in self._of.get(process, ()):
            one = self.live[key]
            if not one.ended:
                known[key.session_id] = one.held
        return known

    def _add(self, key: SessionKey, rollout: Held, seen: ProcessFacts, wall: float) -> None:
        if len(self.live) - len(self._gone) >= MAX_SESSIONS:
            self.over_limit = f"more than {MAX_SESSIONS:,} sessions: the rest is not read"
            return
        beside = (one for one in self.live.values() if one.key.session_id == key.session_id)
        first = all(one.ended for one in beside)
        agent_id, workspace = self._restored.get(key, (None, None))
        if agent_id is None:
            agent_id = key.session_id if first else f"{key.session_id}~{seen.process.pid}"
        for other in [other for other in self._gone if self.live[other].agent_id == agent_id]:
            self.drop(other)  # the session goes on in this process
        self.left.discard(agent_id)
        one = LiveSession(key, agent_id, rollout, seen.started, since=wall, tty=seen.tty)
        one.ties, one.workspace = first, workspace
        self._put(one)
        self.added.add(key)

    def _put(self, one: LiveSession) -> None:
        self.live[one.key] = one
        self._of.setdefault(one.key.process, set()).add(one.key)

    def _pop(self, key: SessionKey) -> LiveSession | None:
        one = self.live.pop(key, None)
        self._gone.pop(key, None)
        beside = self._of.get(key.process, set())
        beside.discard(key)
        if not beside:
            self._of.pop(key.process, None)
        return one

    def _has_ended(self, one: LiveSession) -> None:
        """Remember how a session went; the one that ended first gives way."""
        one.ended = True
        self.ended.add(one.key)
        self._gone[one.key] = None
        while len(self._gone) > MAX_ENDED:
            self.drop(next(iter(self._gone)))
