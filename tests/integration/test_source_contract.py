"""Every source keeps the contract of sources/base.py: fake, toy, workspace, Redis, home, processes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redisd import RedisServer
from redisreading import shared_server
from sources import KINDS, Driver, Follower, driver_of, held
from waiting import until

from coordd.runtime.schedule import now
from coordd.sources.base import POLL, RESCAN, Source, SourceLost

A, B, C, Z = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcf")
"""Agents, named as sessions are: hooks know no others."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with shared_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def place(kind: str, tmp_path: Path, server: RedisServer) -> AsyncIterator[Driver]:
    async with driver_of(kind, tmp_path, server) as driver:
        driver.finder.start(lambda: None)
        yield driver
        driver.finder.stop()


@pytest.fixture
async def source(place: Driver) -> AsyncIterator[Source]:
    source = await only(place)
    yield source
    await source.stop()


@pytest.fixture
async def follower(place: Driver, source: Source) -> Follower:
    """What follows the source, from the moment at which it can be read."""
    follower = Follower(source)
    follower.start()
    await place.begin()
    await until(lambda: "readable" in follower.told)
    return follower


async def only(place: Driver) -> Source:
    found = await place.finder.find()
    assert found is not None
    ((name, source),) = found.items()
    assert name == source.state.name
    return source


async def beaten(place: Driver, follower: Follower) -> None:
    """Have an agent beat, and wait until that is read; where none beats, have another one appear."""
    if place.beats:
        first = follower.beat_of(A)
        place.beat(A)
        await follower.catch_up(lambda: follower.beat_of(A) != first)
    else:
        place.beat(Z)
        await follower.catch_up(lambda: Z in follower.known)


async def failures(follower: Follower) -> list[str]:
    """Make every call of a source that cannot be read; return the words of those that fail."""
    source = follower.source
    calls: list[Callable[[], Awaitable[object]]] = [
        source.follow,
        source.read_all,
        lambda: source.read_some(frozenset()),
        lambda: source.reread([A]),
    ]
    words = []
    for call in calls:
        try:
            await call()
        except SourceLost as lost:
            words.append(str(lost))
    return words


async def test_it_is_found_as_the_same_one_again(place: Driver) -> None:
    assert await only(place) is await only(place)


async def test_its_state_says_that_nothing_was_read_yet(source: Source) -> None:
    assert (source.state.state, source.state.error, source.state.standstill) == ("waiting", None, None)
    assert not source.state.clock.readable
    assert source.patience > 0


async def test_it_has_a_clock_of_its_own(
    kind: str, source: Source, tmp_path: Path, server: RedisServer
) -> None:
    async with driver_of(kind, tmp_path / "other", server) as other:
        other.finder.start(lambda: None)
        another = await only(other)
        assert another.state is not source.state
        assert another.state.clock is not source.state.clock
        other.finder.stop()


@pytest.mark.parametrize("reached", ["before", "after"])
async def test_it_tells_that_it_can_be_read(place: Driver, source: Source, reached: str) -> None:
    follower = Follower(source)
    if reached == "before":
        await place.begin()
        assert follower.told == []
    follower.start()
    if reached == "after":
        await place.begin()
    await until(lambda: "readable" in follower.told)
    assert set(follower.told) == {"readable"}


async def test_a_full_reading_finds_what_is_there(place: Driver, follower: Follower) -> None:
    place.beat(A, "t1", "t2")
    place.beat(B)
    traces = await follower.read()
    assert traces.state == "read"
    assert set(traces.agents) == {A, B}
    assert {one.agent_id for one in traces.agents.values()} == {A, B}
    assert all(one.heartbeat is not None or one.session is not None for one in traces.agents.values())
    if place.tasks:
        assert set(traces.agents[A].tasks or ()) == {"t1", "t2"}
        assert traces.agents[B].tasks == ()
    assert traces.malformed == {}
    assert (await follower.read()).agents == traces.agents


async def test_what_has_not_changed_is_no_other_beat(place: Driver, follower: Follower) -> None:
    place.beat(A)
    await follower.read()
    before = follower.known[A]
    await follower.read()
    await follower.reread(A)
    assert follower.known[A] is before


async def test_a_change_is_told_as_soon_as_it_is_followed(place: Driver, follower: Follower) -> None:
    await follower.source.follow()
    place.beat(A)
    traces = await follower.source.read_all()
    assert A in traces.agents


