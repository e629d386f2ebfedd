"""Test what is told of the list of what needs a human: each change, in time; nothing where nobody listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from agents import Agents, source
from hypothesis import given
from hypothesis import strategies as st
from simulated import Clock, Jobs

from coordd.agents.attention import KILLED_FOR
from coordd.agents.seen_process import End, SeenProcess
from coordd.control.attention_watch import GATHER, MOST, AttentionWatch, changes
from coordd.control.hub import KEPT, Hub, Subscription
from coordd.host.process_facts import Process
from coordd.model import AttentionEntry
from coordd.runtime import schedule
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList

IDS = ("a", "b", "c", "d")


def entry(ident: str, text: str = "stalled") -> AttentionEntry:
    return AttentionEntry("stalled", "/w", f"agent-{ident}", None, text, None, ident)


lists = st.lists(
    st.builds(entry, st.sampled_from(IDS), st.sampled_from(["x", "y"])), unique_by=lambda e: e.id
)


@given(before=lists, now=lists, acknowledged=st.sets(st.sampled_from(IDS)))
def test_the_changes_make_the_one_list_of_the_other(
    before: list[AttentionEntry], now: list[AttentionEntry], acknowledged: set[str]
) -> None:
    held = {one.id: one for one in before}
    found = list(changes(held, now, acknowledged=acknowledged, timestamp="t"))
    assert bool(found) == ({one.id: one for one in now} != held)
    for change in found:
        for closed in change.closed:
            gone = held.pop(closed.id)
            assert asdict(closed) == {**asdict(gone), "why": closed.why}
            assert (closed.why == "acknowledged") == (closed.id in acknowledged)
        for one in change.changed:
            assert held[one.id] != one
            held[one.id] = one
        for one in change.opened:
            assert one.id not in held
            held[one.id] = one
        assert change.total == len(held)
    assert held == {one.id: one for one in now}


def test_a_long_change_is_told_in_parts_and_each_says_how_long_the_list_is_then() -> None:
    before = {str(n): entry(str(n)) for n in range(150)}
    now = [entry(str(n)) for n in range(100, 400)]
    found = list(changes(before, now, acknowledged=(), timestamp="t"))
    assert [len(one.closed) + len(one.opened) for one in found] == [MOST, MOST, MOST, 50]
    assert [one.total for one in found] == [50, 150, 250, 300]


class Scene:
    """The watch over a real list of what needs a human, in simulated time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(schedule, "monotonic", clock.monotonic)
        monkeypatch.setattr(schedule, "time", clock.time)
        self.clock = clock
        self.agents = Agents("/w", mono=clock.mono)
        store = self.agents.store
        board = Board(store=store)
        store.on_change = board.touched
        self.needs = Needs(store=store, board=board, tasks=TaskList(board=board, store=store))
        self.jobs = Jobs(clock)
        self.hub = Hub(run="r", clock=clock.monotonic)
        jobs: Any = self.jobs
        self.watch = AttentionWatch(needs=self.needs, hub=self.hub, schedule=jobs)

    def subscribe(self) -> Subscription:
        self.watch.prepare(schedule.now())
        return self.hub.subscribe(["attention"])

    async def pass_time(self, seconds: float) -> None:
        await self.jobs.pass_time(seconds)
        self.agents.mono = self.clock.mono

    def kill(self, name: str) -> None:
        end = End(mono=self.clock.mono, wall=self.clock.time(), orderly=False)
        process = SeenProcess(Process(pid=7, start=7), end=end)
        self.agents.put(replace(self.agents.observation(source("/w"), name), process=process))
        self.watch.changed()


def told(subscription: Subscription) -> list[tuple[list[str], list[tuple[str, str]]]]:
    found = []
    while subscription.pending:
        for line in subscription.take(1).splitlines():
            params = json.loads(line)["params"]
            opened = [one["subject"] for one in params["opened"]]
            found.append((opened, [(one["subject"], one["why"]) for one in params["closed"]]))
    return found


async def test_time_alone_closes_an_entry_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    subscription = scene.subscribe()
    scene.kill("x")
    await scene.pass_time(GATHER)
    assert told(subscription) == [(["x"], [])]
    await scene.pass_time(KILLED_FOR - GATHER - 1)
    assert told(subscription) == []
    await scene.pass_time(1.1)
    assert told(subscription) == [([], [("x", "over")])]
    assert scene.jobs._jobs == {}


async def test_what_somebody_acknowledges_is_closed_as_that_and_comes_back_as_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.kill("x")
    subscription = scene.subscribe()
    assert told(subscription) == []  # it was there before
    assert scene.needs.ack(None, schedule.now()) == 1
    scene.watch.changed()
    await scene.pass_time(GATHER)
    assert told(subscription) == [([], [("x", "acknowledged")])]
    await scene.pass_time(KILLED_FOR + 1)
    assert told(subscription) == []  # it was off the list already


async def test_nothing_is_made_and_no_timer_set_where_nobody_listens_and_ten_minutes_after_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    looked: list[Moment] = []
    entries = scene.needs.entries

    def counted(moment: Moment) -> Sequence[AttentionEntry]:
        looked.append(moment)
        return entries(moment)

    monkeypatch.setattr(scene.needs, "entries", counted)
    scene.kill("x")
    await scene.pass_time(KILLED_FOR * 2)
    assert (looked, scene.jobs._jobs, scene.hub.seq) == ([], {}, 0)
    subscription = scene.subscribe()
    subscription.close()
    scene.kill("y")
    await scene.pass_time(KEPT - 1)
    assert scene.hub.seq > 1  # for one who comes back
    scene.kill("z")
    await scene.pass_time(5)
    count, seq = len(looked), scene.hub.seq
    scene.kill("v")
    await scene.pass_time(KILLED_FOR * 2)
    assert (len(looked), scene.jobs._jobs, scene.hub.seq) == (count, {}, seq)
    again = scene.subscribe()
    assert told(again) == []


async def test_many_changes_at_once_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    subscription = scene.subscribe()
    for n in range(50):
        scene.kill(f"agent-{n}")
        await asyncio.sleep(0)
    await scene.pass_time(GATHER)
    assert len(told(subscription)) == 1
