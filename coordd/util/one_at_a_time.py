"""One run of something at a time, however many ask for it: who asks meanwhile shares the next run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class OneAtATime(Generic[T]):
    """Calls ``run``; each who asks gets the result of one that began after the asking."""

    def __init__(self, run: Callable[[], Awaitable[T]]) -> None:
        self._run = run
        self._current: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The result of a run, or its error; who leaves does not end it for the others."""
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
    """An error that nobody waits for any more is no news for the log."""
    if not task.cancelled():
        task.exception()
