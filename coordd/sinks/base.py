"""Define :class:`Sink`, by which the rest of coordd knows every sink, and the values that pass through it.

A sink's failure is a value in its status, never an exception. Time is passed in. This module knows neither
files nor Redis; records reach it encoded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coordd.model import PerformanceRow, SinkStatus


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one moment, by kind, each kind in the order in which they were made.

    ``system``, ``agent`` and ``event`` are JSON objects, UTF-8, without the newline at the end and with none
    inside.
    """

    system: Sequence[bytes] = ()
    agent: Sequence[bytes] = ()
    event: Sequence[bytes] = ()
    performance: Sequence[PerformanceRow] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to a sink and becomes an event; the fields are the event's.

    ``kind``: ``sink.failed``, ``sink.dropping``, ``sink.recovered`` (transitions.py), ``records.damaged`` (a
    torn line was set aside), ``records.recreated`` (directory, file or link was gone and is back).
    """

    kind: str
    subject: str
    message: str
    detail: Mapping[str, object] = field(default_factory=dict)


class Sink(Protocol):
    """Write records to one place, and keep a bounded backlog while that fails.

    ``open``, ``write``, ``pump``, ``roll``, ``check`` and ``close`` belong to one writer thread; ``sync`` may
    run in another one beside them; the rest may be asked from anywhere. No method raises OSError: ask
    ``status``. ``wall`` is epoch seconds, ``mono`` monotonic seconds.

    A record given to ``write`` is, when the call returns, written (it survives the death of this process), or
    in the backlog, and then ``status().state`` is ``failing``, or counted in ``dropped``.
    """

    @property
    def name(self) -> str:
        """Return the name by which ``status`` lists this sink."""

    @property
    def dirty(self) -> bool:
        """Return whether ``sync`` has something to do; it is then called within the fsync interval."""

    @property
    def durable(self) -> int:
        """Return how many records are known to survive a power loss; never more than ``written``."""

    @property
    def retry_at(self) -> float | None:
        """Return the monotonic time to call ``pump`` at; None while nothing waits for another try."""

    def open(self, *, wall: float, mono: float) -> None:
        """Prepare for the first write; what fails is tried again by ``pump``."""

    def write(self, batch: Batch, *, wall: float, mono: float) -> None:
        """Record the parts of this batch that belong to this sink."""

    def pump(self, *, wall: float, mono: float) -> None:
        """Try again what failed, if ``retry_at`` has come."""

    def roll(self, *, wall: float, mono: float) -> None:
        """Move to the day of ``wall``; called at UTC midnight, also when there is nothing to write."""

    def begin_next(self, series: Collection[str], *, wall: float, mono: float) -> None:
        """Go on in other files with these series, so that those which they were written to are closed."""

    def check(self, *, wall: float, mono: float) -> None:
        """Restore directory and files where somebody removed or changed them; called every few seconds."""

    def sync(self) -> None:
        """Bring what was written to stable storage; a failure shows in ``status``."""

    def close(self, *, wall: float, mono: float) -> None:
        """Try once more, sync, and let go; records that still wait count as dropped."""

    def status(self) -> SinkStatus:
        """Return the state, the error in words, and the counts as they are now."""

    def take_notices(self) -> list[Notice]:
        """Return and forget what happened since the last call, oldest first; at most the last hundred."""
