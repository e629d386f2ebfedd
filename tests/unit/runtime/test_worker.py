"""Test a worker: results, deadlines, and the replacement of a thread that hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest
from waiting import PATIENCE, until

from coordd.runtime.worker import DeadlineMissed, Worker, renew_deadline

SHORT = 0.05


async def until_begun(begun: threading.Event) -> None:
    assert await asyncio.to_thread(begun.wait, PATIENCE)


class Hang:
    """A call that begins, and returns when the test lets it."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return "at last"


@pytest.mark.parametrize("replaceable", [False, True])
async def test_calls_are_made_in_one_thread_in_order(replaceable: bool) -> None:
    worker = Worker("w", replaceable=replaceable)
    made: list[int] = []
    threads: set[int] = set()

    def call(number: int) -> int:
        made.append(number)
        threads.add(threading.get_ident())
        return number * 2

    results = await asyncio.gather(*(worker.run(call, n, deadline=PATIENCE) for n in range(100)))
    assert results == [n * 2 for n in range(100)]
    assert made == list(range(100))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    worker.close()


async def test_an_error_comes_back_and_the_thread_goes_on() -> None:
    worker = Worker("w")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0, deadline=PATIENCE)
    assert await worker.run(lambda: 1, deadline=PATIENCE) == 1
    worker.close()


async def test_a_call_that_hangs_misses_its_deadline_and_its_future_resolves_later() -> None:
    worker, hang = Worker("w", replaceable=True), Hang()
    with pytest.raises(DeadlineMissed) as caught:
        await worker.run(hang, deadline=SHORT)
    assert not caught.value.future.done()
    hang.go.set()
    assert await caught.value.future == "at last"
    worker.close()


async def test_a_replaced_thread_gives_the_queue_to_a_new_one_and_ends() -> None:
    worker, hang = Worker("replaced", replaceable=True), Hang()
    hanging = asyncio.ensure_future(worker.run(hang, deadline=SHORT))
    await until_begun(hang.begun)
    others = [asyncio.ensure_future(worker.run(int, str(n), deadline=PATIENCE)) for n in range(10)]
    assert await asyncio.gather(*others) == list(range(10))
    with pytest.raises(DeadlineMissed):
        await hanging
    hang.go.set()
    worker.close()
    await until(lambda: all(thread.name != "replaced" for thread in threading.enumerate()))


async def test_waiting_behind_another_call_does_not_count() -> None:
    """The first call takes nearly its whole deadline; the next one has its own, from its own begin."""
    worker, first, second = Worker("w", replaceable=True), Hang(), Hang()
    ahead = asyncio.ensure_future(worker.run(first, deadline=PATIENCE))
    await until_begun(first.begun)
    behind = asyncio.ensure_future(worker.run(second, deadline=2.0))
    await asyncio.sleep(1.9)
    first.go.set()
    await until_begun(second.begun)
    await asyncio.sleep(0.3)  # 2.2 s after it was queued
    assert not behind.done()
    second.go.set()
    assert await ahead == await behind == "at last"
    worker.close()


async def test_the_deadline_of_a_call_counts_from_its_own_begin() -> None:
    worker, first, second = Worker("w", replaceable=True), Hang(), Hang()
    ahead = asyncio.ensure_future(worker.run(first, deadline=PATIENCE * 10))
    await until_begun(first.begun)
    behind = asyncio.ensure_future(worker.run(second, deadline=SHORT))
    await asyncio.sleep(0)
    first.go.set()
    with pytest.raises(DeadlineMissed):
        await behind
    second.go.set()
    await ahead
    worker.close()


async def test_a_call_behind_a_hanging_one_whose_caller_is_gone_is_made() -> None:
    worker, hang = Worker("w", replaceable=True), Hang()
    abandoned = asyncio.ensure_future(worker.run(hang, deadline=SHORT))
    await until_begun(hang.begun)
    abandoned.cancel()
    assert await worker.run(lambda: 1, deadline=PATIENCE) == 1
    hang.go.set()
    worker.close()


async def test_a_call_that_hangs_in_a_kept_thread_delays_the_others_and_loses_none() -> None:
    worker, hang = Worker("w"), Hang()
    made: list[int] = []
    late = []
    for call in (hang, lambda: made.append(1), lambda: made.append(2)):
        with pytest.raises(DeadlineMissed) as caught:
            await worker.run(call, deadline=SHORT)
        late.append(caught.value.future)
    assert made == []
    hang.go.set()
    await asyncio.gather(*late)
    assert made == [1, 2]
    worker.close()


async def test_many_hangs_in_a_row_never_run_two_calls_at_once_on_the_queue() -> None:
    """Calls that end near their deadline either return or miss it, and all are made."""
    worker = Worker("w", replaceable=True)
    made = 0

    def edge(number: int) -> int:
        nonlocal made
        made += 1
        threading.Event().wait(0.002)
        return number

    async def one(number: int) -> int:
        try:
            return await worker.run(edge, number, deadline=0.002)
        except DeadlineMissed as late:
            return int(await late.future)

    assert await asyncio.gather(*(one(n) for n in range(300))) == list(range(300))
    assert made == 300
    assert await worker.run(lambda: "alive", deadline=PATIENCE) == "alive"
    worker.close()


async def test_an_error_after_the_deadline_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    worker, hang = Worker("w", replaceable=True), Hang()

    def fail() -> None:
        hang()
        raise OSError

    with pytest.raises(DeadlineMissed) as caught:
        await worker.run(fail, deadline=SHORT)
    hang.go.set()
    await asyncio.wait({caught.value.future})
    worker.close()
    assert "never retrieved" not in caplog.text


def test_a_call_that_outlives_the_loop_is_harmless() -> None:
    hang = Hang()

    async def test() -> None:
        with pytest.raises(DeadlineMissed):
            await Worker("outlives").run(hang, deadline=SHORT)

    asyncio.run(test())  # a loop of its own, which ends here
    hang.go.set()


async def test_after_close_the_next_call_has_a_new_thread() -> None:
    worker = Worker("w")
    worker.close()
    assert await worker.run(lambda: 1, deadline=PATIENCE) == 1
    worker.close()
    assert await worker.run(lambda: 2, deadline=PATIENCE) == 2
    worker.close()


async def test_a_call_can_renew_its_deadline() -> None:
    """Its deadline counts from the last renewal, or else from its begin."""
    worker, hang = Worker("w", replaceable=True), Hang()
    going = threading.Event()

    def works() -> str:
        while not going.wait(SHORT / 5):
            renew_deadline()
        return "done"

    working = asyncio.ensure_future(worker.run(works, deadline=PATIENCE / 4))
    await asyncio.sleep(0)
    call = await until(lambda: worker._thread and worker._thread.current)
    assert call is not None
    first = await until(lambda: call.begun)
    await until(lambda: (call.begun or 0) > first)
    going.set()
    assert await working == "done"
    with pytest.raises(DeadlineMissed):
        await worker.run(hang, deadline=SHORT)
    hang.go.set()
    worker.close()


def test_renewing_a_deadline_outside_a_call_does_nothing() -> None:
    renew_deadline()
