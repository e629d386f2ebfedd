"""Note the traces that cannot be used: in the state of their source, and once in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from coordd.agents.source import SourceState
from coordd.agents.traces import SourceTraces

log = logging.getLogger(__name__)

MAX_MALFORMED = 1000
"""The number of malformed traces of one source that are named; further ones are counted."""

_MAX_LOGGED = 10_000
"""The number of malformed traces that are logged; further ones are not."""


def found_all(state: SourceState, traces: SourceTraces) -> None:
    """Take over the traces that a full reading could not use."""
    state.malformed = dict(traces.malformed)
    state.malformed_unnamed = traces.malformed_unnamed
    state.over_limit = traces.over_limit


def found_some(state: SourceState, malformed: Mapping[str, str]) -> None:
    """Add the traces that a partial reading could not use; mended ones leave at the next full reading."""
    known = state.malformed
    for path, reason in malformed.items():
        if path in known or len(known) < MAX_MALFORMED:
            known[path] = reason
        else:
            state.malformed_unnamed += 1


class TraceLog:
    """Log each trace that cannot be used once, and once more for each new reason."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}
        self._full = False

    def note(self, state: SourceState) -> None:
        """Log the malformed traces of a source that were not logged before with this reason."""
        news = [one for one in state.malformed.items() if self._logged.get(one[0]) != one[1]]
        for path, reason in sorted(news):  # hints come in no order, and of many lines the first are logged
            if len(self._logged) >= _MAX_LOGGED and path not in self._logged:
                if not self._full:
                    self._full = True
                    log.warning("more than %d malformed traces: further ones are not logged", _MAX_LOGGED)
                continue
            self._logged[path] = reason
            log.warning("malformed trace %s: %s", path, reason)
