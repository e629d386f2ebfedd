"""What a daemon knew before it ended: the snapshot, and the records written after it.

Reads only; whatever is damaged or made by a stranger is passed over, for it is a memory and no truth: the
first reading of the workspaces corrects it. With it a restart samples nothing twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

import msgspec

from coordd.liveness import Verdict
from coordd.model import Cause, Reason, Status
from coordd.parts import parse_part
from coordd.reducer import Key, KnownAgent
from coordd.sinks.regular import open_regular
from coordd.timestamps import parse_timestamp

log = logging.getLogger(__name__)

MAX_SNAPSHOT = 64 * 1024 * 1024
MAX_RECORDS = 64 * 1024 * 1024
"""Bytes of records read back at the most; more than a minute of them is needed only without a snapshot."""
OVERLAP = 120.0
"""Seconds before the snapshot from which records are read again; the same one twice does no harm."""
_BLOCK = 256 * 1024
_MAX_KEPT = 10


class _Remembered(msgspec.Struct, frozen=True):
    """The fields of an agent's sample that matter for going on."""

    timestamp: str
    agent_id: str
    workspace: str | None
    status: Status
    reason: Reason
    cause: Cause
    active_tasks: int | None
    uptime: float | None
    last_heartbeat: str | None
    declared_status: str | None
    sources: tuple[str, ...] = ("file",)
    last_heartbeat_age: float | None = None


class _Snapshot(msgspec.Struct, frozen=True):
    written_at: str
    agents: list[_Remembered]


def restore(snapshot: str, metrics_dir: str) -> list[KnownAgent]:
    """The agents as they were last recorded.

    Args:
        snapshot: path of the snapshot; it may be missing.
        metrics_dir: where the ``agent_*.jsonl`` parts are; of gzipped ones nothing is new.

    Raises:
        OSError: the directory cannot be listed.
    """
    parts = {name: part for name in os.listdir(metrics_dir) if (part := parse_part(name, "agent", "jsonl"))}
    records = [
        os.path.join(metrics_dir, name)
        for name in sorted(parts, key=lambda name: parts[name])
        if not parts[name].compressed
    ]
    known: dict[Key, KnownAgent] = {}
    moments: dict[Key, float] = {}
    since = 0.0
    taken = _read_snapshot(snapshot)
    if taken is not None:
        try:
            since = parse_timestamp(taken.written_at) - OVERLAP
        except ValueError:
            taken = None
    for one in taken.agents if taken else ():
        _take(known, moments, one)
    # The last record wins over the snapshot, whichever is younger: the picture shows a change only after its
    # record, and shows verdicts that no record tells yet.
    for records_of_one in _decisive(_newest_first(records, since)).values():
        for one in reversed(records_of_one):
            _take(known, moments, one)
    return list(known.values())


def _decisive(newest_first: Iterable[_Remembered]) -> dict[Key, list[_Remembered]]:
    """Of each agent the records back to its last beat, newest first: older ones would be overruled."""
    kept: dict[Key, list[_Remembered]] = {}
    settled: set[Key] = set()
    for one in newest_first:
        key: Key = (one.workspace, one.agent_id)
        if key in settled:
            continue
        kept.setdefault(key, []).append(one)
        if one.cause not in ("verdict", "tasks") or len(kept[key]) >= _MAX_KEPT:
            settled.add(key)
    return kept


def _take(known: dict[Key, KnownAgent], moments: dict[Key, float], one: _Remembered) -> None:
    key: Key = (one.workspace, one.agent_id)
    if one.cause == "removed":
        known.pop(key, None)
        return
    try:
        at = parse_timestamp(one.timestamp)
        beat = None if one.last_heartbeat is None else parse_timestamp(one.last_heartbeat)
    except ValueError:
        return
    moments[key] = max(at, moments.get(key, at))
    end = {"active": at, "inactive": beat, "unknown": None}[one.status]
    before = known.get(key)
    run = before.run_since if before else beat
    seen = beat
    if beat is not None and one.last_heartbeat_age is not None:
        seen = at - one.last_heartbeat_age
    elif one.status == "active" and one.cause in ("heartbeat", "appeared"):
        seen = at  # a clock elsewhere may be wrong; that it was seen now is certain
    elif before and before.beat_wall == beat:
        seen = before.restored_seen
    known[key] = KnownAgent(
        key=key,
        verdict=Verdict(one.status, one.reason),
        cause=one.cause,
        traces=None,
        beat_wall=beat,
        run_since=end - one.uptime if end is not None and one.uptime is not None else run,
        restored_tasks=one.active_tasks,
        restored_status=one.declared_status,
        restored_wall=moments[key],
        restored_seen=seen,
        sources=one.sources,
    )


def _read_snapshot(path: str) -> _Snapshot | None:
    try:
        descriptor, _ = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the snapshot %s cannot be read: %s", path, error.strerror)
        return None
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > MAX_SNAPSHOT:
            log.warning("the snapshot %s is larger than %d bytes", path, MAX_SNAPSHOT)
            return None
        try:
            return msgspec.json.decode(file.read(), type=_Snapshot)
        except (msgspec.MsgspecError, RecursionError) as error:
            log.warning("the snapshot %s is damaged and passed over: %s", path, error)
            return None


def _newest_first(paths: list[str], since: float) -> Iterator[_Remembered]:
    """Records from the last one back to ``since``, at most :data:`MAX_RECORDS` bytes."""
    decoder = msgspec.json.Decoder(_Remembered)
    budget = MAX_RECORDS
    for path in reversed(paths):
        for line in _lines_backwards(path, budget):
            budget -= len(line) + 1
            try:
                one = decoder.decode(line)
                at = parse_timestamp(one.timestamp)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                continue
            if at < since or budget <= 0:
                return
            yield one


def _lines_backwards(path: str, budget: int) -> Iterator[bytes]:
    try:
        descriptor, _ = open_regular(path, os.O_RDONLY)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        position = os.fstat(descriptor).st_size
        floor = max(0, position - budget)
        rest = b""
        while position > floor:
            size = min(_BLOCK, position - floor)
            position -= size
            file.seek(position)
            first, *lines = (file.read(size) + rest).split(b"\n")
            rest = first
            yield from (line for line in reversed(lines) if line)
        if rest and position == 0:
            yield rest
