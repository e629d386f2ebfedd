"""Set a deadline for calls that cannot be interrupted, into a file system that may hang (NFS, FUSE)."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function in a thread and return its result or raise its exception; if late, abandon the thread.

    Raises:
        TimeoutError: it did not return in time.
    """
    done: SimpleQueue[tuple[list[T], BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put(([function()], None))
        except BaseException as error:  # passed to the caller, who raises it
            done.put(([], error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s; does the file system hang?") from None
    if error is not None:
        raise error
    return result[0]
