"""The records that a question asks for, out of all files of a directory, a batch at a time.

Bytes are compared before anything is decoded: lines by the timestamp that they begin with, those of one agent
by its id in quotes, searched for in whole blocks. Only what passes is decoded, and then asked once more.

Other programs may have written the files anew, with other spaces, escapes, orders of fields or forms of time.
A line that does not begin as ours do is decoded before it is judged; a block that begins or ends with such a
line is decoded whole. What is missed: an id spelled with escapes that JSON does not ask for, in such a line
amid ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from coordd.records.blocks import Block, UnreadableCount, gunzipped, plain
from coordd.records.files import EDGE, Chosen, choose, claims_of, open_part
from coordd.records.manifest import plain_name, proven
from coordd.records.moments import Span, moment_of
from coordd.records.names import part_name
from coordd.records.seek import stretches
from coordd.util.timestamps import format_utc, parse_timestamp

TYPES = ("system", "agent", "event")

_OWN = {"system": "self", "agent": "cause", "event": "kind"}
"""What the records of one type alone have."""
_BATCH = 64
"""Lines looked at between two batches."""

Record = tuple[bytes, dict[str, Any]]
"""A line without its newline, and what it says."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """What is asked for: a type of record, a span, an agent and a workspace (None: any).

    Events of an agent are those that have its id as their subject; of a workspace, those that name it in
    their detail.

    Raises:
        ValueError: the type is none, or its records know no agents.
    """

    type: str
    span: Span = field(default_factory=Span)
    agent_id: str | None = None
    workspace: str | None = None

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type: one of {', '.join(TYPES)}, not {self.type!r:.40}")
        if self.type == "system" and (self.agent_id is not None or self.workspace is not None):
            raise ValueError("system records are of no agent and no workspace")

    def needle(self) -> bytes | None:
        """Bytes that every record asked for holds as we write it, and few others; None: there are none."""
        return needle(self.agent_id) or needle(self.workspace)

    def fits(self, record: dict[str, Any]) -> bool:
        """Whether agent and workspace are those asked for."""
        if self.agent_id is not None:
            subject = record.get("subject" if self.type == "event" else "agent_id")
            if subject != self.agent_id:
                return False
        if self.workspace is not None:
            place = record.get("detail") if self.type == "event" else record
            return isinstance(place, dict) and place.get("workspace") == self.workspace
        return True


class Scan:
    """One pass over the files.

    Args:
        directory: the metrics directory.
        question: what is asked for.
        decode: a line to what it says; raises ValueError where that is no JSON. The service passes a faster
            one.
        owned: read files alone that coordd made, or an older one may have made (manifest.py). Otherwise
            whatever has the name is read; where there is a manifest, of other files those lines alone that
            have what coordd's have.
    """

    def __init__(
        self,
        directory: str,
        question: RecordQuery,
        *,
        decode: Callable[[bytes], Any] = json.loads,
        owned: bool = False,
    ) -> None:
        self._owned = owned
        self._strict = False
        self._directory = directory
        self._question = question
        self._decode = decode
        self._damage = UnreadableCount()
        self._low, self._high = question.span.low, question.span.high
        self._needle = question.needle()

    @property
    def damaged(self) -> int:
        """Lines passed over so far, because they were no records."""
        return self._damage.count

    def batches(self) -> Generator[list[Record], None, None]:
        """The records, in the order of writing, in batches that take a millisecond or so; many are empty.

        Raises:
            OSError: the directory or a file in it is there and may not be read.
        """
        claims = claims_of(self._directory)
        for chosen in choose(self._directory, self._question.type, self._question.span):
            opened = open_part(self._directory, self._question.type, chosen.part)
            if opened is None:
                continue
            descriptor, part = opened
            try:
                name = part_name(self._question.type, part, "jsonl")
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
        for start, end in stretches(descriptor, size, self._question.span):
            yield from plain(descriptor, start, end, self._damage)

    def _unless_late(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks, unless the first of them begins so late that the rest holds nothing to find."""
        for buffer, size in blocks:
            if size and not self._begins_early(bytes(buffer[:64])):
                return
            yield buffer, size
            if size:
                yield from blocks

    def _begins_early(self, line: bytes) -> bool:
        moment = moment_of(line)
        return moment is None or moment < self._question.span.widened(EDGE).high

    def _records(self, buffer: bytes | bytearray, size: int) -> Iterator[list[Record]]:
        if self._needle is None or _rewritten(buffer, size):
            lines: Iterable[bytes] = bytes(memoryview(buffer)[:size]).split(b"\n")
        else:
            lines = _lines_with(buffer, size, self._needle)
        found: list[Record] = []
        for seen, line in enumerate(lines, 1):
            moment = moment_of(line)
            if moment is None:
                record = self._read_anew(line) if line else None
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

    def _read_anew(self, line: bytes) -> dict[str, Any] | None:
        """A record that is not as we write it; its timestamp is brought into our form."""
        try:
            record = self._decode(line)
            stamp = format_utc(parse_timestamp(record["timestamp"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._damage.count += 1
            return None
        if not self._low <= stamp.encode() < self._high or not self._is_ours(record):
            return None
        record["timestamp"] = stamp
        return record if self._question.fits(record) else None

    def _decoded(self, line: bytes) -> dict[str, Any] | None:
        try:
            record = self._decode(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self._damage.count += 1
            return None
        return record if self._is_ours(record) and self._question.fits(record) else None

    def _is_ours(self, record: dict[str, Any]) -> bool:
        """Whether a record of a stranger's file is one of coordd's all the same."""
        return not self._strict or ("host" in record and _OWN[self._question.type] in record)


def needle(value: str | None) -> bytes | None:
    """How a value looks in a record; None where there is more than one usual way to write it, or no value."""
    if value is None or not value.isascii() or any(c < " " or c in '"\\' for c in value):
        return None
    return f'"{value}"'.encode()


def _rewritten(buffer: bytes | bytearray, size: int) -> bool:
    """Whether a block begins or ends with a line that is not as we write it."""
    last = buffer.rfind(b"\n", 0, max(size - 1, 0)) + 1
    return size > 0 and (moment_of(bytes(buffer[:64])) is None or moment_of(bytes(buffer[last:size])) is None)


def _lines_with(buffer: bytes | bytearray, size: int, wanted: bytes) -> Iterator[bytes]:
    at = buffer.find(wanted, 0, size)
    while at >= 0:
        end = buffer.find(b"\n", at, size)
        yield bytes(buffer[buffer.rfind(b"\n", 0, at) + 1 : end])
        at = buffer.find(wanted, end, size)
