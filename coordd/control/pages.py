"""Answer a method that lists: a page of entries from a cursor on, in the same words while nothing changed.

Entries are encoded some at a time, the event loop running in between, each as it is at that moment.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec

from coordd.control.peer import Peer
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.runtime.clocks import Moment
from coordd.util.timestamps import format_utc

CACHE = 1.0
"""Seconds for which an encoded list may be answered again while nothing changes."""
MAX_CACHED = 4 << 20
"""Bytes of the largest answer that is kept for that."""
MAX_ANSWERS = 16
"""Answers that are kept."""
SLICE = 500
"""Entries that are encoded before the event loop runs again."""


class Paged(Protocol):
    """Parameters of a method that lists; they can be keys of a dictionary."""

    @property
    def limit(self) -> int | None:
        """The number of entries that the answer has at most."""

    @property
    def cursor(self) -> str | None:
        """The ``cursor`` of the answer before."""


Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Answer = dict[str, object]
Params = TypeVar("Params", bound=Paged)
Position = TypeVar("Position")


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    until: float
    answer: Answer


class Pages(Generic[Params, Position]):
    """Handle one method that lists.

    Args:
        name: of the entries in the answer.
        position: the type of an entry's position.
        look: yields the entries that the parameters ask for, with their positions in order, after one.
        version: returns a number that grows whenever anything that is listed may have changed.
        rest: returns what else the answer says.
    """

    def __init__(
        self,
        *,
        name: str,
        position: object,
        look: Callable[[Params, Moment, Position | None], Iterator[tuple[Position, object]]],
        version: Callable[[Moment], int],
        now: Callable[[], Moment],
        rest: Callable[[], Answer] = dict,
    ) -> None:
        self._name = name
        self._position = position
        self._look = look
        self._version = version
        self._now = now
        self._rest = rest
        self._encode = msgspec.json.Encoder().encode
        self._kept: dict[Params, _Kept] = {}

    def __call__(self, params: Params, _peer: Peer) -> Answer | Awaitable[Answer]:
        """Return ``{"timestamp", the entries, …, "cursor"}``; at once if they are few.

        Raises:
            Fault: the cursor is not one that an answer of this method gave.
        """
        now = self._now()
        version = self._version(now)
        kept = self._kept.get(params)
        if kept and kept.version == version and now.mono < kept.until:
            return kept.answer
        steps = self._steps(params, now, version)
        answer = next(steps)
        return self._rest_of(steps) if answer is None else answer

    @staticmethod
    async def _rest_of(steps: Iterator[Answer | None]) -> Answer:
        while True:
            await asyncio.sleep(0)
            if (answer := next(steps)) is not None:
                return answer

    def _steps(self, params: Params, now: Moment, version: int) -> Iterator[Answer | None]:
        """Yield None after each slice but the last, and then the answer."""
        after: Position | None = self._decoded(params.cursor) if params.cursor else None
        slices, cursor, left = [], None, params.limit or math.inf
        while True:
            found = self._look(params, now, after)
            page = list(islice(found, int(min(SLICE, left))))
            left -= len(page)
            if page:
                slices.append(self._encode([entry for _, entry in page])[1:-1])
                after = page[-1][0]
            if left <= 0 and next(found, None) is not None:
                cursor = base64.urlsafe_b64encode(json.dumps(after).encode()).decode()
            if left <= 0 or len(page) < SLICE:
                break
            yield None
        entries = msgspec.Raw(b"[%b]" % b",".join(slices))
        answer = {"timestamp": format_utc(now.wall), self._name: entries, **self._rest(), "cursor": cursor}
        if len(bytes(entries)) <= MAX_CACHED:
            if len(self._kept) >= MAX_ANSWERS:
                self._kept.clear()
            self._kept[params] = _Kept(version, now.mono + CACHE, answer)
        yield answer

    def _decoded(self, cursor: str) -> Any:
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=self._position)
        except (ValueError, binascii.Error) as error:  # msgspec's own errors are ValueErrors
            raise Fault(
                jsonrpc.INVALID_PARAMS, "Invalid params: not a cursor of ours", kind="params"
            ) from error
