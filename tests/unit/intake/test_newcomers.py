"""Test that one look serves all who listen, and that a look that hangs costs nobody anything."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from coordd.host.newcomers import Newcomers
from coordd.host.process_facts import ProcessFacts
from coordd.host.processes import glance
from coordd.intake import newcomers as module
from coordd.intake.newcomers import FROM_SCRATCH, NewcomerIntake
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import DeadlineMissed, Worker


@pytest.fixture
def told() -> list[list[int]]:
    return []


def intake(told: list[list[int]], worker: Worker) -> NewcomerIntake:
    def listen(seen: Sequence[ProcessFacts]) -> None:
        told.append([one.process.pid for one in seen])

    newcomers = Newcomers(pids=lambda: [os.getpid()], glance=glance)
    return NewcomerIntake(worker=worker, newcomers=newcomers, listeners=(listen, listen))


async def test_all_who_listen_are_told_once_and_of_all_again_after_a_while(
    told: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker("looks")
    looks, clock = intake(told, worker), [1000.0]
    monkeypatch.setattr(module, "now", lambda: Moment(wall=0.0, mono=clock[0]))
    try:
        await looks.look()
        assert told == [[os.getpid()]] * 2
        clock[0] += FROM_SCRATCH / 2
        await looks.look()
        assert len(told) == 2
        clock[0] += FROM_SCRATCH / 2
        await looks.look()
        assert told == [[os.getpid()]] * 4
    finally:
        worker.close()


async def test_a_look_that_takes_too_long_is_left_out(
    told: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker("looks")

    async def hang(*_about: object, **_more: object) -> object:
        raise DeadlineMissed("looks", None)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "run", hang)
    try:
        await intake(told, worker).look()
        assert told == []
    finally:
        worker.close()
