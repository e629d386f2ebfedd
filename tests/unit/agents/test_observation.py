"""Test the observation that one reading of one source makes of an agent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agents import REDIS, TIMEOUT, source
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.beats import Reading, Restored
from coordd.agents.key import AgentKey
from coordd.agents.observation import Observation, observe
from coordd.agents.seen_process import End, SeenProcess
from coordd.agents.session import Session, Turn
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.host.process_facts import Process

PLACE = (source("/w"), "a")
T0 = 1_795_327_500.0


def traces(beat: float | None, **fields: object) -> AgentTraces:
    heartbeat = None if beat is None else Heartbeat(T0 + beat, T0 + beat, (beat,))
    return AgentTraces("a", heartbeat=heartbeat, **fields)  # type: ignore[arg-type]


def reading(after: float, *, blind: float = 0.0, fresh: bool = False, since: float | None = None) -> Reading:
    """Return a reading so many seconds after T0, of which ``blind`` were taken out of the source's clock."""
    observed = after - blind
    return Reading(
        T0 + after, after, observed, observed if since is None else since, TIMEOUT, fresh=fresh, blind=blind
    )


def seen(beat: float | None, old: Observation | None = None, after: float = 10.0) -> Observation:
    return observe(old, PLACE, "/w", traces(beat), reading(after, fresh=old is None))


def test_it_is_of_the_source_and_of_the_workspace_of_that_unless_the_traces_name_another() -> None:
    one = seen(1.0)
    assert (one.key, one.place) == (("/w", "a"), PLACE)
    sessions = (SourceName("claude-code", "/home/u"), "a")
    for named, workspace in (("/x", "/x"), ("", ""), (None, "/home-of-all")):
        found = observe(None, sessions, "/home-of-all", traces(1.0, workspace=named), reading(2.0))
        assert found.key == (workspace, "a")
    moved = observe(found, sessions, "/home-of-all", traces(1.0, workspace="/y"), reading(3.0))
    assert (moved.key, moved.beat_at) == (("/y", "a"), found.beat_at)


def test_a_reading_that_changes_nothing_returns_the_observation_itself() -> None:
    one = seen(1.0)
    assert seen(1.0, one, after=5000.0) is one
    assert observe(one, PLACE, "/w", traces(1.0, listed=True), reading(12.0)) is not one


def test_other_traces_without_a_beat_leave_the_beat_as_it_was() -> None:
    one = seen(1.0)
    other = observe(one, PLACE, "/w", traces(1.0, tasks=("t",)), reading(90.0, blind=40.0))
    assert other.traces == traces(1.0, tasks=("t",))
    assert replace(other, traces=one.traces) == one


def test_a_beat_is_dated_on_both_clocks_once() -> None:
    one = observe(None, PLACE, "/w", traces(95.0), reading(100.0, blind=30.0, fresh=True))
    assert (one.beat_wall, one.beat_at, one.beat_mono) == (T0 + 95, 65.0, 95.0)
    later = observe(one, PLACE, "/w", traces(None), reading(400.0, blind=200.0))
    assert (later.beat_at, later.beat_mono) == (65.0, 95.0)


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(-100, 100), st.booleans())
def test_no_beat_lies_in_the_future(after: float, blind: float, ahead: float, fresh: bool) -> None:
    how = reading(after, blind=min(after, blind), fresh=fresh)
    one = observe(None, PLACE, "/w", traces(after + ahead), how)
    assert one.beat_mono is None or one.beat_mono <= after
    assert one.beat_at is None or one.beat_at <= how.observed


def test_without_a_beat_there_is_no_silence_and_what_is_hidden_cannot_be_read() -> None:
    assert seen(None).evidence(50.0, timeout=TIMEOUT, readable=True, mono=0.0).silence is None
    one = seen(1.0)
    evidence = one.evidence(50.0, timeout=TIMEOUT, readable=True, mono=0.0)
    assert (evidence.silence, evidence.readable) == (49.0, True)
    assert one.evidence(0.0, timeout=TIMEOUT, readable=False, mono=0.0).silence == 0.0
    assert not one.evidence(0.0, timeout=TIMEOUT, readable=False, mono=0.0).readable
    hidden = observe(one, PLACE, "/w", traces(None, hidden="denied"), reading(20.0))
    assert not hidden.evidence(50.0, timeout=TIMEOUT, readable=True, mono=0.0).readable


def test_one_that_was_forgotten_sleeps_until_its_next_beat() -> None:
    asleep = replace(seen(1.0), dormant=True)
    assert seen(1.0, asleep) is asleep
    listed = observe(asleep, PLACE, "/w", traces(1.0, listed=True), reading(90_000.0))
    assert (listed.dormant, listed.beat_at) == (True, 1.0)
    back = observe(listed, PLACE, "/w", traces(90_010.0, listed=True), reading(90_011.0))
    assert (back.dormant, back.beat_at, back.run_since) == (False, 90_011.0, T0 + 90_010)


