"""Keep the sessions of one home by which processes have locked their folders.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a folder that a living process has locked      a session
one that another living process works on too   a session with an id of its own, ``<id>~<pid>``
the lock is gone, and the process lives        the session has ended: the process goes on in another, or quits
the process has ended                          the session stays as it was last known, with whether its lock
                                               lies there; how it ended is judged elsewhere
a lock of a process that was never seen alive  nothing: a ghost of a kill, or of a container
an agent of coordd's last run                  its id, if its process works on it still; else it has ended
more than MAX_SESSIONS, or MAX_FOLDERS         what was found first, and a sentence
more that have ended than MAX_ENDED            the ones that ended last
=============================================  ===============================================================

All calls may block, and belong in one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.runtime.worker import renew_deadline
from coordd.sources.copilot.live import LiveSession, SessionKey
from coordd.sources.copilot.locks import SESSION_ID, is_locked, lockers, works_on
from coordd.sources.sessions.restored import Known

FOLDER = "session-state"
"""Where a home has a folder for each session."""
MAX_SESSIONS = 1000
"""Sessions of one home that are worked on and read."""
MAX_ENDED = 1000
"""Sessions of one home that have ended and are remembered; beyond it the oldest gives way."""
MAX_FOLDERS = 20_000
"""Folders of sessions that are looked into."""


class Sessions:
    """The sessions of one home.

    ``over_limit`` is a sentence where there are more than are read. ``left`` are the agents that are told of
    no more; who has seen to that empties it.

    Args:
        home: its canonical path.
        look: returns the process that has a pid.
    """

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None]) -> None:
        self.home = home
        self.live: dict[SessionKey, LiveSession] = {}
        self.over_limit: str | None = None
        self.left: set[str] = set()
        self._look = look
        self._of: dict[str, set[SessionKey]] = {}
        self._gone: dict[SessionKey, None] = {}  # those that have ended, the oldest first
        self._restored: dict[SessionKey, tuple[str, str | None]] = {}  # agent id and workspace

    def folder(self, session_id: str) -> str:
        """Return the folder of a session."""
        return f"{self.home}/{FOLDER}/{session_id}"

    def look_at_all(self, wall: float) -> None:
        """Look into every folder, and at every session that is known; raises OSError."""
        self.over_limit = None
        with os.scandir(f"{self.home}/{FOLDER}") as entries:
            names = [one.name for one in islice(entries, MAX_FOLDERS + 1)]
        if len(names) > MAX_FOLDERS:
            self.over_limit = f"more than {MAX_FOLDERS:,} folders in {FOLDER}/: the rest is not read"
        self.look_at({*names[:MAX_FOLDERS], *self._of}, wall)

    def look_at(self, session_ids: Iterable[str], wall: float) -> set[SessionKey]:
        """Look who works on these sessions now; return those of them that are known then."""
        found: list[tuple[ProcessFacts, str]] = []
        asked = {one for one in session_ids if SESSION_ID.fullmatch(one)}
        for session_id in asked:
            renew_deadline()
            found += [(seen, session_id) for seen in self._look_into(session_id)]
        for seen, session_id in sorted(found, key=lambda one: (one[0].process.start, one[0].process.pid)):
            self._take(seen, session_id, wall)
        return {key for session_id in asked for key in self._of.get(session_id, ())}

    def keep_restored(self, known: Mapping[str, Known]) -> None:
        """Take over the agents of coordd's last run, before folders are looked into first."""
        for agent_id, one in known.items():
            if one.restored and one.process is not None:
                session_id = one.session_id or agent_id.rpartition("~")[0] or agent_id
                key = SessionKey(one.process, session_id)
                if key not in self.live and SESSION_ID.fullmatch(session_id):
                    self._restored[key] = agent_id, one.workspace

    def end_restored(self, wall: float) -> None:
        """Take those of coordd's last run for ended whose processes do not work on them now."""
        for key, (agent_id, workspace) in self._restored.items():
            if key not in self.live:
                one = LiveSession(key, agent_id, None, since=wall, settled=True, workspace=workspace)
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
        if one is not None and not any(
            self.live[other].agent_id == one.agent_id for other in self._of.get(key.session_id, ())
        ):
            self.left.add(one.agent_id)

    def of_agents(self, agent_ids: Iterable[str]) -> set[str]:
        """Return the ids of the sessions of these agents."""
        asked = frozenset(agent_ids)
        return {key.session_id for key, one in self.live.items() if one.agent_id in asked}

    def _look_into(self, session_id: str) -> list[ProcessFacts]:
        """Return the processes that work on a session and are not known to yet; note which have ended."""
        folder = self.folder(session_id)
        for key in self._of.get(session_id, set()).copy():
            one = self.live[key]
            if not one.ended and not self._goes_on(one, folder):
                self._has_ended(one)
        try:
            pids = lockers(folder)
        except OSError:  # there is no such folder, or it is no session's
            return []
        working = {key.process.pid for key in self._of.get(session_id, ()) if not self.live[key].ended}
        seen = [self._seen(pid) for pid in pids if pid not in working]
        return [one for one in seen if one is not None and works_on(one, folder)]

    def _goes_on(self, one: LiveSession, folder: str) -> bool:
        process = one.key.process
        try:
            seen = self._look(process.pid)
        except ProbeFailed:
            return True  # it cannot be told
        if seen is None or seen.process != process:
            return False
        one.started = seen.started  # by the clock as it is now: it may have been set
        return is_locked(folder, process.pid)

    def _seen(self, pid: int) -> ProcessFacts | None:
        try:
            return self._look(pid)
        except ProbeFailed:
            return None

    def _take(self, seen: ProcessFacts, session_id: str, wall: float) -> None:
        """Add a session that a process works on, or has taken up again."""
        key = SessionKey(seen.process, session_id)
        self._pop(key)
        if len(self.live) - len(self._gone) >= MAX_SESSIONS:
            self.over_limit = f"more than {MAX_SESSIONS:,} sessions: the rest is not read"
            return
        first = all(self.live[other].ended for other in self._of.get(session_id, ()))
        agent_id, workspace = self._restored.get(key, (None, None))
        if agent_id is None:
            agent_id = session_id if first else f"{session_id}~{seen.process.pid}"
        for other in [other for other in self._gone if self.live[other].agent_id == agent_id]:
            self.drop(other)  # the session goes on in this process
        self.left.discard(agent_id)
        one = LiveSession(key, agent_id, seen.started, since=wall, tty=seen.tty, user=seen.uid)
        one.ties, one.workspace = first, workspace
        self._put(one)

    def _put(self, one: LiveSession) -> None:
        self.live[one.key] = one
        self._of.setdefault(one.key.session_id, set()).add(one.key)

    def _pop(self, key: SessionKey) -> LiveSession | None:
        one = self.live.pop(key, None)
        self._gone.pop(key, None)
        beside = self._of.get(key.session_id, set())
        beside.discard(key)
        if not beside:
            self._of.pop(key.session_id, None)
        return one

    def _has_ended(self, one: LiveSession) -> None:
        """Remember how a session went; the one that ended first gives way."""
        one.ended = True
        one.present = is_locked(self.folder(one.key.session_id), one.key.process.pid)
        self._gone[one.key] = None
        while len(self._gone) > MAX_ENDED:
            self.drop(next(iter(self._gone)))
