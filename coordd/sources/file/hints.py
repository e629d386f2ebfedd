"""Define what a change notice says: where to read again, never what was written.

Pure values, cheap enough for many thousands a second: an agent's hint is a plain string, so that a set of
hints removes repetitions. Knows neither inotify nor files.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Signal(enum.Enum):
    """A hint that concerns more than one agent or file."""

    LIST = "list"
    """``agents/active.list`` changed."""
    RESCAN = "rescan"
    """Folders appeared, vanished or moved, or events were lost: renew the watches, then read everything."""


class WorkFile(NamedTuple):
    """A file in ``claims/``, ``tasks/`` or ``status/``, its name exactly as the file system gives it."""

    folder: str
    name: str


Hint = str | WorkFile | Signal
"""The name of a file in ``agents/`` exactly as the file system gives it (``os.fsdecode``), an agent's id for
all of its files, a :class:`WorkFile`, or a :class:`Signal`."""
