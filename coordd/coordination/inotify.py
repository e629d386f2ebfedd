"""inotify as coordd needs it: a descriptor, watches by number, and events decoded from the bytes read.

asyncinotify makes the system calls. Its own reader builds five objects an event and costs six times as much
as decoding the records of inotify(7) here. Knows nothing of workspaces.
"""

from __future__ import annotations

import contextlib
import errno
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

    def forgotten(self, wd: int) -> None:
        """The kernel has dropped this watch."""

    def close(self) -> None:
        """Close the descriptor; again does no harm."""


class AsyncInotifyBackend:
    """:class:`Backend` over asyncinotify.

    Raises:
        OSError: as inotify_init1(2): EMFILE or ENFILE.
    """

    def __init__(self) -> None:
        import asyncinotify

        self._mask = asyncinotify.Mask
        self._inotify = asyncinotify.Inotify()
        self._watches: dict[int, asyncinotify.Watch] = {}
        self.fd: int = self._inotify.fd
        # asyncinotify 4.4 says O_CLOEXEC where it means O_NONBLOCK.
        os.set_blocking(self.fd, False)

    def add(self, path: str, mask: int) -> int:
        """As :meth:`Backend.add`."""
        try:
            watch = self._inotify.add_watch(path, self._mask(mask))
        except ValueError as error:  # closed, while the trace thread was still at work; or a NUL in the path
            raise OSError(errno.EBADF, str(error)) from error
        self._watches[watch.wd] = watch
        return int(watch.wd)

    def remove(self, wd: int) -> None:
        """As :meth:`Backend.remove`."""
        watch = self._watches.pop(wd, None)
        if watch is None:
            return
        with contextlib.suppress(OSError, ValueError):  # EINVAL: gone by itself; ValueError: closed
            self._inotify.rm_watch(watch)

    def forgotten(self, wd: int) -> None:
        """As :meth:`Backend.forgotten`."""
        self._watches.pop(wd, None)
        # Its own reader, which coordd goes past, would be the only one to drop a watch from its table.
        getattr(self._inotify, "_watches", {}).pop(wd, None)

    def close(self) -> None:
        """As :meth:`Backend.close`."""
        self._inotify.close()


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
