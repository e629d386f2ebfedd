"""Restore what the last daemon knew: from its snapshot, and from the records written after that.

Reads only. Damaged or foreign data is passed over: the first reading of the workspaces corrects whatever is
wrong or missing. Restored agents keep a restart from recording samples a second time.

Clocks may have been wrong, so neither file names nor times in records decide alone what came last::

    where a record is                what is done with it
    where the snapshot covers it     passed over: the snapshot was made later
    behind that                      overrides the snapshot; one dated in the future was written before the
                                     others, because the clock was set back since, and counts as of now
    in a file, without a snapshot    the newest of each agent counts, if it is not dated in the future

The snapshot says how far it covers each file, by size and inode, taken just before it was made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec

from coordd.agents.beats import FUTURE, Restored
from coordd.agents.doing import Doing
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Verdict
from coordd.agents.remembered import RememberedAgent
from coordd.agents.session import Session, TokenCounts, Turn
from coordd.host.process_facts import Process
from coordd.model import Activity, Cause, Reason, Status
from coordd.records import manifest_file
from coordd.records.backwards import lines_backwards
from coordd.records.manifest import ManifestClaims
from coordd.records.names import Part, parse_part
from coordd.sinks.snapshot_reader import Count, LastSnapshot, Time
from coordd.util.regular_files import open_file
from coordd.util.timestamps import parse_timestamp, utc_date

log = logging.getLogger(__name__)

FIELD = "records"
"""The snapshot's field that says how far it covers each file."""
MAX_RECORDS = 64 * 1024 * 1024
"""Bytes of records that are read back at most; more than a minute of them only without a snapshot."""
MAX_LINE = 1024 * 1024
OVERLAP = 120.0
"""Seconds of records read again from before a snapshot that does not say what it covers."""
_MAX_KEPT = 10

_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e10)]
_Kind = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Tokens(msgspec.Struct, frozen=True):
    """The field ``tokens``."""

    input: Count
    output: Count
    cache_read: Count
    cache_write: Count
    since: Time | None


class _Remembered(msgspec.Struct, frozen=True):
    """The fields of an agent's sample that are restored."""

    timestamp: Time
    agent_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    workspace: _Text | None
    status: Status
    reason: Reason
    cause: Cause
    active_tasks: Count | None
    uptime: _Seconds | None
    last_heartbeat: Time | None
    declared_status: _Text | None
    sources: Annotated[tuple[_Kind, ...], msgspec.Meta(min_length=1, max_length=16)] = ("file",)
    last_heartbeat_age: _Seconds | None = None
    host: str = ""
    project: _Text | None = None
    name: _Text | None = None
    kind: _Kind | None = None
    session_id: _Text | None = None
    activity: Activity | None = None
    activity_since: Time | None = None
    last_progress: Time | None = None
    model: _Text | None = None
    context_tokens: Count | None = None
    tokens: _Tokens | None = None
    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    proc_start: Count | None = None
    tty: _Text | None = None
    user: _Text | None = None
    ended_at: Time | None = None


def covered(directory: int) -> dict[str, tuple[int, int]]:
    """Return how far the files of agents' records reach now: inode and size by name.

    Called before the snapshot is made: what is written in between is then read again, which is harmless.

    Raises:
        OSError: the directory cannot be listed.
    """
    found = {}
    for name, _ in _parts(directory):
        try:
            state = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            continue
        found[name] = (state.st_ino, state.st_size)
    return found


def restore(
    snapshot: LastSnapshot | None, directory: int | None, *, now: float, host: str | None = None
) -> list[RememberedAgent]:
    """Return the agents as they were last recorded, and as dormant those that were forgotten.

    Args:
        snapshot: what the last run left, if anything.
        directory: descriptor of the directory with the ``agent_*.jsonl`` parts; gzipped parts are too old to
            matter. None where it does not exist.
        now: wall clock, epoch seconds.
        host: this machine's name; records of other hosts are then passed over.
    """
    known: dict[AgentKey, RememberedAgent] = {}
    moments: dict[AgentKey, float] = {}
    if snapshot is not None:
        known |= _forgotten(snapshot)
        for one in _agents_of(snapshot):
            _take(known, moments, one, back=max(0.0, snapshot.written - now))
    try:
        pieces = [] if directory is None else _pieces(directory, snapshot, now)
    except OSError as error:
        log.warning("the records of the last run cannot be listed: %s", error)
        pieces = []
    # The last record overrides the snapshot, whichever is younger: the store shows a change only after its
    # record was written, and may show verdicts that no record has yet.
    newest_first = _newest_first(pieces, -1 if directory is None else directory, now, host)
    for records_of_one in _decisive(newest_first).values():
        for one, at in reversed(records_of_one):
            _take(known, moments, one, back=max(0.0, at - now))
    return list(known.values())


