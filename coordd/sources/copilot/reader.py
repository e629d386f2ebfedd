"""Read one home of Copilot: who works on its sessions, and the events of those that are to be shown.

Everything here may block, and belongs in one thread. What is watched is watched anew just before it is read,
so that what changes afterwards is told.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import partial
from typing import Protocol

from coordd.agents.traces import AgentTraces
from coordd.sources.copilot.head import read_head
from coordd.sources.copilot.live import LiveSession
from coordd.sources.copilot.locks import working_directory
from coordd.sources.copilot.sessions import FOLDER, Sessions
from coordd.sources.copilot.transcript import TranscriptReducer
from coordd.sources.sessions.home_calls import HomeUnreadable
from coordd.sources.sessions.keyed import SessionKey
from coordd.sources.sessions.reader import Reader, Shown
from coordd.sources.sessions.reader import Told as HomeTold
from coordd.sources.sessions.restored import Known
from coordd.sources.sessions.transcript_file import TranscriptFile
from coordd.sources.sessions.watch import APPEARED, GONE, MODIFY, ONCE, VANISHED, Tell, Watch
from coordd.util import inotify as ino
from coordd.util.fields import Malformed, jsonable
from coordd.util.untrusted_folder import explain_unreadable

LOCKS = ".session-operation-locks"
"""Where newer builds lock a session while they lock its folder, be that new or old."""
EVENTS = "events.jsonl"
_FOLDER = APPEARED | GONE | ino.ONLYDIR
_EVENTS = MODIFY | ino.CLOSE_WRITE | GONE | ONCE


class Told(HomeTold, Protocol):
    """What the watches of a home tell; each method is called on the loop."""

    def session_changed(self, session_id: str) -> None:
        """Note that something of a session changed."""


class HomeReader(Reader[SessionKey, LiveSession, str]):
    """Read one home; ``more`` has ids of sessions. The arguments are those of :class:`Reader`.

    Args:
        sessions: who works on what.
        told: what is told of changes.
    """

    base = frozenset({"home", "folders", "locks"})
    sessions: Sessions

    def __init__(self, home: str, *, sessions: Sessions, watch: Watch, told: Told) -> None:
        super().__init__(home, sessions=sessions, watch=watch)
        self._told = told

    @property
    def malformed(self) -> dict[str, str]:
        """The files that cannot be used, and why."""
        live = self.sessions.live.values()
        return {jsonable(self._events(one)): one.problem for one in live if one.problem}

    def follow(self) -> None:
        """Watch the home as it is now; ``unwatched`` says whether that works."""
        self._unwatched.pop("base", None)
        folder = f"{self.home}/{FOLDER}"
        # A home has files that change all the time, so that it is watched for this folder alone.
        there = os.path.isdir(folder) and not os.path.islink(folder)
        appears = GONE | ino.ONLYDIR if there else _FOLDER | VANISHED
        self._arm(("home",), [(self.home, appears)], self._told.home_changed)
        self._arm(("folders",), [(folder, _FOLDER)], self._told.folder_changed)
        locks = ino.CREATE | ino.CLOSE_WRITE | GONE | ino.ONLYDIR
        self._arm(("locks",), [(f"{folder}/{LOCKS}", locks)], self._told.lock_changed)

    def look_at_all(self, known: Mapping[str, Known], wall: float) -> bool:
        """Look who works on what, whatever is known; return False where there is no folder of sessions.

        Raises:
            HomeUnreadable: it exists and cannot be read.
        """
        self._unwatched.pop("sessions", None)
        self.sessions.keep_restored(known)
        there = self._look_at_all(known, wall)
        self.sessions.end_restored(wall)
        self.sessions.forget_unknown(known)
        self._forget_dropped()
        return there

    def look_at(self, session_ids: Collection[str], wall: float) -> set[SessionKey]:
        """Look who works on these sessions now; return those of them that are known then."""
        found = self.sessions.look_at(session_ids, wall)
        self._find_out(found, wall)
        return found

    def traces(
        self, shown: Shown, wall: float, only: Collection[SessionKey] | None = None
    ) -> dict[str, AgentTraces]:
        """Read the events of sessions, and return their traces by agent.

        Args:
            shown: which sessions are shown, and where they work.
            wall: the time now in epoch seconds.
            only: these sessions; None: all.
        """
        found: dict[str, AgentTraces] = {}
        for one in self._some(only):
            self._place(one, shown)
            if self._is_wanted(one, shown):
                self._read(one, wall)
                one.told = True
                found[one.agent_id] = one.update()
            else:
                self._let_go(one)
                if one.ended:
                    self.sessions.drop(one.key)
        return found

    def _events(self, one: LiveSession) -> str:
        return f"{self.sessions.folder(one.key.session_id)}/{EVENTS}"

    def _look_at_all(self, known: Mapping[str, Known], wall: float) -> bool:
        path = f"{self.home}/{FOLDER}"
        if os.path.islink(path):
            raise HomeUnreadable(f"{jsonable(path)} is a symbolic link")
        try:
            self.sessions.look_at_all(wall)
        except FileNotFoundError:
            if any(not one.ended for one in self.sessions.live.values()) or any(
                not one.dormant for one in known.values()
            ):
                raise HomeUnreadable(f"{jsonable(path)} was there and is gone") from None
            return False
        except OSError as error:
            raise HomeUnreadable(explain_unreadable(error, path)) from None
        self._find_out(self.sessions.live, wall)
        return True

    def _find_out(self, keys: Collection[SessionKey], wall: float) -> None:
        """Read the first lines of those of these sessions that have any and are not known yet.

        Before anything was said, and where it is not written, the process says where it works.
        """
        for one in self._some(keys):
            if one.head is None and not one.ended:
                try:
                    one.head = read_head(self._events(one), wall)
                except (Malformed, OSError) as error:
                    one.problem = getattr(error, "strerror", None) or str(error)
                told = one.head.cwd if one.head is not None else None
                one.cwd = told or one.cwd or working_directory(one.key.process.pid)

    def _read(self, one: LiveSession, wall: float) -> None:
        """Read what is new of a session; once more after it has ended."""
        self.more.discard(one.key.session_id)
        if one.settled:
            return
        events = self._events(one)
        if one.file is None:
            one.file = TranscriptFile(events, partial(TranscriptReducer, one.since), writer=one.user)
        if not one.ended:
            folder = APPEARED | VANISHED | GONE | ino.ONLYDIR
            watched = [(self.sessions.folder(one.key.session_id), folder), (events, _EVENTS)]
            self._arm((one.key,), watched, self._teller(one.key.session_id))
        cwd = one.cwd
        try:
            outcome = one.read(wall)
            one.problem = None
        except (Malformed, OSError) as error:
            one.problem = getattr(error, "strerror", None) or str(error)
            outcome = "same"
        if outcome == "more" or (one.cwd != cwd and not one.ended):
            self.more.add(one.key.session_id)
        elif one.ended:
            one.settled = True
            self._let_go(one)

    def _teller(self, session_id: str) -> Tell:
        def tell(mask: int, name: str) -> None:
            """Note what changed; other files in the folder come and go all the time."""
            if name in ("", EVENTS) or name.startswith("inuse.") or mask & ino.Q_OVERFLOW:
                self._told.session_changed(session_id)

        return tell

    def _let_go(self, one: LiveSession) -> None:
        """Watch nothing of a session any more, and keep of its events what they said last."""
        one.file = None
        self.more.discard(one.key.session_id)
        self._watch.forget((self.home, one.key))
