"""Test when the sample of the host is told to be measured, so that others write in its wake-ups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from waiting import PATIENCE, until

from coordd.intake import host
from coordd.intake.host import HostSampling
from coordd.model import AgentCounts, OwnCost
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.worker import Worker


class Played:
    """Everything around the sampling: a sampler that can hang, a recorder that keeps the order, a store."""

    mode = "file"
    used_memory = keys = None

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}
        self.free = threading.Event()
        self.free.set()
        self.broken = False
        self.system: object = None
        self.order: list[str] = []
        played: Any = self
        self.sampling = HostSampling(
            sampler=lambda: played,
            worker=Worker("psutil", replaceable=True),
            store=played,
            recorder=played,
            loop_monitor=LoopMonitor(),
            cost=OwnCost(),
            host="h",
            interval=60.0,
            redis=played,
        )

    def prime(self, mono: float) -> None:
        pass

    def read(self, mono: float) -> Any:
        assert self.free.wait(PATIENCE)
        if self.broken:
            raise RuntimeError("a bug")
        return _Nothing()

    def counts(self, mono: float) -> AgentCounts:
        return AgentCounts()

    async def record(self, **_: object) -> None:
        self.order.append("record")

    async def snapshot(self) -> None:
        await self.sampling.measured()
        self.order.append("snapshot")


class _Nothing:
    """A reading of which nothing is known."""

    def __getattr__(self, name: str) -> None:
        return None


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    played = Played()
    await played.sampling.prime()
    yield played
    played.free.set()


async def test_who_waits_goes_on_when_the_sample_is_about_to_be_recorded(played: Played) -> None:
    played.free.clear()
    sampling = asyncio.ensure_future(played.sampling.sample())
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(played.snapshot())
    await asyncio.sleep(0.05)
    assert played.order == []
    played.free.set()
    await asyncio.gather(sampling, waiting)
    assert played.order == ["record", "snapshot"]


async def test_nobody_waits_where_no_sample_is_under_way(played: Played) -> None:
    await played.snapshot()
    await played.sampling.sample()
    await played.snapshot()
    assert played.order == ["snapshot", "record", "snapshot"]


@pytest.mark.parametrize("how", ["late", "broken"])
async def test_a_sample_that_does_not_come_holds_nobody_up(
    played: Played, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "DEADLINE", 0.1)
    played.broken = how == "broken"
    if how == "late":
        played.free.clear()
    sampling = asyncio.ensure_future(played.sampling.sample())
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(played.snapshot())
    await until(lambda: played.order == ["snapshot"])
    await asyncio.gather(sampling, waiting, return_exceptions=True)