@dataclass(frozen=True, slots=True)
class _Piece:
    """What to read of one file: records from ``start`` to its end that are not older than ``since``.

    ``covered``: the snapshot says where to start. ``ahead``: the file is named after a day that is to come.
    """

    name: str
    part: Part
    start: int
    covered: bool
    since: float
    ahead: bool


def _pieces(directory: int, snapshot: LastSnapshot | None, now: float) -> list[_Piece]:
    """Return what to read, in the order of writing as far as that can be told."""
    pieces = []
    covers = snapshot.covers if snapshot else None
    purged = _purged(directory) if covers else frozenset()
    since = 0.0
    if snapshot is not None and covers is None:
        since = min(snapshot.written, now) - OVERLAP
    for name, part in _parts(directory):
        start = 0
        if covers is not None:
            try:
                state = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            inode, size = covers.get(name, (0, 0))
            if inode == state.st_ino and size <= state.st_size:
                start = size
            elif name in purged and name in covers:
                # A purge closes a file and has the snapshot made anew before it replaces the file.
                start = state.st_size
            if start == state.st_size:
                continue
        pieces.append(_Piece(name, part, start, covers is not None, since, _is_ahead(part, now)))
    return sorted(pieces, key=lambda piece: (not piece.ahead, piece.part))


def _purged(directory: int) -> Collection[str]:
    """Return the names of files out of which lines were taken, as far as the manifest can be read."""
    try:
        return ManifestClaims.parse(manifest_file.read(directory) or b"").purged
    except OSError:
        return frozenset()


def _is_ahead(part: Part, now: float) -> bool:
    """Return whether a file is named after a day that is still to come."""
    return part.date > utc_date(now + FUTURE)


def _parts(directory: int) -> list[tuple[str, Part]]:
    """Return the uncompressed parts of agents' records, by name."""
    parts = ((name, parse_part(name, "agent", "jsonl")) for name in os.listdir(directory))
    return [(name, part) for name, part in parts if part is not None and not part.compressed]


def _decisive(
    newest_first: Iterable[tuple[_Remembered, float]],
) -> dict[AgentKey, list[tuple[_Remembered, float]]]:
    """Return each agent's records back to its last heartbeat, newest first; older ones do not matter."""
    kept: dict[AgentKey, list[tuple[_Remembered, float]]] = {}
    settled: set[AgentKey] = set()
    for one, at in newest_first:
        key = AgentKey(one.workspace or NO_WORKSPACE, one.agent_id)
        if key in settled:
            continue
        kept.setdefault(key, []).append((one, at))
        if one.cause not in ("verdict", "tasks", "activity", "progress") or len(kept[key]) >= _MAX_KEPT:
            settled.add(key)
    return kept


