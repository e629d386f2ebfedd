"""Find the transcript of a session below ``projects/``: by its id, wherever it lies.

Its folder is named after a working directory in a way that is not relied on, and a transcript moves to
another folder when its session enters a worktree. All calls may block, and belong in a thread.
"""

from __future__ import annotations

import os
from itertools import islice

from coordd.sources.claude_code.watch import APPEARED
from coordd.util import inotify as ino

MAX_FOLDERS = 10_000
"""Folders below projects/ that are looked into."""
MAX_WATCHED = 512
"""Folders below projects/ that are watched while a transcript is missing."""


class ProjectFolders:
    """The folders below ``projects/`` of one home, as they were listed last."""

    __slots__ = ("_folders", "path")

    def __init__(self, home: str) -> None:
        self.path = f"{home}/projects"
        self._folders: list[str] = []

    def look(self) -> None:
        """List the folders anew; a missing or unreadable ``projects/`` has none."""
        try:
            if os.path.islink(self.path):
                raise NotADirectoryError
            with os.scandir(self.path) as entries:
                names = [
                    one.name for one in islice(entries, MAX_FOLDERS) if one.is_dir(follow_symlinks=False)
                ]
        except OSError:
            names = []
        self._folders = sorted(names)

    def find(self, session_id: str, cwd: str | None) -> str | None:
        """Return the path of a session's transcript, None where there is none.

        Of several the one that was written last is it: the others were left behind.

        Args:
            session_id: the session's, safe as part of a name.
            cwd: its working directory: the folder that is probably named after it is looked into first.
        """
        likely = "".join(c if c.isalnum() and c.isascii() else "-" for c in cwd or "")
        name = f"{session_id}.jsonl"
        folders = self._folders
        if likely in folders:
            folders = [likely, *(one for one in folders if one != likely)]
        found: list[tuple[int, str]] = []
        for folder in folders:
            path = f"{self.path}/{folder}/{name}"
            try:
                found.append((os.lstat(path).st_mtime_ns, path))
            except OSError:
                continue
        return max(found)[1] if found else None

    def watched(self) -> list[tuple[str, int]]:
        """Return what to watch for a transcript to appear."""
        folders = [f"{self.path}/{one}" for one in self._folders[:MAX_WATCHED]]
        return [(path, APPEARED | ino.ONLYDIR) for path in (self.path, *folders)]