async def test_a_beat_is_told_by_hints_that_name_it(place: Driver, follower: Follower) -> None:
    place.beat(A)
    place.beat(B)
    await follower.read()
    first, others, full = follower.beat_of(A), follower.known[B], follower.full
    if place.beats:
        place.beat(A, "t")
        await follower.catch_up(lambda: follower.beat_of(A) != first)
    assert follower.known[B] is others
    if place.announces:
        assert follower.full == full, "a part is read for a part that changed"
    place.beat(C)
    await follower.catch_up(lambda: C in follower.known)


async def test_each_beat_is_another_one(place: Driver, follower: Follower) -> None:
    if not place.beats:
        return
    await follower.read()
    beats = set()
    for _ in range(3):
        last = follower.beat_of(A)
        place.beat(A)
        await follower.catch_up(lambda last=last: follower.beat_of(A) != last)  # type: ignore[misc]
        beats.add(follower.beat_of(A))
    assert len(beats) == 3


async def test_hints_that_name_nothing_are_harmless(place: Driver, follower: Follower) -> None:
    place.beat(A)
    await follower.read()
    known = follower.known[A]
    for hints in (frozenset(), place.stray):
        change = await follower.source.read_some(hints)
        assert set(change.agents.values()) <= {None, known.traces}
    change = await follower.reread("nobody", A)
    assert change.agents["nobody"] is None
    assert follower.known == {A: known}


async def test_reading_again_finds_a_beat_that_nobody_announced(place: Driver, follower: Follower) -> None:
    if not place.beats:
        return
    place.beat(A)
    place.beat(B)
    await follower.read()
    first = follower.beat_of(A)
    place.beat(A)
    change = await follower.reread(A)
    assert set(change.agents) == {A}
    assert follower.beat_of(A) != first


async def test_what_vanished_is_told_and_read_as_none(place: Driver, follower: Follower) -> None:
    place.beat(A, "t")
    place.beat(B)
    await follower.read()
    place.remove(A)
    if place.keeps:
        await follower.reread(A)  # as it is when a process has ended
        assert not follower.is_present(A)
        return
    await follower.catch_up(lambda: A not in follower.known)
    assert set(follower.known) == {B}
    assert (await follower.reread(A)).agents == {A: None}


async def test_what_has_ended_stays_for_as_long_as_it_is_known(place: Driver, follower: Follower) -> None:
    if not place.keeps:
        return
    place.beat(A)
    place.beat(B)
    await follower.read()
    place.remove(A)
    await follower.catch_up(lambda: not follower.is_present(A))
    await follower.reread(A)
    for _ in range(2):
        assert set((await follower.read()).agents) == {A, B}
    del follower.known[A]
    assert set((await follower.read()).agents) == {B}


async def test_what_vanished_is_absent_from_a_full_reading(place: Driver, follower: Follower) -> None:
    place.beat(A, "t")
    place.beat(B)
    await follower.read()
    place.remove(A)
    assert set((await follower.read()).agents) == ({A, B} if place.keeps else {B})
    place.beat(A)
    assert set((await follower.read()).agents) == {A, B}


async def test_traces_that_cannot_be_used_are_values(place: Driver, follower: Follower) -> None:
    if not place.spoils:
        return
    place.beat(A)
    place.beat(B)
    await follower.read()
    b = follower.known[B]
    place.spoil(A)
    await follower.catch_up(lambda: bool(follower.malformed))
    (where,) = follower.malformed
    assert A in where or "/sessions/" in where  # whose files are named by their processes
    assert follower.malformed[where]
    assert follower.known[B] is b
    traces = await follower.read()
    assert dict(traces.malformed) == follower.malformed
    assert B in traces.agents


@pytest.mark.parametrize("how", ["break", "hang"])
async def test_what_cannot_be_read_is_lost_in_words(place: Driver, follower: Follower, how: str) -> None:
    if how == "hang" and not place.hangs:
        place.break_()  # it is never without an answer
    place.beat(A)
    await follower.read()
    (place.hang if how == "hang" and place.hangs else place.break_)()
    words = await failures(follower)
    assert words, "no call failed"
    for trouble in [*words, *follower.troubles]:
        assert trouble.strip() == trouble != ""
        assert "\n" not in trouble
        assert "Traceback" not in trouble
    with pytest.raises(SourceLost):
        await follower.source.read_all()


@pytest.mark.parametrize("how", ["break", "hang"])
async def test_it_says_when_it_is_mended_or_asks_to_be_tried(
    place: Driver, follower: Follower, how: str
) -> None:
    place.beat(A)
    await follower.read()
    (place.hang if how == "hang" and place.hangs else place.break_)()
    with pytest.raises(SourceLost) as caught:
        await follower.read()
    follower.source.state.state = "unreadable"
    follower.source.lost(str(caught.value))
    follower.told.clear()
    tried = follower.source.interval != math.inf
    place.mend()
    if place.announces:
        await until(lambda: {"readable", "changed"} & set(follower.told))
        await until(lambda: follower.anything)
    else:
        assert tried or await until(lambda: "readable" in follower.told)
    await follower.recover()
    assert set(follower.known) == {A}


