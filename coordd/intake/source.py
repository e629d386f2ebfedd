"""Keep what every source of agents has: its entry in the store, its last reading, its malformed traces."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from coordd.agents.reducer import Reading
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces, WorkspaceTraces
from coordd.agents.workspace import Workspace
from coordd.runtime.schedule import now

log = logging.getLogger(__name__)

MAX_MALFORMED = 1000
"""The number of malformed traces of one source that are named; further ones are counted."""

_MAX_LOGGED = 10_000
"""The number of malformed traces that are logged; further ones are not."""

SLICE = 500
"""The number of agents that are taken over before other work of the loop has its turn."""


@dataclass(slots=True, eq=False)
class SourceState:
    """One source as it is read.

    ``workspace`` is its entry in the store. ``last_observed`` is the observed time at which the last full
    reading began; ``read_once`` is true when there was a full reading since the source was last lost.
    """

    workspace: Workspace
    last_observed: float = 0.0
    read_once: bool = False

    def found_all(self, traces: WorkspaceTraces) -> None:
        """Take over the traces that a full reading could not use."""
        self.workspace.malformed = dict(traces.malformed)
        self.workspace.malformed_unnamed = traces.malformed_unnamed
        self.workspace.over_limit = traces.over_limit

    def found_some(self, malformed: Mapping[str, str]) -> None:
        """Add the traces that a partial reading could not use; mended ones leave at the next full reading."""
        known = self.workspace.malformed
        for path, reason in malformed.items():
            if path in known or len(known) < MAX_MALFORMED:
                known[path] = reason
            else:
                self.workspace.malformed_unnamed += 1

    def reading(self, store: AgentStore, *, pushed: bool, starting: bool) -> Reading:
        """Return the times of a reading that was just made; ``pushed``: its change was announced."""
        moment = now()
        # After a stall that no tick has reported yet, the real time would date a beat into the future.
        observed = self.workspace.clock.now(store.horizon(moment.mono))
        return Reading(
            wall=moment.wall,
            observed=observed,
            since=observed if pushed else min(observed, self.last_observed),
            timeout=store.timeout,
            fresh=not self.read_once,
            starting=starting,
            counts=self.workspace.clock.readable,
        )


class TraceLog:
    """Log each trace that cannot be used once, and once more for each new reason."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}
        self._full = False

    def note(self, workspace: Workspace) -> None:
        """Log the malformed traces of a source that were not logged before with this reason."""
        for path, reason in workspace.malformed.items():
            if self._logged.get(path) != reason:
                if len(self._logged) >= _MAX_LOGGED and path not in self._logged:
                    if not self._full:
                        self._full = True
                        log.warning("more than %d malformed traces: further ones are not logged", _MAX_LOGGED)
                    continue
                self._logged[path] = reason
                log.warning("malformed trace %s: %s", path, reason)


def in_slices(agents: Mapping[str, AgentTraces | None]) -> Iterator[dict[str, AgentTraces | None]]:
    """Yield agents in parts of :data:`SLICE`, so that tens of thousands do not hold up the loop."""
    rest = iter(agents.items())
    while some := dict(islice(rest, SLICE)):
        yield some
