"""Begin subscriptions: at a place in the notifications where they are still kept, else with a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from coordd.agents.store import AgentStore
from coordd.control.documents import Documents
from coordd.control.hub import Hub
from coordd.control.params import SubscribeParams
from coordd.control.place import parse_place
from coordd.control.rpc import Opened
from coordd.model import TOPICS, Topic
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.runtime.clocks import Moment
from coordd.util.timestamps import format_utc


class Watch(Protocol):
    """Make the notifications of a topic that is not one of records, while somebody follows it."""

    def prepare(self, now: Moment) -> None:
        """Tell what has changed up to now, or begin where nobody followed so far: a subscriber comes."""
        ...


class Subscribing:
    """Begin subscriptions.

    Args:
        hub: has the notifications.
        store, documents: make the snapshot.
        watches: make the notifications of topics that are not those of records.
        now: returns the time.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        store: AgentStore,
        documents: Documents,
        watches: Mapping[Topic, Watch],
        now: Callable[[], Moment],
    ) -> None:
        self._hub = hub
        self._store = store
        self._documents = documents
        self._watches = watches
        self._now = now

    def subscribe(self, params: SubscribeParams) -> Opened:
        """Return ``{"run", "seq", "timestamp", "topics", "resumed", …}``; what follows has a higher seq.

        Resumed: ``missed``, how many notifications follow at once. Else ``reason``, why it is not (None: that
        was not asked for), and the snapshot: ``status`` and ``agents``.
        """
        try:
            place = None if params.since is None else parse_place(params.since)
        except ValueError as error:
            raise Fault(jsonrpc.INVALID_PARAMS, f"Invalid params: {error}", kind="params") from error
        now = self._now()
        topics = [topic for topic in TOPICS if params.topics is None or topic in params.topics]
        for topic in topics:
            if topic in self._watches:
                self._watches[topic].prepare(now)
        reason = None if place is None else self._hub.cannot_resume(topics, place)
        after = place.seq if place is not None and reason is None else None
        subscription = self._hub.subscribe(topics, after=after)
        answer: dict[str, object] = {
            "run": self._hub.run,
            "seq": self._hub.seq if after is None else after,
            "timestamp": format_utc(now.wall),
            "topics": topics,
            "resumed": after is not None,
        }
        if after is not None:
            answer["missed"] = subscription.waiting
        else:
            answer["reason"] = reason
            if params.snapshot != "none":
                answer["status"] = self._documents.status(now)
            if params.snapshot == "all":
                shown = self._store.shown(now.mono, wall=now.wall)
                answer["agents"] = [self._documents.agent(one, now) for one in shown]
        return Opened(msgspec.Raw(msgspec.json.encode(answer)), subscription)