@pytest.mark.parametrize("place", [PLACE, (REDIS, "a")])
def test_what_the_records_say_stands_until_the_first_reading(place: tuple[SourceName, str]) -> None:
    alone, shared = (Restored(tasks=3, status="busy", wall=T0, seen=T0, shared=one) for one in (False, True))
    for restored in (alone, shared):
        memory = Observation(place[0], AgentKey("/w", "a"), None, T0, 0.0, 0.0, T0 - 9, restored=restored)
        read = observe(memory, place, "/w", traces(0.0), reading(30.0, fresh=True))
        assert (read.traces, read.beat_wall, read.beat_at) == (traces(0.0), T0, 0.0)
        # of several sources, another may not be read yet
        assert read.restored == (restored if restored.shared else None)


def test_a_registration_that_is_renewed_is_a_beat() -> None:
    one = seen(1.0)
    renewed = Registration(started_at=T0 - 5, updated_at=T0 + 20)
    beaten = observe(one, PLACE, "/w", traces(1.0, registration=renewed), reading(21.0))
    assert (beaten.beat_wall, beaten.beat_at) == (T0 + 20, 21.0)
    again = observe(beaten, PLACE, "/w", traces(1.0, registration=renewed), reading(90.0))
    assert again is beaten


def test_a_registration_file_that_is_only_touched_is_no_beat() -> None:
    told = Registration(started_at=T0 - 5, pid=7, owner=1000, written=T0)
    one = observe(seen(1.0), PLACE, "/w", traces(1.0, registration=told), reading(21.0))
    touched = traces(1.0, registration=replace(told, written=T0 + 60))
    again = observe(one, PLACE, "/w", touched, reading(61.0))
    assert (again.beat_wall, again.beat_at) == (one.beat_wall, one.beat_at)
    assert again.traces == touched


def test_the_time_that_the_machine_slept_before_coordd_looked_is_no_age() -> None:
    """A turn whose last record is 8 h old is not stalled if the machine may have slept for those hours."""
    turn = Turn(open=True, since=T0 - 30_000, last=T0 - 28_800)
    session = Session("claude-code", "s", None, turn=turn)
    for slept, age in [(0.0, 28_800.0), (28_000.0, 800.0), (90_000.0, 0.0)]:
        first = Reading(T0, 500.0, 500.0, 500.0, TIMEOUT, fresh=True, slept=slept)
        one = observe(None, PLACE, "/w", AgentTraces("a", session=session), first)
        assert one.date(turn.last) == 500.0 - age
        later = Reading(T0 + 60, 560.0, 560.0, 560.0, TIMEOUT)
        grown = replace(session, turn=replace(turn, last=T0 + 50))
        again = observe(one, PLACE, "/w", AgentTraces("a", session=grown), later)
        assert again.date(turn.since) == one.date(turn.since)  # what was dated once stays so
        assert again.date(T0 + 50) == 560.0


def of_session(process: Process, *, lives: bool = True) -> AgentTraces:
    return AgentTraces("a", session=Session("codex", "s", process, lives=lives))


def test_a_process_that_works_on_the_session_counts_although_several_sessions_have_it() -> None:
    one = observe(None, PLACE, "/w", of_session(Process(1, 2)), reading(1.0, fresh=True))
    assert one.process is not None and one.process.certain
    shared = replace(one.process, shared=True)
    assert shared.lives and not replace(shared, certain=False).lives
    assert not replace(shared, end=End(orderly=True, wall=T0, mono=0.0)).lives


def test_a_process_known_from_the_records_counts_as_soon_as_its_session_is_read() -> None:
    one = observe(None, PLACE, "/w", traces(1.0), reading(1.0, fresh=True))
    restored = replace(one, traces=None, process=SeenProcess(Process(1, 2), shared=True))
    read = observe(restored, PLACE, "/w", of_session(Process(1, 2)), reading(2.0))
    assert read.process == SeenProcess(Process(1, 2), shared=True, certain=True)


def test_a_session_that_its_process_takes_up_again_lives_again() -> None:
    """As a background server does with a session that it had let go of."""
    one = observe(None, PLACE, "/w", of_session(Process(1, 2)), reading(1.0, fresh=True))
    closed = observe(one, PLACE, "/w", of_session(Process(1, 2), lives=False), reading(2.0))
    ended = replace(closed, process=replace(closed.process, end=End(orderly=True, wall=T0, mono=2.0)))  # type: ignore[type-var]
    same = observe(ended, PLACE, "/w", of_session(Process(1, 2), lives=False), reading(3.0))
    assert same.process == ended.process
    again = observe(ended, PLACE, "/w", of_session(Process(1, 2)), reading(4.0))
    assert again.process == SeenProcess(Process(1, 2), certain=True)


def test_a_reading_that_was_late_brings_no_process_back() -> None:
    one = observe(None, PLACE, "/w", of_session(Process(1, 2)), reading(1.0, fresh=True))
    killed = replace(one, process=replace(one.process, end=End(orderly=False, wall=T0, mono=2.0)))  # type: ignore[type-var]
    late = replace(of_session(Process(1, 2)), workspace="/x")
    found = observe(killed, PLACE, "/w", late, reading(3.0))
    assert found.process == killed.process
