"""What waits: a bounded number of records, and from when on the rest must be read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis_samples import NOON, agent_record

from coordd.records.moments import EARLIEST, LATEST, key
from coordd.sinks.redis.topic_queue import KEEP, KEEP_BYTES, TopicQueue


def moment(at):
    return key(at, EARLIEST)


def records(*seconds):
    return [agent_record(NOON + second) for second in seconds]


def test_what_fits_is_kept_in_order():
    lane = TopicQueue("agent", keep=3)
    lane.put(records(1, 2, 3))
    assert (lane.waiting, lane.behind, lane.empty) == (3, False, False)
    assert lane.take(count=2, size=10_000) == records(1, 2)
    assert lane.waiting == 3
    lane.back()
    assert lane.take(count=9, size=10_000) == records(1, 2, 3)
    lane.done()
    assert lane.empty
    assert lane.oldest() == LATEST


def test_one_record_is_taken_however_large():
    lane = TopicQueue("agent")
    lane.put(records(1, 2))
    assert lane.take(count=9, size=1) == records(1)


def test_beyond_that_the_earliest_moment_is_known():
    lane = TopicQueue("agent", keep=2)
    lane.put(records(50, 10, 60, 70))  # the clock was set back once
    assert lane.waiting == 4
    assert lane.behind
    assert lane.oldest() == moment(NOON + 10)
    assert lane.begin_reading() == moment(NOON + 10)
    assert (lane.waiting, lane.behind, lane.empty) == (4, False, False)
    lane.put(records(80))  # while that is read
    assert lane.behind
    lane.end_reading(whole=True)
    assert lane.waiting == 3
    assert lane.oldest() == moment(NOON + 60)


def test_reading_that_was_given_up_begins_where_it_began():
    lane = TopicQueue("agent", keep=1)
    lane.put(records(10, 20))
    lane.begin_reading()
    lane.put(records(30))
    lane.end_reading(whole=False)
    assert lane.waiting == 3
    assert lane.begin_reading() == moment(NOON + 10)


def test_a_hand_that_comes_back_is_bounded_too():
    lane = TopicQueue("agent", keep=2)
    lane.put(records(1, 2))
    lane.take(count=2, size=10_000)
    lane.put(records(3, 4))
    lane.back()
    assert lane.begin_reading() == moment(NOON + 1)
    assert lane.take(count=9, size=10_000) == records(3, 4)


def test_what_is_too_old_is_counted_no_more_and_read_all_the_same():
    lane = TopicQueue("agent", keep=2)
    lane.put(records(0, 5, 10, 15, 100, 200))
    assert lane.age(moment(NOON + 12)) == 2
    assert lane.waiting == 4
    assert lane.age(moment(NOON + 150)) == 3
    assert lane.waiting == 1
    assert lane.oldest() == moment(NOON)


def test_memory_is_bounded_in_records_and_bytes():
    lane = TopicQueue("agent")
    for second in range(20):
        lane.put([agent_record(NOON + second, more="x" * 100)] * 1000)
    kept = lane.take(count=10**6, size=10**9)
    assert len(kept) == KEEP
    lane.back()
    lane.put([agent_record(NOON + 99, more="x" * 60_000)] * 100)
    assert sum(map(len, lane.take(count=10**6, size=10**9))) <= KEEP_BYTES
    assert lane.waiting == 20_100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "done", "back", "read", "ended", "given up"]), st.integers(0, 99)
        )
    )
)
def test_nothing_is_forgotten(steps):
    lane = TopicQueue("agent", keep=3)
    waiting, hand, reading = [], [], []
    for step, number in steps:
        if step == "put":
            lane.put(records(number))
            waiting.append(number)
        elif step == "take" and not lane.behind and not reading and not hand:
            hand = lane.take(count=2, size=10_000)
            assert hand == records(*waiting)[: len(hand)]
        elif step in {"done", "back"} and hand:
            if step == "done":
                del waiting[: len(hand)]
            getattr(lane, step)()
            hand = []
        elif step == "read" and lane.behind and not reading and not hand:
            since = lane.begin_reading()
            reading = list(waiting)
            kept = min(len(waiting), 3)
            assert since <= min(moment(NOON + one) for one in waiting[: len(waiting) - kept])
        elif step in {"ended", "given up"} and reading:
            lane.end_reading(whole=step == "ended")
            if step == "ended":
                waiting = waiting[min(len(reading), len(waiting) - lane.waiting) :]
            reading = []
        assert lane.waiting == len(waiting)
        assert lane.empty == (not waiting)
        assert lane.oldest() <= min((moment(NOON + one) for one in waiting), default=LATEST)
