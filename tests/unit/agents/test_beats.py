"""Test what counts as a beat of one agent in one source, and what a restart must not count twice."""

from __future__ import annotations

import os
from dataclasses import replace

import msgspec
import pytest
from agents import TIMEOUT, source, state_of, step
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coordd.agents.beats import FUTURE, LastBeat, Reading, Restored, beat_after_restart
from coordd.agents.join import Agent
from coordd.agents.liveness import Verdict
from coordd.agents.observation import Observation
from coordd.agents.remembered import by_place
from coordd.agents.samples import sample_of
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.runtime.clocks import Moment
from coordd.sinks.restore import restore

PLACE = (source("/w"), "a")
T0 = 1_795_327_500.0


def beat(written: float | None, mtime: float, content: object = None) -> Heartbeat:
    return Heartbeat(written=written, mtime=mtime, identity=(written, mtime, content))


def traces(
    heartbeat: Heartbeat | None = None,
    started: float | None = None,
    tasks: tuple[str, ...] | None = (),
    status: str | None = None,
) -> AgentTraces:
    registration = None if started is None and status is None else Registration(started, status)
    return AgentTraces("a", heartbeat=heartbeat, registration=registration, tasks=tasks)


def reading(wall: float, *, since: float | None = None, fresh: bool = False) -> Reading:
    """Return a reading whose observed and monotonic clocks show the seconds since T0."""
    observed = wall - T0
    return Reading(
        wall=wall,
        mono=observed,
        observed=observed,
        since=observed if since is None else since - T0,
        timeout=TIMEOUT,
        fresh=fresh,
    )


def taken(before: Agent | None, found: AgentTraces, how: Reading) -> tuple[Agent, str | None]:
    return step(before, PLACE, found, how)


def first(found: AgentTraces, wall: float = T0) -> Agent:
    return taken(None, found, reading(wall, fresh=True))[0]


def seen(agent: Agent) -> Observation:
    (one,) = agent.observations
    return one


offsets = st.integers(min_value=-500_000, max_value=300_000).map(lambda ms: ms / 1000)
past = st.integers(min_value=-500_000, max_value=0).map(lambda ms: ms / 1000)
heartbeats = st.builds(
    lambda written, mtime: beat(None if written is None else T0 + written, T0 + mtime),
    st.none() | offsets,
    past,
)
any_traces = st.builds(
    traces,
    st.none() | heartbeats,
    st.none() | past.map(lambda offset: T0 + offset),
    st.none() | st.sampled_from([(), ("t",), ("t", "u")]),
    st.sampled_from([None, "working"]),
)
seconds = st.integers(min_value=0, max_value=100_000_000).map(lambda ms: ms / 1000)


def test_at_first_sight_the_written_time_decides() -> None:
    known = first(traces(beat(T0 - 30, T0 - 1)))
    assert (known.beat_wall, seen(known).beat_at) == (T0 - 30, -30)
    assert known.verdict == Verdict("active", "heartbeat")
    assert first(traces(beat(T0 - 300, T0 - 250))).verdict == Verdict("inactive", "silent")


@pytest.mark.parametrize(("written", "changed"), [(T0 - 300, T0 - 1), (T0 - 1, T0 - 300)])
def test_two_times_that_contradict_each_other_at_first_sight_prove_nothing(
    written: float, changed: float
) -> None:
    """A file that was copied is young and its time old; on a server with another clock it may be old."""
    known = first(traces(beat(written, changed)))
    assert (known.verdict, known.beat_wall) == (Verdict("unknown", "no-heartbeat"), changed)
    later, _ = taken(known, traces(beat(written, changed)), reading(T0 + TIMEOUT - 1))
    assert later.verdict == Verdict("unknown", "no-heartbeat")
    later, _ = taken(known, traces(beat(written, changed)), reading(T0 + TIMEOUT))
    assert later.verdict == Verdict("inactive", "silent")
    beaten, _ = taken(known, traces(beat(T0 + 30, T0 + 30)), reading(T0 + 30))
    assert (beaten.verdict, beaten.run_since) == (Verdict("active", "heartbeat"), T0 + 30)


def test_of_a_doubtful_time_and_a_certain_one_the_young_certain_one_decides() -> None:
    doubtful = beat(T0 - 300, T0 - 1)
    assert first(traces(doubtful, started=T0 - 20)).verdict == Verdict("active", "heartbeat")
    assert first(traces(doubtful, started=T0 - 900)).verdict == Verdict("unknown", "no-heartbeat")


