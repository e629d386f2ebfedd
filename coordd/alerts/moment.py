"""Say when something is, by the wall clock, which records have, and by the monotonic one for waits."""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """One moment on both clocks, in seconds."""

    wall: float
    mono: float

    def to_mono(self, wall: float) -> float:
        """Return another wall time on the monotonic clock, by how far it is from this moment."""
        return self.mono + (wall - self.wall)

    def to_wall(self, mono: float) -> float:
        """Return another monotonic time on the wall clock, by how far it is from this moment."""
        return self.wall + (mono - self.mono)


def now() -> Moment:
    """Return this moment."""
    return Moment(time.time(), time.monotonic())
