"""Read one home: its session records, and the transcripts of those sessions that are to be shown.

Everything here may block, and belongs in one thread. What is watched is watched anew just before it is read,
so that what changes afterwards is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import NamedTuple, Protocol

from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.sources.claude_code.live import LiveSession
from coordd.sources.claude_code.projects import ProjectFolders
from coordd.sources.claude_code.sessions import Known, Sessions
from coordd.sources.claude_code.subagents import SubagentFiles
from coordd.sources.claude_code.transcript_file import TranscriptFile
from coordd.sources.claude_code.watch import APPEARED, GONE, MODIFY, ONCE, VANISHED, Tell, Watch
from coordd.sources.claude_code.work_tree import Place
from coordd.util import inotify as ino
from coordd.util.fields import Malformed, jsonable

_TRANSCRIPT = MODIFY | GONE | ONCE
_SUBAGENTS = MODIFY | ino.CREATE | ONCE | ino.ONLYDIR


class Told(Protocol):
    """What the watches of a home tell; each method is called on the loop."""

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""

    def sessions_changed(self, mask: int, name: str) -> None:
        """Note an event in ``sessions/``."""

    def projects_changed(self, mask: int, name: str) -> None:
        """Note an event below ``projects/``, while a transcript is missing."""

    def transcript_changed(self, process: Process) -> None:
        """Note that a transcript of a process's session, or of its subagents, changed."""


class Shown(NamedTuple):
    """What is shown: where sessions work, by their working directory, and which of these places."""

    places: Mapping[str, Place]
    wanted: Callable[[Place], bool]


