"""Know what is true of each agent, and what coordd may show of it: an oracle that knows nothing of its code.

All times are the machine's monotonic ones.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from day.observed import LAG, Observed

TIMEOUT, STALL, CALL_STALL, REFUSED = 120.0, 900.0, 7200.0, 30.0
FORGET, FORGET_ENDED = 86_400.0, 600.0
MEASURED = 130.0
"""Seconds after the start within which what an old call's processes do may not be known yet."""

What = Literal[
    "unknown", "idle", "turn", "call", "working-call", "waiting", "refused", "shell", "task", "leaving"
]
Kind = Literal["session", "beats", "registered"]
Shown = tuple[str, str, str | None]
"""Status, reason, activity."""
GONE: Shown = ("gone", "", None)


class Phase(NamedTuple):
    """What an agent does from ``since`` on; ``at`` is what its age counts from.

    ``shell`` is since when a shell works in the background beside that.
    """

    since: float
    what: What
    at: float
    shell: float | None = None


@dataclass(eq=False)
class Truth:
    """What is true of one agent.

    ``source`` is "" for the home, else a workspace. ``last_beat`` is of one that beats. ``end`` is how it
    went, at ``ended_at``: killed, ended in order, fell silent, or took its traces away.
    """

    key: tuple[str, str]
    kind: Kind
    source: str
    born: float
    phases: deque[Phase] = field(default_factory=lambda: deque(maxlen=400))
    last_beat: float = -math.inf
    end: Literal["killed", "ended", "silent", "left"] | None = None
    ended_at: float = math.inf
    shown: bool = False

    def does(self, what: What, now: float, at: float | None = None, shell: float | None = None) -> None:
        """Note that the agent does something else from now on."""
        self.phases.append(Phase(now, what, now if at is None else at, shell))


