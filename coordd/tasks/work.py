"""Keep what is known of the tasks of one source, and of what each agent holds there.

The rule: while a source cannot be read its last known state is kept, so that it can be compared with what is
read when it comes back. Times are on the source's observed clock (runtime/clocks.py). Pure state.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from coordd.agents.traces import Claim, Progress, SourceTraces, WorkChange
from coordd.model import ClaimState, Status
from coordd.tasks.claim_state import is_over

T = TypeVar("T")

TaskKey = tuple[str, str]
"""(workspace, task): a task in one source; the workspace is "" in Redis."""

MAX_GONE = 100_000
"""The number of tasks without claim or progress whose last change is remembered; the oldest go first."""


@dataclass(slots=True)
class HeldClaim:
    """A claim that counts, with its holder's status and its state as they were last judged.

    ``since`` is the time from which the absence of its holder is counted. ``found`` is true while a claim
    that was there before coordd looked has not been judged yet. ``orphaned_at`` is when it was found orphaned
    (epoch seconds).
    """

    claim: Claim
    since: float
    holder: Status | None = None
    state: ClaimState = "held"
    found: bool = False
    orphaned_at: float | None = None


@dataclass(slots=True)
class AgentHoldings:
    """What one agent holds in one source: its ``claims``, and ``tasks``, its own list (None: never read).

    ``status`` is the agent's as last judged. ``moved`` is the time at which claims or list last changed, or
    the agent came back; None where neither has happened since it is known. ``over`` is the source's: a list
    may still name tasks of which a claim of the same agent says that they are over.
    """

    agent_id: str
    over: Mapping[str, str | None]
    claims: set[str] = field(default_factory=set)
    tasks: tuple[str, ...] | None = None
    status: Status | None = None
    moved: float | None = None

    def holds(self) -> set[str]:
        """Return all tasks that the agent claims or lists."""
        listed = self.tasks or ()
        if self.over:
            listed = tuple(task for task in listed if self.over.get(task) != self.agent_id)
        return self.claims.union(listed)


@dataclass(slots=True)
class SourceTasks:
    """The tasks of one source, a workspace or Redis.

    ``over`` has the holders of claims that say that they are over. ``moved`` has the time at which the claim
    or progress of each task last changed. ``unnamed`` is the number
    of available tasks beyond those named in ``available``. ``read`` is true when the source was read in full
    and can be read now. ``filling`` has what :attr:`knows` will be once a full reading is taken over, None at
    other times.
    """

    claims: dict[str, HeldClaim] = field(default_factory=dict)
    over: dict[str, str | None] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    available: list[str] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    holdings: dict[str, AgentHoldings] = field(default_factory=dict)
    knows_claims: bool = False
    knows_progress: bool = False
    knows_available: bool = False
    unnamed: int = 0
    read: bool = False
    filling: tuple[bool, bool, bool] | None = None

    @property
    def knows(self) -> tuple[bool, bool, bool]:
        """Whether its claims, its progress and its available tasks are known."""
        return self.knows_claims, self.knows_progress, self.knows_available

    def compare(self, traces: SourceTraces) -> WorkChange:
        """Take over the available tasks of a full reading; return what has changed of claims and progress.

        What was unknown before becomes known when :meth:`finish_filling` is called.
        """
        knows = (traces.claims is not None, traces.progress is not None, traces.tasks_available is not None)
        self.filling = knows
        self.knows_claims, self.knows_progress, self.knows_available = (
            before and now for before, now in zip(self.knows, knows, strict=True)
        )
        if traces.tasks_available is not None:
            self.available = list(traces.tasks_available)
        self.unnamed = traces.available_unnamed
        claims: dict[str, Claim | None] = {}
        if traces.claims is not None:
            over = {task for task, claim in traces.claims.items() if is_over(claim.status)}
            counting = {task: claim for task, claim in traces.claims.items() if task not in over}
            claims = _difference({task: held.claim for task, held in self.claims.items()}, counting)
            claims |= dict.fromkeys(self.over.keys() - traces.claims.keys())
            claims |= {
                task: traces.claims[task]
                for task in over
                if task in self.claims
                or task not in self.over
                or self.over[task] != traces.claims[task].agent_id
            }
        progress: dict[str, Progress | None] = {}
        if traces.progress is not None:
            progress = _difference(self.progress, traces.progress)
        return WorkChange(claims, progress)

    def finish_filling(self) -> bool:
        """End the stepwise taking over of a full reading; return whether it changed what is known."""
        before = self.knows
        if self.filling is not None:
            self.knows_claims, self.knows_progress, self.knows_available = self.filling
            self.filling = None
            self.read = True
        return self.knows != before

    def offer(self, change: WorkChange) -> None:
        """Take over which tasks became available and which ceased to be."""
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
        """Note that the source cannot be read: nothing of it is known now."""
        self.filling = None
        self.knows_claims = self.knows_progress = self.knows_available = self.read = False

    def holdings_of(self, agent_id: str) -> AgentHoldings:
        """Return what this agent holds, to be changed; empty for a new agent."""
        holding = self.holdings.get(agent_id)
        if holding is None:
            holding = self.holdings[agent_id] = AgentHoldings(agent_id, self.over)
        return holding

    def idle(self, holding: AgentHoldings, observed: float) -> float:
        """Return the seconds since the last progress with these holdings; an unknown one counts from now."""
        times = [self.moved[task] for task in holding.holds() if task in self.moved]
        if holding.moved is not None:
            times.append(holding.moved)
        if not times:
            holding.moved = observed
        return max(0.0, observed - max(times, default=observed))

    def take_progress(self, change: Mapping[str, Progress | None]) -> Iterator[tuple[str, float | None]]:
        """Take over progress; yield the tasks for which it changed, with the written times."""
        for task, progress in change.items():
            if progress == self.progress.get(task):
                continue
            if progress is None:
                del self.progress[task]
            else:
                self.progress[task] = progress
            yield task, progress.timestamp if progress else None

    def prune(self, before: float) -> None:
        """Forget the last change of tasks that have had neither claim nor progress since ``before``."""
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
