"""Add up the tokens of agents that come and go, so that the sums never fall while this process lives.

An agent's own count grows from the moment ``since``, at which coordd began to read its transcript; with
another ``since`` it begins at 0 again. What is added at each look is what an agent's count has grown by:

| the agent | its count is compared with |
|---|---|
| was looked at before, with the same ``since`` | its highest count until then |
| was looked at before, with another ``since`` or never with a count | 0 |
| is new, and its ``since`` is after the look before | 0 |
| is new, and its ``since`` is before that or unknown, as at the first look | itself: nothing is added |

So a sum begins at 0 with this process, as a counter has to: if it began with what the agents had used until
then, each restart would look like that much use. Pure state, bounded.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from coordd.util.text import epoch_of, number
from coordd.util.untyped import as_dict

TYPES = ("input", "output", "cache_read", "cache_write")
GONE = 10_000
"""Agents that are remembered after they are gone, since they may come back with the count that they had."""

Key = tuple[str, str]
"""A workspace ("" without one) and an agent's id."""
_Counts = tuple[float, ...]
_NOTHING: _Counts = (0.0,) * len(TYPES)


class TokenTotals:
    """Hold the sums: ``totals`` has those of each kind of agent that was seen, in the order of TYPES."""

    def __init__(self) -> None:
        self.totals: dict[str, list[float]] = {}
        self._known: OrderedDict[Key, tuple[object, _Counts]] = OrderedDict()
        self._looked_at = math.inf

    def look(self, agents: Iterable[tuple[Key, str, object]], at: float | None) -> None:
        """Take the key, the kind and the ``tokens`` of each agent; ``at`` is when, in epoch seconds."""
        present = 0
        for key, kind, tokens in agents:
            self._take(key, kind, as_dict(tokens))
            present += 1
        while len(self._known) > present + GONE:
            self._known.popitem(last=False)
        if at is not None:
            self._looked_at = at

    def _take(self, key: Key, kind: str, tokens: Mapping[str, Any]) -> None:
        known = self._known.pop(key, None)
        if not tokens:
            self._known[key] = known or (None, _NOTHING)
            return
        since = tokens.get("since")
        counts = tuple(max(number(tokens.get(name)) or 0.0, 0.0) for name in TYPES)
        before = self._before(known, since, counts)
        highest = tuple(map(max, counts, before))
        self._known[key] = since, highest
        sums = self.totals.setdefault(kind, [0.0] * len(TYPES))
        for place, (now, then) in enumerate(zip(highest, before, strict=True)):
            sums[place] += now - then

    def _before(self, known: tuple[object, _Counts] | None, since: object, counts: _Counts) -> _Counts:
        if known is not None:
            return known[1] if known[0] == since else _NOTHING
        began = epoch_of(since)
        return _NOTHING if began is not None and began > self._looked_at else counts
