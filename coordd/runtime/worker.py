"""Run calls that may block in a dedicated thread, for the event loop to await.

The rule: the loop never waits for a disk, an NFS server or psutil; it awaits a :class:`Worker`. The thread
sleeps on its queue without periodic wake-ups. It is a daemon thread: one that hangs in a dead file system
cannot keep the process from ending. A call goes through these phases:

========  =========================================  ==================================================
phase     meaning                                    ends
========  =========================================  ==================================================
queued    ``begun`` is None                          the thread takes it
begun     the thread runs it                         it returns, or its deadline passes
returned  its future has the result or the error     is the end
missed    its deadline passed: the caller gets       it returns after all, into the future of
          :class:`DeadlineMissed`                    :class:`DeadlineMissed`
========  =========================================  ==================================================
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_running = threading.local()


def renew_deadline() -> None:
    """Start the deadline of the running call again, from within it; in other threads this does nothing."""
    call = getattr(_running, "call", None)
    if call is not None:
        call.begun = monotonic()


class DeadlineMissed(TimeoutError):
    """Internal: a call did not return within its deadline; the caller of a worker handles it.

    ``future`` resolves when the call returns after all. It is outside the tree of coordd.errors because a
    missed deadline becomes a state of its source or sink.
    """

    def __init__(self, message: str, future: asyncio.Future[Any]) -> None:
        self.future = future
        super().__init__(message)


class _Call(Generic[T]):
    """One call with its deadline in seconds; its future lives on the loop that asked."""

    __slots__ = ("args", "begun", "deadline", "fn", "future", "loop", "returned")

    def __init__(self, fn: Callable[..., T], args: tuple[Any, ...], deadline: float) -> None:
        self.fn = fn
        self.args = args
        self.deadline = deadline
        self.begun: float | None = None
        self.returned = False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        # Retrieve the error, so that asyncio does not log one that comes after the caller has given up.
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
        except RuntimeError:  # the loop is closed
            return

    def _done(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Worker:
    """Run calls one after the other in a thread.

    With ``replaceable`` a call that misses its deadline loses the thread: a new one takes over the queue, and
    the old one ends when the call returns. So a deadline counts from the moment at which the call begins.
    Without it the thread is kept, because the order of calls matters (writes). A call may then wait behind
    one that hangs, so a deadline counts from the moment at which the call is queued.
    """

    def __init__(self, name: str, *, replaceable: bool = False) -> None:
        self._name = name
        self._replaceable = replaceable
        self._thread: _WorkerThread | None = None

    async def run(self, fn: Callable[..., T], *args: object, deadline: float) -> T:
        """Call ``fn(*args)`` in the thread and return its result.

        Args:
            deadline: seconds, counted as the class says.

        Raises:
            DeadlineMissed: the deadline has passed; the call may still run, now or later.
        """
        if self._thread is None:
            self._thread = _WorkerThread(self._name)
        call: _Call[T] = _Call(fn, args, deadline)
        queued = monotonic()
        self._thread.put(call)
        while True:
            wait = self._time_to_wait(call, queued)
            if wait <= 0 and not call.future.done():
                break
            done, _ = await asyncio.wait({call.future}, timeout=wait)
            if done:
                return call.future.result()
        raise DeadlineMissed(f"no answer within {deadline:g} s", call.future)

    def _time_to_wait(self, call: _Call[Any], queued: float) -> float:
        """Return the seconds to wait before checking again; 0.0 when the call has missed its deadline."""
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
        # It waits behind another call, whose caller may have been cancelled: check that deadline here.
        ahead = self._thread.current if self._thread else None
        if ahead is None or ahead.begun is None:
            return call.deadline
        left = ahead.begun + ahead.deadline - now
        if left <= 0:
            self._replace(ahead)
        # At most its own deadline: the other call may return at any time, and then this one begins.
        return min(left, call.deadline) if left > 0 else call.deadline

    def _replace(self, call: _Call[Any]) -> None:
        if self._thread is not None and (thread := self._thread.replacement(call)) is not None:
            self._thread = thread

    def close(self) -> None:
        """Let the thread end after the calls that are queued; a new call starts a new thread."""
        if self._thread is not None:
            self._thread.put(None)
            self._thread = None


class _WorkerThread:
    """Run a thread over a queue; it is replaced as a whole when a call in it hangs."""

    def __init__(self, name: str, queue: SimpleQueue[_Call[Any] | None] | None = None) -> None:
        self._name = name
        self._queue = queue or SimpleQueue()
        self._abandoned = False
        # Makes "this call hangs" and "this call has returned" exclude each other: of two threads on one queue
        # exactly one may take the next call.
        self._lock = threading.Lock()
        self.current: _Call[Any] | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, call: _Call[Any] | None) -> None:
        """Queue a call; None ends the thread."""
        self._queue.put(call)

    def replacement(self, call: _Call[Any]) -> _WorkerThread | None:
        """Return a new thread on the same queue; None when the call has just returned after all."""
        with self._lock:
            if self.current is not call:
                return None
            self._abandoned = True
        return _WorkerThread(self._name, self._queue)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call.begun = monotonic()
            self.current = _running.call = call
            call.run()
            _running.call = None
            with self._lock:
                self.current = None
                if self._abandoned:
                    return
            del call