def unzoned(written: float, local: float, mtime: float | None = None) -> Heartbeat:
    """A heartbeat in Redis whose time names no zone."""
    return Heartbeat(written, mtime, (written, local, mtime), local)


@pytest.mark.parametrize(
    ("written", "local", "verdict"),
    [
        (-18_000, -20, Verdict("unknown", "no-heartbeat")),  # hours ago, or now
        (-18_000, -TIMEOUT, Verdict("inactive", "silent")),  # too long ago either way
        (-20, 17_980, Verdict("active", "heartbeat")),  # now: what is in hours is not
        (-20, -18_020, Verdict("active", "heartbeat")),
    ],
)
def test_a_time_that_may_be_of_now_or_long_past_tells_nothing(
    written: float, local: float, verdict: Verdict
) -> None:
    found = traces(unzoned(T0 + written, T0 + local))
    agent = first(found)
    assert agent.verdict == verdict
    if verdict.status == "unknown":
        later, _ = taken(agent, found, reading(T0 + 10 * TIMEOUT))
        assert later.verdict == verdict, "until it changes"
        beaten, _ = taken(agent, traces(beat(T0 + 30, T0 + 30)), reading(T0 + 30))
        assert (beaten.verdict, beaten.run_since) == (Verdict("active", "heartbeat"), T0 + 30)


@pytest.mark.parametrize("heartbeat", [Heartbeat(None, None, 1), unzoned(T0 - 18_000, T0 - 20)])
def test_a_heartbeat_that_tells_nothing_is_no_silence_since_an_old_registration(heartbeat: Heartbeat) -> None:
    assert first(traces(heartbeat, started=T0 - 3600)).verdict == Verdict("unknown", "no-heartbeat")
    assert first(traces(heartbeat, started=T0 - 10)).verdict == Verdict("active", "heartbeat")
    assert first(traces(None, started=T0 - 3600)).verdict == Verdict("inactive", "silent")


def test_after_a_restart_local_time_that_was_recorded_is_no_new_beat() -> None:
    """East of Greenwich it lies ahead as UTC at first, and not any more hours later."""
    last = LastBeat(T0, 0.0, T0)
    found = traces(unzoned(T0 + 19_800, T0))
    assert (
        beat_after_restart(last, Restored(wall=T0, seen=T0), found, reading(T0 + 19_850, fresh=True)) is None
    )
    later = traces(unzoned(T0 + 19_840, T0 + 40))
    assert beat_after_restart(last, Restored(wall=T0, seen=T0), later, reading(T0 + 19_850, fresh=True))


def test_a_registration_that_changes_is_a_beat_unless_it_says_that_the_agent_has_ended() -> None:
    def registered(status: str, identity: int, changed: float) -> AgentTraces:
        return AgentTraces(
            "a", registration=Registration(T0 - 900, status, written=changed, identity=identity)
        )

    known = first(registered("busy", 1, T0 - 800))
    assert known.verdict == Verdict("inactive", "silent")
    lives, cause = taken(known, registered("idle", 2, T0 + 30), reading(T0 + 30))
    assert (cause, lives.verdict.status, lives.beat_wall) == ("heartbeat", "active", T0 + 30)
    ended, _ = taken(lives, registered("stopped", 3, T0 + 40), reading(T0 + 40))
    assert ended.verdict == Verdict("inactive", "ended")
    assert ended.beat_wall == T0 + 30


@pytest.mark.parametrize("written", [None, T0 + FUTURE + 0.1, T0 + 86400])
def test_without_a_usable_time_in_it_the_mtime_decides(written: float | None) -> None:
    assert first(traces(beat(written, T0 - 7))).beat_wall == T0 - 7


def test_a_time_slightly_ahead_is_taken_as_it_is_and_makes_no_negative_silence() -> None:
    known = first(traces(beat(T0 + 4, T0)))
    assert (known.beat_wall, seen(known).beat_at, known.beat_mono) == (T0 + 4, 0.0, 0.0)


def test_a_registration_counts_as_a_beat_and_without_either_there_is_none() -> None:
    assert first(traces(started=T0 - 10)).beat_wall == T0 - 10
    assert first(traces(beat(T0 - 60, T0 - 60), started=T0 - 10)).beat_wall == T0 - 10
    assert first(traces(started=T0 + 60)).verdict == Verdict("unknown", "no-heartbeat")
    assert first(traces()).verdict == Verdict("unknown", "no-heartbeat")


