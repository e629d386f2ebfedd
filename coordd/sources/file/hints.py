"""What a change notice says: where to look again, never what is there.

Pure values, made for many thousands a second: an agent's hint is a plain string, so that a set of hints
removes repetitions. Knows nothing of inotify nor of files.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Signal(enum.Enum):
    """A hint that is not about one agent."""

    LIST = "list"
    """``agents/active.list`` changed."""
    RESCAN = "rescan"
    """Folders came, went or moved, or events were lost: arm the watches anew, then read everything."""


class WorkFile(NamedTuple):
    """A file in ``claims/``, ``tasks/`` or ``status/``, its name exactly as the file system gives it."""

    folder: str
    name: str


Hint = str | WorkFile | Signal
"""The name of a file in ``agents/`` exactly as the file system gives it (``os.fsdecode``), an agent's id for
all of its files, a :class:`WorkFile`, or a :class:`Signal`."""
