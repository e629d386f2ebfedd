"""Read one home of Claude Code as a source. What is told, and how soon it is read:

=============================================  ===============================================================
``sessions/`` has changed                      the records that the event names, with the next batch
a transcript, or one of its subagents', has    with the next batch, or once its last reading is a second ago
a transcript has appeared that was missing     with the next batch; where that may not be told, it is looked
                                               for (looks.py)
the home itself, or events were lost           everything
(something cannot be watched)                  everything, from then on every :data:`POLL` seconds
=============================================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, NamedTuple

from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.runtime.schedule import now
from coordd.sources.claude_code.processes import KIND
from coordd.sources.claude_code.reader import HomeReader
from coordd.sources.claude_code.session_file import RECORD_NAME
from coordd.sources.sessions.source import SessionsSource
from coordd.sources.sessions.watch import GONE
from coordd.util import inotify as ino


class RecordHint(NamedTuple):
    """The record of a process has changed."""

    pid: int


class TranscriptHint(NamedTuple):
    """The transcript of a process's session has changed."""

    process: Process


class AppearedHint(NamedTuple):
    """A transcript that was missing has appeared."""

    name: str


class FolderHint(NamedTuple):
    """A folder has appeared that may hold a transcript which is missing."""

    name: str


class ClaudeCodeSource(SessionsSource[Process, Process]):
    """The sessions of one home; the arguments are those of :class:`SessionsSource`.

    Args:
        look: returns the process that has a pid.
    """

    kind = KIND
    rank = 20
    _reader: HomeReader

    def __init__(self, home: str, *, look: Callable[[int], ProcessFacts | None], **more: Any) -> None:
        super().__init__(home, **more)
        self._reader = HomeReader(home, look=look, watch=self._watch, told=self)

    async def read_all(self) -> SourceTraces:
        """Read everything."""
        traces = await super().read_all()
        self._reader.sessions.retied.clear()
        return traces

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the records and transcripts that the hints name, and those that have waited."""
        pids = {hint.pid for hint in hints if isinstance(hint, RecordHint)}
        processes = {hint.process for hint in hints if isinstance(hint, TranscriptHint)}
        processes |= self._throttle.take(now().mono)
        names = {hint.name for hint in hints if isinstance(hint, AppearedHint)}
        folders = {hint.name for hint in hints if isinstance(hint, FolderHint)}
        if names or folders:
            processes |= await self._run(self._reader.appeared, names, folders)
        if self._looks.is_due(now().mono):
            processes |= await self._look_everywhere()
        changed: dict[str, AgentTraces | None] = {}
        if pids:
            processes |= await self._read_records(pids)
        if processes:
            changed.update(await self._traces(processes))
        if pids:
            changed.update(await self._run(self._reader.changed_meanwhile))
        self._poll_if_unwatched()
        return self._change(changed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the records and transcripts of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        live = self._reader.sessions.live
        pids = {process.pid for process, one in live.items() if one.agent_id in asked}
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        if pids:
            await self._read_records(pids)
            processes = {process for process, one in live.items() if one.agent_id in asked}
            changed.update(await self._traces(processes))
        return self._change(changed)

    def throttled(self, sessions: Iterable[Process]) -> Iterable[Process]:
        """Return as what these sessions are read once a second at most."""
        return sessions

    # What the watches tell, on the loop.

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name in ("sessions", "projects"):
            self._tell(None)

    def sessions_changed(self, mask: int, name: str) -> None:
        """Note an event in ``sessions/``."""
        found = RECORD_NAME.fullmatch(name)
        if found is not None:
            if not mask & ino.CREATE:  # it is told once more when it is written
                self._tell((RecordHint(int(found[1])),))
        elif mask & (GONE | ino.Q_OVERFLOW):
            self._tell(None)

    def projects_changed(self, mask: int, name: str) -> None:
        """Note an event in ``projects/``, while a transcript is missing."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif mask & ino.ISDIR and name:
            self._tell((FolderHint(name),))

    def transcript_appeared(self, mask: int, name: str) -> None:
        """Note an event in a folder below ``projects/``, while a transcript is missing."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif name in self._reader.missing:
            self._tell((AppearedHint(name),))

    def transcript_changed(self, process: Process) -> None:
        """Note that a transcript of a process's session, or of its subagents, changed."""
        self._tell_in_time(self._throttle, process, TranscriptHint(process))

    # Readings.

    async def _read_records(self, pids: Collection[int]) -> set[Process]:
        """Read the records of these processes; return those that are of a session."""
        sessions = self._reader.sessions
        complete = sessions.over_limit is None
        await self._run(sessions.read, pids, now().wall)
        if complete and sessions.over_limit is not None:
            self._tell(None)  # a full reading says so
        return {process for process in sessions.live if process.pid in pids}

    async def _traces(self, only: set[Process] | None) -> dict[str, AgentTraces]:
        traces = await super()._traces(only)
        self._looks.plan(self._reader.unannounced, now().mono)
        return traces

    async def _look_everywhere(self) -> set[Process]:
        began = now().mono
        found = await self._run(self._reader.look_everywhere)
        self._looks.looked(began, now().mono)
        return found
