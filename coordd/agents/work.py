"""Gather what an agent's activity depends on, from all its sources and from what it holds.

Pure. activity.py has the table; the times in an agent's own files were dated on the observed clock of their
source when they were first read (observation.py), so each age is time in which coordd could observe it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coordd.agents.activity import ActivityEvidence
from coordd.agents.doing import Doing
from coordd.agents.hooks import Hooks
from coordd.agents.observation import Observation
from coordd.agents.session import DeclaredActivity, Session, Turn
from coordd.host.process_facts import Process
from coordd.model import Activity

_NO_TURN = Turn()
_ASKED = {
    "AskUserQuestion": "question",
    "ExitPlanMode": "plan approval",
    "request_user_input": "question",
    "ask_user": "question",
    "exit_plan_mode": "plan approval",
}


@dataclass(frozen=True, slots=True)
class Held:
    """Tell what an agent holds: whether any task (None: unknown), and the seconds since its last progress."""

    holds: bool | None
    idle: float | None = None


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """The settings agents.stall_after and agents.call_stall_after, in seconds."""

    stall_after: float
    call_stall_after: float


def session_among(observations: Iterable[Observation]) -> Observation | None:
    """Return the observation whose session counts: one whose process lives before others.

    One of which nothing is known but a process says nothing of what the agent does.
    """
    found = [
        one
        for one in observations
        if one.session is not None and not one.dormant and not one.session.process_only
    ]
    living = (one for one in found if one.process is not None and one.process.lives)
    return next(living, next(iter(found), None))


def hooked_among(observations: Iterable[Observation]) -> Observation | None:
    """Return the observation whose hooks told last, None where no hooks tell anything but heartbeats."""
    if isinstance(observations, tuple) and len(observations) == 1:  # the usual case: each beat comes by here
        (one,) = observations
        return one if one.hooks is not None and one.hooks.told else None
    found = [(one.hooks.last or 0.0, one) for one in observations if one.hooks is not None and one.hooks.told]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def asks(session: Session | None, hooks: Hooks | None) -> bool:
    """Return whether a hook has told that its session asks a human, and nothing has told progress since."""
    if hooks is None or hooks.since is None or hooks.word != "asks":
        return False
    turn = session.turn if session is not None else None
    told = [session.declared_at if session is not None else None, turn.last if turn is not None else None]
    return all(time is None or time <= hooks.since for time in told)


def hooked_evidence(
    one: Observation, observed: float, held: Held, limits: WorkLimits, *, declared: DeclaredActivity | None
) -> ActivityEvidence:
    """Return what the activity of an agent depends on of which hooks alone tell.

    Args:
        one: the observation whose hooks tell of it.
        observed: now, on that source's observed clock.
        held: what it holds.
        limits: the settings.
        declared: what its registration says that it does.
    """
    hooks = one.hooks or Hooks("")

    def age(time: float | None) -> float | None:
        at = one.date(time)
        return None if at is None else max(0.0, observed - at)

    in_turn = hooks.word not in ("over", "ended")
    return ActivityEvidence(
        stall_after=limits.stall_after,
        call_stall_after=limits.call_stall_after,
        declares_waiting=declared == "waiting",
        hook_asks=hooks.word == "asks",
        waiting_for=hooks.waiting_for,
        call_age=(age(hooks.call) or 0.0) if hooks.word == "call" else None,
        in_turn=in_turn,
        tells_turns=True,
        holds_task=held.holds,
        transcript_progress=age(hooks.progress),
        says_idle=not in_turn,
    )


def open_call(observations: Iterable[Observation]) -> tuple[Process, float] | None:
    """Return the process that has a call open, and when the oldest such call began, in epoch seconds.

    It is the oldest because old ones alone need a look at what they do. None: no process lives that has a
    call open of which that is known.
    """
    one = session_among(observations)
    turn = one.session.turn if one is not None and one.session is not None else None
    if one is None or turn is None or one.process is None or not one.process.lives:
        return None
    since = min((call.since for call in turn.calls if call.since is not None), default=None)
    return None if since is None else (one.process.process, since)


def activity_evidence(
    one: Observation | None,
    observed: float,
    held: Held,
    limits: WorkLimits,
    *,
    declared: DeclaredActivity | None = None,
    call_progress: bool | None = None,
) -> ActivityEvidence:
    """Return what the activity of an agent depends on.

    Args:
        one: the observation that tells of its session, None where no source reads one.
        observed: now, on that source's observed clock.
        held: what it holds.
        limits: the settings.
        declared: what its registration says that it does.
        call_progress: whether processes started since the open call began do anything; None: not measured.
    """
    session = one.session if one is not None else None
    if one is None or session is None:
        return ActivityEvidence(
            stall_after=limits.stall_after,
            call_stall_after=limits.call_stall_after,
            declares_waiting=declared == "waiting",
            holds_task=held.holds,
            task_progress=held.idle,
            says_idle=declared == "idle",
        )

    def age(time: float | None) -> float | None:
        at = one.date(time)
        return None if at is None else max(0.0, observed - at)

    turn = session.turn or _NO_TURN
    if not is_understood(session):
        return ActivityEvidence(
            stall_after=limits.stall_after, call_stall_after=limits.call_stall_after, tells_turns=True
        )
    in_turn = _in_turn(session, turn)
    calls = () if in_turn is False else turn.calls
    call_ages = [age(call.since) or 0.0 for call in calls]
    shells = [age(work.since) for work in turn.background if work.kind == "shell"]
    if session.shell and not shells:
        shells = [age(session.declared_at)]
    subagents = [work for work in turn.background if work.kind == "subagent"]
    grown = [seen for work in subagents if (seen := age(work.seen)) is not None]
    if min(grown, default=limits.stall_after) < limits.stall_after:
        call_progress = True
    progress = [one_age for one_age in (age(turn.last), age(session.declared_at)) if one_age is not None]
    return ActivityEvidence(
        stall_after=limits.stall_after,
        call_stall_after=limits.call_stall_after,
        declares_waiting=session.declared == "waiting",
        call_asks=session.declared is None and any(call.asks for call in calls),
        waiting_for=waiting_for(session),
        refused=age(turn.refused.since) if turn.refused else None,
        call_age=min(call_ages, default=None),
        call_progress=call_progress,
        in_turn=in_turn,
        turn_age=age(turn.since if turn.open else session.declared_at),
        tells_turns=True,
        holds_task=held.holds,
        transcript_progress=min(progress, default=None),
        subagent=bool(subagents),
        shell_age=min((shell for shell in shells if shell is not None), default=None),
        says_idle=in_turn is False,
    )


def is_understood(session: Session) -> bool:
    """Return whether coordd knows the words that the session uses; where it does not, it does not guess."""
    if session.undeclarable is not None:
        return False
    return session.declared is not None or session.turn is None or session.turn.recognised


def waiting_for(session: Session) -> str | None:
    """Return what a session waits for, in a known phrase; None where it does not say that it waits."""
    if session.declared == "waiting":
        return session.waiting_for or "input"
    tool = next((call.name for call in (session.turn or _NO_TURN).calls if call.asks), None)
    if session.declared is not None or tool is None:
        return None
    return _ASKED.get(tool, "input")


def doing_now(
    activity: Activity,
    before: Doing,
    session: Session | None,
    wall: float | None,
    mono: float,
    *,
    hooks: Hooks | None = None,
) -> Doing:
    """Return the activity with its beginning; the same value as before where nothing changed.

    Args:
        activity: the activity now.
        before: what was last shown.
        session: what the agent's own files say.
        wall: now, in epoch seconds, for a beginning that nothing tells; None: that stays unknown.
        mono: now, on the monotonic clock.
        hooks: what hooks of the session told last.
    """
    since = _since(activity, session)
    if (
        since is None
        and hooks is not None
        and {"waiting": "asks", "idle": "over"}.get(activity) == hooks.word
    ):
        since = hooks.since
    if since is not None and wall is not None and since > wall:
        since = None  # a clock that is ahead, or was: what is to come cannot have begun
    if activity != before.activity:
        if since is None:
            return Doing(activity, wall, mono)
        held = 0.0 if wall is None else wall - since  # it may have held for long when coordd first looked
        return Doing(activity, since, mono - held)
    return before if since in (None, before.since) else Doing(activity, since, before.noticed)


def _in_turn(session: Session, turn: Turn) -> bool | None:
    if session.declared is not None:
        return session.declared != "idle"
    return turn.open


def _since(activity: Activity, session: Session | None) -> float | None:
    """Return when this activity began as far as the session's own times tell."""
    if session is None:
        return None
    turn = session.turn or _NO_TURN
    if activity == "waiting":
        asked = next((call.since for call in turn.calls if call.asks), None)
        return session.declared_at if session.declared == "waiting" else asked
    if activity == "blocked":
        return turn.refused.since if turn.refused else None
    if activity == "idle":
        return turn.since if turn.open is False else session.declared_at
    if activity == "working":
        background = min((work.since for work in turn.background if work.since), default=None)
        return turn.since if turn.open else background or session.declared_at
    return None
