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
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_here = threading.local()


def still_going() -> None:
    """Say, from within a call, that it goes on: its deadline begins anew. Elsewhere this does nothing."""
    call = getattr(_here, "call", None)
    if call is not None:
        call.begun = monotonic()


class DeadlineMissed(TimeoutError):
    """The call did not return within its deadline; ``future`` resolves when it does after all."""

    def __init__(self, message: str, future: asyncio.Future[Any]) -> None:
        self.future = future
        super().__init__(message)


class _Call(Generic[T]):
    __slots__ = ("args", "begun", "deadline", "fn", "future", "loop", "returned")

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], deadline: float) -> None:
        self.fn = fn
        self.args = args
        self.deadline = deadline
        self.begun: float | None = None
        self.returned = False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        # An error that comes when nobody waits any more is nobody's: asyncio need not log it.
        self.future.add_done_callback(lambda future: future.cancelled() or future.exception())

    def run(self) -> None:
        try:
            result = self.fn(*self.args)
        except BaseException as error:
            self._deliver(self._fail, error)
        else:
            self._deliver(self._done, result)
        self.returned = True

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
    and the old one ends when the call returns; so a deadline counts from the moment the call is begun.
    Without, order matters more (writes): the thread is kept, and as a call may wait behind one that hangs, a
    deadline counts from the moment it is queued.
    """

    def __init__(self, name: str, *, replaceable: bool = False) -> None:
        self._name = name
        self._replaceable = replaceable
        self._lane: _WorkerThread | None = None

    async def run(self, fn: Callable[..., T], *args: object, deadline: float) -> T:
        """Call ``fn(*args)`` in the thread and return its result.

        Args:
            deadline: seconds; from when, see the class.

        Raises:
            Late: the deadline has passed; the call may still be running, or will be.
        """
        if self._lane is None:
            self._lane = _WorkerThread(self._name)
        call: _Call[T] = _Call(fn, args, deadline)
        queued = monotonic()
        self._lane.put(call)
        while True:
            wait = self._patience(call, queued)
            if wait <= 0 and not call.future.done():
                break
            done, _ = await asyncio.wait({call.future}, timeout=wait)
            if done:
                return call.future.result()
        raise DeadlineMissed(f"no answer within {deadline:g} s", call.future)

    def _patience(self, call: _Call[Any], queued: float) -> float:
        """Seconds to wait before asking again; 0.0 when the call is late."""
        now = monotonic()
        if not self._replaceable:
            return max(0.0, queued + call.deadline - now)
        if call.returned:
            return call.deadline
        if call.begun is not None:
            left = call.begun + call.deadline - now
            if left <= 0:
                self._replace(call)
            return max(0.0, left)
        # It waits behind another call, whose own waiter may have been cancelled: then it is up to this one.
        ahead = self._lane.current if self._lane else None
        if ahead is None or ahead.begun is None:
            return call.deadline
        left = ahead.begun + ahead.deadline - now
        if left <= 0:
            self._replace(ahead)
        # Never longer than its own: the other one may return any time, and then this one has begun.
        return min(left, call.deadline) if left > 0 else call.deadline

    def _replace(self, call: _Call[Any]) -> None:
        if self._lane is not None and (lane := self._lane.succeed(call)) is not None:
            self._lane = lane

    def close(self) -> None:
        """Let the thread end after what is queued; a new call starts another."""
        if self._lane is not None:
            self._lane.put(None)
            self._lane = None


class _WorkerThread:
    """A thread and its queue; replaced as a whole when a call in it hangs."""

    def __init__(self, name: str, queue: SimpleQueue[_Call[Any] | None] | None = None) -> None:
        self._name = name
        self._queue = queue or SimpleQueue()
        self._abandoned = False
        # Makes "this call hangs" and "this call has returned" exclude each other: of two lanes on one queue
        # exactly one may take the next call.
        self._lock = threading.Lock()
        self.current: _Call[Any] | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, call: _Call[Any] | None) -> None:
        self._queue.put(call)

    def succeed(self, call: _Call[Any]) -> _WorkerThread | None:
        """A new lane on the same queue; None when the call has just returned after all."""
        with self._lock:
            if self.current is not call:
                return None
            self._abandoned = True
        return _WorkerThread(self._name, self._queue)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call.begun = monotonic()
            self.current = _here.call = call
            call.run()
            _here.call = None
            with self._lock:
                self.current = None
                if self._abandoned:
                    return
            del call
