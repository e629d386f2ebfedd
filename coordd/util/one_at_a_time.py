"""Run one call at a time, however many ask: callers that arrive during a run share the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class OneAtATime(Generic[T]):
    """Call ``run``, and give each caller the result of a run that began after it asked."""

    def __init__(self, run: Callable[[], Awaitable[T]]) -> None:
        self._run = run
        self._current: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the result of a run, or raise its error; cancelling one caller does not end the run."""
        if self._next is None:
            self._next = asyncio.create_task(self._begin(self._current))
            self._next.add_done_callback(_seen)
        return await asyncio.shield(self._next)

    async def _begin(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait({before})
        self._current, self._next = self._next, None
        return await self._run()


def _seen(task: asyncio.Task[T]) -> None:
    """Mark an error as retrieved, so that asyncio does not log it when no caller waits any more."""
    if not task.cancelled():
        task.exception()
