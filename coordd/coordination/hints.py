"""What a change notice says: where to look again, never what is there.

Pure values, made for many thousands a second: an agent's hint is a plain string, so that a set of hints
removes repetitions. Knows nothing of inotify nor of files.
"""

from __future__ import annotations

import enum


class Signal(enum.Enum):
    """A hint that is not about one agent."""

    LIST = "list"
    """``agents/active.list`` changed."""
    CLAIMS = "claims"
    """Something in ``claims/``, ``tasks/`` or ``status/`` changed."""
    RESCAN = "rescan"
    """Folders came, went or moved, or events were lost: arm the watches anew, then read everything."""


Hint = str | Signal
"""An agent's file-name stem exactly as the file system gives it (``os.fsdecode``), or a :class:`Signal`."""
