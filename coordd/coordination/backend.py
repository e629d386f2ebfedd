"""The file backend as the pipeline sees it: which workspaces there are, how each is read and followed.

``find`` and ``follow`` touch file systems and may hang: they belong in a trace worker. ``start`` and ``close`` belong
on the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Found:
    """A workspace: its path, whether a pattern found it, whether it lies on another machine."""

    path: str
    from_glob: bool
    remote: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """How changes of a workspace become known: announced by inotify, or found by polling for a ``reason``."""

    state: Literal["inotify", "poll"] = "poll"
    reason: str | None = None
