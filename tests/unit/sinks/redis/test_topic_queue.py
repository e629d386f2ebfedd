"""Test the queue: a bounded number of records, and the moment from which the rest must be read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis_samples import NOON, agent_record, samples_in

from coordd.records.moments import EARLIEST, LATEST, key
from coordd.sinks.redis.topic_queue import KEEP, KEEP_BYTES, TopicQueue


def moment(at):
    return key(at, EARLIEST)


def records(*seconds):
    return samples_in("agent", *(agent_record(NOON + second) for second in seconds))


def test_what_fits_is_kept_in_order():
    queue = TopicQueue("agent", keep=3)
    queue.put(records(1, 2, 3))
    assert (queue.waiting, queue.behind, queue.empty) == (3, False, False)
    assert queue.take(count=2, size=10_000) == records(1, 2)
    assert queue.waiting == 3
    queue.back()
    assert queue.take(count=9, size=10_000) == records(1, 2, 3)
    queue.done()
    assert queue.empty
    assert queue.oldest() == LATEST


def test_one_record_is_taken_however_large():
    queue = TopicQueue("agent")
    queue.put(records(1, 2))
    assert queue.take(count=9, size=1) == records(1)


def test_beyond_that_the_earliest_moment_is_known():
    queue = TopicQueue("agent", keep=2)
    queue.put(records(50, 10, 60, 70))  # the clock was set back once
    assert queue.waiting == 4
    assert queue.behind
    assert queue.oldest() == moment(NOON + 10)
    assert queue.begin_reading() == moment(NOON + 10)
    assert (queue.waiting, queue.behind, queue.empty) == (4, False, False)
    queue.put(records(80))  # while that is read
    assert queue.behind
    queue.end_reading(whole=True)
    assert queue.waiting == 3
    assert queue.oldest() == moment(NOON + 60)


def test_reading_that_was_given_up_begins_where_it_began():
    queue = TopicQueue("agent", keep=1)
    queue.put(records(10, 20))
    queue.begin_reading()
    queue.put(records(30))
    queue.end_reading(whole=False)
    assert queue.waiting == 3
    assert queue.begin_reading() == moment(NOON + 10)


def test_records_put_back_are_bounded_too():
    queue = TopicQueue("agent", keep=2)
    queue.put(records(1, 2))
    queue.take(count=2, size=10_000)
    queue.put(records(3, 4))
    queue.back()
    assert queue.begin_reading() == moment(NOON + 1)
    assert queue.take(count=9, size=10_000) == records(3, 4)


def test_what_is_too_old_is_counted_no_more_and_read_all_the_same():
    queue = TopicQueue("agent", keep=2)
    queue.put(records(0, 5, 10, 15, 100, 200))
    assert queue.age(moment(NOON + 12)) == 2
    assert queue.waiting == 4
    assert queue.age(moment(NOON + 150)) == 3
    assert queue.waiting == 1
    assert queue.oldest() == moment(NOON)


def test_memory_is_bounded_in_records_and_bytes():
    queue = TopicQueue("agent")
    for second in range(20):
        queue.put(samples_in("agent", agent_record(NOON + second, more="x" * 100)) * 1000)
    kept = queue.take(count=10**6, size=10**9)
    assert len(kept) == KEEP
    queue.back()
    queue.put(samples_in("agent", agent_record(NOON + 99, more="x" * 60_000)) * 100)
    assert sum(len(one.value) for one in queue.take(count=10**6, size=10**9)) <= KEEP_BYTES
    assert queue.waiting == 20_100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "take", "done", "back", "read", "ended", "given up"]), st.integers(0, 99)
        )
    )
)
def test_nothing_is_forgotten(steps):
    queue = TopicQueue("agent", keep=3)
    waiting, in_flight, reading = [], [], []
    for step, number in steps:
        if step == "put":
            queue.put(records(number))
            waiting.append(number)
        elif step == "take" and not queue.behind and not reading and not in_flight:
            in_flight = queue.take(count=2, size=10_000)
            assert in_flight == records(*waiting)[: len(in_flight)]
        elif step in {"done", "back"} and in_flight:
            if step == "done":
                del waiting[: len(in_flight)]
            getattr(queue, step)()
            in_flight = []
        elif step == "read" and queue.behind and not reading and not in_flight:
            since = queue.begin_reading()
            reading = list(waiting)
            kept = min(len(waiting), 3)
            assert since <= min(moment(NOON + one) for one in waiting[: len(waiting) - kept])
        elif step in {"ended", "given up"} and reading:
            queue.end_reading(whole=step == "ended")
            if step == "ended":
                waiting = waiting[min(len(reading), len(waiting) - queue.waiting) :]
            reading = []
        assert queue.waiting == len(waiting)
        assert queue.empty == (not waiting)
        assert queue.oldest() <= min((moment(NOON + one) for one in waiting), default=LATEST)
