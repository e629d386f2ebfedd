"""Test that a snapshot on a disk that hangs does not delay the connection to Redis."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from coordd.runtime.worker import DeadlineMissed
from coordd.service.redis_service import RedisService


async def test_a_snapshot_that_does_not_come_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def first_check() -> None:
        done.append("looked")

    late: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    late.set_exception(DeadlineMissed("no answer within 60 s", late))
    service: Any = RedisService.__new__(RedisService)
    service._loading, service._resuming, service._intake = None, late, None
    service._sink = SimpleNamespace(resume=lambda _: done.append("resumed"))
    service._connection = SimpleNamespace(start=lambda: done.append("started"), first_check=first_check)
    with caplog.at_level(logging.WARNING):
        await service.start()
    assert done == ["started", "looked"]
    assert "the snapshot cannot be read in time" in caplog.text