class Oracle:
    """Say what may be shown of an agent."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed

    def allowed(self, truth: Truth, now: float) -> set[Shown]:
        """Return what may be shown now; :data:`GONE` is that the agent is not shown at all."""
        return set(getattr(self, f"_{truth.kind}")(truth, now))

    # Those of which a process is known.

    def _session(self, truth: Truth, now: float) -> Iterator[Shown]:
        yield from self._with_process(truth, now, ["process"])

    def _registered(self, truth: Truth, now: float) -> Iterator[Shown]:
        seen_at = max(truth.born, self.observed.started)
        young = now - seen_at < 5 or self.observed.known_from(truth.source, now) < seen_at
        yield from self._with_process(truth, now, ["process", "heartbeat"] if young else ["process"])
        met = self.observed.seen_after(truth.source, seen_at)
        if truth.ended_at <= met < now:
            yield "inactive", "silent", None  # its process was never seen alive
        if now - met < LAG and now - truth.last_beat >= TIMEOUT:
            yield "inactive", "silent", None  # coordd finds it so, and looks at its process a moment later

    def _with_process(self, truth: Truth, now: float, reasons: list[str]) -> Iterator[Shown]:
        read_from = self.observed.known_from(truth.source, now)
        if truth.ended_at >= self.observed.known_from(None, now):  # it may be taken for alive
            for activity in self._activities(truth, now):
                for reason in reasons:
                    yield "active", reason, activity
            if truth.born >= read_from:
                yield GONE
        if truth.ended_at <= now:
            blind = self.observed.blind_since(truth.source) is not None or read_from < now - LAG
            yield from self._with_ended_process(truth, now, blind=blind)

    def _with_ended_process(self, truth: Truth, now: float, *, blind: bool) -> Iterator[Shown]:
        observed, end = self.observed, truth.end
        if truth.kind == "registered" and any(one.holds(truth.ended_at) for one in observed.downs):
            end = "ended"  # what kind of end it was nobody saw
        if blind:
            yield "unknown", "unreachable", None
            if truth.kind == "registered":  # of how it ended nothing is known but its last beat
                yield "active", "heartbeat", "unknown"
                yield "inactive", "silent", None
        met = observed.seen_after(truth.source, truth.born)
        forgotten = observed.real_age(truth.ended_at, now) > FORGET - 1
        if end == "ended":
            forgotten |= now > truth.ended_at + FORGET_ENDED - 1
        if forgotten or (not truth.shown and truth.ended_at <= met + LAG):  # it came and went unseen
            yield GONE
        told = observed.seen_after(truth.source, truth.ended_at)
        if end != "ended" or now < observed.seen_after(truth.source, told + FORGET_ENDED) + LAG:
            yield "inactive", str(end), None

    # Those that only beat.

    def _beats(self, truth: Truth, now: float) -> Iterator[Shown]:
        observed = self.observed
        read_from = observed.known_from(truth.source, now)
        if truth.born >= read_from:
            yield GONE
        if truth.end == "left" and truth.ended_at <= now:
            yield GONE
            if truth.ended_at < read_from:
                return
        readable = observed.blind_since(truth.source) is None
        alive = truth.ended_at >= read_from
        low, high = observed.elapsed(truth.source, truth.last_beat, now, open_counts=True)
        if alive or low < TIMEOUT + 1.5:
            for activity in self._activities(truth, now):
                yield "active", "heartbeat", activity
        silent = high >= TIMEOUT - 0.1
        if (not silent and observed.known_from(truth.source, now) < now - LAG) or not readable:
            known = observed.known_beat(truth.source, truth.last_beat)
            silent = observed.elapsed(truth.source, known, now, open_counts=True)[1] >= TIMEOUT - 0.1
        if silent and (not readable or read_from < now - LAG):
            yield "unknown", "unreachable", None
        if silent and truth.ended_at <= now:
            yield "inactive", "silent", None
            if observed.real_age(truth.last_beat, now) > FORGET - 1:
                yield GONE

    # What they do.

    def _activities(self, truth: Truth, now: float) -> set[str]:
        begin = self.observed.known_from(truth.source, now)
        found: set[str] = set()
        phases = truth.phases
        first = max(0, bisect_right(phases, begin, key=lambda one: one.since) - 1)
        unread = self.observed.first_read(truth.source) > now - LAG
        for index in range(first, len(phases)):
            found |= self._activity(truth, phases[index], now)
            if unread:  # what the records say, which were written before
                found |= self._activity(truth, phases[index], begin + LAG)
        if begin < now - LAG or self.observed.blind_since(truth.source) is not None:
            found.add("unknown")
        return found

    def _activity(self, truth: Truth, phase: Phase, now: float) -> set[str]:
        age = self._age(truth, phase.at, now)
        read = self.observed.first_read(truth.source)
        match phase.what:
            case "leaving":
                found = {"idle", "unknown"}
            case "refused":
                found = _by_age(age, REFUSED, "working", "blocked")
            case "turn":
                found = _by_age(age, STALL, "working", "stalled")
                if phase.shell is not None:
                    shell = _by_age(self._age(truth, phase.shell, now), CALL_STALL, "working", "")
                    found = {"working"} if shell == {"working"} else found | shell - {""}
            case "task":
                found = _by_age(age, STALL, "working", "stalled")
                if self._age(truth, read, now)[0] < STALL + LAG:
                    found.add("working")  # a change before the start cannot be told from none
            case "shell":
                found = _by_age(age, CALL_STALL, "working", "idle")
            case "working-call":
                found = {"working"}
                if age[1] >= CALL_STALL and now - read < MEASURED:
                    found.add("unknown")
            case "call":
                found = _by_age(age, CALL_STALL, "working", "stalled")
                if age[1] >= CALL_STALL and now - read < STALL + MEASURED:
                    found.add("unknown")
            case what:
                found = {what}
        return found

    def _age(self, truth: Truth, since: float, now: float) -> tuple[float, float]:
        return self.observed.elapsed(truth.source, since, now, open_counts=False)


def _by_age(age: tuple[float, float], limit: float, before: str, after: str) -> set[str]:
    """Return what may be shown of an age of at least and at most so many seconds."""
    found = set()
    if age[0] < limit + LAG:
        found.add(before)
    if age[1] >= limit - LAG:
        found.add(after)
    return found
