"""Run calls that may hang, one after the other, in a thread of their own; the loop waits with a deadline.

The thread is a daemon: one that hangs does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Late(OSError):
    """A call did not return in time; it goes on."""


class Thread:
    """One thread, which begins with the first call; ``name`` is for who looks at the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]]
        self._calls = SimpleQueue()
        self._running = False
        self._late: asyncio.Future[Any] | None = None

    async def run(self, call: Callable[[], T], *, within: float) -> T:
        """Return what a call returns.

        Raises:
            Late: it took longer than ``within`` seconds; or one before it did, and has not returned yet: then
                it is not called.
            Exception: as the call does.
        """
        if self._late is not None and not self._late.done():
            raise Late("the call before it has not returned")
        if not self._running:
            self._running = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((loop, future, call))
        done, _ = await asyncio.wait([future], timeout=within)
        if not done:
            future.add_done_callback(_seen)
            self._late = future
            raise Late(f"no answer within {within:g} s")
        return future.result()

    def _work(self) -> None:
        while True:
            loop, future, call = self._calls.get()
            result: Any = None
            failure: BaseException | None = None
            try:
                result = call()
            except BaseException as error:  # it is the caller's
                failure = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, future, result, failure)


def _settle(future: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
