"""Reduce what one source holds of one agent to an observation: one pure step for each reading.

:func:`observe` takes the observation as it was and the traces as they are now, and returns the observation as
it is now. It does no I/O and reads no clock: times are passed in. join.py makes agents of observations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from coordd.agents.beats import (
    FUTURE,
    LastBeat,
    Reading,
    Restored,
    beat_after_restart,
    beat_since,
    first_beat,
    observed_time,
)
from coordd.agents.declared import declares_end
from coordd.agents.hooks import Hooks
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Evidence
from coordd.agents.seen_process import SeenProcess
from coordd.agents.session import Session
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces

ObservationKey = tuple[SourceName, str]
"""(source, the agent's id there): a source has one observation of each agent."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one source says of one agent.

    ``key`` is that of the agent if this observation were the only one: its id in the source, and the
    workspace that it works in, NO_WORKSPACE where the source does not tell.

    ``beat_wall`` is the time of the last beat as it is shown (epoch seconds), ``beat_at`` the same on its
    source's observed clock, ``beat_mono`` on the monotonic one; all are None when no beat was ever seen.
    ``run_since`` is the wall time of the first beat of the unbroken run. ``doubtful``: its last beat is
    (beats.py), so that it says nothing until the silence after it was too long.

    ``traces`` is None while the agent is known from the records alone; ``restored`` is what these say, kept
    where other sources have to be read as well before it is outdated. ``dormant`` is
    true once its silence was too long, until its next beat: an agent of which nothing else tells is not shown
    then. Its traces are kept, so that the beat can be told from an old file.

    ``process`` is the agent's, once coordd saw it alive. ``ended_mono`` is when its registration said that it
    has ended, on the monotonic clock, None while it does not. ``dates`` maps each time that the session's
    traces hold (epoch seconds) to the same on the source's observed clock: it is dated once, when it is first
    read, so that time in which nothing could be observed does not count in its age.
    """

    source: SourceName
    key: AgentKey
    traces: AgentTraces | None
    beat_wall: float | None = None
    beat_at: float | None = None
    beat_mono: float | None = None
    run_since: float | None = None
    restored: Restored | None = None
    dormant: bool = False
    process: SeenProcess | None = None
    ended_mono: float | None = None
    dates: tuple[tuple[float, float], ...] = ()
    doubtful: bool = False

    @property
    def agent_id(self) -> str:
        """The agent's id in the source."""
        return self.key.agent_id

    @property
    def workspace(self) -> str:
        """The workspace that the source names for the agent."""
        return self.key.workspace

    @property
    def place(self) -> ObservationKey:
        """The key of the observation."""
        return self.source, self.key.agent_id

    @property
    def session(self) -> Session | None:
        """What the agent's own files say of its session; after a restart what the records say, until read."""
        if self.traces is not None:
            return self.traces.session
        return self.restored.session if self.restored else None

    @property
    def hooks(self) -> Hooks | None:
        """What hooks of its session tell, None where none do."""
        return self.traces.hooks if self.traces is not None else None

    @property
    def _quiet(self) -> bool:
        """Whether its last word was that no further one is due; before it is read, as the records say."""
        if self.traces is None:
            return self.restored is not None and self.restored.quiet
        return self.traces.hooks is not None and self.traces.hooks.quiet

    def date(self, time: float | None) -> float | None:
        """Return a time of the session's on the source's observed clock, None for none."""
        return next((at for written, at in self.dates if written == time), None)

    def evidence(
        self, observed: float, *, timeout: float, readable: bool, mono: float, alone: bool = False
    ) -> Evidence:
        """Return what a verdict at the observed time depends on, as far as this source tells.

        ``mono`` is the monotonic time of the moment. ``alone``: no other source tells of the agent, so that
        no end can be told that a beat is to be compared with.
        """
        silence = None if self.beat_at is None else max(0.0, observed - self.beat_at)
        hidden = self.traces is not None and self.traces.hidden is not None
        doubtful = self.doubtful and silence is not None and silence < timeout
        if doubtful:
            silence = None
        process = self.process
        if alone and process is None and self.ended_mono is None:
            return Evidence(
                silence=silence,
                timeout=timeout,
                readable=readable and not hidden,
                doubtful=doubtful,
                quiet=self._quiet,
            )
        beat_age = None if self.beat_mono is None else max(0.0, mono - self.beat_mono)
        declared = None if self.ended_mono is None else max(0.0, mono - self.ended_mono)
        if process is None:
            return Evidence(
                silence=silence,
                timeout=timeout,
                readable=readable and not hidden,
                end_age=declared,
                beat_age=None if doubtful else beat_age,
                doubtful=doubtful,
                quiet=self._quiet,
            )
        end = process.end
        age = None if end is None else max(0.0, mono - end.mono)
        killed = end is not None and not end.orderly
        return Evidence(
            silence=silence,
            timeout=timeout,
            readable=readable and not hidden,
            process="killed" if killed else "alive" if process.lives else None,
            killed_age=age if killed else None,
            end_age=declared if killed or age is None else age,
            beat_age=None if doubtful else beat_age,
            doubtful=doubtful,
            quiet=self._quiet,
        )


def observe(
    old: Observation | None,
    place: ObservationKey,
    workspace: str,
    traces: AgentTraces,
    reading: Reading,
) -> Observation:
    """Return the observation of an agent after one reading; ``old`` itself when the reading changes nothing.

    Args:
        old: the observation before; None for a new one.
        place: the source that was read, and the agent's id there.
        workspace: the workspace that the source belongs to; one named in the traces goes before it.
        traces: what was read of the agent.
        reading: when and how.
    """
    if traces.hooks is not None and (hooks := traces.hooks.until(reading.wall + FUTURE)) is not traces.hooks:
        traces = replace(traces, hooks=hooks)
    beat = None
    last = LastBeat(None, None, None)
    if old is None:
        beat = first_beat(traces, reading)
    else:
        last = LastBeat(old.beat_wall, old.beat_at, old.run_since, old.doubtful)
        if old.traces is None:
            beat = beat_after_restart(last, old.restored or Restored(), traces, reading)
        else:
            beat = beat_since(last, old.traces, traces, reading)
    beaten = beat is not None and beat[:2] != last[:2]
    if old is not None and not beaten and old.traces == traces:
        return old
    process = _process(old, traces)
    revived = old is not None and process is not None and process != old.process
    beat = beat or last
    beat_mono = old.beat_mono if old else None
    if beaten and beat.at is not None:
        # dated once: a gap that is taken out of the observed clock later must not change its age
        beat_mono = min(reading.mono, beat.at + reading.blind)
        if reading.fresh and beat.wall is not None:  # its age is real time, whatever of it was observed
            written = reading.mono - max(0.0, reading.wall - beat.wall)
            known = -math.inf if old is None or old.beat_mono is None else old.beat_mono
            beat_mono = min(beat_mono, max(written, known))
    if old is not None and old.traces is None and traces.session is not None and old.restored is not None:
        traces = replace(traces, session=_filled(traces.session, old.restored.session))
    key = AgentKey(workspace if traces.workspace is None else traces.workspace, place[1])
    return Observation(
        source=place[0],
        key=old.key if old and old.key == key else key,  # one value for all that keep it
        traces=traces,
        beat_wall=beat.wall,
        beat_at=beat.at,
        beat_mono=beat_mono,
        run_since=beat.run_since,
        restored=old.restored if old and old.restored and old.restored.shared else None,
        dormant=old is not None and old.dormant and not beaten and not revived,
        process=process,
        ended_mono=_ended(old, traces, reading),
        dates=_dated(old, traces, reading) if traces.session or traces.hooks else (),
        doubtful=beat.doubtful,
    )


def _filled(session: Session, before: Session | None) -> Session:
    """Return a session with what its source cannot tell of it any more, as the records have it."""
    if before is None or before.kind != session.kind or session.lives:
        return session
    return replace(
        session,
        **{
            name: getattr(before, name)
            for name in ("project", "name", "tty", "user", "started_at", "turn")
            if getattr(session, name) is None
        },
    )


def _process(old: Observation | None, traces: AgentTraces) -> SeenProcess | None:
    """Return the agent's process: another one than before if its session now names that."""
    before = old.process if old else None
    session = traces.session
    if session is None or session.process is None:
        return before
    if before is not None and before.process == session.process:
        was = old.session if old is not None and old.traces is not None else None
        if before.end is None or was is None or was.lives or not session.lives:
            return before if before.certain else replace(before, certain=True)
    return SeenProcess(session.process, certain=True)  # its source has just seen that it works on the session


def _ended(old: Observation | None, traces: AgentTraces, reading: Reading) -> float | None:
    """Return when its registration, or a hook, said that the agent has ended, on the monotonic clock.

    A registration says it as it is dated, else when that was read.
    """
    registration = traces.registration
    if registration is None or not declares_end(registration):
        ended = traces.hooks.ended if traces.hooks else None
        if ended is None:
            return None
        if old is not None and old.hooks is not None and old.hooks.ended == ended:
            return old.ended_mono
        return reading.mono - max(0.0, reading.wall - ended)
    if old is not None and old.traces is not None and old.ended_mono is not None:
        if old.traces.registration == registration:
            return old.ended_mono
        return reading.mono  # it says so once more, and there may have been beats in between
    times = [time for time in (registration.written, registration.updated_at) if time is not None]
    return reading.mono - max(0.0, reading.wall - max(times, default=reading.wall))


def _dated(old: Observation | None, traces: AgentTraces, reading: Reading) -> tuple[tuple[float, float], ...]:
    """Return the times of a session and its hooks, on the observed clock; known ones stay as they are."""
    known = dict(old.dates) if old else {}
    first = reading.fresh or old is None or not old.dates

    def dated(time: float) -> float:
        at = observed_time(time, reading)
        # before coordd looked, the machine may have slept for a part of this age
        return min(reading.observed, at + reading.slept) if first else max(reading.since, at)

    return tuple(
        (time, known[time] if time in known else dated(time)) for time in dict.fromkeys(_times(traces))
    )


def _times(traces: AgentTraces) -> Iterator[float]:
    """Yield every time that a verdict on a session's activity may depend on."""
    session, hooks = traces.session, traces.hooks
    turn = session.turn if session is not None else None
    times = [session.declared_at if session is not None else None]
    if hooks is not None:
        times += [hooks.progress, hooks.call]
    if turn is not None:
        times += [turn.since, turn.last, *(call.since for call in turn.calls)]
        for work in turn.background:
            times += [work.since, work.seen]
        if turn.refused is not None:
            times += [turn.refused.since, turn.refused.last]
    return (time for time in times if time is not None)
