"""Cut long work into slices, so that tens of thousands of items do not hold up the event loop. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

SLICE = 500
"""The number of agents or claims that are worked on before other work of the loop has its turn."""


def slices(items: Iterable[T], size: int = SLICE) -> Iterator[list[T]]:
    """Yield the items, as they are now, in lists of ``size``; the last one may be shorter."""
    rest = iter(list(items))
    while some := list(islice(rest, size)):
        yield some
