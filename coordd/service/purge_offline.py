"""Purge the records of an agent or a project while no coordd runs: what service/purging.py does, without one.

The lock of the metrics directory is held meanwhile, so that none starts.
"""

from __future__ import annotations

import os
import random
import time

from coordd.config.build import Config
from coordd.config.layout import Layout
from coordd.config.rights import Rights
from coordd.records.selection import RecordSelection
from coordd.service.lock import borrowed
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.purged_snapshot import purge_snapshot
from coordd.sinks.purging import Purge, PurgeReport
from coordd.util.timestamps import format_utc


def purge_offline(
    layout: Layout, config: Config, selection: RecordSelection, *, dry_run: bool
) -> dict[str, object]:
    """Return what ``records.purge`` answers at its end.

    Raises:
        InstanceRunning: a coordd runs in this metrics directory.
        OSError: with ``filename``; the directory cannot be opened.
    """
    metrics, rights = config.storage.metrics_dir, Rights.of(layout, config)
    report, error = PurgeReport(), None
    if os.path.isdir(metrics):
        with borrowed(metrics, root=rights.root):
            report, error = _in_records(metrics, rights, selection, dry_run=dry_run)
            if not dry_run:
                why = purge_snapshot(layout.snapshot, selection, root=rights.root, mode=rights.file)
                if why is not None:
                    report.leave(layout.snapshot, why)
    redis = config.coordination
    expires = time.time() + config.redis.ttl if redis.redis_url is not None and redis.redis_writable else None
    return {
        "done": True,
        "dry_run": dry_run,
        "lines": report.lines,
        "files": report.files,
        "left": [{"path": one.path, "reason": one.why, "own": one.own} for one in report.left],
        "left_unnamed": report.left_unnamed,
        "similar": report.similar,
        "redis": {"deleted": None, "expire_by": None if expires is None else format_utc(expires)},
        "error": error,
    }


def _in_records(
    metrics: str, rights: Rights, selection: RecordSelection, *, dry_run: bool
) -> tuple[PurgeReport, str | None]:
    wall, mono = time.time(), time.monotonic()
    sink = JsonlSink(folder=HeldFolder.of(metrics, rights), random=random.random)
    try:
        if dry_run:
            sink.folder.folder()
        else:
            sink.open(wall=wall, mono=mono)
        purge = Purge(writers=sink.files, selection=selection, since=format_utc(wall))
        counted = purge.count()
        if dry_run or not (counted.lines or counted.left):
            return counted, sink.status().error
        if counted.current:
            sink.begin_next(counted.current, wall=wall, mono=mono)
        return purge.rewrite(), sink.status().error
    finally:
        sink.close(wall=wall, mono=mono)
