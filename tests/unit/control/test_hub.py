"""Test subscriptions: numbering, order, bounds, and what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.control.hub import CHUNK_BYTES, CHUNK_RECORDS, Hub, SubscriberBounds, Subscription
from coordd.model import RECORD_TOPICS, Event, Topic


def record(text: object) -> bytes:
    return json.dumps({"text": text}).encode()


def lines(data: bytes) -> list[dict[str, Any]]:
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def everything(subscription: Subscription) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while subscription.pending:
        data = subscription.take(1)
        assert data
        messages += lines(data)
    return messages


def seqs(messages: Iterable[dict[str, Any]]) -> list[int]:
    return [message["params"]["seq"] for message in messages]


def test_a_record_becomes_a_notification_with_its_number() -> None:
    hub = Hub(run="r")
    subscription = hub.subscribe(RECORD_TOPICS)
    event = Event("2026-11-22T06:05:00.123Z", "box", "agent.active", "ä\n", "m", {"workspace": None})
    hub.publish("event", [msgspec.json.encode(event)])
    assert lines(subscription.take(1 << 20)) == [
        {
            "jsonrpc": "2.0",
            "method": "event",
            "params": {"seq": 1, **json.loads(msgspec.json.encode(event))},
        }
    ]
    assert not subscription.pending
    assert subscription.take(1 << 20) == b""


def test_records_are_numbered_whether_anybody_listens_or_not() -> None:
    hub = Hub(run="r")
    hub.publish("agent", [record(n) for n in range(5)])
    subscription = hub.subscribe(["event"])
    assert hub.seq == 5
    hub.publish("agent", [record(5)])
    hub.publish("event", [record(6)])
    assert seqs(everything(subscription)) == [7]


def test_all_who_subscribed_are_given_the_same_bytes() -> None:
    hub = Hub(run="r")
    one, two = hub.subscribe(RECORD_TOPICS), hub.subscribe(["agent"])
    hub.publish("agent", [record("x")])
    assert one.take(1) is two.take(1)


def test_waking_comes_once_a_batch_and_after_all_of_it_is_queued() -> None:
    hub = Hub(run="r")
    subscription = hub.subscribe(["agent"])
    woken: list[int] = []
    subscription.wake = lambda: woken.append(len(everything(subscription)))
    hub.publish("agent", [record(n) for n in range(3 * CHUNK_RECORDS)])
    hub.publish("event", [record(0)])
    hub.publish("agent", [])
    assert woken == [3 * CHUNK_RECORDS]


def test_what_is_taken_at_once_is_bounded_but_for_one_long_notification() -> None:
    hub = Hub(run="r")
    subscription = hub.subscribe(["agent"])
    hub.publish("agent", [record("x" * 1000) for _ in range(100)])
    assert 0 < len(subscription.take(2 * CHUNK_BYTES)) <= 2 * CHUNK_BYTES
    everything(subscription)
    hub.publish("agent", [record("y" * 3 * CHUNK_BYTES), record("z")])
    assert len(lines(subscription.take(1))) == 1
    assert len(lines(subscription.take(1))) == 1


def test_a_subscriber_that_does_not_read_loses_the_oldest_and_is_told_once() -> None:
    hub = Hub(run="r", bounds=SubscriberBounds(notifications=10))
    subscription = hub.subscribe(["agent"])
    for n in range(13):
        hub.publish("agent", [record(n)])
    lagged, *rest = everything(subscription)
    assert lagged == {"jsonrpc": "2.0", "method": "lagged", "params": {"dropped": 3, "seq": 3}}
    assert seqs(rest) == list(range(4, 14))
    hub.publish("agent", [record(13)])
    assert seqs(everything(subscription)) == [14]


def test_a_notification_that_can_never_fit_is_lost_and_told() -> None:
    hub = Hub(run="r", bounds=SubscriberBounds(bytes=1000))
    subscription = hub.subscribe(["event"])
    hub.publish("event", [record("x" * 1000)])
    assert subscription.pending
    assert everything(subscription)[0]["params"] == {"dropped": 1, "seq": 1}


def test_a_closed_subscription_holds_and_hears_nothing() -> None:
    hub = Hub(run="r")
    subscription = hub.subscribe(RECORD_TOPICS)
    hub.publish("agent", [record(1)])
    subscription.wake = lambda: pytest.fail("it is closed")
    subscription.close()
    subscription.close()
    assert len(hub) == 0
    hub.publish("agent", [record(2)])
    assert not subscription.pending
    assert subscription.take(1) == b""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(RECORD_TOPICS), st.lists(st.integers(0, 400), max_size=250)),
        st.tuples(st.just("take"), st.integers(0, 2000)),
        st.just(("subscribe again", 0)),
    ),
    max_size=25,
)


@given(
    steps=STEPS,
    topics=st.sets(st.sampled_from(RECORD_TOPICS)),
    bounds=st.builds(SubscriberBounds, notifications=st.integers(1, 300), bytes=st.integers(100, 20_000)),
)
def test_any_sequence_of_steps_keeps_order_and_counts_what_is_lost(
    steps: list[tuple[str, Any]], topics: set[Topic], bounds: SubscriberBounds
) -> None:
    """Since the snapshot: every notification once, in order, or counted in the ``lagged`` before it."""
    hub = Hub(run="r", bounds=bounds)
    subscription = hub.subscribe(topics)
    owed: list[int] = []  # what has been published to it and not been told in any way
    texts: dict[int, int] = {}

    def check(data: bytes) -> None:
        for message in lines(data):
            if message["method"] == "lagged":
                dropped = message["params"]["dropped"]
                assert dropped > 0
                assert owed[dropped - 1] == message["params"]["seq"]
                del owed[:dropped]
            else:
                seq = message["params"]["seq"]
                assert seq == owed.pop(0)
                assert message["params"]["text"] == "x" * texts[seq]

    for what, value in steps:
        if what == "take":
            check(subscription.take(value))
        elif what == "subscribe again":
            subscription.close()
            subscription = hub.subscribe(topics)
            owed.clear()
        else:
            first = hub.seq + 1
            hub.publish(what, [record("x" * n) for n in value])  # type: ignore[arg-type]
            assert hub.seq == first + len(value) - 1
            if what in topics:
                owed += range(first, hub.seq + 1)
                texts.update(zip(range(first, hub.seq + 1), value, strict=True))
        waiting = list(subscription._chunks)
        assert sum(len(chunk.data) for chunk in waiting) <= bounds.bytes
        assert sum(chunk.records for chunk in waiting) <= bounds.notifications
    while subscription.pending:
        check(subscription.take(0))
    assert owed == []
