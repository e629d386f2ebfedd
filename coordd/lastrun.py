"""What passes from one run to the next: the snapshot, and what is read back of it and of the records.

Without either, every agent is met for the first time.
"""

from __future__ import annotations

import logging

from coordd.places import Rights
from coordd.reducer import KnownAgent
from coordd.restore import restore
from coordd.snapshot import write_snapshot
from coordd.worker import Late, Worker

log = logging.getLogger(__name__)

WRITE_DEADLINE = 5.0
READ_DEADLINE = 60.0
"""Seconds that reading back the last run may take, after the repair of its files."""


class LastRun:
    """The snapshot at ``path``, and the records below ``metrics_dir``; ``writer`` is the thread for both."""

    def __init__(self, *, path: str, metrics_dir: str, rights: Rights, writer: Worker) -> None:
        self.path = path
        self._metrics_dir = metrics_dir
        self._rights = rights
        self._writer = writer

    async def read(self) -> list[KnownAgent]:
        """The agents as the last run knew them."""
        try:
            return await self._writer.run(restore, self.path, self._metrics_dir, deadline=READ_DEADLINE)
        except (OSError, Late) as error:
            log.warning("the records of the last run cannot be read: %s", error)
            return []

    async def write(self, document: object) -> None:
        """Replace the snapshot; one that cannot be is logged."""
        rights = self._rights

        def write() -> None:
            write_snapshot(
                self.path,
                document,
                mode=rights.file,
                directory_mode=rights.directory,
                gitignore=rights.gitignore,
                root=rights.root,
            )

        try:
            await self._writer.run(write, deadline=WRITE_DEADLINE)
        except (OSError, Late) as error:
            log.warning("the snapshot %s cannot be written: %s", self.path, error)
