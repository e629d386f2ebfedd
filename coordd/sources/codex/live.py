"""Hold what is known of one rollout that a process holds open, and make traces of it. Does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from coordd.agents.session import BackgroundWork, Session
from coordd.agents.traces import AgentTraces
from coordd.sources.codex.head import Head
from coordd.sources.codex.held import Held, open_held
from coordd.sources.codex.processes import KIND
from coordd.sources.codex.rollout import ASKING, RolloutReducer
from coordd.sources.sessions.keyed import KeyedSession
from coordd.sources.sessions.transcript_file import TranscriptFile


class RolloutFile(TranscriptFile[RolloutReducer]):
    """One rollout, that may be renamed, moved or removed while it is ``held``."""

    __slots__ = ("held",)

    def __init__(self, held: Held, make: Callable[[], RolloutReducer]) -> None:
        super().__init__(held.path, make)
        self.held = held

    def _open(self) -> int:
        return open_held(self.held)


@dataclass(slots=True, eq=False)
class LiveSession(KeyedSession):
    """One session, from the moment at which its rollout was seen held open.

    ``held`` is the rollout, None for one of coordd's last run that was not found again.
    """

    held: Held | None = None
    head: Head | None = None
    file: RolloutFile | None = None

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
