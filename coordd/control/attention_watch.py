"""Tell subscribers of ``attention`` what has changed of the list of what needs a human.

The rule: while nobody follows the topic nothing is looked at and no timer is set. While somebody does, the
list is looked at a moment after something that may change it, and when time alone may; the difference to what
was told before, acknowledgements among it, is one notification, or a few where it is long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Literal

import msgspec

from coordd.control.hub import Hub
from coordd.model import AttentionChange, AttentionEntry, ClosedEntry
from coordd.runtime.clocks import Moment
from coordd.runtime.schedule import Schedule, now
from coordd.tasks.needs import Needs
from coordd.util.timestamps import format_utc

GATHER = 0.2
"""Seconds for which changes are gathered."""
MOST = 100
"""Entries in one notification."""
_SOON, _DUE = "attention.look", "attention.due"
_LEAST = 0.01
_FIELDS = [one.name for one in fields(AttentionEntry)]

_Change = tuple[Literal["opened", "changed", "closed"], AttentionEntry]


def changes(
    before: Mapping[str, AttentionEntry],
    entries: Sequence[AttentionEntry],
    *,
    acknowledged: Collection[str],
    timestamp: str,
) -> Iterator[AttentionChange]:
    """Yield what makes the list as it was told, by id, that of now; nothing where they are the same."""
    present = {one.id for one in entries}
    found: list[_Change] = [("closed", one) for one in before.values() if one.id not in present]
    for one in entries:
        known = before.get(one.id)
        if known is None:
            found.append(("opened", one))
        elif known != one:
            found.append(("changed", one))
    total = len(before)
    for start in range(0, len(found), MOST):
        some = found[start : start + MOST]
        total += sum(what == "opened" for what, _ in some) - sum(what == "closed" for what, _ in some)
        yield AttentionChange(
            timestamp=timestamp,
            opened=[one for what, one in some if what == "opened"],
            changed=[one for what, one in some if what == "changed"],
            closed=[_closed(one, acknowledged) for what, one in some if what == "closed"],
            total=total,
        )


class AttentionWatch:
    """Watch the list while somebody follows it.

    Args:
        needs: has the list.
        hub: takes the notifications, and knows who follows.
        schedule: times the looks.
    """

    def __init__(self, *, needs: Needs, hub: Hub, schedule: Schedule) -> None:
        self._needs = needs
        self._hub = hub
        self._schedule = schedule
        self._encode = msgspec.json.Encoder().encode
        self._told: dict[str, AttentionEntry] | None = None
        self._entries: list[AttentionEntry] = []
        self._version: object = None

    def prepare(self, moment: Moment) -> None:
        """Tell what has changed up to now, or begin where nobody followed so far: a subscriber comes."""
        if self._told is not None and self._hub.follows("attention"):
            self._look(moment)
            return
        self._version = self._needs.version
        self._entries = self._needs.entries(moment)
        self._told = {one.id: one for one in self._entries}
        self._await_time(moment)

    def changed(self) -> None:
        """Note that the list may be another one."""
        if (
            self._told is not None
            and self._version != self._needs.version
            and self._schedule.waiting(_SOON) is None
        ):
            self._schedule.once(_SOON, GATHER, self._look_again)

    def stop(self) -> None:
        """Look no more; nobody follows."""
        self._told, self._entries = None, []
        for job in (_SOON, _DUE):
            self._schedule.cancel(job)

    async def _look_again(self) -> None:
        self._look(now())

    def _look(self, moment: Moment) -> None:
        if self._told is None:
            return
        if not self._hub.follows("attention"):
            self.stop()
            return
        self._version = self._needs.version
        entries = self._needs.entries(moment)
        if entries is not self._entries:
            told, self._entries = self._told, entries
            self._told = {one.id: one for one in entries}
            acknowledged = frozenset(self._needs.acknowledged.ids)
            timestamp = format_utc(moment.wall)
            found = changes(told, entries, acknowledged=acknowledged, timestamp=timestamp)
            self._hub.publish("attention", [self._encode(one) for one in found])
        self._await_time(moment)

    def _await_time(self, moment: Moment) -> None:
        """Set the timer to the moment at which time alone may change the list."""
        due = self._needs.next_deadline(moment)
        if due == float("inf"):
            self._schedule.cancel(_DUE)
        else:
            self._schedule.once(_DUE, max(due - moment.mono, _LEAST), self._look_again)


def _closed(entry: AttentionEntry, acknowledged: Collection[str]) -> ClosedEntry:
    known = {name: getattr(entry, name) for name in _FIELDS}
    return ClosedEntry(**known, why="acknowledged" if entry.id in acknowledged else "over")
