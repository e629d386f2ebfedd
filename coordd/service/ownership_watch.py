"""Tell when what coordd owns in the file system may have been moved or removed, by inotify.

What is watched, and for what::

    each record directory         names that go, or are replaced: parts, links, manifest, lock
    the control socket            its own removal or renaming; its directory may be anybody's, such as /tmp
    what leads to each of them    renaming: the directory itself, those above, and links on the way

A removed directory is noticed by what was removed from it before. An event says only that it is time to look:
the check decides what happened. What cannot be seen this way (a file system mounted over a directory, another
machine's work on NFS) is found by the comparison before each batch of records and by a rare look.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

from coordd.util import inotify as ino

_RECORDS = ino.DELETE | ino.MOVED_FROM | ino.MOVED_TO | ino.MOVE_SELF
_LINK = ino.ATTRIB | ino.MOVE_SELF | ino.DELETE_SELF  # ATTRIB: the number of its names has changed
_WAY = ino.MOVE_SELF
_FLAGS = ino.DONT_FOLLOW | ino.MASK_ADD  # one directory may have two parts to play


class OwnershipWatch:
    """Watch paths from :meth:`start` to :meth:`close`; ``on_change`` is called on the loop."""

    def __init__(
        self,
        *,
        on_change: Callable[[], None],
        open_backend: Callable[[], ino.Backend] = ino.LibcBackend,
    ) -> None:
        self._on_change = on_change
        self._open_backend = open_backend
        self._backend: ino.Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched: frozenset[int] = frozenset()
        self.complete = False
        """Whether all paths of the last :meth:`arm` are watched; else somebody has to look."""

    def start(self) -> None:
        """Begin, in a running loop; where there is no inotify, nothing is ever told."""
        if sys.platform != "linux":
            return
        try:
            self._backend = self._open_backend()
        except (OSError, AttributeError):  # AttributeError: a C library without inotify
            return
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._backend.fd, self._drain)

    def arm(self, *, records: Sequence[str], directories: Sequence[str], files: Sequence[str]) -> bool:
        """Watch what has these absolute paths now, and nothing else; for a thread, as it may block.

        Return whether that is something else than before: then what happened in between was not told.
        """
        backend = self._backend
        if backend is None:
            return False
        watched: set[int] = set()

        def add(path: str, mask: int) -> bool:
            try:
                watched.add(backend.add(path, mask | _FLAGS))
            except OSError:
                return False
            return True

        wanted = [*((path, _RECORDS) for path in map(os.path.realpath, records))]
        wanted += [(path, _LINK) for path in files]
        complete = [add(path, mask) for path, mask in wanted]
        complete += [add(os.path.realpath(path), _WAY) for path in directories]
        for path in _ways([*records, *directories, *map(os.path.dirname, files)]):
            add(path, _LINK if os.path.islink(path) else _WAY)  # one that may not be read is left out
        self.complete = all(complete)
        before, self._watched = self._watched, frozenset(watched)
        for wd in before - watched:
            backend.remove(wd)
        return self._watched != before

    def close(self) -> None:
        """Watch no longer, on the loop; closing twice is harmless."""
        backend, self._backend = self._backend, None
        self.complete = False
        if backend is not None and self._loop is not None:
            self._loop.remove_reader(backend.fd)
            backend.close()

    def _drain(self) -> None:
        if self._backend is None:
            return
        try:
            buffer = os.read(self._backend.fd, ino.READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            self._on_change()
            return
        if any(mask & ~ino.IGNORED for _, mask, _ in ino.parse_events(buffer)):
            self._on_change()


def _ways(paths: Sequence[str]) -> list[str]:
    """Return every directory above and on these paths, by name and where the names lead."""
    found: dict[str, None] = {}
    for path in paths:
        for way in (path, os.path.realpath(path)):
            at = way
            while at not in found:
                found[at] = None
                at = os.path.dirname(at)
    return list(found)
