"""Read one home of Codex: who holds its rollouts open, and those rollouts that are to be shown.

Everything here may block, and belongs in one thread. What is watched is watched anew just before it is read,
so that what changes afterwards is told.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import partial
from typing import Protocol

from coordd.agents.session import BackgroundWork
from coordd.agents.traces import AgentTraces
from coordd.sources.codex.folders import folders
from coordd.sources.codex.head import Head, read_head
from coordd.sources.codex.held import Held, held_still, open_held
from coordd.sources.codex.live import LiveSession, RolloutFile
from coordd.sources.codex.processes import working_directory
from coordd.sources.codex.rollout import RolloutReducer
from coordd.sources.codex.sessions import Sessions
from coordd.sources.sessions.home_calls import HomeUnreadable
from coordd.sources.sessions.keyed import SessionKey
from coordd.sources.sessions.reader import Reader, Shown
from coordd.sources.sessions.reader import Told as HomeTold
from coordd.sources.sessions.restored import Known
from coordd.sources.sessions.watch import APPEARED, FOLLOW, GONE, MODIFY, ONCE, VANISHED, Tell, Watch
from coordd.util import inotify as ino
from coordd.util.fields import Malformed, jsonable
from coordd.util.untrusted_folder import explain_unreadable

LOCKS = "thread-writer-locks"
"""Where newer builds lock a session before they open its rollout, be that new or old."""
_OPEN = 0x20
_ROLLOUT = MODIFY | ino.CLOSE_WRITE | GONE | ONCE | FOLLOW
_FOLDER = APPEARED | GONE | ino.ONLYDIR


class Told(HomeTold, Protocol):
    """What the watches of a home tell; each method is called on the loop."""

    def rollout_changed(self, key: SessionKey) -> None:
        """Note that a rollout changed, or was closed."""


class HomeReader(Reader[SessionKey, LiveSession, SessionKey]):
    """Read one home; the arguments are those of :class:`Reader`.

    Args:
        sessions: who holds what.
        told: what is told of changes.
    """

    base = frozenset({"home", "locks", "folders"})
    sessions: Sessions

    def __init__(self, home: str, *, sessions: Sessions, watch: Watch, told: Told) -> None:
        super().__init__(home, sessions=sessions, watch=watch)
        self._told = told

    @property
    def malformed(self) -> dict[str, str]:
        """The rollouts that cannot be used, and why."""
        live = self.sessions.live.values()
        return {jsonable(one.held.path): one.problem for one in live if one.held and one.problem}

    def follow(self) -> None:
        """Watch the home and its newest folders as they are now; ``unwatched`` says whether that works."""
        self._unwatched.pop("base", None)
        self._arm(("home",), [(self.home, _FOLDER | VANISHED)], self._told.home_changed)
        locks = ino.CREATE | _OPEN | ino.CLOSE_WRITE | ino.ONLYDIR
        self._arm(("locks",), [(f"{self.home}/{LOCKS}", locks)], self._told.lock_changed)
        self.follow_folders()

    def follow_folders(self) -> None:
        """Watch the newest folders in which a rollout may appear."""
        wanted = [(path, _FOLDER) for path in folders(self.home)]
        self._arm(("folders",), wanted, self._told.folder_changed)

    def look_at_all(self, known: Mapping[str, Known], wall: float) -> bool:
        """Look who holds what, whatever is known; return False where there is nothing to read yet.

        Raises:
            HomeUnreadable: ``sessions/`` exists and cannot be read, or is gone with all that was known.
        """
        self._unwatched.pop("sessions", None)
        there = self._is_there()
        self.follow_folders()
        self.sessions.keep_restored(known)
        self.sessions.look_at_all(wall, anew=True)
        if not there:  # what is held open can be read wherever it lies
            there = any(not one.ended for one in self.sessions.live.values())
            if not there and any(not one.dormant for one in known.values()):
                raise HomeUnreadable(f"{jsonable(self.home)}/sessions was there and is gone")
        self.sessions.end_restored(wall)
        self.sessions.forget_unknown(known)
        self._take_changed(wall)
        self._forget_dropped()
        return there

    def look(self, wall: float, *, folders_too: bool) -> set[SessionKey]:
        """Look who holds what now; return the sessions that have come or ended."""
        if folders_too:
            self.follow_folders()
        self.sessions.look_at_all(wall)
        return self._take_changed(wall)

    def look_at(self, keys: Collection[SessionKey], wall: float) -> set[SessionKey]:
        """Look whether these sessions are held still; return those, and others that have come or ended."""
        self.sessions.look_at(keys, wall)
        found = {*(key for key in keys if key in self.sessions.live), *self._take_changed(wall)}
        self._read_heads(found, wall)
        return found

    def traces(
        self, shown: Shown, wall: float, only: Collection[SessionKey] | None = None
    ) -> dict[str, AgentTraces]:
        """Read the rollouts of sessions, and return their traces by agent.

        Args:
            shown: which sessions are shown, and where they work.
            wall: the time now in epoch seconds.
            only: these sessions; None: all.
        """
        found: dict[str, AgentTraces] = {}
        parents: dict[SessionKey, LiveSession] = {}
        for one in self._some(only):
            self._place(one, shown)
            if one.head is None and one.held is not None and not one.ended:
                self._await_head(one, one.held, wall)
            elif one.is_subagent:
                self._read(one, wall)
                parents |= {above.key: above for above in self._parents(one)}
                if one.ended:
                    self._let_go(one)
                    self.sessions.drop(one.key)
            elif self._is_wanted(one, shown):
                self._read(one, wall)
                one.told = True
                parents[one.key] = one
            else:
                self._let_go(one)
                if one.ended:
                    self.sessions.drop(one.key)
        for one in parents.values():
            if one.told:
                found[one.agent_id] = one.update(self._subagents(one))
        return found

    def _take_changed(self, wall: float) -> set[SessionKey]:
        changed = self.sessions.added | self.sessions.ended
        self._read_heads(self.sessions.added, wall)
        self.sessions.added.clear()
        self.sessions.ended.clear()
        return changed

    def _is_there(self) -> bool:
        path = f"{self.home}/sessions"
        if os.path.islink(path):
            raise HomeUnreadable(f"{jsonable(path)} is a symbolic link")
        try:
            with os.scandir(path):
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HomeUnreadable(explain_unreadable(error, path)) from None

    def _read_heads(self, keys: Collection[SessionKey], wall: float) -> None:
        """Read the first lines of those of these sessions that are not known yet."""
        for one in self._some(keys):
            if one.head is None and not one.ended:
                self._read_head(one, wall)

    def _read_head(self, one: LiveSession, wall: float) -> None:
        """Read which session it is; where a rollout does not say it, the process says where it works."""
        if one.held is None:
            return
        try:
            descriptor = open_held(one.held)
            try:
                one.head = read_head(descriptor, wall)
            finally:
                os.close(descriptor)
        except Malformed as wrong:
            one.head, one.problem = Head(), str(wrong)
        except OSError as error:
            one.problem = error.strerror or str(error)
        if one.head is not None:
            one.cwd = one.cwd or one.head.cwd or working_directory(one.key.process.pid)

    def _read(self, one: LiveSession, wall: float) -> None:
        """Read what is new in a session's rollout; once more after it was closed."""
        self.more.discard(one.key)
        if one.settled or one.held is None:
            return
        if one.file is None:
            one.file = RolloutFile(one.held, partial(RolloutReducer, one.since))
        if not one.ended:
            self._arm_rollout(one, one.held)
        try:
            outcome = one.read(wall)
        except (Malformed, OSError) as error:
            one.problem = getattr(error, "strerror", None) or str(error)
            outcome = "same"
        self.sessions.note_limits(one.file.reducer.limits)
        if outcome == "more" or self._was_closed(one, one.held):
            self.more.add(one.key)
        elif one.ended:
            one.settled = True
            self._let_go(one)

    def _await_head(self, one: LiveSession, held: Held, wall: float) -> None:
        """Have it told when more is written of a rollout whose first line is not whole yet."""
        self._arm_rollout(one, held)
        self._read_head(one, wall)
        if one.head is not None:
            self.more.add(one.key)

    def _parents(self, one: LiveSession) -> list[LiveSession]:
        """Return the sessions above a subagent, which show what it does."""
        parent = one.head.parent if one.head is not None else None
        above = self.sessions.live.get(SessionKey(one.key.process, parent)) if parent is not None else None
        return [] if above is None else [above]

    def _subagents(self, one: LiveSession) -> list[BackgroundWork]:
        """Return the subagents of a session that are in a turn."""
        if one.ended:
            return []
        turns = [other.turn for other in self.sessions.subagents_of(one)]
        return [BackgroundWork("subagent", turn.since, turn.last) for turn in turns if turn and turn.open]

    def _arm_rollout(self, one: LiveSession, held: Held) -> None:
        """Have it told what happens to a rollout, wherever it lies by now."""
        mask = _ROLLOUT if held.link is not None else _ROLLOUT & ~FOLLOW
        self._arm((one.key,), [(held.link or held.path, mask)], self._teller(one.key))

    def _was_closed(self, one: LiveSession, held: Held) -> bool:
        """Return whether a rollout was closed before anything could tell of that."""
        return not one.ended and held.link is not None and held_still(held) is None

    def _teller(self, key: SessionKey) -> Tell:
        def tell(_mask: int, _name: str) -> None:
            self._told.rollout_changed(key)

        return tell

    def _let_go(self, one: LiveSession) -> None:
        """Watch nothing of a session any more, and keep of its rollout what it said last."""
        one.file = None
        self.more.discard(one.key)
        self._watch.forget((self.home, one.key))
