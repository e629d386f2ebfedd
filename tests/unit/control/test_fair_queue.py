"""Test turns between users and their processes, and one run of something at a time."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from coordd.control.fair_queue import FairQueue
from coordd.util.one_at_a_time import OneAtATime


def drained(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.take()) is not None:
        found.append(item)
    return found


def test_users_take_turns_and_of_each_its_processes() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3"):
        queue.put((1, 10), item)
    queue.put((1, 11), "b1")
    queue.put((2, 20), "c1")
    queue.put((2, 20), "c2")
    assert len(queue) == 6
    assert drained(queue) == ["a1", "c1", "b1", "c2", "a2", "a3"]
    assert not queue


def test_a_process_that_may_not_run_now_keeps_its_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put((1, 10), "a")
    queue.put((2, 20), "b")
    assert queue.take(lambda who: who != (1, 10)) == "b"
    assert queue.take(lambda _who: False) is None
    assert queue.take() == "a"


def test_the_newest_of_the_process_that_has_most_is_given_up() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.give_up((1, 1)) is None
    for item in ("a1", "a2", "a3"):
        queue.put((1, 10), item)
    queue.put((1, 11), "b1")
    assert queue.give_up((1, 10)) is None
    assert queue.give_up((1, 11)) == "a3"
    assert queue.give_up((1, 11)) is None  # it would have no more than the newcomer then
    queue.discard((1, 10), "a1")
    queue.discard((1, 10), "a1")
    queue.discard((7, 7), "nobody's")
    assert drained(queue) == ["a2", "b1"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=50))
def test_nothing_is_lost_and_each_process_is_served_in_order(puts: list[tuple[int, int]]) -> None:
    queue: FairQueue[tuple[tuple[int, int], int]] = FairQueue()
    for number, who in enumerate(puts):
        queue.put(who, (who, number))
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    assert sorted(taken, key=lambda one: one[1]) == list(zip(puts, range(len(puts)), strict=True))
    for who in set(puts):
        own = [number for whose, number in taken if whose == who]
        assert own == sorted(own)
    users = {uid for uid, _ in puts}
    assert {uid for (uid, _), _ in taken[: len(users)]} == users  # nobody waits for another's second


async def test_a_hundred_who_ask_at_once_share_two_runs() -> None:
    runs = 0
    gate = asyncio.Event()

    async def run() -> int:
        nonlocal runs
        runs += 1
        number = runs
        await gate.wait()
        if number == 3:
            raise ValueError(number)
        return number

    share = OneAtATime(run)
    first = [asyncio.create_task(share()) for _ in range(50)]
    while not runs:  # noqa: ASYNC110  # until it runs
        await asyncio.sleep(0)
    second = [asyncio.create_task(share()) for _ in range(50)]
    await asyncio.sleep(0)
    second.pop().cancel()
    gate.set()
    assert set(await asyncio.gather(*first)) == {1}
    assert set(await asyncio.gather(*second)) == {2}
    third = await asyncio.gather(share(), share(), return_exceptions=True)
    assert [type(one) for one in third] == [ValueError] * 2
    assert await share() == 4
    assert runs == 4