class HomeReader:
    """Read one home.

    ``more`` are the processes whose transcripts have more than was read, ``missing`` the names of transcripts
    that are not there yet.

    Args:
        home: its canonical path.
        look: returns the process that has a pid.
        watch: tells of changes; it is armed here.
        told: what it tells them to.
    """

    def __init__(
        self, home: str, *, look: Callable[[int], ProcessFacts | None], watch: Watch, told: Told
    ) -> None:
        self.home = home
        self.sessions = Sessions(home, look=look)
        self.more: set[Process] = set()
        self.missing: frozenset[str] = frozenset()
        self._watch = watch
        self._told = told
        self._projects = ProjectFolders(home)
        self._projects_listed = False
        self._malformed: dict[str, str] = {}
        self._unwatched: dict[str, Exception] = {}

    @property
    def malformed(self) -> dict[str, str]:
        """What cannot be used, by its path, and why."""
        return self.sessions.malformed | self._malformed

    @property
    def unwatched(self) -> Exception | None:
        """Why something could not be watched when it was tried last, None where all is."""
        return next(iter(self._unwatched.values()), None)

    def follow(self) -> None:
        """Watch the home and its ``sessions/`` as they are now; ``unwatched`` says whether that works."""
        self._unwatched.pop("base", None)
        mask = APPEARED | VANISHED | GONE | ino.ONLYDIR
        self._arm(("home",), [(self.home, mask)], self._told.home_changed)
        self._arm(
            ("sessions",), [(f"{self.home}/sessions", mask | ino.CLOSE_WRITE)], self._told.sessions_changed
        )

    def forget(self) -> None:
        """Watch nothing any more."""
        for owner in self._watch.owners:
            if isinstance(owner, tuple) and owner[0] == self.home:
                self._watch.forget(owner)

    def read_sessions(self, known: Mapping[str, Known], wall: float) -> bool:
        """Read all records; see :meth:`Sessions.read_all`."""
        self._malformed = {}
        self._unwatched.pop("sessions", None)
        there = self.sessions.read_all(known, wall)
        for owner in self._watch.owners:  # of sessions that are dropped
            if isinstance(owner, tuple) and owner[0] == self.home and isinstance(owner[1], Process):
                one = self.sessions.live.get(owner[1])
                if one is None or one.ended:
                    self._watch.forget(owner)
        return there

    def working_directories(self, only: Collection[Process] | None) -> set[str]:
        """Return where sessions work that have not ended: those of these processes, or all."""
        live = self.sessions.live
        some = live.values() if only is None else [live[process] for process in only if process in live]
        return {one.cwd for one in some if not one.ended and one.cwd is not None}

    def traces(
        self, shown: Shown, wall: float, only: Collection[Process] | None = None
    ) -> dict[str, AgentTraces]:
        """Read the transcripts of sessions, and return their traces by agent.

        Args:
            shown: which sessions are shown, and where they work.
            wall: the time now in epoch seconds.
            only: of these processes; None: of all.
        """
        found = {}
        self._projects_listed = False
        for process, one in list(self.sessions.live.items()):
            if only is not None and process not in only:
                continue
            if not one.ended and one.cwd is not None:
                one.place = shown.places.get(one.cwd, one.place)
            if _is_wanted(one, shown):
                self._read(one, wall)
                one.told = True
                found[one.agent_id] = one.update()
                continue
            self._let_go(one)
            if one.ended:
                self.sessions.drop(process)
        self._await_missing(anew=only is None)
        return found

    def changed_meanwhile(self) -> dict[str, AgentTraces]:
        """Return the traces of sessions that others have changed: which of two is the first in a session."""
        touched, self.sessions.retied = self.sessions.retied, set()
        some = [self.sessions.live[process] for process in touched if process in self.sessions.live]
        return {one.agent_id: one.update() for one in some if one.traces is not None}

    def look_for_missing(self) -> set[Process]:
        """Return the processes whose transcripts have appeared, and watch the folders there are now."""
        self._await_missing(anew=True)
        return {
            one.process
            for one in self.sessions.live.values()
            if one.missing and self._projects.find(one.session_id, one.cwd) is not None
        }

    def _read(self, one: LiveSession, wall: float) -> None:
        """Read what is new in a session's transcript; once more after its process has ended."""
        self.more.discard(one.process)
        if one.settled:
            return
        try:
            outcome = self._read_transcript(one, wall)
        except Malformed as wrong:
            self._note(one, str(wrong))
            outcome = "gone"
        except OSError as error:
            self._note(one, error.strerror or str(error))
            outcome = "same"
        if outcome == "more":
            self.more.add(one.process)
        if one.file is not None:
            self._read_subagents(one)
            one.turn = one.file.reducer.turn(one.born)
        one.missing = outcome == "gone" and not one.ended
        if one.ended:
            one.settled = True
            self._let_go(one)

    def _read_transcript(self, one: LiveSession, wall: float) -> str:
        if one.file is not None:
            self._arm_transcript(one, one.file)
            outcome = one.file.read(wall)
            if outcome != "gone":
                return outcome
        path = self._find(one)
        if path is None:
            return "gone"
        file = one.file or TranscriptFile(path, one.waits_since)
        file.path = path
        self._arm_transcript(one, file)
        outcome = file.read(wall)
        one.file, one.subagents = file, SubagentFiles(path)
        return outcome

    def _find(self, one: LiveSession) -> str | None:
        if not self._projects_listed:
            self._projects.look()
            self._projects_listed = True
        return self._projects.find(one.session_id, one.cwd)

    def _arm(self, what: tuple[Hashable, ...], wanted: list[tuple[str, int]], tell: Tell) -> None:
        failed = self._watch.arm((self.home, *what), wanted, tell)
        if failed is not None:
            self._unwatched["base" if what in (("home",), ("sessions",)) else "sessions"] = failed

    def _arm_transcript(self, one: LiveSession, file: TranscriptFile) -> None:
        if not one.ended:
            self._arm((one.process,), [(file.path, _TRANSCRIPT)], self._teller(one.process))

    def _teller(self, process: Process) -> Tell:
        def tell(_mask: int, _name: str) -> None:
            self._told.transcript_changed(process)

        return tell

    def _read_subagents(self, one: LiveSession) -> None:
        if one.file is None or one.subagents is None:
            return
        reducer = one.file.reducer
        if one.ended or not (reducer.subagents or reducer.subagent_calls):
            self._watch.forget((self.home, one.process, "subagents"))
            return
        self._arm((one.process, "subagents"), [(one.subagents.folder, _SUBAGENTS)], self._teller(one.process))
        try:
            one.subagents.read(reducer)
        except (Malformed, OSError):
            return  # their progress is not known then

    def _let_go(self, one: LiveSession) -> None:
        """Watch nothing of a session any more, and keep of its transcript what it said last."""
        one.file = one.subagents = None
        one.missing = False
        self.more.discard(one.process)
        self._watch.forget((self.home, one.process))
        self._watch.forget((self.home, one.process, "subagents"))

    def _await_missing(self, *, anew: bool) -> None:
        """Watch for transcripts that are not there, for as long as there are any."""
        missing = frozenset(f"{one.session_id}.jsonl" for one in self.sessions.live.values() if one.missing)
        if not missing and self.missing:
            self._watch.forget((self.home, "projects"))
        elif missing and (anew or missing != self.missing):
            self._projects.look()
            self._arm(("projects",), self._projects.watched(), self._told.projects_changed)
            self._projects.look()
            for one in self.sessions.live.values():
                if one.missing and self._projects.find(one.session_id, one.cwd) is not None:
                    self.more.add(one.process)
        self.missing = missing

    def _note(self, one: LiveSession, why: str) -> None:
        path = one.file.path if one.file is not None else self._projects.find(one.session_id, one.cwd)
        if path is not None:
            self._malformed[jsonable(path)] = why


def _is_wanted(one: LiveSession, shown: Shown) -> bool:
    if one.place is None and one.workspace is not None:
        return True  # it was shown by coordd's last run
    return shown.wanted(one.place or Place("", ""))
