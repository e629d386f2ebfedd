"""inotify as coordd needs it: a descriptor, watches by number, and events decoded from the bytes read.

Source: inotify(7). Knows nothing of workspaces.
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

READ_SIZE = 64 * 1024
"""Bytes of one read: at most 4096 events, some 5 ms of work."""

_HEADER = struct.Struct("iIII")  # wd, mask, cookie, len; a name of len bytes follows, filled up with NULs

RawEvent = tuple[int, int, str]
"""Watch number (-1: none), mask, file name (empty: the watched directory itself)."""


class Backend(Protocol):
    """The system calls. Errors are the OSErrors of inotify(7)'s pages."""

    fd: int
    """Readable when there are events; reading does not block."""

    def add(self, path: str, mask: int) -> int:
        """Watch ``path``; its watch number, the one it has where that directory is watched already."""

    def remove(self, wd: int) -> None:
        """Stop watching; a number that is no more does no harm."""

    def close(self) -> None:
        """Close the descriptor; again does no harm."""


class LibcBackend:
    """:class:`Backend` over the C library's three functions.

    asyncinotify would be the library for this, but coordd needs none of its reader, which builds five
    objects an event, and importing it runs ldconfig (``ctypes.util.find_library``): a fifth of coordd's time
    to start.

    Raises:
        OSError: as inotify_init1(2): EMFILE or ENFILE.
        AttributeError: a C library without inotify.
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
        """As :meth:`Backend.add`."""
        wd = int(self._add(self.fd, os.fsencode(path), mask))
        if wd < 0:
            raise self._error(path)
        return wd

    def remove(self, wd: int) -> None:
        """As :meth:`Backend.remove`. EINVAL says that the watch is gone by itself: nothing to tell."""
        self._remove(self.fd, wd)

    def close(self) -> None:
        """As :meth:`Backend.close`."""
        fd, self.fd = self.fd, -1  # a trace thread still at work then meets EBADF, and no other file
        if fd >= 0:
            os.close(fd)

    def _error(self, path: str | None = None) -> OSError:
        number = self._errno()
        return OSError(number, os.strerror(number), path)


def parse_events(buffer: bytes) -> list[RawEvent]:
    """The events of one read, whole ones as the kernel gives them. A name comes as ``os.fsdecode`` has it."""
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
