"""Answer ``history.query``: past records over the control socket, without delaying other requests.

Queries run in one thread, in slices of a few milliseconds; the event loop runs in between, because Python
code in one thread slows all others. Users, and the processes of each, take turns slice by slice, so that a
short query does not wait for another client's long one. The answer is bounded in records and bytes, and the
time in seconds; for more there is ``coordctl history``, which reads the files itself. A query's states::

    waiting to begin ──a place is free──► running: waiting for a slice ◄──► in a slice ──► answered
           │                                  │
           └── given up: too many wait        └── the deadline: an error
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from time import monotonic
from typing import Annotated, Any, TypeVar

import msgspec

from coordd.control.fair_queue import FairQueue, PeerKey
from coordd.control.peer import Peer
from coordd.model import Topic
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.records.bands import LOOKBACK, BandRecord, Bands
from coordd.records.moments import Span, checked_span
from coordd.records.scan import Record, RecordQuery, Scan
from coordd.records.thin import Thinner
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.util.directories import open_directory
from coordd.util.units import parse_duration

LIMIT = 10_000
MAX_LIMIT = 100_000
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of an answer's records, encoded."""
DEADLINE = 10.0
"""Seconds for one query, including those that it waits for others."""
SLICE = 0.002
MAX_WAITING = 64
"""Queries that may wait to begin; beyond that the process with most of them loses its newest."""
MAX_RUNNING = 8
MAX_RUNNING_EACH = 2
"""Queries that run in turns, in all and of one process: each has files open, and an answer in memory."""
_CLOSE_DEADLINE = 5.0
_BANDS = msgspec.json.Decoder(BandRecord)


T = TypeVar("T")


class HistoryParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``history.query``; ``since`` and ``until`` are timestamps, or durations before now.

    ``bands`` asks for what each agent did from when on, at the resolution of ``step``, in place of records.
    """

    type: Topic
    since: str | float | None = None
    until: str | float | None = None
    agent_id: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] | None = None
    step: str | float | None = None
    workspace: str | None = None
    bands: bool = False


class HistoryQueries:
    """Answer queries from the record files in ``directory``; in the project ``root`` no link is followed."""

    def __init__(
        self, *, directory: str, worker: Worker, now: Callable[[], Moment], root: str | None = None
    ) -> None:
        self._directory = directory
        self._root = root
        self._worker = worker
        self._now = now
        self._running: Counter[PeerKey] = Counter()
        self._waiting: FairQueue[_Turn] = FairQueue()
        self._slices: FairQueue[_Turn] = FairQueue()
        self._slice_running = False

    async def query(self, params: HistoryParams, peer: Peer) -> bytes:
        """Return ``{"records": […], "truncated": bool}``, oldest first, encoded.

        ``truncated`` says that there are more records after the last one.

        Raises:
            Fault: bad parameters, too many queries, the deadline, or files that cannot be read.
        """
        running = _RunningQuery(self._directory, self._root, params, self._now().wall)
        key = (peer.uid, peer.pid)
        try:
            async with asyncio.timeout(DEADLINE):
                await self._begin(key)
                try:
                    return await self._run(running, key)
                finally:
                    self._end(key)
        except TimeoutError as error:
            raise Fault(
                jsonrpc.SERVER_ERROR,
                f"The query took longer than {DEADLINE:g} s: ask for a shorter time, "
                "or read the files with `coordctl history`",
                kind="deadline",
            ) from error
        except OSError as error:
            where = error.filename or self._directory
            raise Fault(
                jsonrpc.SERVER_ERROR, f"{where}: {error.strerror or error}", kind="unreadable"
            ) from error

    async def _begin(self, key: PeerKey) -> None:
        """Wait until this process may run one more query, in its turn."""
        if self._may_begin(key):
            self._running[key] += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            given_up = self._waiting.give_up(key)
            if given_up is None:
                raise _too_many()
            if not given_up.future.done():
                given_up.future.set_exception(_too_many())
        turn = _Turn(key)
        self._waiting.put(key, turn)
        try:
            await turn.future
        except BaseException:
            self._waiting.discard(key, turn)
            if turn.admitted:
                self._end(key)  # admitted and cancelled at the same moment
            raise

    def _end(self, key: PeerKey) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._admit()

    def _admit(self) -> None:
        while (turn := self._waiting.take(self._may_begin)) is not None:
            if turn.admit():
                self._running[turn.key] += 1

    def _may_begin(self, key: PeerKey) -> bool:
        return self._running.total() < MAX_RUNNING and self._running[key] < MAX_RUNNING_EACH

    async def _run(self, running: _RunningQuery, key: PeerKey) -> bytes:
        try:
            while not await self._slice(running.read_slice, key):
                pass
            return await self._slice(running.answer, key)
        finally:
            # In the thread, because a slice may still run there.
            with suppress(DeadlineMissed):
                await asyncio.shield(self._worker.run(running.close, deadline=_CLOSE_DEADLINE))

    async def _slice(self, work: Callable[[], T], key: PeerKey) -> T:
        """Do a piece of work in the thread when it is this process's turn."""
        if self._slice_running:
            turn = _Turn(key)
            self._slices.put(key, turn)
            try:
                await turn.future
            except BaseException:
                self._slices.discard(key, turn)
                if turn.admitted:
                    self._next_slice()
                raise
        self._slice_running = True
        try:
            return await self._worker.run(work, deadline=DEADLINE)
        finally:
            self._next_slice()

    def _next_slice(self) -> None:
        self._slice_running = False
        while not self._slice_running and (turn := self._slices.take()) is not None:
            self._slice_running = turn.admit()


