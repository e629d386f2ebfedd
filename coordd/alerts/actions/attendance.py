"""Attend a started program to its end, or end it.

==========================  =================================================================================
what the program does       what happens
==========================  =================================================================================
does not read its stdin     nobody waits for that; what does not fit into the pipe stays unwritten
prints megabytes            the first of it is kept; the rest is read, slowly, and thrown away
ends                        its status counts at once, whoever still holds its pipes, and what it left in its
                            process group is killed; what shall live on needs a session of its own (setsid(1))
does not end in time        it, its process group, its session and its descendants are killed (``family.py``)
forks twice in a session    out of reach once its parents have ended: only a control group would hold it, and
of its own                  the service manager has one
==========================  =================================================================================

The program is the leader of its process group and reaped last, so that its id cannot mean somebody else while
signals are sent to it; where the system has no pidfd (macOS) it is asked after at intervals, and reaped
before.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from coordd.alerts.actions.family import kill_family

_BLOCK = 64 * 1024
_FLOOD = 1024 * 1024
"""Bytes after which output is read slowly: nobody wants it, and reading it costs a processor."""
_PAUSE = 0.005
_LOOK = 0.02
"""Seconds between two looks where no descriptor tells of the end."""
_LAST_WORDS = 0.1
"""Seconds for what a program has printed before it ended, if others go on printing."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its status as Popen has it (a signal is negative), None if it was too late."""

    status: int | None
    stdout: bytes
    stderr: bytes


class Attendance:
    """Write to one program, read from it, and see it end.

    Args:
        popen: the program, leader of a session of its own.
        stdin: what it is given.
        kept: bytes that are kept of its stdout and its stderr.
        seconds: how long it may take.
        stop: a descriptor that is readable once the program has to end at once.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        *,
        stdin: bytes,
        kept: tuple[int, int],
        seconds: float,
        stop: int,
    ) -> None:
        self._popen = popen
        self._unwritten = stdin
        self._kept = kept
        self._said = (bytearray(), bytearray())
        self._read = 0
        self._deadline = time.monotonic() + seconds
        self._stop = stop
        self._ended = False
        self._selector = selectors.DefaultSelector()

    def to_the_end(self) -> Ended:
        """Return how it ended; blocks until then."""
        try:
            self._attend()
        finally:
            kill_family(self._popen.pid, everyone=not self._ended)
            self._selector.close()
            for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
                if pipe is not None:
                    pipe.close()
        status = self._popen.wait()
        return Ended(status if self._ended else None, bytes(self._said[0]), bytes(self._said[1]))

    def _attend(self) -> None:
        end = _end_of(self._popen.pid)
        try:
            for descriptor in (self._stop, end):
                if descriptor is not None:
                    self._selector.register(descriptor, selectors.EVENT_READ)
            for number, pipe in enumerate((self._popen.stdout, self._popen.stderr)):
                self._watch(pipe, selectors.EVENT_READ, number)
            self._watch(self._popen.stdin, selectors.EVENT_WRITE, None)
            while (left := self._deadline - time.monotonic()) > 0 and self._turn(left, end):
                if self._read > _FLOOD:
                    time.sleep(_PAUSE)
        finally:
            if end is not None:
                os.close(end)

    def _watch(self, pipe: IO[bytes] | None, what: int, number: int | None) -> None:
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, what, number)

    def _turn(self, left: float, end: int | None) -> bool:
        """Wait for something to happen and do what it asks for; returns whether there is more to come."""
        ready = [key for key, _ in self._selector.select(left if end is not None else _LOOK)]
        descriptors = {key.fd for key in ready}
        if self._stop in descriptors:
            return False
        has_read = False
        for key in ready:
            if isinstance(key.data, int):
                has_read = self._hear(key, key.data) or has_read
            elif key.fileobj is self._popen.stdin:
                self._say(key.fd)
        if not self._ended and (self._popen.poll() is not None if end is None else end in descriptors):
            self._ended = True
            self._deadline = min(self._deadline, time.monotonic() + _LAST_WORDS)
        return not self._ended or has_read

    def _hear(self, key: selectors.SelectorKey, number: int) -> bool:
        """Read what is there; returns whether there was anything."""
        try:
            block = os.read(key.fd, _BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            block = b""
        if not block:
            self._selector.unregister(key.fileobj)
        self._said[number].extend(block[: self._kept[number] - len(self._said[number])])
        self._read += len(block)
        return bool(block)

    def _say(self, pipe: int) -> None:
        """Write what fits; once all is written, or nobody reads, close the pipe."""
        try:
            if self._unwritten:
                self._unwritten = self._unwritten[os.write(pipe, self._unwritten[:_BLOCK]) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE: the program reads no more, which is no failure
            self._unwritten = b""
        if not self._unwritten and self._popen.stdin is not None:
            self._selector.unregister(self._popen.stdin)
            self._popen.stdin.close()


def _end_of(pid: int) -> int | None:
    """Return a descriptor that is readable once the process has ended; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