def _take(
    known: dict[AgentKey, RememberedAgent], moments: dict[AgentKey, float], one: _Remembered, *, back: float
) -> None:
    """Apply one record to the known agents, its time corrected by ``back`` seconds if it lies in the future.

    The time of a heartbeat stays as it was recorded, because the heartbeat is recognised by it.
    """
    key = AgentKey(one.workspace or NO_WORKSPACE, one.agent_id)
    if one.cause == "removed" and one.reason != "ended":
        known.pop(key, None)  # it left, or falls silent for too long by itself again
        return
    try:
        at = parse_timestamp(one.timestamp) - back
        beat = None if one.last_heartbeat is None else parse_timestamp(one.last_heartbeat)
    except ValueError:
        return
    moments[key] = max(at, moments.get(key, at))
    end = {"active": at, "inactive": beat, "unknown": None}[one.status]
    before = known.get(key)
    run = before.run_since if before else beat
    seen = None if beat is None else min(beat, at)
    if beat is not None and one.last_heartbeat_age is not None:
        seen = at - one.last_heartbeat_age
    elif beat is None and one.reason == "process":
        seen = None  # it has never beaten
    elif one.status == "active" and one.cause in ("heartbeat", "appeared"):
        seen = at  # the heartbeat's own clock may be wrong; it was certainly seen at this moment
    elif before and before.beat_wall == beat:
        seen = before.restored.seen
    known[key] = RememberedAgent(
        key=key,
        verdict=Verdict(one.status, one.reason),
        cause=one.cause,
        sources=one.sources,
        restored=Restored(
            tasks=one.active_tasks,
            status=one.declared_status,
            wall=moments[key],
            seen=seen,
            shared=len(one.sources) > 1,
            process=None if one.pid is None or one.proc_start is None else Process(one.pid, one.proc_start),
            ended=_epoch(one.ended_at),
            session=_session(one),
        ),
        beat_wall=beat,
        run_since=end - one.uptime if end is not None and one.uptime is not None else run,
        doing=Doing(one.activity, _epoch(one.activity_since)),
        dormant=one.cause == "removed",
    )


def _forgotten(snapshot: LastSnapshot) -> dict[AgentKey, RememberedAgent]:
    """Return the agents that were forgotten then, while what they left still lay there."""
    return {
        (key := AgentKey(workspace, agent_id)): RememberedAgent(
            key=key,
            verdict=Verdict("inactive", "silent"),
            cause="removed",
            sources=tuple(sources),
            restored=Restored(wall=snapshot.written, seen=beat, shared=len(sources) > 1),
            beat_wall=beat,
            run_since=beat,
            dormant=True,
        )
        for workspace, agent_id, sources, beat in snapshot.forgotten
    }


def _session(one: _Remembered) -> Session | None:
    """Return what a record says of the agent's session: no turn, for that has gone on since."""
    if one.kind is None:
        return None
    tokens = one.tokens
    counts = None
    if tokens is not None:
        since = _epoch(tokens.since)
        counts = TokenCounts(tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, since)
    return Session(
        kind=one.kind,
        session_id=one.session_id,
        process=None,
        project=one.project,
        name=one.name,
        present=one.session_id is not None,  # where nothing was known but a process, there is no record
        tty=one.tty,
        user=one.user,
        turn=Turn(
            last=_epoch(one.last_progress), model=one.model, context_tokens=one.context_tokens, tokens=counts
        ),
    )


def _epoch(timestamp: str | None) -> float | None:
    try:
        return None if timestamp is None else parse_timestamp(timestamp)
    except ValueError:
        return None


def _agents_of(snapshot: LastSnapshot) -> list[_Remembered]:
    agents = []
    for raw in snapshot.agents:
        try:
            agents.append(_decoder.decode(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    if len(agents) < len(snapshot.agents):
        bad = len(snapshot.agents) - len(agents)
        log.warning("the snapshot is damaged: %d of its agents are passed over", bad)
    return agents


_decoder = msgspec.json.Decoder(_Remembered)


def _newest_first(
    pieces: list[_Piece], directory: int, now: float, host: str | None
) -> Iterator[tuple[_Remembered, float]]:
    """Yield records and their times, newest first, at most :data:`MAX_RECORDS` bytes of them."""
    budget = MAX_RECORDS
    for piece in reversed(pieces):
        for line in _lines_backwards(directory, piece.name, piece.start, budget):
            budget -= len(line) + 1
            if budget <= 0:
                return
            try:
                one = _decoder.decode(line)
                at = parse_timestamp(one.timestamp)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                continue
            if at < piece.since:
                break
            if (host is not None and one.host != host) or (at > now + FUTURE and not piece.covered):
                continue
            yield one, at


def _lines_backwards(directory: int, name: str, start: int, budget: int) -> Iterator[bytes]:
    """Yield the lines of a file from its end back to ``start``, but for those longer than any record."""
    try:
        descriptor = open_file(name, directory=directory)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("%s of the last run is passed over: %s", name, error.strerror or error)
        return
    try:
        yield from lines_backwards(descriptor, start, most=budget, longest=MAX_LINE)
    except OSError as error:
        log.warning("%s of the last run cannot be read: %s", name, error.strerror or error)
    finally:
        os.close(descriptor)
