"""Tell whether an older coordd, which had no manifest, wrote a record file: every line has to show it.

Every JSON line of coordd's has ``host``, and a field that only its type has: ``cause`` (agent), ``kind``
(event), ``self`` (system). A CSV file proves nothing. A tail without its newline is what a kill leaves, and
is left out of the decision.
"""

from __future__ import annotations

import os

import msgspec

from coordd.records.blocks import UnreadableCount, gunzipped, plain

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
