"""Read one home: its session records, and the transcripts of those sessions that are to be shown.

Everything here may block, and belongs in one thread. What is watched is watched anew just before it is read,
so that what changes afterwards is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.sources.claude_code.awaiting import Awaiting
from coordd.sources.claude_code.live import LiveSession
from coordd.sources.claude_code.projects import ProjectFolders
from coordd.sources.claude_code.sessions import Sessions
from coordd.sources.claude_code.subagents import SubagentFiles
from coordd.sources.claude_code.transcript import TranscriptReducer
from coordd.sources.sessions.reader import Reader, Shown
from coordd.sources.sessions.restored import Known
from coordd.sources.sessions.transcript_file import TranscriptFile
from coordd.sources.sessions.watch import APPEARED, GONE, MODIFY, ONCE, VANISHED, Tell, Watch
from coordd.sources.sessions.work_tree import Place
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
        """Note an event in ``projects/``, while a transcript is missing."""

    def transcript_appeared(self, mask: int, name: str) -> None:
        """Note an event in a folder below ``projects/``, while a transcript is missing."""

    def transcript_changed(self, process: Process) -> None:
        """Note that a transcript of a process's session, or of its subagents, changed."""


class HomeReader(Reader[Process, LiveSession, Process]):
    """Read one home; the arguments are those of :class:`Reader`.

    Args:
        look: returns the process that has a pid.
        told: what is told of changes.
    """

    base = frozenset({"home", "sessions"})
    sessions: Sessions

    def __init__(
        self, home: str, *, look: Callable[[int], ProcessFacts | None], watch: Watch, told: Told
    ) -> None:
        super().__init__(home, sessions=Sessions(home, look=look), watch=watch)
        self._told = told
        self._projects = ProjectFolders(home)
        self._awaiting = Awaiting(self._projects, watch=self._watch_projects, forget=self._forget_projects)
        self._projects_listed = self._full = False
        self._looked_for: dict[str, str | None] = {}
        self._malformed: dict[str, str] = {}

    @property
    def malformed(self) -> dict[str, str]:
        """What cannot be used, by its path, and why."""
        return self.sessions.malformed | self._malformed

    def follow(self) -> None:
        """Watch the home and its ``sessions/`` as they are now; ``unwatched`` says whether that works."""
        self._unwatched.pop("base", None)
        mask = APPEARED | VANISHED | GONE | ino.ONLYDIR
        self._arm(("home",), [(self.home, mask)], self._told.home_changed)
        self._arm(
            ("sessions",), [(f"{self.home}/sessions", mask | ino.CLOSE_WRITE)], self._told.sessions_changed
        )

    def look_at_all(self, known: Mapping[str, Known], wall: float) -> bool:
        """Read all records; see :meth:`Sessions.read_all`."""
        self._malformed = {}
        self._unwatched.pop("sessions", None)
        there = self.sessions.read_all(known, wall)
        self._forget_dropped()
        return there

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
        some = self._some(only)
        self._projects_listed, self._full, self._looked_for = False, only is None, {}
        self._look_for(some)
        for one in some:
            self._place(one, shown)
            if self._is_wanted(one, shown):
                self._read(one, wall)
                one.told = True
                found[one.agent_id] = one.update()
                continue
            self._let_go(one)
            if one.ended:
                self.sessions.drop(one.process)
        self._await_missing(anew=only is None)
        return found

    def changed_meanwhile(self) -> dict[str, AgentTraces]:
        """Return the traces of sessions that others have changed: which of two is the first in a session."""
        touched, self.sessions.retied = self.sessions.retied, set()
        some = [self.sessions.live[process] for process in touched if process in self.sessions.live]
        return {one.agent_id: one.update() for one in some if one.traces is not None}

    @property
    def missing(self) -> Collection[str]:
        """The names of transcripts that are not there yet."""
        return self._awaiting.names

    @property
    def unannounced(self) -> Collection[str]:
        """The names of missing transcripts of which it may not be told that they appear."""
        return () if self._awaiting.complete else self._awaiting.names

    def appeared(self, names: Collection[str], folders: Collection[str]) -> set[Process]:
        """Take in that these have appeared below ``projects/``; return the processes to be read."""
        return self._found(self._awaiting.appeared(names, folders))

    def look_everywhere(self) -> set[Process]:
        """Look for all missing transcripts; return the processes whose have appeared."""
        return self._found(self._awaiting.look_everywhere())

    def _read(self, one: LiveSession, wall: float) -> None:
        """Read what is new in a session's transcript; once more after its process has ended."""
        self.more.discard(one.process)
        one.odd = False
        if one.settled:
            return
        try:
            outcome = self._read_transcript(one, wall)
        except Malformed as wrong:
            self._note(one, str(wrong))
            outcome, one.odd = "gone", True
        except OSError as error:
            self._note(one, error.strerror or str(error))
            outcome = "same"
        if outcome == "more":
            self.more.add(one.process)
        if one.file is not None:
            self._read_subagents(one, wall)
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
        file = one.file or TranscriptFile(path, partial(TranscriptReducer, one.waits_since), writer=one.user)
        file.path = path
        self._arm_transcript(one, file)
        outcome = file.read(wall)
        one.file, one.subagents = file, SubagentFiles(path)
        return outcome

    def _find(self, one: LiveSession) -> str | None:
        name = one.transcript
        if name in self._looked_for:
            return self._looked_for[name]
        if not self._is_looked_for(one):
            return None
        self._list_projects()
        return self._projects.find(name)

    def _look_for(self, some: Collection[LiveSession]) -> None:
        """Find the transcripts of these sessions at once, where they are not known."""
        names = {one.transcript for one in some if one.file is None and self._is_looked_for(one)}
        if names:
            self._list_projects()
            found = self._projects.find_all(names)
            self._looked_for = {name: found.get(name) for name in names}

    def _is_looked_for(self, one: LiveSession) -> bool:
        """Return whether to look for a session's transcript; not where it is told once that appears."""
        if one.ended or self._full:
            return not one.settled
        return not self._awaiting.announces(one.transcript)

    def _list_projects(self) -> None:
        if not self._projects_listed:
            self._projects.look()
            self._projects_listed = True

    def _arm_transcript(self, one: LiveSession, file: TranscriptFile[TranscriptReducer]) -> None:
        if not one.ended:
            self._arm((one.process,), [(file.path, _TRANSCRIPT)], self._teller(one.process))

    def _teller(self, process: Process) -> Tell:
        def tell(_mask: int, _name: str) -> None:
            self._told.transcript_changed(process)

        return tell

    def _read_subagents(self, one: LiveSession, wall: float) -> None:
        if one.file is None or one.subagents is None:
            return
        reducer = one.file.reducer
        if one.ended or not (reducer.subagents or reducer.subagent_calls):
            self._watch.forget((self.home, one.process, "subagents"))
            return
        self._arm((one.process, "subagents"), [(one.subagents.folder, _SUBAGENTS)], self._teller(one.process))
        try:
            one.subagents.read(reducer, wall)
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
        """Await the transcripts that are not there; those that are after all are read with the next ones."""
        missing = {one.transcript: one.cwd for one in self.sessions.live.values() if one.missing}
        odd = {one.transcript for one in self.sessions.live.values() if one.missing and one.odd}
        self._found(self._awaiting.update(missing, anew=anew, odd=odd))

    def _found(self, names: Collection[str]) -> set[Process]:
        """Note that transcripts are there which were missing; return the processes whose they are."""
        if not names:
            return set()
        found = {
            one.process for one in self.sessions.live.values() if one.missing and one.transcript in names
        }
        self.more |= found
        return found

    def _watch_projects(self, folder: str, mask: int) -> None:
        path = f"{self._projects.path}/{folder}" if folder else self._projects.path
        tell = self._told.transcript_appeared if folder else self._told.projects_changed
        self._arm(("projects", folder), [(path, mask)], tell)

    def _forget_projects(self, folder: str) -> None:
        self._watch.forget((self.home, "projects", folder))

    def _is_wanted(self, one: LiveSession, shown: Shown) -> bool:
        """Return whether a session is shown, which one may be that is not known to work anywhere."""
        if one.place is None and one.workspace is not None:
            return True  # it was shown by coordd's last run
        return shown.wanted(one.place or Place("", ""))

    def _note(self, one: LiveSession, why: str) -> None:
        path = one.file.path if one.file is not None else self._projects.find(one.transcript)
        if path is not None:
            self._malformed[jsonable(path)] = why