async def test_after_a_loss_it_is_followed_anew(place: Driver, follower: Follower) -> None:
    place.beat(A)
    await follower.read()
    place.break_()
    with pytest.raises(SourceLost):
        await follower.read()
    follower.source.lost("it is broken")
    place.mend()
    place.beat(B)
    await follower.recover()
    assert set(follower.known) == {A, B}
    await beaten(place, follower)


async def test_given_up_without_need_it_is_followed_anew(place: Driver, follower: Follower) -> None:
    """A bug in what takes a reading over is shown as a source that cannot be read."""
    place.beat(A)
    await follower.read()
    follower.source.lost("cannot be understood")
    await follower.read()
    await beaten(place, follower)


async def test_what_is_read_seldom_has_a_time_that_comes_and_goes(place: Driver, follower: Follower) -> None:
    await follower.read()
    for number in range(3):
        place.beat(one := A.replace("a", str(number)))
        await follower.catch_up(lambda one=one: one in follower.known)  # type: ignore[misc]
        due = follower.source.due
        assert due is None or due > now().mono - 1
    await follower.catch_up(lambda: follower.source.due is None)


async def test_how_it_is_followed_says_how_often_it_is_read(place: Driver, follower: Follower) -> None:
    await follower.read()
    assert follower.following is not None
    assert follower.following.how == ("push" if place.announces else "poll")
    assert follower.following.state
    assert follower.source.interval == (RESCAN if place.announces else POLL)


async def test_the_loop_goes_on_while_it_does_not_answer(place: Driver, follower: Follower) -> None:
    if not place.hangs:
        return  # a toy may block
    await follower.read()
    place.hang()
    reading = asyncio.ensure_future(failures(follower))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert reading.result()
    assert turns > 20, "a call has blocked the loop"


async def test_the_state_is_left_to_what_reads_it(place: Driver, follower: Follower) -> None:
    state = follower.source.state

    def seen() -> tuple[object, ...]:
        return state.state, state.error, dict(state.malformed), state.clock.readable, state.standstill

    before = seen()
    place.beat(A)
    if place.spoils:
        place.spoil(B)
    await follower.read()
    place.break_()
    await failures(follower)
    place.mend()
    await follower.recover()
    assert seen() == before


async def test_at_the_end_it_lets_go_of_everything_and_tells_nothing(place: Driver, source: Source) -> None:
    follower = Follower(source)
    await place.begin()
    before = held()
    follower.start()
    await until(lambda: "readable" in follower.told)
    place.beat(A)
    await follower.read()
    place.beat(A)
    await follower.reread(A)
    await source.stop()
    await until(lambda: held() == before, what=f"{before} are held")
    follower.told.clear()
    place.beat(A)
    place.remove(A)
    place.break_()
    place.mend()
    for _ in range(30):
        await asyncio.sleep(0.01)
        assert follower.told == []


async def test_stopped_while_broken_it_tells_nothing_when_it_is_mended(
    place: Driver, follower: Follower
) -> None:
    watches = held()["watches"]
    await follower.read()
    (place.hang if place.hangs else place.break_)()
    with pytest.raises(SourceLost) as caught:
        await follower.read()
    follower.source.lost(str(caught.value))
    await follower.source.stop()
    follower.told.clear()
    place.mend()
    for _ in range(30):
        await asyncio.sleep(0.01)
        assert follower.told == []
    await until(lambda: held()["watches"] == watches, what="what is late lets go as well")


async def test_broken_from_the_start_it_is_read_once_it_is_mended(place: Driver, source: Source) -> None:
    place.beat(A)
    place.break_()
    follower = Follower(source)
    follower.start()
    await place.begin()
    with pytest.raises(SourceLost) as caught:
        await follower.read()
    source.lost(str(caught.value))
    place.mend()
    await follower.recover()
    assert set(follower.known) == {A}


async def test_that_agents_cannot_beat_is_told_and_so_is_its_end(place: Driver, follower: Follower) -> None:
    if not place.stands_still:
        return
    await follower.read()
    follower.told.clear()
    place.stand_still(True)
    await until(lambda: "standstill" in follower.told)
    assert follower.source.state.standstill
    follower.told.clear()
    place.stand_still(False)
    await until(lambda: "standstill" in follower.told)
    assert follower.source.state.standstill is None