@settings(deadline=None)
@given(any_traces, seconds)
def test_the_same_traces_again_are_never_a_beat(found: AgentTraces, later: float) -> None:
    known = first(found)
    again, cause = taken(known, found, reading(T0 + later))
    assert seen(again) is seen(known)
    if again.verdict == known.verdict:
        assert again is known
        assert cause is None
    else:
        assert (cause, again.cause, again.verdict) == ("verdict", "verdict", Verdict("inactive", "silent"))
    assert taken(again, found, reading(T0 + later)) == (again, None)


def test_an_agent_that_appears_in_a_followed_source_beat_since_the_last_reading() -> None:
    known, cause = taken(None, traces(beat(T0 - 18000, T0 + 30)), reading(T0 + 32, since=T0 + 20))
    assert (cause, seen(known).beat_at, known.verdict.status) == ("appeared", 30, "active")


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        (beat(T0 + 30, T0 + 30), T0 + 30),
        (beat(T0, T0 + 31), T0 + 31),  # touched
        (beat(T0, T0, "another inode"), T0 + 32),
        (beat(None, T0 + 29), T0 + 29),
        (beat(T0 + 9000, T0 + 28), T0 + 28),
        (beat(T0 + 9000, T0 + 9000), T0 + 32),  # its clock is wrong: the moment of reading
        (beat(T0 - 18000, T0 + 30), T0 + 30),  # its clock is behind: the moment of the change
        (beat(T0 - 60, T0 + 30), T0 - 60),
        (beat(T0 + 30, T0 - 18000), T0 + 30),  # that of the file server is
        (beat(T0 - 18000, T0 - 18000), T0 + 32),
    ],
)
def test_any_change_is_a_beat_that_happened_since_the_last_reading(after: Heartbeat, shown: float) -> None:
    known = first(traces(beat(T0, T0)))
    now, cause = taken(known, traces(after), reading(T0 + 32, since=T0 + 20))
    assert (cause, now.cause, now.beat_wall, now.verdict.status) == (
        "heartbeat",
        "heartbeat",
        shown,
        "active",
    )
    at = seen(now).beat_at
    assert at is not None
    assert 20 <= at <= 32


def test_an_agent_whose_clock_is_hours_behind_lives_as_long_as_it_beats() -> None:
    known = first(traces(beat(T0 - 18000, T0)))
    assert known.verdict == Verdict("unknown", "no-heartbeat")
    for turn in range(1, 20):
        wall = T0 + 30 * turn
        known, _ = taken(known, traces(beat(wall - 18000, wall)), reading(wall))
        assert known.verdict == Verdict("active", "heartbeat")


def test_a_run_ends_with_a_gap_longer_than_the_timeout() -> None:
    known = first(traces(beat(T0, T0)))
    known, _ = taken(known, traces(beat(T0 + 119, T0 + 119)), reading(T0 + 119))
    assert known.run_since == T0
    known, _ = taken(known, traces(beat(T0 + 300, T0 + 300)), reading(T0 + 300))
    assert known.run_since == T0 + 300


def test_a_beat_after_an_outage_is_no_earlier_than_the_one_before_it_whatever_its_clock_says() -> None:
    """The clock of the agent is ten minutes behind; its beats counted as they came before the outage."""
    known = first(traces(beat(T0 - 600, T0 - 600)))
    known = replace(known, observations=(replace(seen(known), beat_at=-10.0, beat_mono=-10.0),))
    back, cause = taken(known, traces(beat(T0 - 580, T0 - 580)), reading(T0 + 20, fresh=True))
    assert (cause, back.beat_wall, seen(back).beat_at) == ("heartbeat", T0 - 580, -10.0)
    assert back.verdict.status == "active"


# After a restart: what the last run had recorded is known.


def restarted(known: Agent, wall: float, tmp: str) -> Agent:
    """Return what a daemon that starts later restores from the last record, through the real reader."""
    with open(f"{tmp}/agent_2026-11-22.jsonl", "wb") as file:
        sample = sample_of(known, verdict=known.verdict, wall=wall, host="h")
        file.write(msgspec.json.encode(sample) + b"\n")
    directory = os.open(tmp, os.O_RDONLY)
    try:
        (memory,) = restore(None, directory, now=wall)
    finally:
        os.close(directory)
    observations = memory.observations(by_place([state_of("/w")]), Moment(wall=wall, mono=wall - T0))
    return memory.agent(observations)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("metrics"))


def _started(traces: AgentTraces) -> float | None:
    return traces.registration.started_at if traces.registration else None


