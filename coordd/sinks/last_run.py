"""Pass knowledge from one run to the next: write the snapshot, and read it back with the records.

Where both are missing, every agent is met for the first time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import Raw

from coordd.agents.remembered import RememberedAgent
from coordd.protocol.snapshot import ENDED
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.restore import FIELD, covered, restore
from coordd.sinks.snapshot_reader import read_snapshot
from coordd.sinks.snapshot_writer import write_snapshot
from coordd.util.held_directory import HeldDirectory

log = logging.getLogger(__name__)

WRITE_DEADLINE = 5.0
READ_DEADLINE = 60.0
"""Seconds that reading back the last run may take, after the repair of its files."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The agents as they were known, and the checkpoint for Redis, as JSON (redis/checkpoint.py).

    ``acknowledged`` and ``ended`` are as in the snapshot; ``written`` is when that was written, in epoch
    seconds, None without one.
    """

    agents: Sequence[RememberedAgent] = ()
    checkpoint: Raw | bytes = b"null"
    acknowledged: Sequence[str] = ()
    ended: Sequence[tuple[str, str, float]] = ()
    written: float | None = None


class LastRun:
    """Write the snapshot at ``path``, in the thread ``syncer``, for it is fsynced; read it and the records.

    The records in ``metrics`` are read in the thread ``writer``, which writes them. ``directory`` is where
    the snapshot lies, ``mode`` that of the file; below ``root``, a project, only what this machine wrote is
    believed. ``problem`` is why the snapshot cannot be written, None while it can.
    """

    def __init__(
        self,
        *,
        path: str,
        directory: HeldDirectory,
        metrics: HeldDirectory,
        mode: int,
        root: str | None,
        host: str,
        writer: Worker,
        syncer: Worker,
    ) -> None:
        self._path = path
        self._ended = False
        self.problem: str | None = None
        self._directory = directory
        self._metrics = metrics
        self._mode = mode
        self._root = root
        self._host = host if root is not None else None
        self._writer = writer
        self._syncer = syncer

    async def read(self) -> Memory:
        """Return what the last run knew."""
        try:
            return await self._writer.run(self._read, now().wall, deadline=READ_DEADLINE)
        except (OSError, DeadlineMissed) as error:
            log.warning("the records of the last run cannot be read: %s", error)
            return Memory()

    async def write(
        self, document: Callable[[], Awaitable[Mapping[str, object]]], *, ended: bool = False
    ) -> None:
        """Replace the snapshot by what ``document`` makes; a failure is in ``problem``, and logged once.

        The one that is ``ended`` says that coordd ended in order, and so does every later one. The others
        wait for no disk, which would wake it each minute in vain.
        How far the record files reach is taken first: what is written meanwhile may not be in the document.
        """
        self._ended = self._ended or ended
        try:
            reach = await self._writer.run(self._reach, deadline=WRITE_DEADLINE)
            made = {**await document(), FIELD: reach}
            if self._ended:  # also one that was being made when the end began
                made[ENDED] = made["written_at"]
            await self._syncer.run(partial(self._write, made, durable=ended), deadline=WRITE_DEADLINE)
        except (OSError, DeadlineMissed) as error:
            why = getattr(error, "strerror", None) or error
            problem: str | None = f"the snapshot {self._path} cannot be written: {why}"
            if self._directory.trouble is not None:
                problem = None  # the directory's own trouble is reported in its place
            elif problem != self.problem:
                log.warning("%s", problem)
            self.problem = problem
        else:
            self.problem = None

    def _read(self, wall: float) -> Memory:
        snapshot = read_snapshot(self._path, root=self._root)
        metrics = self._metrics.look()
        agents = restore(snapshot, None if metrics is None else metrics.fd, now=wall, host=self._host)
        if snapshot is None:
            return Memory(agents)
        return Memory(agents, snapshot.checkpoint, snapshot.acknowledged, snapshot.ended, snapshot.written)

    def _reach(self) -> dict[str, tuple[int, int]] | None:
        metrics = self._metrics.look()
        return None if metrics is None else covered(metrics.fd)

    def _write(self, document: Mapping[str, object], *, durable: bool) -> None:
        directory = self._directory.look()
        if directory is None:
            raise OSError(self._directory.trouble)
        write_snapshot(directory, os.path.basename(self._path), document, mode=self._mode, durable=durable)
