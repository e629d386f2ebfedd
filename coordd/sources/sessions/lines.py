"""Take fields out of the lines of a transcript. Pure.

A field may be absent, or of any type: then it counts as absent.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from coordd.sources.sessions.moments import plausible
from coordd.util.fields import jsonable
from coordd.util.text import epoch_of
from coordd.util.timestamps import parse_timestamp

T = TypeVar("T")

FAILED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding a stranger's line may raise."""
_ANY = msgspec.json.Decoder()


def time_of(written: object, wall: float) -> float | None:
    """Return a written time in epoch seconds; None if it is absent, or cannot be a time of now."""
    if not isinstance(written, str):
        return None
    at = epoch_of(written)
    if at is None:
        try:
            at = parse_timestamp(written)
        except (ValueError, OverflowError):
            return None
    return plausible(at, wall)


def text_of(value: object, limit: int = 256) -> str | None:
    """Return a text of 1 to ``limit`` characters that can be written as JSON; None for anything else."""
    return jsonable(value) if isinstance(value, str) and 0 < len(value) <= limit else None


def count_of(value: object) -> int:
    """Return a number of tokens; 0 for anything that is not a count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    """Return what is in raw JSON; None for nothing, and for what the decoder does not take."""
    try:
        return decoder.decode(raw) if raw else None
    except FAILED:
        return None


def any_of(raw: msgspec.Raw) -> object:
    """Decode raw JSON of any type; None if it is empty or malformed."""
    return decoded(_ANY, raw)
