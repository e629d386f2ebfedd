"""Find agents of one workspace that fell together: that is one thing to look at, not one for each.

A *fall* is the end of a life that was not in order (killed, or silent). Some agents of a workspace fell
together if all of them fell within :data:`WINDOW` seconds, and they were half or more of at least four agents
that lived there then, or all of at least two. Who lived there then is judged as of the last of these falls:
who fell or ended before does not count, nor who appeared later. It is over as soon as anybody appeared there
later, one of them or another agent, and when they are forgotten.

Pure, and without memory: it follows from when each agent went inactive, and since when it lives.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from coordd.agents.subject import Subject

WINDOW = 60.0
"""Seconds within which agents fall together."""


@dataclass(frozen=True, slots=True)
class Mass:
    """Agents of one workspace that fell together, in the order of their falls.

    ``lived`` is the number of agents that lived there then, these among them.
    """

    workspace: str
    fallen: tuple[Subject, ...]
    lived: int

    @property
    def first(self) -> float:
        """When the first of them fell, in epoch seconds."""
        return _fall(self.fallen[0])

    @property
    def last(self) -> float:
        """When the last of them fell, in epoch seconds."""
        return _fall(self.fallen[-1])

    @property
    def age(self) -> float:
        """The seconds since the last of them fell; 0 where nothing tells."""
        return self.fallen[-1].inactive_for or 0.0


def masses(subjects: Iterable[Subject]) -> list[Mass]:
    """Return all groups of agents that fell together and after which nobody came, each agent once at most.

    Of groups that share an agent the one with the most agents counts, of equal ones the latest.
    """
    at: dict[str, list[Subject]] = {}
    for one in subjects:
        at.setdefault(one.key.workspace, []).append(one)
    found: list[Mass] = []
    for workspace, here in sorted(at.items()):
        found += _masses_of(workspace, here)
    return found


def _masses_of(workspace: str, here: list[Subject]) -> list[Mass]:
    newest = max(_birth(one) for one in here)
    fallen = sorted((one for one in here if one.fell and one.inactive_since is not None), key=_order)
    lived = _Lived(here)
    found: list[Mass] = []
    while fallen:
        falls = [_fall(one) for one in fallen]
        best = (0, 0)
        for last in range(len(falls)):
            count = last + 1 - bisect_left(falls, falls[last] - WINDOW)
            # whoever appeared later rules this out, so everybody counted had appeared by then
            if falls[last] >= newest and count >= best[0] and _is_mass(count, lived.around(falls[last])):
                best = (count, last + 1)
        count, end = best
        if not count:
            break
        found.append(Mass(workspace, tuple(fallen[end - count : end]), lived.around(falls[end - 1])))
        del fallen[end - count : end]
    return sorted(found, key=lambda mass: mass.last)


class _Lived:
    """Count who lived in a workspace within the window before a moment, and had not ended by it."""

    def __init__(self, here: list[Subject]) -> None:
        self._all = sum(1 for one in here if _counts(one))
        self._falls = sorted(_fall(one) for one in here if one.fell and _counts(one))
        self._ends = sorted(_fall(one) for one in here if one.ended and _counts(one))

    def around(self, moment: float) -> int:
        return self._all - bisect_left(self._falls, moment - WINDOW) - bisect_right(self._ends, moment)


def _is_mass(fallen: int, lived: int) -> bool:
    return (lived >= 4 and 2 * fallen >= lived) or (lived >= 2 and fallen == lived)


def _counts(one: Subject) -> bool:
    if one.status == "inactive":
        return one.inactive_since is not None
    return one.status == "active" or one.alive_since is not None


def _birth(one: Subject) -> float:
    """Return when its life began; one that is over began before its end, whatever a set clock says."""
    born = -math.inf if one.alive_since is None else one.alive_since
    return born if one.inactive_since is None else min(born, one.inactive_since)


def _fall(one: Subject) -> float:
    return -math.inf if one.inactive_since is None else one.inactive_since


def _order(one: Subject) -> tuple[float, tuple[str, str]]:
    return _fall(one), one.key
