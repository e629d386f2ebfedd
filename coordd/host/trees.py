"""Add up what the process trees of agents use, from one pass over all processes of the machine.

Pure: what each process uses is passed in. What belongs to the tree of a root, by the first row that fits:

==========================================================================  =========
a process whose parent belongs to the tree                                  belongs
==========================================================================  =========
is a root, or another agent that is known: one that an agent started        no
started before its parent: the parent's pid has been used again             no
has another terminal than the root, and the root is not its parent          no
any other                                                                   yes
==========================================================================  =========

The third row is for what outlives the agent: the panes of a tmux server that it started have terminals of
their own. What the root itself starts in a terminal of its own (Codex runs commands so) is its work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from coordd.host.process_facts import Process


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses: processor seconds since it started, and resident bytes.

    ``cpu`` holds the time of children that ended and were waited for as well, where the system tells: what a
    compiler used does not vanish with it. ``terminal`` tells terminals apart, None for none. One that ended
    and was not waited for yet is still there, without memory; its time is not its parent's so far.
    """

    pid: int
    start: int
    parent: int
    cpu: float
    rss: int
    terminal: int | str | None = None
    ended: bool = False


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
            found: what the trees of the roots use, as :func:`measure_trees` returns it.
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


def measure_trees(
    uses: Iterable[ProcessUse], roots: Mapping[Process, int | None], *, agents: Collection[Process] = ()
) -> dict[Process, TreeUse]:
    """Return what the tree of each root that lives uses, without shares.

    Args:
        uses: one pass over all processes.
        roots: each with the moment from which on its processes count as young, as :class:`Process` has its
            start; None: no such moment.
        agents: the processes of all agents that are known, measured in this pass or not.
    """
    by_pid: dict[int, ProcessUse] = {}
    children: dict[int, list[ProcessUse]] = {}
    for use in uses:
        by_pid[use.pid] = use
        children.setdefault(use.parent, []).append(use)
    borders = {*roots, *agents}
    found: dict[Process, TreeUse] = {}
    for root, young_since in roots.items():
        top = by_pid.get(root.pid)
        if top is not None and top.start == root.start and not top.ended:
            nested: list[Process] = []
            below = list(_below(top, children, borders, nested))
            found[root] = _sum(top, below, nested, young_since)
    return found


def _below(
    root: ProcessUse,
    children: Mapping[int, Iterable[ProcessUse]],
    borders: Collection[Process],
    nested: list[Process],
) -> Iterator[ProcessUse]:
    """Yield the processes of a tree without its root; put the agents that it started into ``nested``."""
    waiting = [root]
    seen = {root.pid}
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent.pid, ()):
            foreign = child.terminal not in (None, root.terminal) and parent is not root
            if foreign or child.start < parent.start or child.pid in seen:
                continue
            seen.add(child.pid)
            if (process := Process(child.pid, child.start)) in borders:
                nested.append(process)
                continue
            waiting.append(child)
            yield child


def _sum(
    root: ProcessUse, below: list[ProcessUse], nested: list[Process], young_since: int | None
) -> TreeUse:
    young = None
    if young_since is not None:
        young = sum(use.cpu for use in below if use.start >= young_since)
    every = [root, *below]
    return TreeUse(
        processes=sum(not use.ended for use in every),
        cpu_seconds=sum(use.cpu for use in every),
        rss=sum(use.rss for use in every),
        young_cpu=young,
        nested=tuple(one for one in nested if young_since is not None and one.start >= young_since),
    )
