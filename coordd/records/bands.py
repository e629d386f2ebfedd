"""Reduce records of agents to bands: what each did from when on, at the resolution of a strip. Pure.

A record holds until its agent's next one. Time is cut into steps, multiples of ``step`` since 1970; in a
step in which an agent did several things, the band is of what it did for longest. The states are those that
people are shown (coordd/cli/agent_words.py): the activity of an active agent, the reason of an inactive one.
``None`` is an agent that is there no longer, or not yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from coordd.model import ACTIVITIES
from coordd.util.text import epoch_of

MAX_BANDS = 100_000
"""Bands of all agents that are kept at most; beyond that further agents are left out, and counted."""
MAX_STEPS = 2_000
"""Steps of one agent at most: its bands are bounded by them."""
LOOKBACK = 3600.0
"""Seconds before the begin in which to look for what an agent did at the begin."""


class BandRecord(TypedDict, total=False):
    """The fields of a record that bands are made of; to decode no others takes half the time."""

    timestamp: Any
    host: Any
    workspace: Any
    agent_id: Any
    status: Any
    reason: Any
    cause: Any
    project: Any
    name: Any
    kind: Any
    activity: Any
    activity_since: Any


_DEAD = ("killed", "silent", "ended")
_TOLD = ("agent_id", "workspace", "project", "name", "kind")


def state_of(record: dict[str, Any]) -> str | None:
    """Return what an agent did by a record, in one word; None where the record says that it is gone."""
    status = record.get("status")
    if record.get("cause") == "removed":
        return None
    if status == "inactive":
        reason = record.get("reason")
        return reason if reason in _DEAD else "inactive"
    if status == "active":
        activity = record.get("activity")
        return activity if activity in ACTIVITIES and activity != "unknown" else "active"
    return "unknown"


_Key = tuple[str | None, str]
"""Workspace and id of an agent."""


class _Strip:
    """The bands of one agent so far; ``state`` holds from ``at`` on, ``held`` fills the open step."""

    __slots__ = ("at", "bands", "held", "last", "state")

    def __init__(self, at: float) -> None:
        self.at = at
        self.state: str | None = None
        self.held: dict[str | None, float] = {}
        self.bands: list[tuple[float, str | None]] = []
        self.last: dict[str, Any] = {}


class Bands:
    """Take records in the order of writing, and give out a document for each agent at the end.

    Args:
        begin: epoch seconds; earlier records tell only what an agent did at the begin.
        end: epoch seconds, up to which the last record of each agent holds.
        step: seconds.

    Raises:
        ValueError: the step is too short for that span, or infinite.
    """

    def __init__(self, begin: float, end: float, step: float) -> None:
        if not (step > 0 and math.isfinite(step) and (end - begin) / step <= MAX_STEPS):
            raise ValueError(f"step: at least a {MAX_STEPS:,}th of the time that is asked for")
        self._begin, self._end, self._step = begin, end, step
        self._strips: dict[_Key, _Strip] = {}
        self._count = 0
        self.left_out = 0

    def add(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Add records; nothing is given out before the end."""
        for record in records:
            workspace, agent_id = record.get("workspace"), record.get("agent_id")
            if not isinstance(agent_id, str) or not (workspace is None or isinstance(workspace, str)):
                continue  # another program may have written anything
            key, state = (workspace, agent_id), state_of(record)
            strip = self._strips.get(key)
            if strip is not None and strip.state == state:
                strip.last = record  # it goes on as before; nearly all records say that
            elif (moment := epoch_of(record.get("timestamp"))) is not None:
                self._change(key, strip, record, state, min(moment, self._end))
        return iter(())

    def rest(self) -> Iterator[dict[str, Any]]:
        """Yield for each agent who it is, and its ``bands``: pairs of epoch seconds and what it did then."""
        for strip in self._strips.values():
            self._hold(strip, self._end)
            self._close(strip)
            bands = strip.bands
            if any(state is not None for _, state in bands):
                told = [(name, strip.last.get(name)) for name in _TOLD]
                who = {name: value if isinstance(value, str) else None for name, value in told}
                yield {**who, "bands": bands[1:] if bands[0][1] is None else bands}

    def _change(
        self, key: _Key, strip: _Strip | None, record: dict[str, Any], state: str | None, moment: float
    ) -> None:
        if strip is None:
            if self._count >= MAX_BANDS:
                self.left_out += 1
                return
            strip = self._strips[key] = _Strip(self._begin)
            self._count += 1
            if state is not None:
                began = epoch_of(record.get("activity_since")) if record.get("status") == "active" else None
                self._hold(strip, moment if began is None else min(moment, began))
        else:
            self._hold(strip, moment)
        strip.state, strip.last = state, record

    def _hold(self, strip: _Strip, until: float) -> None:
        """Let the state of an agent hold until a moment; one before the last counts as the last."""
        if until <= strip.at:
            return
        first, last = math.floor(strip.at / self._step), math.floor(until / self._step)
        if first != last:
            self._fill(strip, (first + 1) * self._step - strip.at)
            self._close(strip)
            if last > first + 1:
                self._append(strip, (first + 1) * self._step, strip.state)
            strip.at = last * self._step
        if until > strip.at:
            self._fill(strip, until - strip.at)
        strip.at = until

    @staticmethod
    def _fill(strip: _Strip, seconds: float) -> None:
        strip.held[strip.state] = strip.held.get(strip.state, 0.0) + seconds

    def _close(self, strip: _Strip) -> None:
        """End the open step, in which ``at`` lies."""
        if strip.held:
            begin = math.floor(strip.at / self._step) * self._step
            self._append(strip, begin, max(strip.held, key=lambda state: strip.held[state]))
            strip.held = {}

    def _append(self, strip: _Strip, begin: float, state: str | None) -> None:
        if not strip.bands or strip.bands[-1][1] != state:
            strip.bands.append((round(max(begin, self._begin), 3), state))
            self._count += 1
