"""Find the records that match a query, in all files of a directory, a batch at a time.

Bytes are compared before anything is decoded: lines by the timestamp at their beginning, and those of one
agent by its id in quotes, searched for in whole blocks. Only lines that pass are decoded, and then checked.

Other programs may have rewritten the files, with other spaces, escapes, orders of fields or forms of time. A
line that does not begin as coordd's do is decoded before it is judged; a block that begins or ends with such
a line is decoded whole. One case is missed: an id with escapes that JSON does not require, in a single such
line among coordd's own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from coordd.records.blocks import Block, UnreadableCount, gunzipped, plain
from coordd.records.files import EDGE, Chosen, choose, claims_of, open_part
from coordd.records.manifest import plain_name
from coordd.records.moments import Span, moment_of
from coordd.records.names import part_name
from coordd.records.provenance import proven
from coordd.records.seek import stretches
from coordd.util.timestamps import format_utc, parse_timestamp

TYPES = ("system", "agent", "event")

_OWN = {"system": "self", "agent": "cause", "event": "kind"}
"""A field that only the records of one type have."""
_BATCH = 64
"""Lines that are looked at for one batch."""

Record = tuple[bytes, dict[str, Any]]
"""A line without its newline, and the decoded record."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records to find: of a type, a span, an agent and a workspace (None: any).

    An event belongs to the agent whose id is its subject, and to the workspace named in its detail. With
    ``worktrees`` the records of agents in worktrees of the workspace fit too: it is their project.

    Raises:
        ValueError: the type is unknown, or an agent is asked for in records that have none.
    """

    type: str
    span: Span = field(default_factory=Span)
    agent_id: str | None = None
    workspace: str | None = None
    worktrees: bool = False

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type: one of {', '.join(TYPES)}, not {self.type!r:.40}")
        if self.type == "system" and (self.agent_id is not None or self.workspace is not None):
            raise ValueError("system records are of no agent and no workspace")

    def needle(self) -> bytes | None:
        """Return bytes that every matching record contains as coordd writes it; None where there are none."""
        return needle(self.agent_id) or needle(self.workspace)

    def fits(self, record: dict[str, Any]) -> bool:
        """Return whether a record is of the agent and the workspace asked for."""
        if self.agent_id is not None:
            subject = record.get("subject" if self.type == "event" else "agent_id")
            if subject != self.agent_id:
                return False
        if self.workspace is not None:
            named_in = record.get("detail") if self.type == "event" else record
            places = ("workspace", "project") if self.worktrees else ("workspace",)
            return isinstance(named_in, dict) and self.workspace in [named_in.get(name) for name in places]
        return True


class Scan:
    """Go over the files once.

    Args:
        directory: the metrics directory.
        query: which records to find.
        decode: decodes a line; raises ValueError where it is not JSON. The service passes a faster decoder.
        owned: read only files that coordd made, or that an older coordd may have made (provenance.py).
            Otherwise every file with the name is read; where there is a manifest, only those lines of other
            files that have coordd's own fields.
    """

    def __init__(
        self,
        directory: str,
        query: RecordQuery,
        *,
        decode: Callable[[bytes], Any] = json.loads,
        owned: bool = False,
    ) -> None:
        self._owned = owned
        self._strict = False
        self._directory = directory
        self._query = query
        self._decode = decode
        self._damage = UnreadableCount()
        self._low, self._high = query.span.low, query.span.high
        self._needle = query.needle()

    @property
    def damaged(self) -> int:
        """Return how many lines were passed over so far, because they could not be read."""
        return self._damage.count

    def batches(self) -> Generator[list[Record], None, None]:
        """Yield the records in the order of writing, in batches of a millisecond or so; many are empty.

        Raises:
            OSError: the directory or a file in it exists and may not be read.
        """
        claims = claims_of(self._directory)
        for chosen in choose(self._directory, self._query.type, self._query.span):
            opened = open_part(self._directory, self._query.type, chosen.part)
            if opened is None:
                continue
            descriptor, part = opened
            try:
                name = part_name(self._query.type, part, "jsonl")
                own = proven(claims, descriptor, name)
                if self._owned and claims.order and not own and plain_name(name) not in claims.found:
                    continue
                self._strict = bool(claims.order) and not own
                for buffer, size in self._blocks(descriptor, chosen, compressed=part.compressed):
                    yield from self._records(buffer, size)
            finally:
                os.close(descriptor)

    def _blocks(self, descriptor: int, chosen: Chosen, *, compressed: bool) -> Iterator[Block]:
        if compressed:
            blocks = gunzipped(descriptor, self._damage)
            if chosen.late:
                blocks = self._unless_late(blocks)
            yield from blocks
            return
        size = os.fstat(descriptor).st_size
        if chosen.late and not self._begins_early(os.pread(descriptor, 64, 0)):
            return
        for start, end in stretches(descriptor, size, self._query.span):
            yield from plain(descriptor, start, end, self._damage)

    def _unless_late(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield the blocks, unless the first one begins too late for anything to be found."""
        for buffer, size in blocks:
            if size and not self._begins_early(bytes(buffer[:64])):
                return
            yield buffer, size
            if size:
                yield from blocks

    def _begins_early(self, line: bytes) -> bool:
        moment = moment_of(line)
        return moment is None or moment < self._query.span.widened(EDGE).high

    def _records(self, buffer: bytes | bytearray, size: int) -> Iterator[list[Record]]:
        if self._needle is None or _rewritten(buffer, size):
            lines: Iterable[bytes] = bytes(memoryview(buffer)[:size]).split(b"\n")
        else:
            lines = _lines_with(buffer, size, self._needle)
        found: list[Record] = []
        for seen, line in enumerate(lines, 1):
            moment = moment_of(line)
            if moment is None:
                record = self._decoded_foreign(line) if line else None
                if record is not None:
                    found.append((line, record))
            elif self._low <= moment < self._high:
                record = self._decoded(line)
                if record is not None:
                    found.append((line, record))
            if seen % _BATCH == 0:
                yield found
                found = []
        yield found

    def _decoded_foreign(self, line: bytes) -> dict[str, Any] | None:
        """Return a record that another program rewrote, with its timestamp in coordd's form."""
        try:
            record = self._decode(line)
            stamp = format_utc(parse_timestamp(record["timestamp"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._damage.count += 1
            return None
        if not self._low <= stamp.encode() < self._high or not self._is_ours(record):
            return None
        record["timestamp"] = stamp
        return record if self._query.fits(record) else None

    def _decoded(self, line: bytes) -> dict[str, Any] | None:
        try:
            record = self._decode(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self._damage.count += 1
            return None
        return record if self._is_ours(record) and self._query.fits(record) else None

    def _is_ours(self, record: dict[str, Any]) -> bool:
        """Return whether a record counts: in files of others it must have coordd's own fields."""
        return not self._strict or ("host" in record and _OWN[self._query.type] in record)


def needle(value: str | None) -> bytes | None:
    """Return how a value is written in JSON; None without a value, or where several ways are usual."""
    if value is None or not value.isascii() or any(c < " " or c in '"\\' for c in value):
        return None
    return f'"{value}"'.encode()


def _rewritten(buffer: bytes | bytearray, size: int) -> bool:
    """Return whether a block begins or ends with a line that is not written as coordd does."""
    last = buffer.rfind(b"\n", 0, max(size - 1, 0)) + 1
    return size > 0 and (moment_of(bytes(buffer[:64])) is None or moment_of(bytes(buffer[last:size])) is None)


def _lines_with(buffer: bytes | bytearray, size: int, wanted: bytes) -> Iterator[bytes]:
    at = buffer.find(wanted, 0, size)
    while at >= 0:
        end = buffer.find(b"\n", at, size)
        yield bytes(buffer[buffer.rfind(b"\n", 0, at) + 1 : end])
        at = buffer.find(wanted, end, size)
