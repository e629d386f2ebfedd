"""Add up what the process trees of agents use, from one pass over all processes of the machine.

Pure: what each process uses is passed in. What belongs to the tree of a root, by the first row that fits:

==========================================================================  =========
a process whose parent belongs to the tree                                  belongs
==========================================================================  =========
is itself a root: an agent that another one started                         no
started before its parent: the parent's pid has been used again             no
has another terminal than the root, and the root is not its parent          no
any other                                                                   yes
==========================================================================  =========

The third row is for what outlives the agent: the panes of a tmux server that it started have terminals of
their own. What the root itself starts in a terminal of its own (Codex runs commands so) is its work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class TreeUse:
    """What the tree of one root uses; memory that processes share counts once for each.

    ``cpu_percent`` is the share of one processor since the pass before, None in the first one. ``young_cpu``
    are the processor seconds of those of its processes that started at a given moment or later, without the
    root; None where no moment was given.
    """

    processes: int
    cpu_seconds: float
    rss: int
    cpu_percent: float | None = None
    young_cpu: float | None = None


class TreeMeter:
    """Measure trees pass by pass; it keeps the processor seconds of the last pass, for the share since.

    A share is never negative: what a process used leaves the sum with it if nobody waited for it. Nor is it
    more than all processors could give: a nested agent that ended leaves its time to its parent at once.
    """

    def __init__(self, *, processors: int) -> None:
        self._processors = processors
        self._last: dict[Process, float] = {}
        self._at = 0.0

    def measure(
        self, uses: Iterable[ProcessUse], roots: Mapping[Process, int | None], mono: float
    ) -> dict[Process, TreeUse]:
        """Return what the tree of each root that lives uses.

        Args:
            uses: one pass over all processes.
            roots: each with the moment from which on its processes count as young, as :class:`Process` has
                its start; None: no such moment.
            mono: the monotonic time of the pass.
        """
        found = measure_trees(uses, roots)
        elapsed = mono - self._at
        measured = {root: self._with_share(root, use, elapsed) for root, use in found.items()}
        self._last = {root: use.cpu_seconds for root, use in found.items()}
        self._at = mono
        return measured

    def _with_share(self, root: Process, use: TreeUse, elapsed: float) -> TreeUse:
        before = self._last.get(root)
        if before is None or elapsed <= 0:
            return use
        share = 100 * max(0.0, use.cpu_seconds - before) / elapsed
        return TreeUse(
            processes=use.processes,
            cpu_seconds=use.cpu_seconds,
            rss=use.rss,
            cpu_percent=round(min(share, 100.0 * self._processors), 1),
            young_cpu=use.young_cpu,
        )


def measure_trees(uses: Iterable[ProcessUse], roots: Mapping[Process, int | None]) -> dict[Process, TreeUse]:
    """Return what the trees use, without shares; a root that does not live has none."""
    by_pid: dict[int, ProcessUse] = {}
    children: dict[int, list[ProcessUse]] = {}
    for use in uses:
        by_pid[use.pid] = use
        children.setdefault(use.parent, []).append(use)
    found: dict[Process, TreeUse] = {}
    for root, young_since in roots.items():
        top = by_pid.get(root.pid)
        if top is not None and top.start == root.start and not top.ended:
            found[root] = _sum(top, list(_below(top, children, roots)), young_since)
    return found


def _below(
    root: ProcessUse, children: Mapping[int, Iterable[ProcessUse]], roots: Mapping[Process, int | None]
) -> Iterator[ProcessUse]:
    """Yield the processes of a tree without its root."""
    waiting = [root]
    seen = {root.pid}
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent.pid, ()):
            foreign = child.terminal not in (None, root.terminal) and parent is not root
            nested = Process(child.pid, child.start) in roots
            if nested or foreign or child.start < parent.start or child.pid in seen:
                continue
            seen.add(child.pid)
            waiting.append(child)
            yield child


def _sum(root: ProcessUse, below: list[ProcessUse], young_since: int | None) -> TreeUse:
    young = None
    if young_since is not None:
        young = sum(use.cpu for use in below if use.start >= young_since)
    every = [root, *below]
    return TreeUse(
        processes=sum(not use.ended for use in every),
        cpu_seconds=sum(use.cpu for use in every),
        rss=sum(use.rss for use in every),
        young_cpu=young,
    )
