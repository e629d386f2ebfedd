"""Test the feed: a ring that drops old records, readers with a position in it, latest values."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from coordd.dashboard.feed import BATCH_BYTES, TOPICS, Feed, Reader, RingBounds

ALL = frozenset(TOPICS)


def taken(reader: Reader) -> list[tuple[str, Any, str | None]]:
    found = []
    for block in reader.take().decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def record(feed: Feed, number: int, topic: str = "event") -> None:
    feed.record(topic, b'{"n":%d}' % number)


async def test_a_reader_gets_what_comes_after_it() -> None:
    feed = Feed(epoch="e")
    record(feed, 1)
    reader = feed.reader(after=None, topics=ALL)
    assert taken(reader) == []
    record(feed, 2)
    record(feed, 3, "agent")
    assert taken(reader) == [("event", {"n": 2}, "e-2"), ("agent", {"n": 3}, "e-3")]
    assert taken(reader) == []


async def test_it_goes_on_behind_an_id() -> None:
    feed = Feed(epoch="e")
    for number in range(1, 6):
        record(feed, number)
    again = feed.reader(after="e-3", topics=ALL)
    assert not again.reset
    assert [data["n"] for _, data, _ in taken(again)] == [4, 5]
    at_the_end = feed.reader(after="e-5", topics=ALL)
    assert not at_the_end.reset
    assert taken(at_the_end) == []


@pytest.mark.parametrize("after", ["x-3", "e-6", "e-", "e--1", "e-\u0663", "3", "", "e-" + "9" * 30])
async def test_an_id_of_another_life_is_a_reset(after: str) -> None:
    feed = Feed(epoch="e")
    for number in range(1, 6):
        record(feed, number)
    reader = feed.reader(after=after, topics=ALL)
    assert reader.reset
    assert taken(reader) == []


async def test_who_is_too_slow_is_told_how_much_it_missed() -> None:
    feed = Feed(epoch="e", bounds=RingBounds(records=3))
    reader = feed.reader(after=None, topics=ALL)
    for number in range(1, 8):
        record(feed, number)
    assert taken(reader) == [
        ("lagged", {"dropped": 4}, None),
        *(("event", {"n": n}, f"e-{n}") for n in (5, 6, 7)),
    ]
    assert taken(reader) == []


async def test_the_ring_is_bounded_in_bytes_too() -> None:
    feed = Feed(epoch="e", bounds=RingBounds(bytes=10_000))
    reader = feed.reader(after=None, topics=ALL)
    for _ in range(30):
        feed.record("event", json.dumps({"text": "x" * 1000}).encode())
    got = taken(reader)
    assert got[0][0] == "lagged"
    assert got[0][1]["dropped"] + len(got) - 1 == 30
    assert len(got) - 1 == 9


async def test_topics_are_chosen() -> None:
    feed = Feed(epoch="e")
    reader = feed.reader(after=None, topics=frozenset({"agent", "status"}))
    record(feed, 1)
    record(feed, 2, "agent")
    feed.latest("tasks", b'{"change":1}')
    feed.latest("status", b'{"a":1}')
    assert [name for name, _, _ in taken(reader)] == ["agent", "status"]


async def test_of_latest_values_only_the_last_counts() -> None:
    feed = Feed(epoch="e")
    feed.latest("status", b'{"a":1}')
    reader = feed.reader(after=None, topics=ALL)
    assert taken(reader) == [("status", {"a": 1}, None)]
    feed.latest("status", b'{"a":1}')  # no news
    assert taken(reader) == []
    feed.latest("status", b'{"a":2}')
    feed.latest("link", b'{"up":true}')
    feed.latest("status", b'{"a":3}')
    assert taken(reader) == [("link", {"up": True}, None), ("status", {"a": 3}, None)]
    feed.forget("status")
    assert taken(feed.reader(after=None, topics=ALL)) == [("link", {"up": True}, None)]


async def test_much_comes_in_batches_and_readers_are_woken() -> None:
    feed = Feed(epoch="e")
    reader = feed.reader(after=None, topics=ALL)
    for _ in range(200):
        feed.record("event", json.dumps({"text": "x" * 1000}).encode())
    async with asyncio.timeout(30):
        await reader.ready.wait()
    reader.ready.clear()
    first = reader.take()
    assert BATCH_BYTES <= len(first) < BATCH_BYTES + 2000
    assert reader.ready.is_set()  # there is more
    count = first.count(b"event: event")
    while body := reader.take():
        count += body.count(b"event: event")
    assert count == 200
    reader.close()
    assert len(feed) == 0


async def test_closing_wakes_everybody() -> None:
    feed = Feed(epoch="e")
    readers = [feed.reader(after=None, topics=ALL) for _ in range(3)]
    feed.close()
    assert feed.closed
    assert all(reader.ready.is_set() for reader in readers)
