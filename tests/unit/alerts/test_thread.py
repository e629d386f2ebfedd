"""Calls that hang do so in a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coordd.alerts.thread import Late, Thread


async def test_what_a_call_returns_or_raises() -> None:
    thread = Thread("t")
    assert await thread.run(lambda: 7, within=10) == 7
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0, within=10)
    assert await thread.run(lambda: 8, within=10) == 8


async def test_while_one_hangs_no_other_waits_for_it() -> None:
    thread, go_on = Thread("t"), threading.Event()
    with pytest.raises(Late):
        await thread.run(go_on.wait, within=0.05)
    called = []
    with pytest.raises(Late):
        await asyncio.wait_for(thread.run(lambda: called.append(1), within=60), 10)
    go_on.set()

    async def again() -> int:
        while True:
            try:
                return await thread.run(lambda: 9, within=10)
            except Late:
                await asyncio.sleep(0.01)

    assert await asyncio.wait_for(again(), 10) == 9
    assert called == []
