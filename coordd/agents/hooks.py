"""Say what the hooks of one session told last: one table, in which the first row that fits decides.

Pure. A hook leaves the time at which it ran, in a file named after the session and the event, and nothing
else (coordd/cli/hooks/hook.sh). What they say together::

    row  fits when the last is                                    word     then
    1    the session's end, and not begun again since             ended    it ended in order
    2    the end of a turn, or the session's beginning            over     no hook is due before a human types
    3    a question, or a request for permission                  asks     none is due before a human answers
    4    the beginning of a long call that has not ended since    call     none is due before it ends
    5    anything else                                            works    it is in a turn

Hooks that run beside the agent (after a call) may come late: one that is younger by less than :data:`LATE`
does not count as later. Of calls side by side one may last when another has ended: so a call is open until
all of its batch are over, or the turn is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

LATE = 2.0
"""Seconds by which a hook that runs beside the agent may come after one that it waited for."""
LAST = 5.0
"""Seconds after a session's end within which its last other hooks may come."""

KIND = "claude-code"
"""The kind of the agents whose hooks these are."""

EVENTS: Mapping[str, str] = {
    "heartbeat": "beat",
    "PreToolUse": "call",
    "PostToolBatch": "batch",
    "PermissionRequest": "permission",
    "Question": "question",
    "Stop": "stop",
    "StopFailure": "failure",
    "SessionStart": "start",
    "SessionEnd": "end",
}
"""The names of events, as the files end with them, and the fields of :class:`Hooks` that hold their times."""

Word = Literal["ended", "over", "asks", "call", "works"]


@dataclass(frozen=True, slots=True)
class Hooks:
    """When each hook of one session ran last, in epoch seconds; None: it did not, as far as is known."""

    session_id: str
    beat: float | None = None
    call: float | None = None
    batch: float | None = None
    permission: float | None = None
    question: float | None = None
    stop: float | None = None
    failure: float | None = None
    start: float | None = None
    end: float | None = None

    def until(self, latest: float) -> Hooks:
        """Return the same without times after ``latest``: a file's time ahead of the clock is no time."""
        times: dict[str, Any] = {name: getattr(self, name) for name in EVENTS.values()}
        known: dict[str, Any] = {
            name: time if time is None or time <= latest else None for name, time in times.items()
        }
        return self if known == times else replace(self, **known)

    @property
    def told(self) -> bool:
        """Whether anything but heartbeats is known, which scripts of other agents leave as well."""
        return self._other is not None

    @property
    def last(self) -> float | None:
        """The time of the latest hook."""
        return _latest(self.beat, self._other)

    @property
    def _other(self) -> float | None:
        events = (self.call, self.batch, self.permission, self.question)
        return _latest(*events, self.stop, self.failure, self.start, self.end)

    @property
    def word(self) -> Word:
        """What they say together, as the table has it."""
        asked, called = _latest(self.permission, self.question), self.call
        over = _latest(self.stop, self.failure, self.start)
        beside = _latest(self.beat, self.batch)
        if (
            self.end is not None
            and _not_before(self.end, self.start)
            and _not_before(self.end + LAST, beside, asked, called, over)
        ):
            return "ended"
        if over is not None and _not_before(over, asked, called) and _not_before(over + LATE, beside):
            return "over"
        if asked is not None and _not_before(asked, called, over) and _not_before(asked + LATE, beside):
            return "asks"
        if called is not None and _not_before(called, self.batch, over):
            return "call"
        return "works"

    @property
    def since(self) -> float | None:
        """When that began, in epoch seconds; None where the hooks do not tell."""
        return {
            "ended": self.end,
            "over": _latest(self.stop, self.failure, self.start),
            "asks": _latest(self.permission, self.question),
            "call": self.call,
            "works": None,
        }[self.word]

    @property
    def quiet(self) -> bool:
        """Whether no further hook is due, however long it takes."""
        asked = _latest(self.permission, self.question)
        # A beat since it asked may be that of a call beside it, or of a subagent's: it may ask still.
        may_ask = asked is not None and _not_before(asked, self.call, self.batch, self.stop, self.failure)
        return self.told and (self.word in ("over", "asks", "call") or (self.word == "works" and may_ask))

    @property
    def ended(self) -> float | None:
        """When the session ended, None where it did not, or has begun again."""
        return self.end if self.word == "ended" else None

    @property
    def progress(self) -> float | None:
        """When it last went on by itself."""
        return _latest(self.beat, self.batch, self.call, self.stop, self.failure, self.start)

    @property
    def waiting_for(self) -> str | None:
        """What it asks a human for, in a known phrase; None where it does not ask."""
        if self.word != "asks":
            return None
        asked = self.question
        return "permission prompt" if asked is None or not _not_before(asked, self.permission) else "question"


def _latest(*times: float | None) -> float | None:
    return max((time for time in times if time is not None), default=None)


def _not_before(time: float, *others: float | None) -> bool:
    """Return whether a time is before none of the others."""
    return all(other is None or time >= other for other in others)
