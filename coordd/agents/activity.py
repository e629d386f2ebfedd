"""Decide what an agent that lives does: one table, in which the first row that fits decides.

Pure: the evidence is passed in, with every duration already measured, on observed clocks. So time in which
coordd or the machine slept, or in which the source could not be read, is no time without progress, and
nothing here has to take it out. Whether the agent lives is another question (liveness.py).

The rule for what is unknown: it makes an agent neither ``working`` nor ``stalled``. To be stalled, an agent
has to be seen doing nothing; where that cannot be seen, it is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordd.model import Activity

REFUSED_AFTER = 30.0
"""Seconds of refusals after which an agent is blocked: its program tries again by itself before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEvidence:
    """Everything that the activity of one agent depends on; durations and ages are seconds.

    ``stall_after`` and ``call_stall_after`` are the settings of these names.

    It waits if ``declares_waiting`` (its session status or a registration), ``call_asks`` (an open call of a
    tool that asks a human) or ``hook_asks`` (a permission or question hook newer than any progress);
    ``waiting_for`` is the known phrase, None where nothing tells. ``refused`` is how long its provider has
    refused it without an answer in between, None while it does not.

    ``call_age`` is the age of the youngest open call, counted from when coordd first saw it where the call
    is undated; None: no call is open. ``call_progress`` is whether processes started since that call began
    used over 1 s of CPU within ``stall_after``, or a subagent's transcript grew within it. It is None while
    that is not measured: no process is known, its tree may not be looked at, or coordd has not looked for so
    long yet. An old call is then no reason to call the agent stalled, even where it can never be measured:
    two hours of an open call are what a long build looks like too, and alarms about builds teach people to
    read no alarm.

    ``in_turn`` is None where no source tells now; ``turn_age`` is how long the turn has been going on;
    ``tells_turns`` is whether any source tells of turns at all. ``holds_task`` is None where what it holds
    cannot be read. ``task_progress`` and ``transcript_progress`` are the time since the tasks that it holds,
    and its transcript or hooks, last showed progress; None where no progress would be seen there.
    ``subagent`` is whether a subagent of its own is open, ``shell_age`` the age of its youngest open
    background shell. ``says_idle`` is whether it declares itself idle, or says that its turn is over.
    """

    stall_after: float
    call_stall_after: float
    declares_waiting: bool = False
    call_asks: bool = False
    hook_asks: bool = False
    waiting_for: str | None = None
    refused: float | None = None
    call_age: float | None = None
    call_progress: bool | None = None
    in_turn: bool | None = None
    turn_age: float | None = None
    tells_turns: bool = False
    holds_task: bool | None = None
    task_progress: float | None = None
    transcript_progress: float | None = None
    subagent: bool = False
    shell_age: float | None = None
    says_idle: bool = False

    @property
    def waits(self) -> bool:
        """Whether anything says that it waits for a human."""
        return self.declares_waiting or self.call_asks or self.hook_asks

    @property
    def call_is_young(self) -> bool:
        """Whether a call is open that began less than ``call_stall_after`` ago."""
        return self.call_age is not None and self.call_age < self.call_stall_after

    @property
    def shell_is_young(self) -> bool:
        """Whether a background shell is open that began less than ``call_stall_after`` ago."""
        return self.shell_age is not None and self.shell_age < self.call_stall_after

    @property
    def at_task(self) -> bool:
        """Whether it holds a task and that counts as work, for no source tells of turns."""
        return self.holds_task is True and not self.tells_turns

    @property
    def at_work(self) -> bool:
        """Whether it is in a turn, or holds a task where no source tells of turns."""
        return self.in_turn is True or self.at_task

    @property
    def progress(self) -> float | None:
        """The time since it last showed progress anywhere; the beginning of its turn is progress too."""
        turn = self.turn_age if self.in_turn else None
        known = [age for age in (self.task_progress, self.transcript_progress, turn) if age is not None]
        return min(known, default=None)

    @property
    def progresses(self) -> bool:
        """Whether it showed progress within ``stall_after``."""
        return self.progress is not None and self.progress < self.stall_after

    @property
    def progress_is_visible(self) -> bool:
        """Whether progress in what it is at would be seen: of its turn, or of the task that it holds."""
        return (self.in_turn is True and self.transcript_progress is not None) or (
            self.at_task and self.task_progress is not None
        )


