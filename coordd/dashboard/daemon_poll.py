"""Ask the daemon regularly: for the status while streams are open, and whether it answers.

| the status is asked for | streams are open | there are none |
|---|---|---|
| when a notification tells of more than a beat | within :data:`PACE` seconds | no |
| when a stream is opened, or the connection comes or goes | at once | at once |
| whatever happens | every :data:`LOOK` seconds | every :data:`IDLE` seconds |

Records come as notifications. What needs a human, counts, problems, Redis and the task queue have none of
their own: some of their changes come with records, others (``coordctl ack``, time that passes) with nothing.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from coordd.dashboard.feed import RECORDS, Feed
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.upstream import Unavailable, Upstream
from coordd.errors import ClientError
from coordd.util.timestamps import format_utc

LOOK = 1.5
IDLE = 10.0
PACE = 0.5
"""Seconds between two questions for the status at least, however much happens."""
TASKS = 2.0
"""Seconds between two questions for the tasks at least: the queue may be long."""

_BEATS = ("heartbeat", "progress")
"""Causes of agent records that change neither what an agent does nor what needs a human."""


class _Tasks(msgspec.Struct):
    tasks: msgspec.Raw
    unknown: msgspec.Raw


class _AgentRecord(msgspec.Struct):
    cause: str = ""


class Pulse:
    """Pass on to event streams what the daemon sends and answers."""

    def __init__(self, *, feed: Feed, last: LastKnown) -> None:
        self._feed = feed
        self._last = last
        self._tasks: tuple[bytes, bytes] | None = None
        self._task_changes = 0
        self._tasks_at = -TASKS
        self._looked_at = 0.0
        self._changed = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None

    def take(self, method: str, params: bytes) -> None:
        """Take a notification from the daemon."""
        if method in RECORDS:
            self._feed.record(method, params)
        elif method == "lagged":
            self._feed.record("event", _missed(params))
        if self._waking is None and len(self._feed) and _matters(method, params):
            wait = max(0.0, self._looked_at + PACE - time.monotonic())
            self._waking = asyncio.get_running_loop().call_later(wait, self._changed.set)

    def connection_changed(self) -> None:
        """Tell streams that the connection to the daemon came up or went down."""
        self._changed.set()

    async def run(self, upstream: Upstream) -> None:
        """Ask the daemon and tell the streams; never returns."""
        while True:
            self._changed.clear()
            self._looked_at = time.monotonic()
            if self._waking is not None:
                self._waking.cancel()
                self._waking = None
            await self._tell_link(upstream)
            await self._look(upstream)
            try:
                async with asyncio.timeout(LOOK if len(self._feed) else IDLE):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def wake(self) -> None:
        """Ask soon, since a stream has been opened."""
        self._changed.set()

    async def _tell_link(self, upstream: Upstream) -> None:
        down = upstream.down
        if down is None:
            link: dict[str, object] = {
                "up": True,
                "connections": upstream.reconnections,
                "note": upstream.note,
            }
        else:
            state = await self._last.state()
            age = None if state is None or state.age is None else state.age
            link = {
                "up": False,
                "kind": down.kind,
                "message": str(down),
                # moments, not ages, so that an unchanged value stays the same
                "since": _wall(time.monotonic() - down.since),
                "snapshot_at": None if age is None else _wall(age),
            }
        self._feed.latest("link", msgspec.json.encode(link))

    async def _look(self, upstream: Upstream) -> None:
        try:
            status = await upstream.ask("status", anew=len(self._feed) > 0)
            self._last.heard_status(status)
            self._feed.latest("status", status)
            if len(self._feed) and self._looked_at >= self._tasks_at + TASKS:
                self._tasks_at = self._looked_at
                await self._look_at_tasks(upstream)
        except Unavailable:
            self._feed.forget("status")
        except (ClientError, msgspec.DecodeError):
            pass  # the daemon is up; its next answer may be usable

    async def _look_at_tasks(self, upstream: Upstream) -> None:
        """Tell streams that tasks have changed; a page that shows tasks asks for them."""
        found = msgspec.json.decode(await upstream.ask("tasks.list"), type=_Tasks)
        tasks = (bytes(found.tasks), bytes(found.unknown))
        if tasks != self._tasks:
            self._tasks = tasks
            self._task_changes += 1
            self._feed.latest("tasks", b'{"change":%d}' % self._task_changes)


def _matters(method: str, params: bytes) -> bool:
    """Return whether a notification may come with another status: whether it tells of more than a beat."""
    if method != "agent":
        return method != "system"
    try:
        return msgspec.json.decode(params, type=_AgentRecord).cause not in _BEATS
    except msgspec.DecodeError:
        return True


def _wall(ago: float) -> float:
    return round(time.time() - ago, 0)


def _missed(params: bytes) -> bytes:
    """Return the notice that the daemon dropped notifications, in the form of an event."""
    dropped = msgspec.json.decode(params).get("dropped")
    return msgspec.json.encode(
        {
            "timestamp": format_utc(time.time()),
            "host": None,
            "kind": "dashboard.lagged",
            "subject": "dashboard",
            "message": f"the dashboard missed {dropped} records",
            "detail": {"dropped": dropped},
        }
    )
