"""What every source of agents is: its place in the picture, when it was last read, its bad traces."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from coordd.reducer import Reading
from coordd.schedule import now
from coordd.state import Picture, Workspace

log = logging.getLogger(__name__)

_MAX_LOGGED = 10_000


@dataclass(slots=True, eq=False)
class Sight:
    """One source as it is read.

    ``last_observed`` is the observed time at which the last full reading began; ``read_once`` says that there
    was one since the source was last lost.
    """

    shown: Workspace
    last_observed: float = 0.0
    read_once: bool = False

    def reading(self, picture: Picture, *, pushed: bool, starting: bool) -> Reading:
        """What a reading that has just been made says of time; ``pushed``: a change was announced."""
        moment = now()
        # After a stall that no tick has told of yet, the real time would date a beat into the future.
        observed = self.shown.clock.now(picture.horizon(moment.mono))
        return Reading(
            wall=moment.wall,
            observed=observed,
            since=observed if pushed else min(observed, self.last_observed),
            timeout=picture.timeout,
            fresh=not self.read_once,
            starting=starting,
        )


class TraceLog:
    """Says of each trace that cannot be used so once, and again for another reason."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def note(self, shown: Workspace) -> None:
        """Log what is new among the malformed traces of a source."""
        for path, reason in shown.malformed.items():
            if self._said.get(path) != reason:
                if len(self._said) >= _MAX_LOGGED:
                    self._said.clear()
                self._said[path] = reason
                log.warning("malformed trace %s: %s", path, reason)
