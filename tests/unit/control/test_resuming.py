"""Test going on after a lost connection: the ring, places, and what a subscriber is told who comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.control.hub import CHUNK_BYTES, CHUNK_RECORDS, KEPT, Hub, SubscriberBounds
from coordd.control.place import Place, parse_place
from coordd.control.ring import SHARES, Chunk, Ring, RingBounds
from coordd.model import RECORD_TOPICS, TOPICS, Topic


def record(text: object) -> bytes:
    return json.dumps({"text": text}).encode()


def taken(subscription: Any) -> list[tuple[int, str, Any]]:
    """What waits, as (seq, topic, text)."""
    found = []
    while subscription.pending:
        for line in subscription.take(1).splitlines():
            message = json.loads(line)
            assert message["method"] != "lagged"
            found.append((message["params"]["seq"], message["method"], message["params"]["text"]))
    return found


@pytest.mark.parametrize("text", ["a:0", "5f0c2b9a41d7:42", "a:b:7", "r:" + "9" * 18])
def test_a_place_is_read_as_it_is_written(text: str) -> None:
    run, seq = parse_place(text)
    assert f"{run}:{seq}" == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "r:", ":1", "r", "1", "r:-1", "r:+1", "r: 1", "r:1 ", "r:1\n", "r:1.0", "r:1e3", "r:0x1",
        "r:\u0661", "r:²", "r:" + "9" * 19, "r" * 200 + ":1", "\ud800:x",
    ],
)  # fmt: skip
def test_anything_else_is_no_place_and_the_message_is_short(text: str) -> None:
    with pytest.raises(ValueError, match="RUN:SEQ") as raised:
        parse_place(text)
    assert len(str(raised.value)) < 400


@given(st.text(max_size=200))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        place = parse_place(text)
    except ValueError:
        return
    assert place.run
    assert 0 <= place.seq < 10**18


def test_shares_leave_room_for_what_comes_while_the_rest_is_sent() -> None:
    bounds = SubscriberBounds()
    assert set(SHARES) == set(TOPICS)
    assert sum(one.bytes for one in SHARES.values()) <= bounds.bytes * 3 / 4
    assert sum(one.notifications for one in SHARES.values()) <= bounds.notifications * 3 / 4


@given(
    records=st.lists(st.integers(0, 200), min_size=1, max_size=40), first=st.integers(1, 99), data=st.data()
)
def test_a_chunk_is_cut_between_two_lines(records: list[int], first: int, data: st.DataObject) -> None:
    lines = [b"x" * size + b"\n" for size in records]
    chunk = Chunk(b"".join(lines), len(lines), first + len(lines) - 1)
    after = data.draw(st.integers(0, chunk.seq - 1))
    rest = chunk.after(after)
    gone = max(0, after - first + 1)
    assert rest == Chunk(b"".join(lines[gone:]), len(lines) - gone, chunk.seq)


def test_a_ring_keeps_the_newest_and_knows_from_where() -> None:
    ring = Ring(RingBounds(notifications=3, bytes=100), begin=10)
    assert list(ring.after(10)) == []
    for seq in (11, 12, 15, 17):
        ring.put(Chunk(b"x\n", 1, seq))
    assert ring.begin == 11
    assert [chunk.seq for chunk in ring.after(11)] == [12, 15, 17]
    assert [chunk.seq for chunk in ring.after(14)] == [15, 17]
    ring.put(Chunk(b"y" * 200, 1, 20))  # one that can never fit
    assert ring.begin == 20
    assert list(ring.after(20)) == []


def test_who_comes_back_is_told_what_was_missed_once_and_in_order() -> None:
    hub = Hub(run="r")
    subscription = hub.subscribe(["agent", "event"])
    hub.publish("agent", [record(n) for n in range(3 * CHUNK_RECORDS)])
    hub.publish("event", [record("e")])
    hub.publish("system", [record("s")])
    everything = taken(subscription)
    subscription.close()
    hub.publish("agent", [record("later")])
    everything.append((3 * CHUNK_RECORDS + 3, "agent", "later"))
    for cut in (0, 1, 99, 100, 101, 299, 300, 301, 302, hub.seq):
        place = Place("r", cut)
        assert hub.cannot_resume(["agent", "event"], place) is None
        again = hub.subscribe(["agent", "event"], after=cut)
        assert again.waiting == len([one for one in everything if one[0] > cut])
        assert taken(again) == [one for one in everything if one[0] > cut]
        hub.publish("event", [record("new")])
        assert taken(again) == [(hub.seq, "event", "new")]
        everything.append((hub.seq, "event", "new"))


def test_beats_push_no_event_out() -> None:
    hub = Hub(run="r")
    hub.subscribe(RECORD_TOPICS)
    hub.publish("event", [record("killed")])
    for _ in range(100):
        hub.publish("agent", [record("x" * 500) for _ in range(1000)])
    assert hub.cannot_resume(["event"], Place("r", 0)) is None
    assert taken(hub.subscribe(["event"], after=0)) == [(1, "event", "killed")]
    reason = hub.cannot_resume(["event", "agent"], Place("r", 0))
    assert reason is not None
    assert "agent after" in reason
    assert "event" not in reason


def test_another_run_and_a_place_that_has_not_come_are_said() -> None:
    hub = Hub(run="r")
    hub.subscribe(RECORD_TOPICS)
    hub.publish("event", [record(1)])
    assert "another run" in str(hub.cannot_resume(["event"], Place("q", 1)))
    assert "has come to 1 only, not to 2" in str(hub.cannot_resume(["event"], Place("r", 2)))
    assert hub.cannot_resume([], Place("r", 1)) is None


def test_nothing_is_kept_unless_somebody_follows_and_not_for_ever() -> None:
    mono = 1000.0
    hub = Hub(run="r", clock=lambda: mono)
    hub.publish("event", [record("before")])
    assert not hub.follows("event")
    assert "event after 1" in str(hub.cannot_resume(["event"], Place("r", 0)))
    first, second = hub.subscribe(["event"]), hub.subscribe(["event"])
    second.close()
    mono += 2 * KEPT
    assert hub.follows("event")
    first.close()
    hub.publish("event", [record("kept")])
    mono += KEPT - 1
    assert hub.cannot_resume(["event"], Place("r", 1)) is None
    mono += 2
    assert not hub.follows("event")
    assert hub.cannot_resume(["event"], Place("r", 1)) is not None
    assert not hub._rings
    assert hub.cannot_resume(["event"], Place("r", 2)) is None  # nothing came after that


@pytest.mark.parametrize("topic", ["task", "attention"])
def test_a_topic_that_is_made_for_its_followers_is_resumed_only_where_it_was_made(topic: Topic) -> None:
    """Its list may change without a number while nobody follows, so the same number is no proof."""
    mono = 1000.0
    hub = Hub(run="r", clock=lambda: mono)
    records_only = Place("r", hub.seq)
    assert hub.cannot_resume([topic], records_only) is not None
    subscription = hub.subscribe([topic])
    place = Place("r", hub.seq)
    assert hub.cannot_resume([topic], records_only) is not None
    assert hub.cannot_resume([topic], place) is None
    subscription.close()
    assert hub.cannot_resume([topic], place) is None
    mono += KEPT + 1
    assert hub.cannot_resume([topic], place) is not None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(TOPICS), st.lists(st.integers(0, 300), min_size=1, max_size=150)),
        st.tuples(st.just("read"), st.integers(0, 3000)),
        st.tuples(st.just("cut"), st.integers(0, 2 * CHUNK_BYTES)),
        st.tuples(st.just("away"), st.sampled_from([1.0, KEPT / 2, KEPT + 1])),
    ),
    max_size=30,
)


@given(
    steps=STEPS,
    topics=st.sets(st.sampled_from(TOPICS), min_size=1),
    notifications=st.integers(1, 400),
    size=st.integers(200, 30_000),
)
def test_a_client_that_is_cut_at_any_byte_loses_nothing_and_hears_nothing_twice(
    steps: list[tuple[str, Any]], topics: set[Topic], notifications: int, size: int
) -> None:
    """It goes on from the last whole line that it has; where it cannot, it is told so and begins anew."""
    mono = 0.0
    bounds = RingBounds(notifications, size)
    hub = Hub(run="r", shares=dict.fromkeys(TOPICS, bounds), clock=lambda: mono)
    subscription = hub.subscribe(topics)
    at = hub.seq
    owed: list[tuple[int, str]] = []  # what it has to be told of

    def hear(data: bytes) -> None:
        nonlocal at
        whole = data[: data.rfind(b"\n") + 1]  # a line that was cut off is no line
        for line in whole.splitlines():
            message = json.loads(line)
            at = message["params"]["seq"]
            assert (at, message["method"]) == owed.pop(0)

    for what, value in steps:
        if what == "read":
            hear(subscription.take(value))
        elif what == "away":
            subscription.close()
            mono += value
            reason = hub.cannot_resume(topics, Place("r", at))
            if reason is None:
                subscription = hub.subscribe(topics, after=at)
                assert subscription.waiting == len(owed)
            else:
                subscription, owed = hub.subscribe(topics), []
                at = hub.seq
        elif what == "cut":
            hear(subscription.take(value)[:value])
            subscription.close()
            reason = hub.cannot_resume(topics, Place("r", at))
            lost = [one for one in owed if one[0] <= max(hub._rings[t].begin for t in topics)]
            if reason is None:
                subscription = hub.subscribe(topics, after=at)
                assert subscription.waiting == len(owed)
            else:
                assert lost or any(hub._rings[t].begin > at for t in topics)
                subscription, owed = hub.subscribe(topics), []
                at = hub.seq
        else:
            first = hub.seq + 1
            hub.publish(what, [record("x" * n) for n in value])  # type: ignore[arg-type]
            if what in topics:
                owed += [(seq, what) for seq in range(first, hub.seq + 1)]
        for ring in hub._rings.values():
            assert sum(len(chunk.data) for chunk in ring._chunks) == ring._bytes <= size
            assert sum(chunk.records for chunk in ring._chunks) == ring._notifications <= notifications
    while subscription.pending:
        hear(subscription.take(0))
    assert owed == []
