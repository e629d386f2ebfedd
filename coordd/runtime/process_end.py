"""Open descriptors that become readable when a process ends: pidfd_open(2) on Linux, kqueue(2) on macOS."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import Any, Protocol


class EndDescriptor(Protocol):
    """What tells of the end of a process: a descriptor that becomes readable then, waited for or not."""

    fd: int

    def close(self) -> None:
        """Close the descriptor."""


def open_end(pid: int) -> EndDescriptor:
    """Open what tells of the end of the process that has this pid now.

    Raises:
        ProcessLookupError: there is none.
        OSError: the kernel refuses it, knows no such call, or there is no descriptor left.
    """
    return ExitQueue(pid) if sys.platform == "darwin" else PidFd(pid)


class PidFd:
    """Implement :class:`EndDescriptor` by pidfd_open(2), Linux 5.3.

    Raises:
        OSError: as :func:`open_end` says.
    """

    def __init__(self, pid: int) -> None:
        opening: Any = getattr(os, "pidfd_open", None)  # a C library or kernel at build time may lack it
        if opening is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd: int = opening(pid)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class ExitQueue:
    """Implement :class:`EndDescriptor` by a kqueue(2) of its own, which waits for NOTE_EXIT.

    Args:
        pid: the process.
        kernel: the module ``select`` of a system that has kqueue.

    Raises:
        OSError: as :func:`open_end` says.
    """

    def __init__(self, pid: int, kernel: Any = select) -> None:
        self._queue = kernel.kqueue()
        self.fd: int = self._queue.fileno()
        exits = kernel.kevent(
            pid, filter=kernel.KQ_FILTER_PROC, flags=kernel.KQ_EV_ADD, fflags=kernel.KQ_NOTE_EXIT
        )
        try:
            self._queue.control([exits], 0)
        except OSError:
            self._queue.close()
            raise

    def close(self) -> None:
        """Close the queue, and with it the descriptor."""
        self._queue.close()
