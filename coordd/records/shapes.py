"""Describe how coordd's lines look, so that what is somebody else's can be told from what a kill left of one.

Every JSON record begins with ``{"timestamp":"2026-11-22T06:05:00.123Z","host":"``, every row of a table with
a time. Pure.
"""

from __future__ import annotations

import re

HEADER = b"TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"
"""The first line of a table."""
ROW = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,(\d+\.\d|N/A),(\d+\.\d|N/A),(\d+|N/A),(\d+|N/A),(redis|file)"
)
_TIME = b"0000-00-00T00:00:00"
_RECORD = b'{"timestamp":"' + _TIME + b'.000Z","host":"'
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def may_begin(line: bytes, *, table: bool) -> bool:
    """Return whether a line of coordd's may begin so, in a table or among JSON records."""
    begin = _TIME if table else _RECORD
    found = line[: len(begin)].translate(_DIGITS)
    return begin.startswith(found) or (table and HEADER.startswith(line))
