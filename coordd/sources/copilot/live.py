"""Hold what is known of one session that a process works on, and make traces of it. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.agents.session import Session, Turn
from coordd.agents.traces import AgentTraces
from coordd.sources.copilot.head import Head
from coordd.sources.copilot.locks import KIND
from coordd.sources.copilot.transcript import TranscriptReducer
from coordd.sources.sessions.keyed import KeyedSession
from coordd.sources.sessions.transcript_file import TranscriptFile


@dataclass(slots=True, eq=False)
class LiveSession(KeyedSession):
    """One session, from the moment at which it was seen locked by a living process.

    ``present`` is whether its lock lies there, and it has ended once that was taken away. ``user`` is the
    process's, ``prompted`` whether anything was ever said in the session.
    """

    user: int | None = None
    head: Head | None = None
    present: bool = True
    file: TranscriptFile[TranscriptReducer] | None = None
    prompted: bool = False
    waits: bool = False
    waits_since: float | None = None

    def read(self, wall: float) -> str:
        """Read what is new; return what :meth:`TranscriptFile.read` does.

        Where there is no file yet, nobody has said anything: its turn is over.
        """
        if self.file is None:
            return "same"
        outcome = self.file.read(wall)
        if outcome == "gone" and not self.prompted:
            self.turn = Turn(open=False, since=self.since)
            return outcome
        self.prompted = self.prompted or outcome != "gone"
        reducer = self.file.reducer
        self.turn = reducer.turn(self.born)
        self.waits, self.waits_since = reducer.asked_since(self.born)
        self.cwd = reducer.cwd or self.cwd
        return outcome

    def update(self) -> AgentTraces:
        """Return the traces as they are now; the same object where nothing has changed."""
        traces = self._traces()
        if traces != self.traces:
            self.traces = traces
        return self.traces or traces

    def _traces(self) -> AgentTraces:
        head, place = self.head or Head(), self.place
        waits = self.waits and not self.ended
        # A session that is taken up again began long before its process did.
        began = max((one for one in (head.began, self.started) if one is not None), default=None)
        session = Session(
            kind=KIND,
            session_id=self.key.session_id,
            process=self.key.process,
            present=self.present,
            lives=not self.ended,
            project=place.project if place is not None else None,
            version=head.version,
            started_at=began,
            declared="waiting" if waits else None,
            declared_at=self.waits_since if waits else None,
            waiting_for="permission prompt" if waits else None,
            ties=self.ties,
            tty=self.tty,
            turn=self.turn,
        )
        workspace = place.workspace if place is not None else self.workspace
        return AgentTraces(self.agent_id, workspace=workspace, session=session)
