"""Find the process trees of agents in one pass over all processes, with what was re-parented out of them.

Pure: the pass, and what passes before it found, are passed in. What belongs to the tree of a root, by the
first row that fits:

==========================================================================  ====================
is a root, or another agent that is known: one that an agent started        no, it is a tree
has a parent that belongs, and started before that: its pid was used again  no
has a parent that belongs, which is not the root, and a terminal that is    no
neither the root's nor that parent's
has a parent that belongs                                                   yes
belonged in a pass before, or is claimed, and holds terminals for others    no
is claimed, and has another terminal than the root                          no
belonged in a pass before, and has another terminal than the root and then  no
belonged in a pass before, or is claimed                                    yes, with those below
any other                                                                   no
==========================================================================  ====================

The rows about terminals are for what outlives the agent: the panes of a tmux server that it started have
terminals of their own, and the server, once it is nobody's child, holds them. What the root itself starts in
a terminal of its own (Codex runs commands so) is its work, with all that this starts there. When a parent
ends, its children are re-parented to the first process of their pid namespace, or to an ancestor that asked
for it: then the parent tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from coordd.host.kinship import NO_KINSHIP, Kinship, kinship
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse, TreeUse

MOST_REMEMBERED = 20_000
"""Processes of which it is remembered whose tree they belong to."""
_FIRST = 1
_MANAGER = "systemd"
"""What a user's service manager is called, which takes in what that user's processes leave behind."""

Terminal = int | str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What passes before found, and what was learned since: whose tree a process belongs to.

    ``roots`` maps processes to the root of their tree, which may have ended since; ``terminals`` maps roots
    to their terminals, and processes to theirs where that is another one. ``kinship`` is whose the sessions
    and groups of processes are.
    """

    roots: Mapping[Process, Process] = field(default_factory=dict)
    terminals: Mapping[Process, Terminal] = field(default_factory=dict)
    kinship: Kinship = NO_KINSHIP


NOTHING = Remembered()


class _Forest:
    """All processes of one pass, by pid and by parent."""

    def __init__(self, uses: Iterable[ProcessUse]) -> None:
        self.by_pid: dict[int, ProcessUse] = {}
        self.children: dict[int, list[ProcessUse]] = {}
        for use in uses:
            self.by_pid[use.pid] = use
            self.children.setdefault(use.parent, []).append(use)

    def living(self, process: Process) -> ProcessUse | None:
        """Return a process if it lives in this pass."""
        use = self.by_pid.get(process.pid)
        return use if use is not None and use.start == process.start and not use.ended else None

    def ancestors(self, processes: Iterable[Process]) -> set[int]:
        """Return the pids of all processes above these."""
        found: set[int] = set()
        for process in processes:
            use = self.by_pid.get(process.pid)
            while use is not None and use.parent not in found and use.parent != use.pid:
                found.add(use.parent)
                use = self.by_pid.get(use.parent)
        return found

    def holds_terminals(self, use: ProcessUse, terminal: Terminal) -> bool:
        """Return whether a process has a child with a terminal that is neither its own nor this one."""
        own = (None, use.terminal, terminal)
        return any(child.terminal not in own for child in self.children.get(use.pid, ()))


