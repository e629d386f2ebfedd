"""Wait for a condition, with one patience for all: ``eventually`` in a thread, ``until`` on a loop."""

from __future__ import annotations

import asyncio
import linecache
import time
from collections.abc import Callable
from types import FunctionType
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for what must happen: generous, for a loaded machine."""


class NotYet(Exception):
    """Raised by a probe to say no, as an AssertionError, an OSError, a LookupError or a ValueError does."""


def eventually(probe: Callable[[], T], *, what: str = "", within: float = PATIENCE) -> T:
    """Wait until ``probe`` returns something true, and return it; the thread sleeps in between.

    Raises AssertionError after ``within`` seconds. It says what was awaited (``what``, else the line that the
    probe is written in) and what the probe returned or raised last.
    """
    __tracebackhide__ = True  # the failure is shown at the test's line
    wait = _Wait(probe, what, within)
    while not wait.is_over():
        time.sleep(0.02)
    return wait.found


async def until(probe: Callable[[], T], *, what: str = "", within: float = PATIENCE) -> T:
    """Wait as ``eventually`` does, while the loop goes on."""
    __tracebackhide__ = True
    wait = _Wait(probe, what, within)
    while not wait.is_over():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.005)
    return wait.found


class _Wait(Generic[T]):
    def __init__(self, probe: Callable[[], T], what: str, within: float) -> None:
        self._probe, self._what, self._within = probe, what, within
        self._deadline = time.monotonic() + within
        self.found: T

    def is_over(self) -> bool:
        """Ask once; for the last time after the deadline, as it may be this process that was late."""
        __tracebackhide__ = True
        late = time.monotonic() > self._deadline
        said: object
        try:
            self.found = said = self._probe()
            if said:
                return True
        except (NotYet, AssertionError, OSError, LookupError, ValueError) as error:
            said = error
        if late:
            awaited = self._what or _written(self._probe)
            raise AssertionError(f"not within {self._within:g} s: {awaited} (last: {said!r})")
        return False


def _written(probe: object) -> str:
    """Return the line that a function is written in; of anything else, its repr."""
    if not isinstance(probe, FunctionType):
        return repr(probe)
    code = probe.__code__
    return linecache.getline(code.co_filename, code.co_firstlineno).strip() or repr(probe)
