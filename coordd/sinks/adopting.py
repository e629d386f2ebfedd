"""Tell from the lines of a record file whether coordd wrote all of it: every line has to show it.

Asked of files that an older coordd, which had no manifest, may have left, and of every file before it is
gzipped or removed: others write into the same files, and a manifest may come with a clone.

Every JSON line of coordd's has ``host``, and a field that only its type has: ``cause`` (agent), ``kind``
(event), ``self`` (system). A CSV file proves nothing by itself. A tail without its newline is what a kill
leaves, and is left out of the decision.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from coordd.records.backwards import whole_end
from coordd.records.blocks import UnreadableCount, gunzipped, plain
from coordd.records.shapes import HEADER, ROW, may_begin

_BLOCK = 64 * 1024


class _Agent(msgspec.Struct):
    host: str
    cause: str


class _Event(msgspec.Struct):
    host: str
    kind: str


class _System(msgspec.Struct):
    host: str
    self: dict[str, object]


_TYPES: dict[str, type[msgspec.Struct]] = {"agent": _Agent, "event": _Event, "system": _System}
_DECODERS = {series: msgspec.json.Decoder(record) for series, record in _TYPES.items()}


def written_by_coordd(descriptor: int, series: str, *, compressed: bool) -> bool:
    """Return whether every line of an open file is a record of this series as coordd writes it.

    Raises:
        OSError: it cannot be read.
    """
    if series not in _DECODERS:
        return False
    damage = UnreadableCount()
    seen = False
    for line in _lines(descriptor, damage, compressed=compressed):
        if not _is_record(line, series):
            return False
        seen = True
    return seen and not damage.count


def only_records(descriptor: int, series: str, *, compressed: bool, damaged: bool = False) -> bool:
    """Return whether all lines of an open file, and what a kill left of one, may be coordd's.

    Args:
        descriptor: of the file.
        series: of the records.
        compressed: it is gzipped.
        damaged: each line is what was left of a record.

    Raises:
        OSError: it cannot be read.
    """
    if not compressed:
        rest = os.pread(descriptor, _BLOCK, whole_end(descriptor))
        if not _may_begin(rest.rstrip(b"\0"), series):
            return False
    damage = UnreadableCount()
    is_record = _may_begin if damaged else _is_record
    for line in _lines(descriptor, damage, compressed=compressed):
        if line.strip(b"\0") and not is_record(line, series):
            return False
    return not damage.count


def _lines(descriptor: int, damage: UnreadableCount, *, compressed: bool) -> Iterator[bytes]:
    """Yield the whole lines of a file but empty ones; the first damage is the end."""
    if compressed:
        blocks = gunzipped(descriptor, damage)
    else:
        blocks = plain(descriptor, 0, whole_end(descriptor), damage)
    for buffer, size in blocks:
        yield from filter(None, bytes(memoryview(buffer)[:size]).split(b"\n"))
        if damage.count:
            return


def _is_record(line: bytes, series: str) -> bool:
    if series not in _DECODERS:
        return line == HEADER or ROW.fullmatch(line) is not None
    try:
        _DECODERS[series].decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _may_begin(line: bytes, series: str) -> bool:
    return may_begin(line, table=series not in _DECODERS)