class _Trees:
    """The trees as far as they are found: which process belongs to which root."""

    def __init__(self, forest: _Forest, borders: Collection[Process]) -> None:
        self.root_of: dict[Process, Process] = {}
        self.below: dict[Process, list[ProcessUse]] = {}
        self.nested: dict[Process, list[Process]] = {}
        self._forest = forest
        self._borders = borders

    def grow(self, root: Process, top: ProcessUse, terminal: Terminal, *, root_itself: bool) -> None:
        """Add all that is below a process of the tree."""
        below = self.below.setdefault(root, [])
        waiting = [top]
        seen = {top.pid}
        children = self._forest.children
        while waiting:
            parent = waiting.pop()
            for child in children.get(parent.pid, ()):
                own = (None, terminal, parent.terminal)
                foreign = child.terminal not in own and not (root_itself and parent is top)
                if foreign or child.start < parent.start or child.pid in seen:
                    continue
                seen.add(child.pid)
                process = Process(child.pid, child.start)
                if process in self._borders:
                    self.nested.setdefault(root, []).append(process)
                elif process not in self.root_of:
                    self.root_of[process] = root
                    below.append(child)
                    waiting.append(child)

    def add(self, root: Process, use: ProcessUse, terminal: Terminal) -> None:
        """Add a process that no parent ties to the tree, and what is below it."""
        self.root_of[Process(use.pid, use.start)] = root
        self.below.setdefault(root, []).append(use)
        self.grow(root, use, terminal, root_itself=False)


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass found.

    ``trees`` are those of the roots that were asked for and live. ``remembered`` is for the next pass.
    ``left`` maps the roots that have ended to what lives of their trees. ``strays`` are processes that were
    re-parented out of a tree that nobody remembers, if of any. ``alive`` are all processes of the pass.
    """

    trees: Mapping[Process, TreeUse]
    remembered: Remembered
    left: Mapping[Process, tuple[ProcessUse, ...]]
    strays: tuple[ProcessUse, ...]
    alive: Collection[Process]
    _forest: _Forest = field(default_factory=lambda: _Forest(()))
    _borders: Collection[Process] = ()

    def below(self, stray: ProcessUse) -> list[ProcessUse]:
        """Return what lives below a stray, by the rules of a tree, and is not known to be of another one."""
        trees = _Trees(self._forest, self._borders)
        root = Process(stray.pid, stray.start)
        trees.grow(root, stray, stray.terminal, root_itself=False)
        known = self.remembered.roots
        found = trees.below.get(root, ())
        return [one for one in found if not one.ended and Process(one.pid, one.start) not in known]


def survey(
    uses: Iterable[ProcessUse],
    roots: Mapping[Process, int | None],
    *,
    agents: Collection[Process] = (),
    remembered: Remembered = NOTHING,
) -> Survey:
    """Return what one pass finds.

    Args:
        uses: one pass over all processes.
        roots: whose trees are measured, each with the moment from which on its processes count as young, as
            :class:`Process` has its start; None: no such moment.
        agents: the processes of all agents that are known, measured in this pass or not.
        remembered: what is known from before.
    """
    forest = _Forest(uses)
    borders = {*roots, *agents}
    tops = {root: top for root in borders if (top := forest.living(root)) is not None}
    terminals: dict[Process, Terminal] = {root: top.terminal for root, top in tops.items()}
    trees = _Trees(forest, borders)
    for root, top in tops.items():
        trees.grow(root, top, top.terminal, root_itself=True)
    for process, root in sorted(remembered.roots.items(), key=lambda one: (one[0].start, one[0].pid)):
        use = forest.living(process)
        if use is None or process in trees.root_of or process in borders:
            continue
        terminal = terminals.setdefault(root, remembered.terminals.get(root, use.terminal))
        own = (None, terminal, remembered.terminals.get(process))
        if use.terminal in own and not forest.holds_terminals(use, terminal):
            trees.add(root, use, terminal)
    below = trees.below
    kept = dict(list(trees.root_of.items())[:MOST_REMEMBERED])
    kin = kinship(forest.by_pid, tops, trees.root_of, below, remembered.kinship)
    owners = {*kept.values(), *kin.sessions.values(), *kin.groups.values()}
    return Survey(
        trees={
            root: _sum(tops[root], below.get(root, []), trees.nested.get(root, []), young_since)
            for root, young_since in roots.items()
            if root in tops
        },
        remembered=Remembered(
            kept,
            {root: one for root, one in {**remembered.terminals, **terminals}.items() if root in owners}
            | {
                Process(use.pid, use.start): use.terminal
                for root, found in below.items()
                for use in found
                if use.terminal not in (None, terminals[root])
            },
            kin,
        ),
        left={
            root: tuple(one for one in found if not one.ended)
            for root, found in below.items()
            if forest.living(root) is None
        },
        strays=tuple(_strays(forest, trees, borders)),
        alive={Process(use.pid, use.start) for use in forest.by_pid.values() if not use.ended},
        _forest=forest,
        _borders=borders,
    )


def measure_trees(
    uses: Iterable[ProcessUse], roots: Mapping[Process, int | None], *, agents: Collection[Process] = ()
) -> dict[Process, TreeUse]:
    """Return what the tree of each root that lives uses, without shares; arguments as in :func:`survey`."""
    return dict(survey(uses, roots, agents=agents).trees)


def _strays(forest: _Forest, trees: _Trees, borders: Collection[Process]) -> Iterable[ProcessUse]:
    reapers = {_FIRST, *forest.ancestors(borders)}
    reapers |= {use.pid for use in forest.by_pid.values() if use.name == _MANAGER}
    for pid in reapers:
        for use in forest.children.get(pid, ()):
            process = Process(use.pid, use.start)
            if use.ended or process in trees.root_of or process in borders or use.pid in reapers:
                continue
            if not forest.holds_terminals(use, None):
                yield use


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
