"""Tell from the lines of a record file whether coordd wrote all of it: every line has to show it.

Asked of files that an older coordd, which had no manifest, may have left, and of every file before it is
gzipped or removed: others write into the same files, and a manifest may come with a clone.

Every JSON line of coordd's has ``host``, and a field that only its type has: ``cause`` (agent), ``kind``
(event), ``self`` (system). A CSV file proves nothing by itself. A tail without its newline is what a kill
leaves, and is left out of the decision.
"""

from __future__ import annotations

import os

import msgspec

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


def written_by_coordd(descriptor: int, series: str, *, compressed: bool) -> bool:
    """Return whether every line of an open file is a record of this series as coordd writes it.

    Raises:
        OSError: it cannot be read.
    """
    if series not in _TYPES:
        return False
    decode = msgspec.json.Decoder(_TYPES[series]).decode
    damage = UnreadableCount()
    if compressed:
        blocks = gunzipped(descriptor, damage)
    else:
        blocks = plain(descriptor, 0, _whole_end(descriptor), damage)
    seen = False
    for buffer, size in blocks:
        for line in bytes(memoryview(buffer)[:size]).split(b"\n"):
            if not line:
                continue
            try:
                decode(line)
            except (msgspec.MsgspecError, RecursionError):
                return False
            seen = True
        if damage.count:
            return False
    return seen and not damage.count


def only_records(descriptor: int, series: str, *, compressed: bool, damaged: bool = False) -> bool:
    """Return whether all lines of an open file, and what a kill left of one, may be coordd's.

    Args:
        descriptor: at the beginning of the file.
        series: of the records.
        compressed: it is gzipped.
        damaged: each line is what was left of a record.

    Raises:
        OSError: it cannot be read.
    """
    damage = UnreadableCount()
    if compressed:
        blocks = gunzipped(descriptor, damage)
    else:
        end = _whole_end(descriptor)
        rest = os.fstat(descriptor).st_size - end
        if not _may_begin(os.pread(descriptor, min(rest, _BLOCK), end).rstrip(b"\0"), series):
            return False
        blocks = plain(descriptor, 0, end, damage)
    is_record = _may_begin if damaged else _is_record
    for buffer, size in blocks:
        for line in bytes(memoryview(buffer)[:size]).split(b"\n"):
            if line.strip(b"\0") and not is_record(line, series):
                return False
        if damage.count:
            return False
    return not damage.count


def _is_record(line: bytes, series: str) -> bool:
    if series not in _TYPES:
        return line == HEADER or ROW.fullmatch(line) is not None
    try:
        msgspec.json.decode(line, type=_TYPES[series])
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _may_begin(line: bytes, series: str) -> bool:
    return may_begin(line, table=series not in _TYPES)


def _whole_end(descriptor: int) -> int:
    """Return the offset behind the last newline; 0 where there is none."""
    position = os.fstat(descriptor).st_size
    while position > 0:
        start = max(0, position - _BLOCK)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
