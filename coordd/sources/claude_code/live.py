"""Hold what is known of one process's session, and make traces of it. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordd.agents.session import Session, Turn
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process
from coordd.sources.claude_code.processes import KIND
from coordd.sources.claude_code.session_file import Declared, SessionRecord
from coordd.sources.claude_code.subagents import SubagentFiles
from coordd.sources.claude_code.transcript import ASKING, TranscriptReducer
from coordd.sources.sessions.transcript_file import TranscriptFile
from coordd.sources.sessions.work_tree import Place

EARLY = 2.0
"""Seconds before the start of a process from which lines of its transcript are taken for its own."""


@dataclass(slots=True, eq=False)
class LiveSession:
    """One process of a session, from the moment at which it was seen alive.

    ``session_id`` is that of the session that it is in now. ``started`` is when the process was, in epoch
    seconds, None where it was never seen alive by this coordd. ``present`` is whether its record lies there,
    ``ended`` whether the process has; nothing of it is read then any more. ``waits_since`` is the time from
    which its transcript is missing, or was first read; ``odd`` is whether what lies in its place is none.
    ``told`` is whether anybody was told of it; ``user`` is the number of its process's user.
    """

    process: Process
    agent_id: str
    session_id: str
    started: float | None
    user: int | None = None
    tty: str | None = None
    record: SessionRecord | None = None
    present: bool = True
    ended: bool = False
    ties: bool = True
    waits_since: float = 0.0
    file: TranscriptFile[TranscriptReducer] | None = None
    subagents: SubagentFiles | None = None
    missing: bool = False
    odd: bool = False
    settled: bool = False
    turn: Turn | None = None
    place: Place | None = None
    workspace: str | None = None
    told: bool = False
    traces: AgentTraces | None = None

    @property
    def cwd(self) -> str | None:
        """The directory that it works in, as its record says."""
        return self.record.cwd if self.record is not None else None

    @property
    def transcript(self) -> str:
        """The name of its transcript."""
        return f"{self.session_id}.jsonl"

    @property
    def born(self) -> float | None:
        """The time from which on lines of its transcript are its own, in epoch seconds."""
        written = self.record.started_at if self.record is not None else None
        times = [one for one in (self.started, written) if one is not None]
        return min(times) - EARLY if times else None

    def take_record(self, record: SessionRecord, wall: float) -> None:
        """Take over the record as it is now; an activity without a time is as old as its first sight."""
        before = self.record.declared if self.record is not None else Declared()
        self.record = replace(record, declared=_dated(record.declared, before, wall))

    def follow_session(self, session_id: str, wall: float) -> None:
        """Note that the process goes on in another session: its transcript is another one."""
        if session_id != self.session_id:
            self.session_id, self.waits_since, self.ties = session_id, wall, True
            self.file = self.subagents = self.turn = None
            self.missing = False

    def update(self) -> AgentTraces:
        """Return the traces as they are now; the same object where nothing has changed."""
        traces = self._traces()
        if traces != self.traces:
            self.traces = traces
        return self.traces or traces

    def _traces(self) -> AgentTraces:
        record = self.record
        # A record that is gone while its process lives was taken away by others, and says nothing of now.
        declared = record.declared if record is not None and self.present else Declared()
        place, turn = self.place, _agreed(self.turn, declared)
        session = Session(
            kind=KIND,
            session_id=self.session_id,
            process=self.process,
            present=self.present,
            lives=not self.ended,
            project=place.project if place is not None else None,
            name=record.name if record is not None else None,
            version=record.version if record is not None else None,
            started_at=record.started_at if record is not None else None,
            declared=declared.activity,
            declared_at=declared.at,
            undeclarable=declared.undeclarable,
            waiting_for=_waiting_for(declared, turn),
            shell=declared.shell,
            ties=self.ties,
            tty=self.tty,
            turn=turn,
        )
        workspace = place.workspace if place is not None else self.workspace
        return AgentTraces(self.agent_id, workspace=workspace, session=session)


def _dated(declared: Declared, before: Declared, wall: float) -> Declared:
    says_something = declared.activity is not None or declared.undeclarable is not None
    if declared.at is not None or not says_something:
        return declared
    return declared._replace(at=before.at if before._replace(at=None) == declared else wall)


def _agreed(turn: Turn | None, declared: Declared) -> Turn | None:
    """Return the turn as it is known once the session has declared itself idle: what began before is over.

    The record is written at once, the transcript later; a prompt that was taken back stays there for good.
    """
    idle = declared.at if declared.activity == "idle" else None
    if turn is None or idle is None or not (turn.open or turn.calls):
        return turn
    calls = tuple(one for one in turn.calls if one.since is not None and one.since > idle)
    if calls or (turn.since is not None and turn.since > idle):
        return replace(turn, calls=calls)
    return replace(turn, open=False, since=idle, calls=())


def _waiting_for(declared: Declared, turn: Turn | None) -> str | None:
    """Return what a session waits for: it calls most dialogs a permission prompt, and an open call knows."""
    if declared.activity not in (None, "waiting"):
        return None
    asked = next((ASKING[call.name] for call in turn.calls if call.asks), None) if turn is not None else None
    if declared.activity is None or declared.waiting_for == "permission prompt":
        return asked or declared.waiting_for
    return declared.waiting_for
