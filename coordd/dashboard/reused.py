"""Answer the same question for a while with one answer, and ask once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from coordd.dashboard.series import RANGES
from coordd.errors import ClientError


class Reused:
    """Make the answer for a range of time, each of which is reused for as long as ``RANGES`` says."""

    def __init__(self, make: Callable[[str], Awaitable[bytes]]) -> None:
        self._make = make
        self._known: dict[str, tuple[float, asyncio.Future[bytes]]] = {}

    async def __call__(self, name: str) -> bytes:
        """Return the answer for the range of this name.

        Raises:
            ClientError: the daemon did not answer; the next caller asks anew.
        """
        now = time.monotonic()
        known = self._known.get(name)
        if known is None or known[0] <= now:
            answer = asyncio.ensure_future(self._make(name))
            known = self._known[name] = (now + RANGES[name].fresh, answer)
        try:
            return await asyncio.shield(known[1])
        except ClientError:
            self._known.pop(name, None)
            raise
