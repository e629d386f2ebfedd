"""Keep the sessions of one home by which processes have locked their folders.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a folder that a living process has locked      a session
the lock is gone, and the process lives        the session has ended: the process goes on in another, or quits
the process has ended                          the session stays as it was last known, with whether its lock
                                               lies there; how it ended is judged elsewhere
a lock of a process that was never seen alive  nothing: a ghost of a kill, or of a container
more than MAX_FOLDERS                          what was found first, and a sentence
=============================================  ===============================================================

What becomes of them then is said in sessions/keyed.py. All calls may block, and belong in one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice

from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.runtime.worker import renew_deadline
from coordd.sources.copilot.live import LiveSession
from coordd.sources.copilot.locks import SESSION_ID, is_locked, lockers, works_on
from coordd.sources.sessions.keyed import KeyedSessions, SessionKey

FOLDER = "session-state"
"""Where a home has a folder for each session."""
MAX_FOLDERS = 20_000
"""Folders of sessions that are looked into."""


class Sessions(KeyedSessions[LiveSession]):
    """The sessions of one home; the arguments are those of :class:`KeyedSessions`.

    Args:
        look: returns the process that has a pid.
    """

    session = LiveSession

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None]) -> None:
        super().__init__(home)
        self._look = look

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

    def _is_session_id(self, session_id: str) -> bool:
        return SESSION_ID.fullmatch(session_id) is not None

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
        self._add(key, seen, wall, user=seen.uid)

    def _has_ended(self, one: LiveSession) -> None:
        one.present = is_locked(self.folder(one.key.session_id), one.key.process.pid)
        super()._has_ended(one)
