"""Keep the sessions of one home by who holds their rollouts open.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a rollout that a process of Codex holds open   a session; a process may hold several
one that lies elsewhere by now, and is held    the session goes on
one that is held no longer, or the process     the session stays as it was last known; how it ended is judged
has ended                                      elsewhere
one that is held again                         the session goes on
a process whose files cannot be seen           whatever was known of it stays
=============================================  ===============================================================

What becomes of them then is said in sessions/keyed.py. All calls may block, and belong in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from coordd.agents.limits import ToldLimit, newest
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.sources.codex.held import Held, held_by, held_still
from coordd.sources.codex.live import LiveSession
from coordd.sources.codex.programs import Programs
from coordd.sources.sessions.keyed import KeyedSessions, SessionKey, discard


class Sessions(KeyedSessions[LiveSession]):
    """The sessions of one home; the arguments are those of :class:`KeyedSessions`.

    ``ended`` are the sessions that have ended since, ``added`` those that have come, or have another rollout;
    who has seen to that empties them. ``limits`` is what was told of the home's account.

    Args:
        programs: returns the processes that may hold rollouts; ``anew``: of all, whatever is known.
        look: returns the process that has a pid.
    """

    session = LiveSession

    def __init__(
        self,
        home: str,
        *,
        look: Callable[[int], ProcessFacts | None],
        programs: Callable[[bool], Collection[ProcessFacts]] | None = None,
    ) -> None:
        super().__init__(home)
        self.ended: set[SessionKey] = set()
        self.added: set[SessionKey] = set()
        self.limits: list[ToldLimit] = []
        own = Programs()
        self._programs = programs or (lambda anew: own.look(anew=anew))
        self._look = look
        self._by_process: dict[Process, set[SessionKey]] = {}

    def look_at_all(self, wall: float, *, anew: bool = False) -> None:
        """Look who holds what now."""
        self.over_limit = None
        seen = {one.process: one for one in self._programs(anew)}
        for process in [one for one in self._by_process if one not in seen]:
            if any(not self.live[key].ended for key in self._by_process[process]):
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

    def note_limits(self, told: Collection[ToldLimit]) -> None:
        """Take over what a rollout tells of the account."""
        if told:
            self.limits = newest([*self.limits, *told])

    def subagents_of(self, one: LiveSession) -> list[LiveSession]:
        """Return the living sessions that are subagents of this one, in the same process."""
        beside = (self.live[key] for key in self._by_process.get(one.key.process, ()))
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
        for key in list(self._by_process.get(process, ())):
            if key in self.live and not self.live[key].ended:
                self._has_ended(self.live[key])

    def _take(self, seen: ProcessFacts, wall: float) -> None:
        """Bring the sessions of a living process up to date."""
        held = held_by(seen, self.home, self._known_of(seen.process))
        if held is None:
            return
        found = {SessionKey(seen.process, one.session_id): one for one in held}
        for key in list(self._by_process.get(seen.process, ())):
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
            if key not in self.live and self._add(key, seen, wall, held=rollout):
                self.added.add(key)

    def _known_of(self, process: Process) -> dict[str, Held | None]:
        """Return the sessions of a process that have not ended, each with its rollout as far as known."""
        known: dict[str, Held | None] = {
            key.session_id: None for key in self._restored if key.process == process
        }
        for key in self._by_process.get(process, ()):
            one = self.live[key]
            if not one.ended:
                known[key.session_id] = one.held
        return known

    def _put(self, one: LiveSession) -> None:
        super()._put(one)
        self._by_process.setdefault(one.key.process, set()).add(one.key)

    def _pop(self, key: SessionKey) -> LiveSession | None:
        discard(self._by_process, key.process, key)
        return super()._pop(key)

    def _has_ended(self, one: LiveSession) -> None:
        self.ended.add(one.key)
        super()._has_ended(one)
