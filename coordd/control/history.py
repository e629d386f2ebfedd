"""``history.query``: past records over the control socket, without anybody else noticing.

Queries run in one thread of their own, in slices of a few milliseconds: between two of them the event loop
has its turn, for pure Python in one thread slows all others. Users, and of each its processes, take turns
slice by slice, so that a short query of one waits for no long one of another. The answer is bounded in
records and bytes, the time in seconds; for more there is ``coordctl history``, which reads the files itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from time import monotonic
from typing import Annotated, Literal, TypeVar

import msgspec

from coordd.control.fair_queue import FairQueue, Who
from coordd.control.peer import Peer
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.records.moments import checked_span
from coordd.records.scan import Record, RecordQuery, Scan
from coordd.records.thin import Thinner
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.util.directories import open_directory
from coordd.util.units import parse_duration

LIMIT = 10_000
MAX_LIMIT = 100_000
MAX_BYTES = 4 * 1024 * 1024
"""Of an answer's records, encoded."""
DEADLINE = 10.0
"""Seconds for one query, those included that it waits for others."""
SLICE = 0.002
MAX_WAITING = 64
"""Queries that wait to begin. Beyond it the process that has most of them gives way."""
MAX_RUNNING = 8
MAX_RUNNING_EACH = 2
"""Queries that run by turns, of all and of one process: each holds files and its answer."""
_CLOSE_DEADLINE = 5.0


T = TypeVar("T")


class HistoryParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``history.query``. ``since`` and ``until`` are timestamps, or durations before now."""

    type: Literal["system", "agent", "event"]
    since: str | float | None = None
    until: str | float | None = None
    agent_id: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] | None = None
    step: str | float | None = None
    workspace: str | None = None


class HistoryQueries:
    """Answers queries from the record files in ``directory``; below ``root``, a project, no link leads on."""

    def __init__(
        self, *, directory: str, worker: Worker, now: Callable[[], Moment], root: str | None = None
    ) -> None:
        self._directory = directory
        self._root = root
        self._worker = worker
        self._now = now
        self._running: Counter[Who] = Counter()
        self._waiting: FairQueue[_Turn] = FairQueue()
        self._slices: FairQueue[_Turn] = FairQueue()
        self._reading = False

    async def query(self, params: HistoryParams, peer: Peer) -> bytes:
        """``{"records": […], "truncated": bool}``, oldest first, encoded.

        ``truncated`` says that there are more behind the last one.

        Raises:
            Fault: bad parameters, too many queries at once, too long a time, unreadable files.
        """
        reading = _RunningQuery(self._directory, self._root, params, self._now().wall)
        who = (peer.uid, peer.pid)
        try:
            async with asyncio.timeout(DEADLINE):
                await self._begin(who)
                try:
                    return await self._run(reading, who)
                finally:
                    self._end(who)
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

    async def _begin(self, who: Who) -> None:
        """Wait until this process may run one more query, in its turn."""
        if self._may_begin(who):
            self._running[who] += 1
            return
        if len(self._waiting) >= MAX_WAITING:
            given_up = self._waiting.give_up(who)
            if given_up is None:
                raise _too_many()
            if not given_up.future.done():
                given_up.future.set_exception(_too_many())
        turn = _Turn(who)
        self._waiting.put(who, turn)
        try:
            await turn.future
        except BaseException:
            self._waiting.discard(who, turn)
            if turn.came:
                self._end(who)  # let in, and gone at the same moment
            raise

    def _end(self, who: Who) -> None:
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        self._admit()

    def _admit(self) -> None:
        while (turn := self._waiting.take(self._may_begin)) is not None:
            if turn.come():
                self._running[turn.who] += 1

    def _may_begin(self, who: Who) -> bool:
        return self._running.total() < MAX_RUNNING and self._running[who] < MAX_RUNNING_EACH

    async def _run(self, reading: _RunningQuery, who: Who) -> bytes:
        try:
            while not await self._slice(reading.go_on, who):
                pass
            return await self._slice(reading.answer, who)
        finally:
            # In the thread's queue, for a slice may still run there.
            with suppress(DeadlineMissed):
                await asyncio.shield(self._worker.run(reading.close, deadline=_CLOSE_DEADLINE))

    async def _slice(self, work: Callable[[], T], who: Who) -> T:
        """Do a piece of work in the thread when it is this process's turn."""
        if self._reading:
            turn = _Turn(who)
            self._slices.put(who, turn)
            try:
                await turn.future
            except BaseException:
                self._slices.discard(who, turn)
                if turn.came:
                    self._next_slice()
                raise
        self._reading = True
        try:
            return await self._worker.run(work, deadline=DEADLINE)
        finally:
            self._next_slice()

    def _next_slice(self) -> None:
        self._reading = False
        while not self._reading and (turn := self._slices.take()) is not None:
            self._reading = turn.come()


class _Turn:
    """One who waits to be called; ``came`` says that it was."""

    __slots__ = ("came", "future", "who")

    def __init__(self, who: Who) -> None:
        self.who = who
        self.came = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def come(self) -> bool:
        """Call it; whether it still waits."""
        if not self.future.done():
            self.came = True
            self.future.set_result(None)
        return self.came


class _RunningQuery:
    """One query's state between two slices; its methods but the constructor run in the history thread."""

    def __init__(self, directory: str, root: str | None, params: HistoryParams, wall: float) -> None:
        try:
            span = checked_span(params.since, params.until, wall)
            question = RecordQuery(params.type, span, params.agent_id, params.workspace)
            self._thinner = _thinner(params)
        except ValueError as error:
            raise Fault(jsonrpc.INVALID_PARAMS, f"Invalid params: {error}", kind="params") from error
        self._batches = _batches(directory, root, question)
        self._limit = params.limit or LIMIT
        self._encode = msgspec.json.Encoder().encode
        self._body = bytearray(b'{"records":[')
        self._count = 0
        self._truncated = False

    def go_on(self) -> bool:
        """One slice; whether it was the last."""
        end = monotonic() + SLICE
        for batch in self._batches:
            if self._take(batch):
                return True
            if monotonic() >= end:
                return False
        if self._thinner is not None:
            self._add(self._encode(one) for one in self._thinner.rest())
        return True

    def answer(self) -> bytes:
        """The whole answer."""
        self._body += b'],"truncated":%b}' % (b"true" if self._truncated else b"false")
        return bytes(self._body)

    def close(self) -> None:
        """Let go of the files."""
        # A slice that hangs in a dead file system has lost its thread, and keeps the generator busy.
        with suppress(ValueError):
            self._batches.close()

    def _take(self, batch: list[Record]) -> bool:
        """Keep what fits; whether there is more than that."""
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


def _batches(directory: str, root: str | None, question: RecordQuery) -> Generator[list[Record]]:
    """The records; a project's directory is opened first, and its files are reached by way of that."""
    try:
        place = open_directory(directory, root=root)
    except FileNotFoundError:
        return
    with place:
        yield from Scan(place.way("") if root else directory, question, decode=msgspec.json.decode).batches()


def _thinner(params: HistoryParams) -> Thinner | None:
    if params.step is None:
        return None
    try:
        return Thinner(params.type, parse_duration(params.step))
    except ValueError as error:
        raise ValueError(f"step: {str(error).removeprefix('step: ')}") from None
