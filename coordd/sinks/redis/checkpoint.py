"""Remember from one run to the next, in the snapshot, up to when Redis has all samples.

A checkpoint is ``{"run_id", "until", "place"}``: the server that had this run_id, at this place (its URL
without the password), has everything from before ``until``. The snapshot may come from a stranger: anything
that is not such a checkpoint is read as None, and Redis is then filled from the record files.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from coordd.util.timestamps import parse_timestamp

FIELD = "redis_samples"
"""The snapshot's field for the checkpoint."""
_LONGEST = 1000


class Checkpoint(msgspec.Struct, frozen=True):
    """The server and the moment up to which it has all samples; ``until`` is as format_utc() writes it."""

    run_id: str
    until: str
    place: str = ""


def with_checkpoint(
    document: Mapping[str, object], checkpoint: Mapping[str, object] | None
) -> dict[str, object]:
    """Return the snapshot's document with the checkpoint in it."""
    return {**document, FIELD: checkpoint}


def parse_checkpoint(document: msgspec.Raw | bytes) -> Checkpoint | None:
    """Return the checkpoint in JSON that may be a stranger's; None where it is not one."""
    try:
        checkpoint = msgspec.json.decode(document, type=Checkpoint)
        parse_timestamp(checkpoint.until)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return (
        checkpoint if 0 < len(checkpoint.run_id) <= _LONGEST and len(checkpoint.place) <= _LONGEST else None
    )
