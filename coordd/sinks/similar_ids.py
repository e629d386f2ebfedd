"""Find recorded ids that begin with what somebody typed, in blocks of lines that are read anyway."""

from __future__ import annotations

import json
import re

MAX_NAMED = 5
_LONGEST = 256


class SimilarIds:
    """The first few ids of agents' records that begin with ``typed``, and are longer.

    Args:
        typed: what somebody took for an id; None: nothing is looked for. A table cuts long ids with ``…``.
    """

    def __init__(self, typed: str | None) -> None:
        self.found: set[str] = set()
        self._pattern: re.Pattern[bytes] | None = None
        beginning = (typed or "").removesuffix("…")
        if beginning:
            quoted = json.dumps(beginning, ensure_ascii=False)[:-1].encode("utf-8", "surrogatepass")
            rest = rb'[^"\\\x00-\x1f]{1,%d}' % _LONGEST
            self._pattern = re.compile(rb'"agent_id": ?(' + re.escape(quoted) + rest + rb'")')

    def look(self, block: bytes) -> None:
        """Note such ids in a block of lines of agents' records."""
        if self._pattern is None or len(self.found) >= MAX_NAMED:
            return
        for one in sorted(set(self._pattern.findall(block))):
            try:
                self.found.add(json.loads(one.decode()))
            except ValueError:
                continue
            if len(self.found) >= MAX_NAMED:
                return
