"""Keep the sessions of one home by the records in ``sessions/`` and the processes that they name.

=============================================  ===============================================================
found                                          leads to
=============================================  ===============================================================
a record whose process lives                   a session, which belongs to the process from then on
a record of a process that never was seen      nothing: a ghost of a kill, or of a container
alive
a record of a process of another user than     nothing, and it is malformed
the file's
the record of a front end that has parked      nothing; a session that was told of leaves
no record, and the process lives               the session stays: others take records away
the process has ended                          the session stays as it was last known, with whether its
                                               record lies there; what it says is judged elsewhere
an agent of coordd's last run                  its id, if its process lives; else if its record lies there
more living processes than MAX_SESSIONS        the sessions of the first ones, and a sentence
more that have ended than MAX_ENDED            the ones that ended last
=============================================  ===============================================================

All calls may block, and belong in one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import NamedTuple

from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.sources.claude_code.identity import Holder, Holders, session_of
from coordd.sources.claude_code.live import LiveSession
from coordd.sources.claude_code.processes import is_helper
from coordd.sources.claude_code.records import lies_there, record_of
from coordd.sources.claude_code.session_file import RECORD_NAME, SessionRecord
from coordd.sources.sessions.home_calls import HomeUnreadable
from coordd.sources.sessions.restored import Known
from coordd.util.fields import Malformed, jsonable
from coordd.util.untrusted_folder import FOLDER_FLAGS, explain_unreadable, open_folder

MAX_SESSIONS = 1000
"""Living sessions of one home that are read."""
MAX_ENDED = 1000
"""Sessions of one home that have ended and are remembered; beyond it the oldest gives way."""
MAX_ENTRIES = 20_000
"""Names in ``sessions/`` that are looked at."""


class _Found(NamedTuple):
    seen: ProcessFacts
    record: SessionRecord


class Sessions:
    """The sessions of one home, by process.

    ``malformed`` maps the records that cannot be used to the reason, ``over_limit`` is a sentence where there
    are more than are read. ``left`` are the agents that are told of no more, ``retied`` the processes whose
    ties have changed; who has seen to that empties them.

    Args:
        home: its canonical path.
        look: returns the process that has a pid.
    """

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None]) -> None:
        self.home = home
        self.live: dict[Process, LiveSession] = {}
        self.malformed: dict[str, str] = {}
        self.over_limit: str | None = None
        self.left: set[str] = set()
        self.retied: set[Process] = set()
        self._look = look
        self._holders = Holders()
        self._ended: dict[str, Process] = {}  # by the agent's id; the oldest first

    def read_all(self, known: Mapping[str, Known], wall: float) -> bool:
        """Read all records; return False where there is no ``sessions/``.

        Raises:
            HomeUnreadable: it exists and cannot be read.
        """
        folder = self._open()
        self.malformed, self.over_limit = {}, None
        if folder is None:
            self._absent(known)
            return False
        try:
            pids = self._pids(folder)
            self._keep_restored(known, folder, wall)
            self._take(folder, pids | {process.pid for process in self.live}, wall)
        except OSError as error:
            raise HomeUnreadable(explain_unreadable(error, f"{self.home}/sessions")) from None
        finally:
            os.close(folder)
        for process, one in list(self.live.items()):
            elsewhere = known.get(one.agent_id)
            if one.ended and one.told and (elsewhere is None or elsewhere.dormant):
                self.drop(process)
        return True

    def read(self, pids: Collection[int], wall: float) -> None:
        """Read the records of these processes.

        Raises:
            HomeUnreadable: as in :meth:`read_all`; or there is no ``sessions/``.
        """
        folder = self._open()
        if folder is None:
            raise HomeUnreadable(f"{jsonable(self.home)}/sessions is gone")
        try:
            self._take(folder, pids, wall)
        except OSError as error:
            raise HomeUnreadable(explain_unreadable(error, f"{self.home}/sessions")) from None
        finally:
            os.close(folder)

    def drop(self, process: Process) -> None:
        """Tell of a process's session no more."""
        one = self.live.pop(process, None)
        if one is None:
            return
        self.left.add(one.agent_id)
        self._holders.drop(process)
        if self._ended.get(one.agent_id) == process:
            del self._ended[one.agent_id]

    def _open(self) -> int | None:
        path = self.home
        try:
            home = os.open(path, FOLDER_FLAGS | os.O_NOFOLLOW)
            path = f"{self.home}/sessions"
            try:
                return open_folder("sessions", home)
            finally:
                os.close(home)
        except FileNotFoundError:
            return None
        except Malformed as wrong:
            raise HomeUnreadable(f"{jsonable(path)} is {wrong}") from None
        except OSError as error:
            raise HomeUnreadable(explain_unreadable(error, path)) from None

    def _absent(self, known: Mapping[str, Known]) -> None:
        """Do without any record: what is known stays known for as long as its process lives."""
        if any(not one.ended for one in self.live.values()) or any(not one.dormant for one in known.values()):
            raise HomeUnreadable(f"{jsonable(self.home)}/sessions was there and is gone")

    def _pids(self, folder: int) -> set[int]:
        """Return the pids that records are named after and that live."""
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
        if len(names) > MAX_ENTRIES:
            self.over_limit = f"more than {MAX_ENTRIES:,} files in sessions/: the rest is not read"
        pids = set()
        for name in names[:MAX_ENTRIES]:
            found = RECORD_NAME.fullmatch(name)
            if found is not None and self._seen(int(found[1])) is not None:
                pids.add(int(found[1]))
        return pids

    def _seen(self, pid: int) -> ProcessFacts | None:
        try:
            return self._look(pid)
        except ProbeFailed:
            return None

    def _take(self, folder: int, pids: Collection[int], wall: float) -> None:
        """Read the records of these processes, and bring their sessions up to date."""
        found: dict[int, _Found | None] = {}
        for pid in pids:
            seen = self._seen(pid)
            if seen is not None:
                found[pid] = self._read(folder, seen, wall)
        parked = {one.seen.process for one in found.values() if one is not None and one.record.parked}
        for process in parked:
            self.drop(process)
        fresh = [one for one in found.values() if one is not None and one.seen.process not in parked]
        for process, one in list(self.live.items()):
            if process.pid in pids and not one.ended:
                self._update(one, found.get(process.pid), folder, wall)
        for new in sorted(fresh, key=lambda one: (one.seen.process.start, one.seen.process.pid)):
            live = self.live.get(new.seen.process)
            if live is not None:
                live.take_record(new.record, wall)
                live.follow_session(new.record.session_id, wall)
                self._hold(live)
            elif not is_helper(new.seen.process.pid):
                self._add(new, wall)
        self._tie()

    def _hold(self, one: LiveSession) -> None:
        if not one.ended:
            self._holders.put(Holder(one.process, one.agent_id, one.session_id))

    def _tie(self) -> None:
        """Note anew which process traces mean that name a session, where any has come or gone."""
        for session_id in self._holders.touched:
            first = self._holders.first(session_id)
            for process in self._holders.within(session_id):
                one = self.live[process]
                # Who came later keeps an id of its own, whoever ends first.
                if one.ties and process != first:
                    one.ties = False
                    self.retied.add(process)
        self._holders.touched.clear()

    def _has_ended(self, one: LiveSession) -> None:
        """Remember how a session went; the one that ended first gives way."""
        one.ended = True
        self._holders.drop(one.process)
        self._ended[one.agent_id] = one.process
        while len(self._ended) > MAX_ENDED:
            self.drop(next(iter(self._ended.values())))

    def _update(self, one: LiveSession, found: _Found | None, folder: int, wall: float) -> None:
        """Note whether a session's process lives, and whether its record lies there."""
        try:
            seen = self._look(one.process.pid)
        except ProbeFailed:
            return  # it cannot be told
        if seen is not None and seen.process == one.process:
            one.started = seen.started  # by the clock as it is now: it may have been set
        else:
            self._has_ended(one)
        if found is None or one.ended:  # it may have been taken away, in order, since it was read
            one.present = self._lies_there(folder, one, wall)
        else:
            one.present = found.seen.process == one.process

    def _lies_there(self, folder: int, one: LiveSession, wall: float) -> bool:
        """Return whether there is a record that can be that of this process, whole or not."""
        there, record = lies_there(folder, one.process, wall)
        if record is not None and one.record is None:
            one.take_record(record, wall)
        return there

    def _read(self, folder: int, seen: ProcessFacts, wall: float) -> _Found | None:
        """Read the record of a living process; None where there is none that is its own and can be used."""
        path = f"{jsonable(self.home)}/sessions/{seen.process.pid}.json"
        self.malformed.pop(path, None)
        record, problem = record_of(folder, seen, wall)
        if problem is not None:
            self.malformed[path] = problem
        return _Found(seen, record) if record is not None else None

    def _add(self, new: _Found, wall: float) -> None:
        if len(self._holders) >= MAX_SESSIONS:
            self.over_limit = f"more than {MAX_SESSIONS:,} sessions: the rest is not read"
            return
        seen, record = new
        agent_id = self._holders.agent_id_of(seen.process, record.session_id)
        # Another process of this session has ended: the session goes on in this one.
        for name in (record.session_id, agent_id):
            if name in self._ended:
                self.drop(self._ended[name])
        self.left.discard(agent_id)
        self.live[seen.process] = one = LiveSession(
            seen.process,
            agent_id,
            record.session_id,
            seen.started,
            user=seen.uid,
            tty=seen.tty,
            waits_since=wall,
        )
        one.take_record(record, wall)
        self._hold(one)

    def _keep_restored(self, known: Mapping[str, Known], folder: int, wall: float) -> None:
        """Take over the agents of coordd's last run: their ids, and how those went that are gone."""
        for agent_id, one in known.items():
            if not one.restored or one.process is None or one.process in self.live:
                continue
            seen = self._seen(one.process.pid)
            lives = seen is not None and seen.process == one.process
            live = LiveSession(
                one.process,
                agent_id,
                one.session_id or session_of(agent_id),
                seen.started if seen is not None and lives else None,
                user=seen.uid if seen is not None and lives else None,
                tty=seen.tty if seen is not None and lives else None,
                settled=not lives,
                workspace=one.workspace,
            )
            live.present = self._lies_there(folder, live, wall)
            self.live[one.process] = live
            if lives:
                self._hold(live)
            else:
                self._has_ended(live)
