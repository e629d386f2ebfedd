"""Test how bands of the records, the list of agents, and times of samples become one answer."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.dashboard.agent_series import Samples, agent_series, gaps
from coordd.dashboard.reused import Reused
from coordd.errors import CannotTell

WHO = {"agent_id": "a", "workspace": "/x", "project": "/x", "name": None, "kind": None}
SAMPLES = Samples(since=1000.0, until=1900.0, gap=150.0, times=[1000.0, 1060.0, 1500.0, 1880.0])


def made(banded: list[dict[str, Any]], present: list[dict[str, Any]]) -> dict[str, Any]:
    answer = agent_series(banded, present, SAMPLES, step=7.5, truncated=False)
    return msgspec.json.decode(answer, type=dict)


def test_who_is_listed_and_has_no_record_in_the_range_is_in_its_state_throughout() -> None:
    idle = {**WHO, "agent_id": "b", "status": "active", "activity": "idle", "reason": "process"}
    answer = made(
        [{**WHO, "bands": [(1010.0, "working")]}],
        [
            {**WHO, "status": "active", "activity": "idle"},
            {**idle, "activity_since": "1970-01-01T00:20:00.000Z"},
        ],
    )
    assert [one["bands"] for one in answer["agents"]] == [[[1010.0, "working"]], [[1200.0, "idle"]]]
    assert made([], [idle])["agents"] == [
        {**WHO, "agent_id": "b", "bands": [[1000.0, "idle"]]},
    ]
    silent = {**idle, "status": "inactive", "reason": "silent", "inactive_since": "1970-01-01T00:00:01.000Z"}
    assert made([], [silent])["agents"][0]["bands"] == [[1000.0, "silent"]]


def test_a_time_without_samples_is_a_gap() -> None:
    assert made([], [])["gaps"] == [[1060.0, 1500.0], [1500.0, 1880.0]]
    assert gaps([], 0.0, 60.0, 30.0) == [(0.0, 60.0)]


@given(st.lists(st.floats(-10, 110), max_size=20), st.floats(1, 50))
def test_gaps_are_apart_and_longer_than_is_usual(times: list[float], longest: float) -> None:
    found = gaps(sorted(times), 0.0, 100.0, longest)
    assert all(after - before > longest for before, after in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    assert all(not before < time < after for time in times for before, after in found)


async def test_all_who_ask_at_once_get_one_answer_and_a_failure_is_not_kept() -> None:
    asked: list[str] = []

    async def make(name: str) -> bytes:
        asked.append(name)
        await asyncio.sleep(0)
        if len(asked) == 1:
            raise CannotTell("no")
        return b"answer"

    reused = Reused(make)
    with pytest.raises(CannotTell):
        await reused("7d")
    assert await asyncio.gather(*(reused("7d") for _ in range(5))) == [b"answer"] * 5
    assert asked == ["7d", "7d"]
