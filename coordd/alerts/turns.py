"""Know since when each agent is in a turn, by its samples, and say when one has ended that took long.

A turn begins when an agent does something after it was idle, or was not known; it goes on while the agent
waits for a human, is refused or stalled; it ends when the agent is idle, which with open work in the
background it is not (agents/activity.py). One whose agent ends or falls silent has no end that is told.

Pure state: at most :data:`MOST` turns; documents are those of any version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coordd.alerts.conditions import Condition
from coordd.util.shell import shell_word
from coordd.util.text import duration, epoch_of, number

MOST = 10_000
_IN_TURN = frozenset({"working", "waiting", "blocked", "stalled"})

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that has ended, after ``took`` seconds."""

    condition: Condition
    took: float


class Turns:
    """Hold since when agents are in a turn, in epoch seconds."""

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def take(self, sample: Mapping[str, Any]) -> Turn | None:
        """Take in what an agent does by a sample of it; return the turn that has ended with that, if any."""
        agent_id, workspace = sample.get("agent_id"), sample.get("workspace")
        if not isinstance(agent_id, str):
            return None
        key = (workspace if isinstance(workspace, str) else "", agent_id)
        activity = sample.get("activity") if sample.get("status") == "active" else None
        if not isinstance(activity, str):
            activity = None
        moment = epoch_of(sample.get("activity_since")) or epoch_of(sample.get("timestamp"))
        if activity in _IN_TURN and moment is not None:
            if len(self._since) < MOST:
                self._since.setdefault(key, moment)
            return None
        began = self._since.get(key)
        if activity == "unknown" and sample.get("cause") != "removed":
            return None  # it cannot be read just now: that says nothing of its turn
        self._since.pop(key, None)
        if activity != "idle" or began is None or moment is None:
            return None
        took = max(moment - began, 0.0)
        name, project = sample.get("name"), sample.get("project")
        return Turn(
            Condition(
                kind="finished",
                workspace=key[0] or None,
                subject=agent_id,
                id=f"{moment:.3f}",
                since=moment,
                text=f"has finished, after {duration(took)}",
                command=f"coordctl agent {shell_word(agent_id)}",
                name=name if isinstance(name, str) else None,
                project=project if isinstance(project, str) else None,
            ),
            took,
        )

    def forget(self) -> None:
        """Forget all turns: what happened meanwhile is not known."""
        self._since.clear()

    def to_document(self) -> list[list[object]]:
        """Return them as they stand in the state."""
        return [[*key, since] for key, since in self._since.items()]

    @classmethod
    def from_document(cls, document: object) -> Turns:
        """Return what a document holds; what in it is no turn is passed over."""
        turns = cls()
        for one in document if isinstance(document, list) else []:
            if isinstance(one, list) and len(one) == 3 and len(turns._since) < MOST:
                workspace, agent_id, since = one
                known = number(since)
                if isinstance(workspace, str) and isinstance(agent_id, str) and known is not None:
                    turns._since[workspace, agent_id] = known
        return turns
