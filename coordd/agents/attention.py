"""List what needs a human, in the order of need: each row of a table that fits an agent makes an entry.

Pure: agents and claims come as they are at this moment, with every duration already measured. The same list
feeds ``attention`` and ``problems`` of the status document, notifications and alerts. Entries hold no
durations, so that an entry is equal to itself until it is about something else; ``since`` is what ages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from coordd.agents import entries
from coordd.agents.mass import Mass, masses
from coordd.agents.subject import OrphanedClaim, SplitClaim, Subject
from coordd.model import AttentionEntry, AttentionKind

ORDER: tuple[AttentionKind, ...] = ("waiting", "mass", "killed", "stalled", "blocked", "orphaned", "split")
"""The order of need."""

KILLED_FOR = 600.0
"""Seconds for which a killed agent is listed; and after which no group that fell together is new."""

BLOCKED_FOR = 3600.0
"""Seconds for which a blocked agent is listed once its turn is over."""


@dataclass(frozen=True, slots=True)
class NeedRow:
    """One row of the table: the condition in words (``when``) and in code (``fits``), and its ``kind``.

    The entry appears once the activity has held for ``hold`` seconds, and is there while ``left`` is above 0:
    the seconds that it has left, infinite where time alone does not end it.
    """

    kind: AttentionKind
    when: str
    fits: Callable[[Subject], bool]
    hold: float
    left: Callable[[Subject], float]

    def due_in(self, one: Subject) -> float:
        """Return the seconds until it has held for long enough, 0 or less if it has."""
        return self.hold - one.held_for if self.hold else 0.0


TABLE: tuple[NeedRow, ...] = (
    NeedRow(
        "waiting",
        "it waits for a human, for 3 s: many prompts answer themselves; also while it is quiet",
        lambda one: (one.status == "active" or one.reason == "quiet") and one.activity == "waiting",
        3.0,
        lambda _: math.inf,
    ),
    NeedRow(
        "killed",
        "it was killed, for 10 min",
        lambda one: one.status == "inactive" and one.reason == "killed",
        0.0,
        lambda one: math.inf if one.inactive_for is None else KILLED_FOR - one.inactive_for,
    ),
    NeedRow(
        "stalled",
        "it is stalled, for 1 s",
        lambda one: one.status == "active" and one.activity == "stalled",
        1.0,
        lambda _: math.inf,
    ),
    NeedRow(
        "blocked",
        "its provider refuses it, for 1 s; for an hour at most once its turn is over",
        lambda one: one.status == "active" and one.activity == "blocked",
        1.0,
        lambda one: math.inf if one.turn_over_for is None else BLOCKED_FOR - one.turn_over_for,
    ),
)


def attention(
    subjects: Sequence[Subject],
    orphaned: Iterable[OrphanedClaim] = (),
    split: Iterable[SplitClaim] = (),
    *,
    standing: Collection[str] | None = None,
) -> list[AttentionEntry]:
    """Return everything that needs a human, who needs it most first, then what has lasted longest.

    Killed agents that fell together make one entry, and an orphaned claim is part of the entry of its killed
    holder for as long as that is listed. An agent that ended in order makes none.

    Args:
        subjects: all agents of the roster, those that ended in order among them as long as they are known.
        orphaned: all orphaned claims.
        split: all tasks that several agents hold.
        standing: the ids of the entries before. A group that fell together more than ten minutes ago is then
            listed only if it was before: as who survived it ends and is forgotten, the rest would look like
            one. None: not known, every group is listed.
    """
    fallen = [one for one in masses(subjects) if _stands(one, standing)]
    together = {one.key for mass in fallen for one in mass.fallen}
    several = entries.several(one.key.agent_id for one in subjects)
    listed = [(row, one) for row, one in _listed(subjects) if row.kind != "killed" or one.key not in together]
    killed = {one.key for row, one in listed if row.kind == "killed"}
    found = [
        *(entries.of_mass(mass) for mass in fallen),
        *(entries.of_agent(row.kind, one, several) for row, one in listed),
        *(entries.of_orphaned(claim) for claim in orphaned if claim.holder not in killed),
        *(entries.of_split(claim) for claim in split),
    ]
    return sorted(found, key=_need)


def next_change(subjects: Iterable[Subject]) -> float | None:
    """Return the seconds after which time alone may change the list; None where it cannot.

    Never late, as long as the entries before are told as ``standing``. It may be early: of killed agents that
    fell together nothing changes.
    """
    waits = []
    for one in subjects:
        for row in TABLE:
            if row.fits(one) and row.left(one) > 0:
                due = row.due_in(one)
                waits.append(due if due > 0 else row.left(one))
    first = min(waits, default=math.inf)
    return None if first == math.inf else first


def problems(listed: Sequence[AttentionEntry], named: Iterable[Subject] = ()) -> list[str]:
    """Return the entries that are problems, all but who waits, as sentences in the order of need.

    Of each kind the first :data:`entries.NAMED` have a sentence of their own; the rest is counted.

    Args:
        listed: the entries, in their order.
        named: agents whose names stand before their ids.
    """
    names = {one.key: one.name for one in named if one.name is not None}
    found: list[str] = []
    for kind in ORDER[1:]:
        of_kind = [one for one in listed if one.kind == kind]
        found += [entries.sentence(one, names) for one in of_kind[: entries.NAMED]]
        if len(of_kind) > entries.NAMED:
            found.append(f"{len(of_kind) - entries.NAMED} more: {entries.KIND_WORDS[kind]}")
    return found


@dataclass(frozen=True, slots=True)
class Headline:
    """The counts of the first line: who ended in order never counts. ``need_you`` counts entries."""

    alive: int
    dead: int
    unknown: int
    need_you: int


def headline_counts(subjects: Iterable[Subject], listed: Collection[AttentionEntry]) -> Headline:
    """Return how many agents are alive, dead and unknown, and how many entries need a human."""
    states = [one.status for one in subjects if not one.ended]
    return Headline(states.count("active"), states.count("inactive"), states.count("unknown"), len(listed))


def _stands(mass: Mass, standing: Collection[str] | None) -> bool:
    return standing is None or mass.age < KILLED_FOR or entries.of_mass(mass).id in standing


def _listed(subjects: Iterable[Subject]) -> Iterable[tuple[NeedRow, Subject]]:
    for one in subjects:
        for row in TABLE:
            if row.fits(one) and row.due_in(one) <= 0 < row.left(one):
                yield row, one


def _need(entry: AttentionEntry) -> tuple[int, bool, str, str, str, str]:
    since = entry.since or ""
    return ORDER.index(entry.kind), not since, since, entry.workspace or "", entry.subject, entry.id