@dataclass(frozen=True, slots=True)
class ActivityVerdict:
    """The activity of an agent, and the number of the row that decided."""

    activity: Activity
    row: int


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One row of the table: the condition in words (``when``) and in code (``fits``), and ``activity``."""

    number: int
    when: str
    fits: Callable[[ActivityEvidence], bool]
    activity: Activity


TABLE: tuple[ActivityRow, ...] = (
    ActivityRow(1, "it says that it waits for a human", lambda e: e.waits, "waiting"),
    ActivityRow(
        2,
        f"its provider refuses it for over {REFUSED_AFTER:.0f} s, until it answers again",
        lambda e: e.refused is not None and e.refused >= REFUSED_AFTER,
        "blocked",
    ),
    ActivityRow(
        3,
        "a tool call is open, and younger than agents.call_stall_after, or processes started since it began "
        "used over 1 s of CPU within agents.stall_after, or a subagent's transcript grew",
        lambda e: e.call_is_young or (e.call_age is not None and e.call_progress is True),
        "working",
    ),
    ActivityRow(
        4,
        "a tool call is open for longer, and nothing of that was seen",
        lambda e: e.call_age is not None and not e.call_is_young and e.call_progress is False,
        "stalled",
    ),
    ActivityRow(
        5,
        "in a turn, or (only where no source tells of turns) holding a task, with progress within "
        "agents.stall_after",
        lambda e: e.at_work and e.progresses,
        "working",
    ),
    ActivityRow(
        6,
        "a subagent of its own is open, or a background shell younger than agents.call_stall_after",
        lambda e: e.subagent or e.shell_is_young,
        "working",
    ),
    ActivityRow(
        7,
        "in a turn, or (as in 5) holding a task, without progress for longer, and no call is open",
        lambda e: e.call_age is None and e.at_work and e.progress_is_visible and not e.progresses,
        "stalled",
    ),
    ActivityRow(
        8,
        "its turn is over, or it holds nothing and says so",
        lambda e: e.in_turn is False or (e.in_turn is None and e.holds_task is False and e.says_idle),
        "idle",
    ),
    ActivityRow(9, "nothing tells", lambda _: True, "unknown"),
)


def judge_activity(evidence: ActivityEvidence) -> ActivityVerdict:
    """Return the activity of the first row that fits; row 9 fits always."""
    row = deciding_activity_row(evidence)
    return ActivityVerdict(row.activity, row.number)


def deciding_activity_row(evidence: ActivityEvidence) -> ActivityRow:
    """Return the row that decides, to explain an activity."""
    return next(row for row in TABLE if row.fits(evidence))


def next_change(evidence: ActivityEvidence) -> float | None:
    """Return the seconds after which time alone changes which row decides; None where it cannot.

    Time makes row 2 fit, and rows 3, 5 and 6 fit no longer; the other rows end with an observation alone.
    """
    row = deciding_activity_row(evidence).number
    waits = []
    if row > 2 and evidence.refused is not None:
        waits.append(REFUSED_AFTER - evidence.refused)
    if row == 3 and evidence.call_age is not None and evidence.call_progress is not True:
        waits.append(evidence.call_stall_after - evidence.call_age)
    if row == 5 and evidence.progress is not None:
        waits.append(evidence.stall_after - evidence.progress)
    if row == 6 and evidence.shell_age is not None and not evidence.subagent:
        waits.append(evidence.call_stall_after - evidence.shell_age)
    return min(waits, default=None)
