"""What is known of the work of one workspace, and of what each of its agents holds. Pure values that change.

What was last known is kept while it is unknown, so that a workspace that comes back is compared with what it
was. Times are those of the workspace's observed clock (clocks.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from coordd.agents.traces import Claim, Progress, WorkChange, WorkspaceTraces
from coordd.model import ClaimState, Status
from coordd.tasks.claim_state import is_over

T = TypeVar("T")

MAX_GONE = 100_000
"""Tasks without a claim or progress of which it is known when they moved; the oldest are forgotten first."""


@dataclass(slots=True)
class HeldClaim:
    """A claim that counts. ``since`` is the time from which on its holder's absence is counted; ``found``: it
    was there before anybody looked, and has not been judged yet.
    """

    claim: Claim
    since: float
    holder: Status | None = None
    state: ClaimState = "held"
    found: bool = False


@dataclass(slots=True)
class AgentHoldings:
    """What one agent holds: its ``claims``, and ``tasks``, its own list (None: it was never read).

    ``moved`` is when the one or the other last changed, or the agent came back; None: not since it is known.
    """

    claims: set[str] = field(default_factory=set)
    tasks: tuple[str, ...] | None = None
    status: Status | None = None
    moved: float | None = None

    def holds(self) -> set[str]:
        """All tasks that are the agent's."""
        return self.claims.union(self.tasks or ())


@dataclass(slots=True)
class SourceTasks:
    """One workspace, or Redis. ``moved`` has the time at which each task's claim or progress last changed.

    ``unnamed`` is how many more tasks are available than ``available`` names; ``read``: it was read in
    full, and can be read now. ``filling`` has what :attr:`knows` will be once a full reading is taken over.
    """

    claims: dict[str, HeldClaim] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    available: list[str] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    hands: dict[str, AgentHoldings] = field(default_factory=dict)
    knows_claims: bool = False
    knows_progress: bool = False
    knows_available: bool = False
    unnamed: int = 0
    read: bool = False
    filling: tuple[bool, bool, bool] | None = None

    @property
    def knows(self) -> tuple[bool, bool, bool]:
        """What can be told of it: claims, progress, available tasks."""
        return self.knows_claims, self.knows_progress, self.knows_available

    def compare(self, traces: WorkspaceTraces) -> WorkChange:
        """Take over from a full reading what is available; what has changed of the rest.

        What nobody could tell before can be told when :meth:`filled` was called.
        """
        knows = (traces.claims is not None, traces.progress is not None, traces.tasks_available is not None)
        self.filling = knows
        self.knows_claims, self.knows_progress, self.knows_available = (
            before and now for before, now in zip(self.knows, knows, strict=True)
        )
        self.available = list(traces.tasks_available or ())
        self.unnamed = traces.available_unnamed
        claims: dict[str, Claim | None] = {}
        if traces.claims is not None:
            counting = {task: claim for task, claim in traces.claims.items() if not is_over(claim.status)}
            claims = _difference({task: held.claim for task, held in self.claims.items()}, counting)
        progress: dict[str, Progress | None] = {}
        if traces.progress is not None:
            progress = _difference(self.progress, traces.progress)
        return WorkChange(claims, progress)

    def filled(self) -> bool:
        """All that :meth:`compare` returned was taken over; whether more can be told than before."""
        before = self.knows
        if self.filling is not None:
            self.knows_claims, self.knows_progress, self.knows_available = self.filling
            self.filling = None
            self.read = True
        return self.knows != before

    def offer(self, change: WorkChange) -> None:
        """Take over which tasks have become available or are so no more."""
        if change.available_unnamed is not None:
            self.unnamed = change.available_unnamed
        for task, there in change.available.items():
            index = bisect_left(self.available, task)
            known = self.available[index : index + 1] == [task]
            if there and not known:
                insort(self.available, task)
            elif known and not there:
                del self.available[index]

    def forget(self) -> None:
        """Nothing of it can be read now."""
        self.filling = None
        self.knows_claims = self.knows_progress = self.knows_available = self.read = False

    def hand(self, agent_id: str) -> AgentHoldings:
        """What this agent holds; nothing, if it is new."""
        return self.hands.setdefault(agent_id, AgentHoldings())

    def idle(self, hand: AgentHoldings, observed: float) -> float:
        """Seconds since the last progress of this hand; of which none is known, it begins now."""
        times = [self.moved[task] for task in hand.holds() if task in self.moved]
        if hand.moved is not None:
            times.append(hand.moved)
        if not times:
            hand.moved = observed
        return max(0.0, observed - max(times, default=observed))

    def tell_progress(self, change: Mapping[str, Progress | None]) -> Iterator[tuple[str, float | None]]:
        """Take over progress; the tasks where it is another one, with the times that are written."""
        for task, progress in change.items():
            if progress == self.progress.get(task):
                continue
            if progress is None:
                del self.progress[task]
            else:
                self.progress[task] = progress
            yield task, progress.timestamp if progress else None

    def prune(self, before: float) -> None:
        """Forget when tasks moved of which there is neither claim nor progress, and was none for long."""
        self.moved = {
            task: moved
            for task, moved in self.moved.items()
            if moved >= before or task in self.claims or task in self.progress
        }
        gone = [task for task in self.moved if task not in self.claims and task not in self.progress]
        for task in gone[: max(0, len(gone) - MAX_GONE)]:
            del self.moved[task]


def _difference(before: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T | None]:
    changed: dict[str, T | None] = {task: value for task, value in now.items() if before.get(task) != value}
    changed.update((task, None) for task in before.keys() - now.keys())
    return changed
