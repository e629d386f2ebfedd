"""Call inotify(7) through the C library, and decode the events it returns.

A descriptor, watches by number, and events. Knows nothing of workspaces.
"""

from __future__ import annotations

import os
import struct
from typing import Protocol

# The bits of inotify(7), as plain integers: testing an IntFlag costs a microsecond.
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x0100_0000
DONT_FOLLOW = 0x0200_0000
MASK_ADD = 0x2000_0000
ISDIR = 0x4000_0000

READ_SIZE = 64 * 1024
"""Bytes of one read: at most 4096 events, some 5 ms of work."""

_HEADER = struct.Struct("iIII")  # wd, mask, cookie, len; a name of len bytes follows, filled up with NULs

RawEvent = tuple[int, int, str]
"""Watch number (-1: none), mask, file name (empty: the watched directory itself)."""


class Backend(Protocol):
    """The system calls of inotify. Errors are OSErrors as in its manual pages."""

    fd: int
    """Readable when there are events; reading does not block."""

    def add(self, path: str, mask: int) -> int:
        """Watch ``path``; return its watch number, the existing one if the directory is watched already."""

    def remove(self, wd: int) -> None:
        """Stop watching; an unknown number is ignored."""

    def close(self) -> None:
        """Close the descriptor; calling it twice is harmless."""


class LibcBackend:
    """Implement :class:`Backend` with three functions of the C library.

    The library asyncinotify is not used: its reader builds five objects for each event, and importing it runs
    ldconfig (``ctypes.util.find_library``), a fifth of coordd's start-up time.

    Raises:
        OSError: inotify_init1(2) failed, with EMFILE or ENFILE.
        AttributeError: the C library has no inotify.
    """

    def __init__(self) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        self._add = libc.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove = libc.inotify_rm_watch
        self._remove.argtypes = (ctypes.c_int, ctypes.c_int)
        self._errno = ctypes.get_errno
        self.fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise self._error()

    def add(self, path: str, mask: int) -> int:
        """Watch ``path``; see :meth:`Backend.add`."""
        wd = int(self._add(self.fd, os.fsencode(path), mask))
        if wd < 0:
            raise self._error(path)
        return wd

    def remove(self, wd: int) -> None:
        """Stop watching; EINVAL, which means that the watch has already ended, is ignored."""
        self._remove(self.fd, wd)

    def close(self) -> None:
        """Close the descriptor; see :meth:`Backend.close`."""
        fd, self.fd = self.fd, -1  # a trace thread that is still running gets EBADF instead of another file
        if fd >= 0:
            os.close(fd)

    def _error(self, path: str | None = None) -> OSError:
        number = self._errno()
        return OSError(number, os.strerror(number), path)


def parse_events(buffer: bytes) -> list[RawEvent]:
    """Return the events in the bytes of one read, which always holds whole events.

    Names are decoded with ``os.fsdecode``.
    """
    events = []
    unpack, header, decode = _HEADER.unpack_from, _HEADER.size, os.fsdecode
    position, end = 0, len(buffer)
    while position < end:
        wd, mask, _, length = unpack(buffer, position)
        position += header
        name = decode(buffer[position : position + length].rstrip(b"\0")) if length else ""
        events.append((wd, mask, name))
        position += length
    return events
