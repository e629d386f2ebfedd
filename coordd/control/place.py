"""Read and write the place of a subscription, from which a client goes on: ``RUN:SEQ``.

``RUN`` is a run of the daemon, in which the numbers of notifications grow from 1 on; ``SEQ`` is the number of
the last notification that the client has taken in, or the ``seq`` of the answer that began its subscription.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST = 100
_DIGITS = 18


class Place(NamedTuple):
    """A place in the notifications of one run."""

    run: str
    seq: int


def parse_place(text: str) -> Place:
    """Return the place that a text names.

    Raises:
        ValueError: the text cannot be used; the error says what was expected.
    """
    run, _, seq = text.rpartition(":")
    if not run or len(text) > LONGEST or not (seq.isascii() and seq.isdigit() and len(seq) <= _DIGITS):
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        raise ValueError(
            "since: RUN:SEQ, the run that the answer to subscribe names and the seq of the last "
            f"notification, such as 5f0c2b9a41d7:42, not {shown!r}"
        )
    return Place(run, int(seq))