@settings(deadline=None, max_examples=300)
@given(any_traces, any_traces, st.booleans(), seconds)
def test_a_restart_samples_no_beat_twice(
    directory: str, before: AgentTraces, found: AgentTraces, twice: bool, later: float
) -> None:
    """It covers beats that only touch the file, empty files, and written times in the future."""
    known = first(before if twice else found)
    if twice:  # the beat was seen as a change, which may go by the mtime where a first sight does not
        known, _ = taken(known, found, reading(T0 + 0.05))
        # A part that went away, or came back older than the record, tells nothing after a restart.
        assume(found.heartbeat is not None or before.heartbeat is None)
        assume(_started(found) is not None or _started(before) is None)
    memory = restarted(known, T0 + 0.05, directory)
    assert memory.verdict == known.verdict
    after, cause = taken(memory, found, reading(T0 + later))
    assert after.beat_wall == memory.beat_wall
    assert cause in (None, "verdict")
    if cause is not None:
        assert after.verdict.status == "inactive"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (beat(T0, T0), beat(T0 + 60, T0 + 60), T0 + 60),
        (beat(T0, T0 + 0.01), beat(T0, T0 + 60), T0 + 60),  # touched meanwhile
        (beat(None, T0), beat(None, T0 + 60), T0 + 60),
        (beat(T0 + 900, T0), beat(T0 + 960, T0 + 60), T0 + 60),
        (beat(T0, T0), beat(T0 + 30, T0 + 0.01, "skewed mtime"), T0 + 30),
    ],
)
def test_a_restart_sees_the_beats_of_the_meantime(
    before: Heartbeat, after: Heartbeat, shown: float, tmp_path: object
) -> None:
    memory = restarted(first(traces(before)), T0 + 0.05, str(tmp_path))
    now, cause = taken(memory, traces(after), reading(T0 + 61))
    assert (cause, now.beat_wall, now.verdict.status) == ("heartbeat", shown, "active")
    assert now.run_since == memory.run_since


def test_a_restart_goes_on_with_an_agent_that_only_touches_its_file(tmp_path: object) -> None:
    known = first(traces(beat(T0 - 600, T0 - 600)))
    known, _ = taken(known, traces(beat(T0 - 600, T0)), reading(T0))
    memory = restarted(known, T0, str(tmp_path))
    same, _ = taken(memory, traces(beat(T0 - 600, T0)), reading(T0 + 20))
    assert (same.beat_wall, same.verdict.status) == (T0, "active")
    now, _ = taken(memory, traces(beat(T0 - 600, T0 + 30)), reading(T0 + 40))
    assert (now.beat_wall, now.verdict.status) == (T0 + 30, "active")


def test_an_agent_that_registers_again_during_the_restart_is_seen(tmp_path: object) -> None:
    memory = restarted(first(traces(beat(T0, T0), started=T0 - 50)), T0, str(tmp_path))
    now, cause = taken(memory, traces(beat(T0, T0), started=T0 + 200), reading(T0 + 210))
    assert (now.beat_wall, now.run_since, cause) == (T0 + 200, T0 + 200, "heartbeat")


def test_a_restored_agent_that_never_beat_and_still_does_not_is_as_it_was(tmp_path: object) -> None:
    memory = restarted(first(traces(tasks=("t",))), T0, str(tmp_path))
    assert taken(memory, traces(tasks=("t",)), reading(T0 + 10))[1] is None
    beats, cause = taken(memory, traces(beat(T0 + 5, T0 + 5)), reading(T0 + 10))
    assert (cause, beats.run_since) == ("heartbeat", T0 + 5)


def test_a_beat_that_another_source_recorded_in_whole_seconds_is_no_new_one() -> None:
    last = LastBeat(T0, 0.0, T0 - 50)
    for shared, known in ((True, True), (False, False)):
        restored = Restored(wall=T0, seen=T0, shared=shared)
        later = beat_after_restart(last, restored, traces(beat(T0 + 0.9, T0 + 0.9)), reading(T0 + 20))
        assert (later is None) == known
    restored = Restored(wall=T0, seen=T0, shared=True)
    later = beat_after_restart(last, restored, traces(beat(T0 + 1.1, T0 + 1.1)), reading(T0 + 20))
    assert later is not None and later.wall == T0 + 1.1


def test_what_was_before_its_recorded_end_brings_no_agent_back() -> None:
    last = LastBeat(T0, 0.0, T0)  # by a registration that was written anew since
    for at, counts in ((T0 + 0.002, False), (T0 + 2.9, False), (T0 + 3.1, True)):
        restored = Restored(wall=T0 + 4, seen=T0, ended=T0 + 3)
        found = beat_after_restart(last, restored, traces(beat(T0 - 0.1, at)), reading(T0 + 20))
        assert (found is not None) == counts, at
