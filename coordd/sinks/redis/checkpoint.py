"""How far Redis is filled, remembered from one run of coordd to the next in its snapshot.

A mark is ``{"run_id", "until", "place"}``: in the server that had this run_id, in this place (its URL without
the password), everything from before ``until`` was written. The snapshot may come from a stranger: what is no
such mark is None, and then Redis is filled from what the record files hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from coordd.sinks.snapshot_file import read_snapshot
from coordd.util.timestamps import parse_timestamp

FIELD = "redis_samples"
"""Where the mark stands in the snapshot."""
_LONGEST = 1000


class Checkpoint(msgspec.Struct, frozen=True):
    """``until`` is as :func:`coordd.util.timestamps.format_utc` writes it."""

    run_id: str
    until: str
    place: str = ""


class _SnapshotWithCheckpoint(msgspec.Struct, frozen=True):
    redis_samples: msgspec.Raw = msgspec.Raw(b"null")


def with_mark(document: Mapping[str, object], mark: Mapping[str, object] | None) -> dict[str, object]:
    """The snapshot's document with the mark in it."""
    return {**document, FIELD: mark}


def load_mark(snapshot: str, root: str | None = None) -> object:
    """What stands in a snapshot as the mark, for :meth:`RedisSink.resume`; None where there is none.

    Reads a file: not for the event loop. A snapshot that cannot be read, or below ``root`` is not to be
    believed, has no mark; who restores the agents from it logs why.
    """
    try:
        data = read_snapshot(snapshot, root=root)
        return msgspec.json.decode(msgspec.json.decode(data, type=_SnapshotWithCheckpoint).redis_samples)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def read_mark(document: object) -> Checkpoint | None:
    """The mark that a stranger's document is; None where it is none."""
    try:
        mark = msgspec.convert(document, Checkpoint)
        parse_timestamp(mark.until)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return mark if 0 < len(mark.run_id) <= _LONGEST and len(mark.place) <= _LONGEST else None
