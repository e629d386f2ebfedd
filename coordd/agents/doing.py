"""Hold what an agent does, since when, and when coordd noticed. Pure values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coordd.agents.liveness import Verdict
from coordd.model import Activity


@dataclass(frozen=True, slots=True)
class Doing:
    """The activity of an agent; None for one that is not active, unless its last word was that it waits.

    ``since`` is when it began in epoch seconds: as the agent's own traces tell, else when coordd noticed it.
    ``noticed`` is the latter on the monotonic clock, minus infinity where that was before coordd started.
    """

    activity: Activity | None = None
    since: float | None = None
    noticed: float = -math.inf


NOTHING = Doing()


def may_do(verdict: Verdict) -> bool:
    """Return whether an agent with this verdict may have an activity."""
    return verdict.status == "active" or verdict.reason == "quiet"


def shown_activity(verdict: Verdict, activity: Activity | None) -> Activity | None:
    """Return the activity that is shown of an agent with this verdict.

    Who is quiet may have ended long ago, and then does nothing. But that it waits was its last word: as long
    as nothing else is heard, a human has to look.
    """
    if verdict.status == "active" or (activity == "waiting" and may_do(verdict)):
        return activity
    return None