class _Turn:
    """A query that waits for its turn; ``admitted`` says that the turn has come."""

    __slots__ = ("admitted", "future", "key")

    def __init__(self, key: PeerKey) -> None:
        self.key = key
        self.admitted = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def admit(self) -> bool:
        """Let it go on, if it still waits; return whether it does."""
        if not self.future.done():
            self.admitted = True
            self.future.set_result(None)
        return self.admitted


class _RunningQuery:
    """Run one query slice by slice; all methods but the constructor run in the history thread."""

    def __init__(self, directory: str, root: str | None, params: HistoryParams, wall: float) -> None:
        try:
            span = checked_span(params.since, params.until, wall)
            self._thinner = _thinner(params, span, wall)
            read = Span(span.since - LOOKBACK, span.until) if params.bands and span.since else span
            query = RecordQuery(params.type, read, params.agent_id, params.workspace)
        except ValueError as error:
            raise Fault(jsonrpc.INVALID_PARAMS, f"Invalid params: {error}", kind="params") from error
        decode = _BANDS.decode if params.bands else msgspec.json.decode
        self._batches = _batches(directory, root, query, decode)
        self._limit = params.limit or LIMIT
        self._encode = msgspec.json.Encoder().encode
        self._body = bytearray(b'{"records":[')
        self._count = 0
        self._truncated = False

    def read_slice(self) -> bool:
        """Read for one slice; return whether it was the last."""
        end = monotonic() + SLICE
        for batch in self._batches:
            if self._take(batch):
                return True
            if monotonic() >= end:
                return False
        if self._thinner is not None:
            self._add(self._encode(one) for one in self._thinner.rest())
            if isinstance(self._thinner, Bands) and self._thinner.left_out:
                self._truncated = True
        return True

    def answer(self) -> bytes:
        """Return the complete answer."""
        self._body += b'],"truncated":%b}' % (b"true" if self._truncated else b"false")
        return bytes(self._body)

    def close(self) -> None:
        """Let go of the files."""
        # A slice that hangs in a dead file system keeps the generator busy: ValueError.
        with suppress(ValueError):
            self._batches.close()

    def _take(self, batch: list[Record]) -> bool:
        """Add records to the answer; return whether it is full."""
        if self._thinner is None:
            return self._add(line for line, _ in batch)
        return self._add(self._encode(one) for one in self._thinner.add(record for _, record in batch))

    def _add(self, lines: Iterable[bytes]) -> bool:
        for line in lines:
            if self._count == self._limit or len(self._body) + len(line) >= MAX_BYTES:
                self._truncated = True
                return True
            if self._count:
                self._body += b","
            self._body += line
            self._count += 1
        return False


def _too_many() -> Fault:
    return Fault(jsonrpc.SERVER_ERROR, "Too many queries wait already: ask again later", kind="busy")


def _batches(
    directory: str, root: str | None, query: RecordQuery, decode: Callable[[bytes], Any]
) -> Generator[list[Record]]:
    """Yield the records; in a project, files are reached through the directory's open descriptor."""
    try:
        opened = open_directory(directory, root=root)
    except FileNotFoundError:
        return
    with opened:
        yield from Scan(opened.way("") if root else directory, query, decode=decode).batches()


def _thinner(params: HistoryParams, span: Span, now: float) -> Thinner | Bands | None:
    if params.bands and (params.type != "agent" or params.step is None or span.since is None):
        raise ValueError("bands: of agents only, with since and step")
    if params.step is None:
        return None
    try:
        step = parse_duration(params.step)
        if params.bands:
            return Bands(span.since or 0.0, min(now, now if span.until is None else span.until), step)
        return Thinner(params.type, step)
    except ValueError as error:
        raise ValueError(f"step: {str(error).removeprefix('step: ')}") from None
