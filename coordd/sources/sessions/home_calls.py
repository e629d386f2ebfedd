"""Call what may block on a home's file system, within deadlines, and in a thread that nothing else waits for.

Once a deadline is missed, the home counts as hung: nothing is asked of it until the call returns after all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import SourceLost

T = TypeVar("T")


class HomeUnreadable(Exception):
    """Raised inside a source when its home cannot be read; the text says why."""


class HomeCalls:
    """Make calls for one home.

    Args:
        worker: the thread.
        answers: is called on the loop once a home that hung answers again.
    """

    def __init__(self, *, worker: Worker, answers: Callable[[], None]) -> None:
        self._worker = worker
        self._answers = answers
        self._hung = False

    async def run(self, call: Callable[..., T], *about: Any, deadline: float) -> T:
        """Call something in the thread.

        Raises:
            SourceLost: the file system does not answer, or the home cannot be read.
        """
        if not self._hung:
            try:
                return await self._worker.run(call, *about, deadline=deadline)
            except DeadlineMissed as missed:
                self._hung = True
                missed.future.add_done_callback(self._answers_again)
            except HomeUnreadable as unreadable:
                raise SourceLost(str(unreadable)) from None
        raise SourceLost(f"the file system does not answer ({deadline:g} s)")

    def close(self) -> None:
        """End the thread."""
        self._worker.close()

    def _answers_again(self, _late: asyncio.Future[Any]) -> None:
        self._hung = False
        self._answers()
