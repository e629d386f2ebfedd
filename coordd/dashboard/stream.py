"""Serve ``/api/events``: resumable server-sent events, one task for each stream, without queues.

A stream is an ASGI application of its own, since it has to notice both new records and that its reader left.
A reader that stops reading is cut by connections.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message, Receive, Scope, Send

from coordd.dashboard.answers import BadRequest, problem
from coordd.dashboard.connections import CONNECTION, HttpConnections
from coordd.dashboard.feed import TOPICS, Feed, Reader, message
from coordd.dashboard.query import read_query

PING = 5.0
"""Seconds without events after which a ping is sent; it is an event, as a comment reaches no script."""
RETRY_MS = 1000
"""Milliseconds after which a browser reconnects."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # tells nginx to pass events on without buffering
]


class EventStream:
    """The endpoint; ``on_open`` is called when a stream begins, and ``connections`` gives it a place."""

    def __init__(self, *, feed: Feed, on_open: Callable[[], None], connections: HttpConnections) -> None:
        self._connections = connections
        self._feed = feed
        self._on_open = on_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream until its reader leaves or the dashboard ends."""
        try:
            topics, after = _asked(scope)
        except BadRequest as error:
            await problem(400, "params", str(error))(scope, receive, send)
            return
        start: Message = {"type": "http.response.start", "status": 200, "headers": _HEADERS}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        connection = scope[CONNECTION]
        if not self._connections.begin_stream(connection):
            why = f"all {self._connections.most_streams} places for event streams are in use; try again later"
            await problem(503, "busy", why)(scope, receive, send)
            return
        try:
            await send(start)
            await self._stream(after, topics, receive, send)
        finally:
            self._connections.end_stream(connection)

    async def _stream(self, after: str | None, topics: frozenset[str], receive: Receive, send: Send) -> None:
        reader = self._feed.reader(after=after, topics=topics)
        self._on_open()
        gone = asyncio.create_task(_gone(receive, reader))
        try:
            await self._serve(reader, gone, send)
        finally:
            reader.close()
            gone.cancel()

    async def _serve(self, reader: Reader, gone: asyncio.Task[None], send: Send) -> None:
        start = b"retry: %d\n" % RETRY_MS
        # with the id of "hello" a reader goes on that is cut off before its first record
        start += b"id: %b\n" % self._feed.last_id.encode() if reader.position == self._feed.end else b""
        start += message("hello", b'{"resumed":%b}' % (b"false" if reader.reset else b"true"))
        await send({"type": "http.response.body", "body": start, "more_body": True})
        while not gone.done() and not self._feed.closed:
            reader.ready.clear()
            body = reader.take()
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
                continue
            try:
                async with asyncio.timeout(PING):
                    await reader.ready.wait()
            except TimeoutError:
                await send({"type": "http.response.body", "body": message("ping", b"{}"), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.ready.set()


def _asked(scope: Scope) -> tuple[frozenset[str], str | None]:
    """Return the topics, and the id to go on from, by the header that browsers send or by the query."""
    query = read_query(scope["query_string"], {"topics": str, "last_event_id": str})
    header = next((value for name, value in scope["headers"] if name == b"last-event-id"), None)
    after = header.decode("latin-1") if header is not None else query.get("last_event_id")
    topics = str(query["topics"]).split(",") if "topics" in query else TOPICS
    unknown = set(topics) - set(TOPICS)
    if unknown:
        raise BadRequest(
            f"topics: some of {', '.join(TOPICS)}, with commas between, not {min(unknown)[:40]!r}"
        )
    return frozenset(topics), None if after is None else str(after)
