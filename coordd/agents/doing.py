"""Hold what an agent does, since when, and when coordd noticed. Pure values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coordd.model import Activity


@dataclass(frozen=True, slots=True)
class Doing:
    """The activity of an agent; None for one that is not active.

    ``since`` is when it began in epoch seconds: as the agent's own traces tell, else when coordd noticed it.
    ``noticed`` is the latter on the monotonic clock, minus infinity where that was before coordd started.
    """

    activity: Activity | None = None
    since: float | None = None
    noticed: float = -math.inf


NOTHING = Doing()
