"""Define what the list of what needs a human is made of: agents, and claims that went wrong. Pure values.

Durations are seconds, already measured on clocks that leave out what nobody observed; times are epoch
seconds. A time names a happening: it is noted once and does not move by itself, since an entry that was seen
comes back when its time is another.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordd.agents.key import AgentKey
from coordd.agents.session import Refusal
from coordd.model import Activity, Reason, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One agent of the roster at this moment.

    ``activity`` is that of an active agent, or that a quiet one was waiting; ``activity_since`` when it
    began, and ``held_for`` how long ago coordd noticed it. ``waiting_for`` is a known phrase, ``tool`` the
    name of the open call, ``refusal`` why its provider refuses it, ``held`` the tasks that it holds, in
    words. ``turn_over_for`` is how long its turn has been over, None while it is in one.

    ``inactive_since`` is when it went inactive, and ``inactive_for`` how long ago that is; None while it is
    not inactive. ``alive_since`` is when its present or last life began: the start of its process or session,
    else the first beat of its unbroken run; None where that is unknown.
    """

    key: AgentKey
    status: Status
    reason: Reason
    name: str | None = None
    activity: Activity | None = None
    activity_since: float | None = None
    held_for: float = 0.0
    waiting_for: str | None = None
    tool: str | None = None
    refusal: Refusal | None = None
    held: str = ""
    turn_over_for: float | None = None
    inactive_since: float | None = None
    inactive_for: float | None = None
    alive_since: float | None = None
    pid: int | None = None
    tty: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it ended in order: such an agent needs nobody, and is not counted."""
        return self.status == "inactive" and self.reason == "ended"

    @property
    def fell(self) -> bool:
        """Whether it went inactive without an orderly end."""
        return self.status == "inactive" and self.reason != "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedClaim:
    """A claim whose holder is inactive, or has left no trace: then ``reason`` is None.

    ``workspace`` is that of the claim, NO_WORKSPACE for Redis alone; ``holder`` is the agent as it is shown.
    ``since`` is when the claim was found orphaned.
    """

    workspace: str
    task: str
    holder: AgentKey
    reason: Reason | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitClaim:
    """A task that several agents hold at once; ``since`` is when that was found, or was so before."""

    workspace: str
    task: str
    holders: tuple[AgentKey, ...]
    since: float | None = None
