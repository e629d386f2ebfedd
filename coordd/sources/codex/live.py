"""Hold what is known of one rollout that a process holds open, and make traces of it. Does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordd.agents.session import BackgroundWork, Session, Turn
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process
from coordd.sources.codex.head import Head
from coordd.sources.codex.held import Held, open_held
from coordd.sources.codex.processes import KIND
from coordd.sources.codex.rollout import ASKING, RolloutReducer
from coordd.sources.sessions.transcript_file import TranscriptFile
from coordd.sources.sessions.work_tree import Place

EARLY = 2.0
"""Seconds before the start of a process from which lines of a rollout are taken for its own."""


class SessionKey(NamedTuple):
    """A session, and the process that holds it: a process may hold several, and one may be taken over."""

    process: Process
    session_id: str


class RolloutFile(TranscriptFile[RolloutReducer]):
    """One rollout, that may be renamed, moved or removed while it is ``held``."""

    __slots__ = ("held",)

    def __init__(self, held: Held, make: Callable[[], RolloutReducer]) -> None:
        super().__init__(held.path, make)
        self.held = held

    def _open(self) -> int:
        return open_held(self.held)


@dataclass(slots=True, eq=False)
class LiveSession:
    """One session, from the moment at which its rollout was seen held open.

    ``held`` is the rollout, None for one of coordd's last run that was not found again. ``started`` is when
    the process was, in epoch seconds, None where that is not known. ``ended``: the process has closed the
    rollout, or has ended; nothing of it is read any more once it is ``settled``. ``since`` is when coordd saw
    it first, ``problem`` why its rollout cannot be used. ``told`` is whether anybody was told of it.
    """

    key: SessionKey
    agent_id: str
    held: Held | None
    started: float | None
    since: float = 0.0
    tty: str | None = None
    head: Head | None = None
    problem: str | None = None
    ended: bool = False
    ties: bool = True
    file: RolloutFile | None = None
    settled: bool = False
    turn: Turn | None = None
    cwd: str | None = None
    place: Place | None = None
    workspace: str | None = None
    told: bool = False
    traces: AgentTraces | None = None

    @property
    def born(self) -> float | None:
        """The time from which on a turn of the rollout is the process's own, in epoch seconds."""
        return None if self.started is None else self.started - EARLY

    @property
    def is_subagent(self) -> bool:
        """Whether it is the subagent of another session, and no agent of its own."""
        return self.head is not None and self.head.subagent

    def read(self, wall: float) -> str:
        """Read what is new in the rollout; return what :meth:`TranscriptFile.read` does."""
        if self.file is None or self.held is None:
            return "same"
        self.file.held = self.held
        outcome = self.file.read(wall)
        reducer = self.file.reducer
        self.turn = reducer.turn(self.born)
        self.cwd = reducer.cwd or self.cwd
        return outcome

    def update(self, subagents: Sequence[BackgroundWork] = ()) -> AgentTraces:
        """Return the traces as they are now; the same object where nothing has changed."""
        traces = self._traces(subagents)
        if traces != self.traces:
            self.traces = traces
        return self.traces or traces

    def _traces(self, subagents: Sequence[BackgroundWork]) -> AgentTraces:
        head, place, turn = self.head or Head(), self.place, self.turn
        if turn is not None and subagents:
            turn = replace(turn, background=(*turn.background, *subagents))
        # A session that is taken up again began long before its process did.
        began = max((one for one in (head.began, self.started) if one is not None), default=None)
        session = Session(
            kind=KIND,
            session_id=self.key.session_id,
            process=self.key.process,
            present=not self.ended,
            lives=not self.ended,
            project=place.project if place is not None else None,
            version=head.version,
            started_at=began,
            waiting_for=next((ASKING[call.name] for call in turn.calls if call.asks), None) if turn else None,
            ties=self.ties,
            tty=self.tty,
            turn=turn,
        )
        workspace = place.workspace if place is not None else self.workspace
        return AgentTraces(self.agent_id, workspace=workspace, session=session)
