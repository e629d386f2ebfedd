"""Test that a process which does not say of which session it is keeps nothing from the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from waiting import PATIENCE, until

from coordd.agents.judging import Limits
from coordd.agents.store import AgentStore
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse
from coordd.intake import trees as trees_module
from coordd.intake.trees import TreeSampling
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.worker import Worker

USES = [ProcessUse(1, 0, 0, 0.0, 0), *(ProcessUse(pid, 200, 1, 1.0, 10) for pid in (30, 31, 32))]


async def test_one_that_hangs_is_asked_alone_and_counts_once_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trees_module, "ASK_DEADLINE", 0.1)
    answers, asked = threading.Event(), []

    def ask(process: Process) -> dict[str, str]:
        asked.append(process.pid)
        if process.pid == 31:
            answers.wait(PATIENCE)
        return {"claude-code": "gone"}

    workers = Worker("passes"), Worker("asking", replaceable=True)
    schedule: Any = None
    trees = TreeSampling(
        store=AgentStore(limits=Limits(timeout=120.0), loop_monitor=LoopMonitor()),
        uses=lambda: iter(USES),
        start_at=round,
        worker=workers[0],
        asking=workers[1],
        schedule=schedule,
        ask=ask,
    )

    async def left() -> set[int]:
        found, _ = await trees.look()
        return {one.use.pid for one in trees.lineage.left(found)}

    try:
        assert await left() == {30, 32}
        assert await left() == {30, 32}
        assert asked == [30, 31, 32]
        answers.set()
        await until(lambda: not trees._asking._hanging)
        await asyncio.sleep(0)
        assert await left() == {30, 31, 32}
    finally:
        answers.set()
        for worker in workers:
            worker.close()
