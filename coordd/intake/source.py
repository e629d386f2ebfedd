"""What every source of agents is: its place in the store, when it was last read, its bad traces."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from coordd.agents.reducer import Reading
from coordd.agents.store import AgentStore, Workspace
from coordd.agents.traces import WorkspaceTraces
from coordd.runtime.schedule import now

log = logging.getLogger(__name__)

MAX_MALFORMED = 1000
"""Malformed traces of one source that are named; more are counted."""

_MAX_LOGGED = 10_000


@dataclass(slots=True, eq=False)
class SourceState:
    """One source as it is read.

    ``last_observed`` is the observed time at which the last full reading began; ``read_once`` says that there
    was one since the source was last lost.
    """

    shown: Workspace
    last_observed: float = 0.0
    read_once: bool = False

    def found_all(self, traces: WorkspaceTraces) -> None:
        """Take over what a full reading could not use."""
        self.shown.malformed = dict(traces.malformed)
        self.shown.malformed_unnamed = traces.malformed_unnamed
        self.shown.crowded = traces.crowded

    def found_some(self, malformed: Mapping[str, str]) -> None:
        """Add what a partial reading could not use; what is mended leaves at the next full one."""
        known = self.shown.malformed
        for path, reason in malformed.items():
            if path in known or len(known) < MAX_MALFORMED:
                known[path] = reason
            else:
                self.shown.malformed_unnamed += 1

    def reading(self, store: AgentStore, *, pushed: bool, starting: bool) -> Reading:
        """What a reading that has just been made says of time; ``pushed``: a change was announced."""
        moment = now()
        # After a stall that no tick has told of yet, the real time would date a beat into the future.
        observed = self.shown.clock.now(store.horizon(moment.mono))
        return Reading(
            wall=moment.wall,
            observed=observed,
            since=observed if pushed else min(observed, self.last_observed),
            timeout=store.timeout,
            fresh=not self.read_once,
            starting=starting,
            counts=self.shown.clock.readable,
        )


class TraceLog:
    """Says of each trace that cannot be used so once, and again for another reason."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._full = False

    def note(self, shown: Workspace) -> None:
        """Log what is new among the malformed traces of a source."""
        for path, reason in shown.malformed.items():
            if self._said.get(path) != reason:
                if len(self._said) >= _MAX_LOGGED and path not in self._said:
                    if not self._full:
                        self._full = True
                        log.warning("more than %d malformed traces: no further one is logged", _MAX_LOGGED)
                    continue
                self._said[path] = reason
                log.warning("malformed trace %s: %s", path, reason)
