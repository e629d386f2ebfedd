"""Slow down wrong tokens: each further one, of an address and of all together, is answered later.

The right token is never delayed, whatever else comes from its address: it is compared first. What keeps a
token from being guessed is its length (tokens.py); the brake keeps guessing slow, quiet in the log, and seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic

from coordd.util.text import escape

FREE = 5
FREE_OF_ALL = 50
"""Wrong tokens that are answered at once: of one address, and of all together."""
FORGIVEN_EACH = 10.0
FORGIVEN_EACH_OF_ALL = 1.0
"""Seconds after which one wrong token is forgotten: of one address, and of all together."""
LONGEST = 2.0
"""Seconds for which an answer is delayed at most; the delay begins at 1/8 s and doubles each time."""
HELD = 32
HELD_EACH = 8
"""Answers that are delayed at the same time, of all and of one address; further ones are refused at once."""
KNOWN = 1024
"""Addresses that are remembered at most."""
LOG_EVERY = 60.0
_MOST_OVER = 8
"""Wrong tokens beyond the free ones that count at most, so that an attack is forgiven within minutes."""


class Meter:
    """A leaky counter: it loses one in ``forgiven_each`` seconds and counts up to ``most``. Pure."""

    __slots__ = ("_at", "_each", "_level", "_most")

    def __init__(self, forgiven_each: float, most: float) -> None:
        self._each = forgiven_each
        self._most = most
        self._level = 0.0
        self._at = 0.0

    def add(self, now: float) -> float:
        """Count one more; return the count."""
        self._level = min(self._most, max(0.0, self._level - (now - self._at) / self._each) + 1)
        self._at = now
        return self._level


class Brake:
    """Count wrong tokens by address and together, and delay their answers."""

    def __init__(self, *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._all = Meter(FORGIVEN_EACH_OF_ALL, FREE_OF_ALL + _MOST_OVER)
        self._each: OrderedDict[object, Meter] = OrderedDict()
        self._held: Counter[object] = Counter()
        self._unlogged = 0
        self._logged_at: float | None = None

    def penalty(self, address: object) -> float:
        """Count a wrong token; return the seconds for which to delay its answer."""
        now = self._now()
        self._log(address, now)
        meter = self._each.pop(address, None) or Meter(FORGIVEN_EACH, FREE + _MOST_OVER)
        self._each[address] = meter
        if len(self._each) > KNOWN:
            self._each.popitem(last=False)
        over = max(meter.add(now) - FREE, self._all.add(now) - FREE_OF_ALL)
        return 0.0 if over <= 0 else min(LONGEST, 0.125 * 2.0**over)

    async def wrong(self, address: object) -> bool:
        """Wait before a wrong token is answered; return False at once if too many answers wait already."""
        pause = self.penalty(address)
        if not pause:
            return True
        if self._held.total() >= HELD or self._held[address] >= HELD_EACH:
            return False
        self._held[address] += 1
        try:
            await asyncio.sleep(pause)
        finally:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]
        return True

    def _log(self, address: object, now: float) -> None:
        self._unlogged += 1
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY:
            logging.getLogger(__name__).warning(
                "wrong tokens: %d, the last from %s", self._unlogged, escape(str(address))
            )
            self._unlogged = 0
            self._logged_at = now
