"""One dedicated thread for calls that may block, asked from the event loop.

The loop never waits for a disk, an NFS server or psutil itself; it awaits a :class:`Worker`. The thread
sleeps in a queue without waking up, and is a daemon thread: one that hangs in a dead file system cannot keep
the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Late(TimeoutError):
    """The call did not return within its deadline; ``future`` resolves when it does after all."""

    def __init__(self, message: str, future: asyncio.Future[Any]) -> None:
        self.future = future
        super().__init__(message)


class _Call(Generic[T]):
    __slots__ = ("args", "fn", "future", "loop")

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()

    def run(self) -> None:
        try:
            result = self.fn(*self.args)
        except BaseException as error:
            self._deliver(self._fail, error)
        else:
            self._deliver(self._done, result)

    def _deliver(self, how: Callable[[Any], None], what: object) -> None:
        try:
            self.loop.call_soon_threadsafe(how, what)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _done(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Worker:
    """A thread that makes one call after the other.

    With ``replaceable`` a call that outlives its deadline loses the thread: a new one takes over the queue,
    and the old one ends when the call returns. Without, order matters more (writes): the thread is kept.
    """

    def __init__(self, name: str, *, replaceable: bool = False) -> None:
        self._name = name
        self._replaceable = replaceable
        self._lane: _Lane | None = None

    async def run(self, fn: Callable[..., T], *args: object, deadline: float) -> T:
        """Call ``fn(*args)`` in the thread and return its result.

        Args:
            deadline: seconds from the moment the call is begun, not from when it was queued.

        Raises:
            Late: the deadline has passed; the call may still be running.
        """
        if self._lane is None:
            self._lane = _Lane(self._name)
        call: _Call[T] = _Call(fn, args)
        self._lane.put(call)
        while True:
            done, _ = await asyncio.wait({call.future}, timeout=deadline)
            if done:
                return call.future.result()
            lane = self._lane
            if lane.current is not call:
                continue
            if self._replaceable:
                self._lane = lane.succeed()
            raise Late(f"no answer within {deadline:g} s", call.future)

    def close(self) -> None:
        """Let the thread end after what is queued; a new call starts another."""
        if self._lane is not None:
            self._lane.put(None)
            self._lane = None


class _Lane:
    """A thread and its queue; replaced as a whole when a call in it hangs."""

    def __init__(self, name: str, queue: SimpleQueue[_Call[Any] | None] | None = None) -> None:
        self._name = name
        self._queue = queue or SimpleQueue()
        self._abandoned = False
        self.current: _Call[Any] | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, call: _Call[Any] | None) -> None:
        self._queue.put(call)

    def succeed(self) -> _Lane:
        self._abandoned = True
        return _Lane(self._name, self._queue)

    def _work(self) -> None:
        while not self._abandoned and (call := self._queue.get()) is not None:
            self.current = call
            call.run()
            self.current = None
            del call
