"""Say what the process tree of an agent uses, and which share of a processor that is. Pure values.

forest.py finds the trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordd.host.process_facts import Process


class ProcessUse(NamedTuple):
    """What one process uses: processor seconds since it started, and resident bytes.

    ``cpu`` holds the time of children that ended and were waited for as well, where the system tells: what a
    compiler used does not vanish with it. ``terminal`` tells terminals apart, None for none. One that ended
    and was not waited for yet is still there, without memory; its time is not its parent's so far. ``name``
    is what the process calls itself, as its system cuts it. ``session`` and ``group`` are the numbers of the
    process's, 0 where the system does not tell.
    """

    pid: int
    start: int
    parent: int
    cpu: float
    rss: int
    terminal: int | str | None = None
    ended: bool = False
    name: str = ""
    session: int = 0
    group: int = 0


LEAST_SPAN = 5.0
"""Seconds between two passes below which what was used tells no share: processor time counts in ticks."""


@dataclass(frozen=True, slots=True)
class TreeUse:
    """What the tree of one root uses; memory that processes share counts once for each.

    ``cpu_percent`` is the share of one processor since the root's own pass before, None in its first one.
    ``young_cpu`` are the processor seconds of those of its processes that started at a given moment or later,
    without the root; None where no moment was given. ``nested`` are the agents that processes of the tree
    started from that moment on; they and their trees are no part of it.
    """

    processes: int
    cpu_seconds: float
    rss: int
    cpu_percent: float | None = None
    young_cpu: float | None = None
    nested: tuple[Process, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pass:
    """The pass from which the next share of a root counts, and the share that it had then."""

    mono: float
    cpu_seconds: float
    share: float | None


class TreeMeter:
    """Add shares to what passes tell; it keeps of each root the pass from which its next share counts.

    So each root may be measured in passes of its own. A share is never negative: what a process used leaves
    the sum with it if nobody waited for it. Nor is it more than all processors could give: a nested agent
    that ended leaves its time to its parent at once.
    """

    def __init__(self, *, processors: int) -> None:
        self._processors = processors
        self._last: dict[Process, _Pass] = {}

    def with_shares(self, found: Mapping[Process, TreeUse], mono: float) -> dict[Process, TreeUse]:
        """Return what one pass found, with the shares since each root's own pass before.

        A pass within :data:`LEAST_SPAN` of that one leaves the share as it was.

        Args:
            found: what the trees of the roots use, as forest.py has it.
            mono: the monotonic time of the pass.
        """
        return {root: self._with_share(root, use, mono) for root, use in found.items()}

    def forget(self, root: Process) -> None:
        """Keep nothing of a root that is gone."""
        self._last.pop(root, None)

    def _with_share(self, root: Process, use: TreeUse, mono: float) -> TreeUse:
        before, share = self._last.get(root), None
        if before is not None:
            if mono - before.mono < LEAST_SPAN:
                return replace(use, cpu_percent=before.share)
            used = max(0.0, use.cpu_seconds - before.cpu_seconds)
            share = round(min(100 * used / (mono - before.mono), 100.0 * self._processors), 1)
        self._last[root] = _Pass(mono, use.cpu_seconds, share)
        return replace(use, cpu_percent=share)
