"""Know what is muted until when: everything, one rule, one agent, or what one rule tells of one agent.

Pure state; times are epoch seconds. There are :data:`MOST` mutes at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from coordd.alerts.conditions import Condition

MOST = 1000
_BEGINNING = 8
"""Characters of a UUID that stand for all of it, as a person types them. Of other ids none do: they are
often the beginnings of others."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mute:
    """What is muted until a time; None stands for every rule, and for every agent."""

    until: float
    rule: str | None = None
    agent: str | None = None

    def covers(self, rule: str, condition: Condition) -> bool:
        """Return whether it mutes what a rule tells of something."""
        if self.rule not in (None, rule):
            return False
        if self.agent is None or self.agent == condition.name:
            return True
        return _means(self.agent, condition.subject)


class Mutes:
    """Hold the mutes that last."""

    def __init__(self, mutes: Iterable[Mute] = ()) -> None:
        self._mutes = list(mutes)

    def __iter__(self) -> Iterator[Mute]:
        return iter(self._mutes)

    def add(self, mute: Mute) -> None:
        """Mute; what was muted the same way lasts until the new time.

        Raises:
            ValueError: there are too many.
        """
        rest = [one for one in self._mutes if (one.rule, one.agent) != (mute.rule, mute.agent)]
        if len(rest) >= MOST:
            raise ValueError(f"at most {MOST} mutes at a time; end some of them with coordctl alerts unmute")
        self._mutes = [*rest, mute]

    def remove(self, rule: str | None, agent: str | None) -> int:
        """End the mutes of a rule and of an agent, all where both are None; return how many."""
        kept = [
            one
            for one in self._mutes
            if (rule is not None and one.rule != rule)
            or (agent is not None and (one.agent is None or not _means(agent, one.agent)))
        ]
        ended = len(self._mutes) - len(kept)
        self._mutes = kept
        return ended

    def forget_past(self, wall: float) -> None:
        """Forget those whose time is over."""
        if self._mutes:
            self._mutes = [one for one in self._mutes if one.until > wall]

    def until(self, rule: str, condition: Condition) -> float | None:
        """Return until when what a rule tells of something is muted; None if it is not."""
        return max((one.until for one in self._mutes if one.covers(rule, condition)), default=None)


def _means(typed: str, agent_id: str) -> bool:
    if len(typed) >= _BEGINNING and _UUID.fullmatch(agent_id):
        return agent_id.startswith(typed)
    return typed == agent_id
