"""Test how one agent is made of its observations, and what a step from one picture to the next is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agents import REDIS, TIMEOUT, source, step
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.beats import Reading, Restored
from coordd.agents.join import Agent, difference, join
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Evidence, Verdict, combine
from coordd.agents.observation import Observation
from coordd.agents.samples import sample_of, uptime, view_fields
from coordd.agents.shown import ShownAgent
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.model import AgentSample, AgentView
from coordd.util.timestamps import format_utc

KEY = AgentKey("/a", "x")
FILE, SESSIONS = source("/a"), SourceName("claude-code", "/home/u")
T0 = 1_795_327_500.0
ACTIVE = Verdict("active", "heartbeat")


def seen(name: SourceName, beat: float | None = None, **fields: Any) -> Observation:
    """Return an observation whose last beat was ``beat`` seconds after T0, all clocks being in step."""
    own = {field: fields.pop(field) for field in ("run_since", "restored", "traces") if field in fields}
    wall = None if beat is None else T0 + beat
    return Observation(
        source=name,
        key=AgentKey("" if name == REDIS else "/a", "x"),
        beat_wall=wall,
        beat_at=beat,
        beat_mono=beat,
        **{"traces": AgentTraces("x", **fields), **own},
    )


def joined(*observations: Observation) -> Agent:
    return join(KEY, observations, Evidence(silence=0.0, timeout=TIMEOUT))


# Several observations make one agent.


def test_tasks_that_both_list_count_once_and_the_fresher_beat_wins() -> None:
    file = seen(FILE, 100.0, tasks=("t1", "t2"), run_since=T0 + 50)
    redis = seen(REDIS, 130.0, tasks=("t2", "t3"), unnamed_tasks=2, run_since=T0 + 120)
    agent = joined(file, redis)
    assert agent.key == ("/a", "x")
    assert agent.active_tasks == 5
    assert (agent.beat_wall, agent.beat_mono) == (T0 + 130, 130.0)
    assert agent.sources == ("file", "redis")


@pytest.mark.parametrize(("gap", "start"), [(-5.0, 50.0), (TIMEOUT, 50.0), (TIMEOUT + 1, 120.0)])
def test_runs_of_two_sources_are_one_unless_a_gap_is_longer_than_the_timeout(
    gap: float, start: float
) -> None:
    file, redis = seen(FILE, 120.0 - gap, run_since=T0 + 50), seen(REDIS, 130.0, run_since=T0 + 120)
    assert joined(file, redis).run_since == T0 + start


def test_three_sources_are_joined_as_two_are() -> None:
    file = seen(FILE, 100.0, tasks=("t1",), run_since=T0 + 10)
    redis = seen(REDIS, 130.0, tasks=("t2", "t1"), unnamed_tasks=2, run_since=T0 + 120)
    session = seen(SESSIONS, 125.0, run_since=T0 + 90)
    agent = joined(file, redis, session)
    assert agent.sources == ("file", "redis", "claude-code")
    assert agent.active_tasks == 4
    assert agent.traces is not None and agent.traces.tasks == ("t1", "t2")
    assert agent.beat_wall == T0 + 130
    assert agent.run_since == T0 + 10


def test_two_sources_of_one_kind_are_named_once() -> None:
    other = seen(SourceName("claude-code", "/home/v"), 5.0)
    assert joined(seen(FILE, 1.0), seen(SESSIONS, 2.0), other).sources == ("file", "claude-code")


def test_the_fresher_beat_is_that_of_the_common_clock_whatever_its_writer_says() -> None:
    slow = replace(seen(FILE, 130.0), beat_wall=T0 - 18000)
    assert joined(slow, seen(REDIS, 100.0)).beat_wall == T0 - 18000
    assert joined(seen(FILE), seen(REDIS, 100.0)).beat_wall == T0 + 100
    assert joined(seen(FILE, 100.0), seen(REDIS)).beat_wall == T0 + 100
    assert joined(seen(FILE), seen(REDIS)).beat_wall is None


def test_what_one_source_cannot_tell_of_tasks_is_unknown_for_both() -> None:
    assert joined(seen(FILE, tasks=("t1",)), seen(REDIS, tasks=None)).active_tasks is None


def test_a_registration_in_a_file_counts_before_the_registry_field_by_field() -> None:
    file = seen(FILE, registration=Registration(status="busy"))
    redis = seen(REDIS, registration=Registration(status="idle", hostname="h", pid=7))
    session = seen(SESSIONS, registration=Registration(pid=8, proc_start=3.0))
    agent = joined(file, redis)
    assert agent.traces is not None
    assert agent.traces.registration == Registration(status="busy", hostname="h", pid=7)
    assert agent.declared_status == "busy"
    agent = joined(file, redis, session)
    assert agent.traces is not None
    assert agent.traces.registration == Registration(status="busy", hostname="h", pid=7, proc_start=3.0)


@given(st.booleans())
def test_before_either_was_read_again_what_was_recorded_stands(fresher: bool) -> None:
    recorded = Restored(tasks=3, status="busy", shared=True)
    file = seen(FILE, 10.0, traces=None, restored=recorded)
    redis = seen(REDIS, 20.0 if fresher else 5.0, tasks=("t1",), restored=recorded)
    agent = joined(file, redis)
    assert (agent.active_tasks, agent.declared_status, agent.traces) == (3, "busy", None)
    read = joined(replace(file, traces=AgentTraces("x")), redis)
    assert (read.active_tasks, read.declared_status) == (1, None)


def test_several_sources_tell_the_shortest_silence_and_can_be_read_if_all_can() -> None:
    one = Evidence(silence=50.0, timeout=TIMEOUT)
    other = Evidence(silence=None, timeout=TIMEOUT, readable=False)
    assert combine([one]) is one
    assert combine([one, other]) == Evidence(silence=50.0, timeout=TIMEOUT, readable=False)
    assert combine([one, replace(one, silence=7.0)]).silence == 7.0
    assert combine([other, other]).silence is None


def test_one_live_process_is_enough_and_one_orderly_end() -> None:
    nothing = Evidence(silence=None, timeout=TIMEOUT)
    killed, alive = replace(nothing, process="killed"), replace(nothing, process="alive")
    assert [combine([nothing, one]).process for one in (nothing, killed, alive)] == [None, "killed", "alive"]
    assert combine([killed, alive]).process == "alive"
    assert combine([nothing, replace(nothing, end_age=9.0)]).ended


# What a step is worth.


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ([seen(FILE, 1.0)], [seen(FILE, 1.0)], None),
        ([seen(FILE, 1.0)], [seen(FILE, 2.0)], "heartbeat"),
        ([seen(FILE, 1.0)], [replace(seen(FILE, 1.0), beat_at=2.0, beat_mono=2.0)], "heartbeat"),
        ([seen(FILE, 2.0)], [replace(seen(FILE, 2.0), beat_at=1.0)], None),  # its clock was set back
        ([seen(FILE, 1.0)], [seen(FILE, 1.0, tasks=("t",))], "tasks"),
        ([seen(FILE, 1.0, tasks=("u",))], [seen(FILE, 1.0, tasks=("t",))], None),
        ([seen(FILE, 1.0), seen(REDIS, 5.0)], [seen(FILE, 4.0), seen(REDIS, 5.0)], None),
        ([seen(FILE, 1.0), seen(REDIS, 5.0)], [seen(FILE, 6.0), seen(REDIS, 5.0)], "heartbeat"),
        (  # one beat, which both report
            [seen(FILE, 1.0), seen(REDIS, 5.0)],
            [replace(seen(FILE, 5.1), beat_wall=T0 + 5), seen(REDIS, 5.0)],
            None,
        ),
        ([seen(FILE, 1.0)], [seen(FILE, 1.0), seen(REDIS, 0.5)], "heartbeat"),
        ([seen(FILE, 1.0), seen(REDIS, 5.0)], [seen(FILE, 1.0)], "verdict"),
        ([seen(FILE, 1.0), seen(REDIS, 5.0, tasks=("t",))], [seen(FILE, 1.0)], "tasks"),
        ([seen(FILE, 1.0)], [seen(SESSIONS, 1.0)], "heartbeat"),
    ],
)
def test_what_a_change_of_observations_is_worth(
    before: list[Observation], after: list[Observation], cause: str | None
) -> None:
    assert difference(joined(*before), joined(*after)) == cause


def test_a_new_verdict_is_worth_a_record_its_reason_too() -> None:
    agent = joined(seen(FILE, 1.0))
    assert agent.verdict == ACTIVE
    for verdict in (Verdict("inactive", "silent"), Verdict("active", "process")):
        assert difference(agent, replace(agent, verdict=verdict)) == "verdict"


# One source alone: a reading, the agent, and what the step is worth.


def traces(
    beat: float | None = None, started: float | None = None, tasks: tuple[str, ...] = (), **said: Any
) -> AgentTraces:
    registration = None if started is None and not said else Registration(started, **said)
    heartbeat = None if beat is None else Heartbeat(beat, beat, (beat,))
    return AgentTraces("x", heartbeat=heartbeat, registration=registration, tasks=tasks)


def taken(before: Agent | None, found: AgentTraces, wall: float) -> tuple[Agent, str | None]:
    observed = wall - T0
    reading = Reading(wall, observed, observed, observed, TIMEOUT, fresh=before is None)
    return step(before, (FILE, "x"), found, reading)


def first(found: AgentTraces) -> Agent:
    return taken(None, found, T0)[0]


def test_an_agent_that_was_not_there_before_has_appeared() -> None:
    assert taken(None, traces(T0), T0)[1] == "appeared"


def test_other_changes() -> None:
    known = first(traces(T0, T0 - 50))
    more, cause = taken(known, traces(T0, T0 - 50, ("t",)), T0 + 1)
    assert (cause, more.cause, more.active_tasks, more.beat_mono) == ("tasks", "tasks", 1, known.beat_mono)
    other, cause = taken(more, traces(T0, T0 - 50, ("u",)), T0 + 2)
    assert (cause, other.cause) == (None, "tasks")
    assert other.traces is not more.traces
    said, cause = taken(more, traces(T0, T0 - 50, ("t",), status="busy"), T0 + 2)
    assert (cause, said.declared_status) == (None, "busy")
    again, cause = taken(more, traces(T0, T0 + 3, ("t",)), T0 + 4)
    assert (cause, again.beat_wall) == ("heartbeat", T0 + 3)


def test_a_heartbeat_file_that_goes_away_is_no_beat() -> None:
    known = first(traces(T0, T0 - 50))
    gone, cause = taken(known, traces(None, T0 - 50), T0 + 10)
    assert (cause, gone.beat_wall) == (None, T0)


# What records and answers show.


def test_uptime_counts_from_the_start_ends_with_an_inactive_one_and_is_unknown_else() -> None:
    known = first(traces(T0, T0 - 100))
    assert uptime(known, ACTIVE, T0 + 10) == 110
    assert uptime(known, Verdict("inactive", "silent"), T0 + 500) == 100
    assert uptime(known, Verdict("unknown", "unreachable"), T0 + 500) is None
    assert uptime(first(traces(T0)), ACTIVE, T0 + 10) == 10
    assert uptime(first(traces()), ACTIVE, T0) is None


def test_what_a_record_and_an_answer_show() -> None:
    known = first(traces(T0 - 3, tasks=("t", "u"), status="working"))
    sample = sample_of(known, verdict=known.verdict, wall=T0, host="h")
    assert sample == AgentSample(
        timestamp=format_utc(T0),
        host="h",
        workspace="/a",
        agent_id="x",
        status="active",
        reason="heartbeat",
        cause="appeared",
        active_tasks=2,
        uptime=3.0,
        last_heartbeat=format_utc(T0 - 3),
        declared_status="working",
        sources=("file",),
        project="/a",
    )
    shown = ShownAgent(known, known.verdict, Evidence(3.0, TIMEOUT), age=3.00049, doing=known.doing)
    view = AgentView(**view_fields(shown, wall=T0, host="h"))
    assert view.last_heartbeat_age == 3.0


def test_a_record_names_no_workspace_of_an_agent_of_redis_alone() -> None:
    agent = join(AgentKey("", "x"), [seen(REDIS, 0.0)], Evidence(silence=0.0, timeout=TIMEOUT))
    sample = sample_of(agent, verdict=agent.verdict, wall=T0, host="h")
    assert (sample.workspace, sample.sources) == (None, ("redis",))
