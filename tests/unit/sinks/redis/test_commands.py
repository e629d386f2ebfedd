"""Test commands made of records."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis_samples import NOON, MemoryServer, agent_record, samples_in, system_record

from coordd.model import AgentSample
from coordd.sinks.redis.commands import LONGEST, Sample, plan, sample_of, samples_of
from coordd.util.timestamps import format_utc

EPOCH = int(NOON)


def test_a_system_sample_is_a_string_that_expires():
    record = system_record(NOON + 0.7, cpu_percent=3.5)
    made = plan(samples_in("system", record), wall=NOON + 1, ttl=3600)
    assert made.commands == [("SET", b"metrics:system:%d:h" % EPOCH, record, "EX", 3600)]


def test_agents_of_one_second_share_a_hash():
    one, two = agent_record(NOON, "a"), agent_record(NOON + 0.9, "b", workspace=None)
    later = agent_record(NOON + 1, "a")
    made = plan(samples_in("agent", one, two, later), wall=NOON + 1, ttl=3600)
    key = b"metrics:agent:%d:h" % EPOCH
    assert made.commands == [
        ["HSET", key, b"/w:a", one, b":b", two],
        ("EXPIRE", key, 3600),
        ["HSET", b"metrics:agent:%d:h" % (EPOCH + 1), b"/w:a", later],
        ("EXPIRE", b"metrics:agent:%d:h" % (EPOCH + 1), 3600),
    ]
    assert made.carried == [2, 0, 1, 0]


def test_hosts_do_not_share_a_key():
    here, there = agent_record(NOON, host="here"), agent_record(NOON, host="there")
    made = plan(samples_in("agent", here, there), wall=NOON, ttl=60)
    assert {command[1] for command in made.commands} == {
        b"metrics:agent:%d:here" % EPOCH,
        b"metrics:agent:%d:there" % EPOCH,
    }


@pytest.mark.parametrize(
    ("age", "ttl", "left"),
    [
        (0, 3600, 3600),
        (5, 3600, 3600),  # fresh
        (6, 3600, 3594),
        (3599.5, 3600, 1),
        (3600, 3600, None),
        (-7200, 3600, 3600),  # the clock was set back
        (3, 0.5, None),
        (0, 0.5, 1),
        (100, 200.25, 101),
    ],
)
def test_what_is_left_of_the_time_to_live(age, ttl, left):
    made = plan(samples_in("agent", agent_record(NOON)), wall=NOON + age, ttl=ttl)
    assert made.expired == (left is None)
    assert [command[2] for command in made.commands if command[0] == "EXPIRE"] == (
        [] if left is None else [left]
    )


@pytest.mark.parametrize(
    "record",
    [
        b'{"timestamp":"2026-11-22T12:00:00.000Z"}',
        b'{"timestamp":"2026-11-22T12:00:00.000Z","host":null,"agent_id":"a"}',
        b'{"timestamp":"2026-11-22T12:00:00.000Z","host":"h","agent_id":7}',
        b'{"timestamp":"2026-11-22T12:00:00.000Z","host":"h","workspace":[],"agent_id":"a"}',
        b'{"timestamp":"yesterday","host":"h","agent_id":"a"}',
        b'{"timestamp":null,"host":"h","agent_id":"a"}',
        b'{"timestamp":true,"host":"h","agent_id":"a"}',
        b'{"timestamp":"2026-11-22T12:00:00.000Z","host":"\\ud800","agent_id":"a"}',
        agent_record(NOON, more="x" * LONGEST),
    ],
)
def test_what_is_no_sample(record):
    assert sample_of("agent", record, json.loads(record)) is None


def test_half_a_surrogate_that_another_decoder_let_through():
    fields = {"timestamp": "2026-11-22T12:00:00Z", "host": "h", "workspace": None, "agent_id": "\ud800"}
    assert sample_of("agent", b"{}", fields) is None


VALUES = st.none() | st.booleans() | st.floats() | st.text(max_size=60) | st.lists(st.none(), max_size=1)


@given(st.dictionaries(st.sampled_from(["timestamp", "host", "workspace", "agent_id"]), VALUES))
def test_no_record_is_an_exception(fields):
    for topic in ("agent", "system"):
        sample = sample_of(topic, b"{}", fields)
        assert sample is None or isinstance(sample, Sample)


def test_a_record_just_made_goes_where_its_line_would_go_when_read_back():
    agent = AgentSample(
        timestamp=format_utc(NOON + 0.7),
        host="h",
        workspace="/w",
        agent_id="a",
        status="active",
        reason="heartbeat",
        cause="heartbeat",
        active_tasks=None,
        uptime=None,
        last_heartbeat=None,
        declared_status=None,
        sources=("file",),
    )
    for one in (agent, replace(agent, workspace=None)):
        line = msgspec.json.encode(one)
        assert samples_of("agent", [line], [one]) == samples_in("agent", line)
    system = SimpleNamespace(timestamp=format_utc(NOON), host="h")
    placed = Sample(EPOCH, b"metrics:system:%d:h" % EPOCH, None, b"{}")
    assert samples_of("system", [b"{}"], [system]) == [placed]
    assert samples_of("agent", [b"{}", line], [replace(agent, agent_id="\ud800"), agent]) == samples_of(
        "agent", [line], [agent]
    )


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.integers()), max_size=30),
    st.integers(1, 30),
)
def test_the_later_record_of_a_place_wins_however_it_is_cut_and_repeated(written, size):
    server = MemoryServer()
    records = [agent_record(NOON + at, agent, n=n) for agent, at, n in written]
    expected = {}
    for (agent, at, _), record in zip(written, records, strict=True):
        expected[b"metrics:agent:%d:h" % int(NOON + round(at, 3)), f"/w:{agent}".encode()] = record
    for start in [*range(0, len(records), size), *range(0, len(records), size)]:
        for command in plan(samples_in("agent", *records[start : start + size]), wall=NOON, ttl=60).commands:
            server.do(command)
    assert server.content() == expected
