"""Traces from what Redis holds: what is said comes out, whatever else is in there survives."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Heartbeat, Registration, Rival
from coordd.sources.bodies import parse_claim
from coordd.sources.bounds import Bounds, Budget
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.parse import (
    merge_both,
    parse_registry_entry,
    parse_task,
    parse_tasks,
)
from coordd.sources.redis.throttle import ReadThrottle
from coordd.sources.redis.work import Available, Claims
from coordd.util.fields import Malformed

NOON = 1795262400.0  # 2026-11-21T12:00:00Z
WRITTEN = b"2026-11-21T12:00:00Z"


def test_a_registration_takes_started_at_before_registered_at_and_last_update() -> None:
    entry = {
        "id": "a",
        "hostname": "box",
        "capabilities": ["code", "test"],
        "registered_at": NOON,
        "started_at": "2020-01-01T00:00:00Z",
        "status": "active",
        "version": "1.2",
        "current_task": "t",
        "last_update": "2026-11-21T12:00:10Z",
        "pid": 17,
    }
    assert parse_registry_entry(json.dumps(entry).encode(), NOON, observed=False) == (
        Registration(
            started_at=1577836800.0,
            status="active",
            hostname="box",
            pid=17,
            updated_at=NOON + 10,
        ),
        None,
    )
    del entry["started_at"]
    assert parse_registry_entry(json.dumps(entry).encode(), NOON, observed=False).value.started_at == NOON


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"active", "not JSON"),
        (b"[1]", "JSON, but not an object"),
        (b'{"pid": "x"}', "pid: not a whole number from 1 to 2147483647"),
        (b"{" + b" " * 70_000 + b"}", "larger than 64 KiB"),
        (b"", None),
    ],
)
def test_a_bad_registration_is_one_without_fields(value: bytes, problem: str | None) -> None:
    assert parse_registry_entry(value, NOON, observed=False) == (Registration(), problem)


@pytest.mark.parametrize(
    ("member", "task"),
    [
        (b"t1", "t1"),
        (b" t1\n", "t1"),
        (b'"t1"', "t1"),
        (b'{"task_id": "t1", "id": "other"}', "t1"),
        (b'{"id": "t1"}', "t1"),
        (b'{"task_id": 17}', "17"),
        (b"17", "17"),
        (b'"', '"'),
    ],
)
def test_a_task_is_json_or_plain_text(member: bytes, task: str) -> None:
    assert parse_task(member) == task


@pytest.mark.parametrize(
    "member",
    [b"", b"  ", b"{}", b"{", b"[]", b'{"task_id": ""}', b'{"id": true}', b"x" * 257, b"x" * 70_000, b"\xff"],
)
def test_what_names_no_task_is_left_out_and_told_of(member: bytes) -> None:
    tasks, problem = parse_tasks([b"a", member, b"b", b"a"])
    assert tasks == ("a", "b")
    assert problem is not None
    assert problem.startswith("holds what is no task: ")


@pytest.mark.parametrize(
    ("value", "claim", "problem"),
    [
        (b"agent-1", Claim("t", agent_id="agent-1"), None),
        (b'"agent-1"', Claim("t", agent_id="agent-1"), None),
        (b"", Claim("t"), None),
        (
            b'{"agent_id": "a", "claimed_at": 1795262400, "ttl": "5m"}',
            Claim("t", "a", NOON, NOON + 300),
            None,
        ),
        (b" 17\n", Claim("t", agent_id="17"), None),
        (b"{", Claim("t"), "not JSON"),
        (b"x" * 300, Claim("t"), "not an id of 1 to 256 characters"),
    ],
)
def test_a_claimed_key_says_who_or_json_or_nothing(value: bytes, claim: Claim, problem: str | None) -> None:
    assert parse_claim("t", value) == (claim, problem)


def test_of_two_claims_the_one_with_a_holder_counts_then_the_later_one() -> None:
    bare = Claim("t", expires_at=900.0)
    holder = Claim("t", agent_id="a")
    assert merge_both(bare, None) is bare
    assert merge_both(None, holder) is holder
    assert merge_both(None, None) is None
    assert merge_both(bare, holder) == Claim("t", agent_id="a", expires_at=900.0)
    assert merge_both(holder, bare) == Claim("t", agent_id="a", expires_at=900.0)
    early, late = Claim("t", "a", 100.0, 400.0), Claim("t", "b", 200.0)
    both = replace(late, rivals=(Rival("a", 100.0, 400.0),))
    assert merge_both(early, late) == both
    assert merge_both(late, early) == both
    assert merge_both(late, replace(early, status="completed")) == late
    assert merge_both(Claim("t", "a", expires_at=7.0), Claim("t", "a", 5.0)) == Claim("t", "a", 5.0, 7.0)


@pytest.mark.parametrize("turned", [False, True])
def test_two_claims_of_one_holder_end_when_both_have_ended(turned: bool) -> None:
    def merged(*both: Claim) -> float | None:
        found = merge_both(*(reversed(both) if turned else both))
        return None if found is None else found.expires_at

    early, late = Claim("t", "a", 100.0, 400.0), Claim("t", "a", 200.0, 300.0)
    assert merged(early, late) == 400.0
    assert merged(early, Claim("t", expires_at=900.0)) == 900.0, "the other names no holder"
    assert merged(early, Claim("t", "b", 200.0, 300.0)) == 300.0, "the other names another holder"
    assert merged(Claim("t", "a"), Claim("t", "a")) is None


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_no_other_error_comes_out(value: bytes) -> None:
    parse_registry_entry(value, NOON, observed=False)
    parse_claim("t", value)
    parse_tasks([value])
    with contextlib.suppress(Malformed):
        parse_task(value)
    agents = known()
    agents.put_heartbeat(0, "a", value, NOON, pushed=True)
    agents.register("a", value, NOON)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["task_id", "id", "agent_id", "ttl", "pid", "registered_at"]), JSONS))
def test_whatever_the_json_is_ids_are_1_to_256_characters(fields: dict[str, object]) -> None:
    value = json.dumps(fields).encode()
    parse_registry_entry(value, NOON, observed=False)
    agent_id = parse_claim("t", value).value.agent_id
    assert agent_id is None or 1 <= len(agent_id) <= 256
    assert all(1 <= len(task) <= 256 for task in parse_tasks([value]).value)


def known(**limits: int) -> Agents:
    agents = Agents(limit=limits.get("limit", 100), bounds=Bounds(listed=Budget(limits.get("max_tasks", 10))))
    agents.begin(connected=True)
    return agents


def heartbeat(agents: Agents, agent_id: str = "a") -> Heartbeat:
    found = agents.traces[agent_id].heartbeat
    assert found is not None
    return found


def test_a_heartbeat_read_again_is_the_same_beat_and_a_pushed_one_is_another() -> None:
    agents = known()
    agents.put_heartbeat(0, "a", WRITTEN, NOON, pushed=False)
    first = heartbeat(agents)
    assert (first.written, first.mtime) == (NOON, None)
    agents.put_heartbeat(0, "a", WRITTEN, NOON + 1, pushed=False)
    assert agents.traces["a"].heartbeat is first
    agents.put_heartbeat(0, "a", WRITTEN, NOON + 2, pushed=True)
    second = heartbeat(agents)
    assert second.mtime == NOON + 2
    assert second.identity != first.identity
    agents.put_heartbeat(0, "a", b"soon", NOON + 3, pushed=False)
    third = heartbeat(agents)
    assert (third.written, third.mtime) == (None, NOON + 3)
    assert third.identity != second.identity


def test_over_a_new_connection_equal_content_is_no_beat_and_when_another_was_written_is_not_known() -> None:
    agents = known()
    agents.put_heartbeat(0, "a", WRITTEN, NOON, pushed=True)
    agents.put_heartbeat(0, "b", WRITTEN, NOON, pushed=True)
    before = heartbeat(agents)
    agents.begin(connected=True)
    agents.put_heartbeat(0, "a", WRITTEN, NOON + 100, pushed=False)
    agents.put_heartbeat(0, "b", b"never", NOON + 100, pushed=False)
    agents.end()
    assert heartbeat(agents) == Heartbeat(NOON, None, before.identity)
    assert heartbeat(agents, "b").mtime is None
    assert heartbeat(agents, "b").identity != before.identity
    agents.put_heartbeat(0, "b", b"ever", NOON + 101, pushed=False)
    assert heartbeat(agents, "b").mtime == NOON + 101


def test_of_two_heartbeats_the_later_written_one_counts_and_the_other_one_still_beats() -> None:
    agents = known()
    agents.put_heartbeat(0, "a", WRITTEN, NOON + 1, pushed=True)
    agents.put_heartbeat(1, "a", b"2026-11-21T11:00:00Z", NOON + 2, pushed=True)
    both = heartbeat(agents)
    assert (both.written, both.mtime) == (NOON, NOON + 2)
    agents.remove_heartbeat(0, "a")
    left = heartbeat(agents)
    assert left.written == NOON - 3600
    assert left.identity == both.identity, "a key that goes is no beat"
    agents.remove_heartbeat(1, "a")
    assert agents.traces == {}


def test_of_two_heartbeats_without_a_usable_time_the_one_changed_last_counts() -> None:
    agents = known()
    agents.put_heartbeat(0, "a", b"2026-11-21T18:00:00Z", NOON, pushed=True)
    agents.put_heartbeat(1, "a", b"whenever", NOON + 1, pushed=True)
    assert heartbeat(agents).written is None
    agents.put_heartbeat(0, "a", b"2026-11-21T18:00:01Z", NOON + 2, pushed=True)
    assert heartbeat(agents).written is not None


def test_a_heartbeat_that_was_gone_and_comes_back_is_a_beat() -> None:
    agents = known()
    agents.put_heartbeat(0, "a", b"", NOON, pushed=False)
    first = heartbeat(agents)
    agents.remove_heartbeat(0, "a")
    agents.put_heartbeat(0, "a", b"", NOON + 1, pushed=False)
    assert heartbeat(agents).identity != first.identity


def test_a_refused_heartbeat_leaves_the_agent_without_one() -> None:
    agents = known()
    agents.refuse_heartbeat(1, "a", "Redis refuses")
    assert agents.traces["a"].heartbeat is None
    agents.put_heartbeat(1, "a", WRITTEN, NOON, pushed=False)
    assert heartbeat(agents).mtime is None


def test_what_a_full_reading_does_not_find_is_no_more() -> None:
    agents = known()
    for agent_id in ("a", "b", "c"):
        agents.put_heartbeat(0, agent_id, WRITTEN, NOON, pushed=False)
        agents.put_heartbeat(1, agent_id, WRITTEN, NOON, pushed=False)
        agents.set_tasks(agent_id, ("t",))
    agents.register("d", b"{}", NOON)
    agents.begin(connected=False)
    agents.put_heartbeat(0, "a", WRITTEN, NOON, pushed=False)
    agents.set_tasks("b", ("t",))
    agents.begin_registry()
    assert agents.end_registry() == {"d"}
    agents.end()
    assert set(agents.traces) == {"a", "b"}
    assert agents.traces["a"].tasks == ()
    assert agents.traces["b"].heartbeat is None


def test_agents_and_their_tasks_are_bounded() -> None:
    agents = known(limit=2, max_tasks=3)
    for agent_id in ("a", "b", "c"):
        agents.register(agent_id, b"{}", NOON)
    assert agents.truncated
    assert set(agents.traces) == {"a", "b"}
    agents.set_tasks("a", ("1", "2"))
    agents.set_tasks("b", ("1", "2"))
    assert (agents.traces["b"].tasks, agents.traces["b"].unnamed_tasks) == ((), 2)
    agents.set_tasks("a", (), there=False)
    agents.set_tasks("b", ("1", "2", "3"))
    assert agents.traces["b"].tasks == ("1", "2", "3")


def test_of_two_readings_of_a_list_the_one_begun_later_counts() -> None:
    agents = known()
    first, second = agents.next_number(), agents.next_number()
    agents.set_tasks("a", ("new",), number=second)
    agents.set_tasks("a", ("old",), number=first)
    assert agents.traces["a"].tasks == ("new",)


def test_an_end_that_is_worked_out_from_a_ttl_does_not_waver() -> None:
    claims = Claims(limit=10, text=Budget(1000))
    claims.begin()
    assert claims.put(0, "t", Claim("t", "a"), 1000.0)
    assert not claims.put(0, "t", Claim("t", "a"), 1001.5)
    assert claims.merged["t"].expires_at == 1000.0
    assert claims.put(0, "t", Claim("t", "a"), 1300.0)
    assert not claims.put(1, "t", None)
    assert claims.put(0, "t", None)
    assert claims.merged == {}


@pytest.mark.parametrize(
    ("written", "key", "end"),
    [
        (1000.0, None, 1000.0),
        (1000.0, 700.0, 1000.0),
        (1000.0, 1300.0, 1300.0),
        (None, 1300.0, 1300.0),
        (None, None, None),
        (1000.0, 1000.5, 1000.5),
    ],
)
def test_a_claim_ends_at_the_later_of_what_is_written_and_what_its_key_says(
    written: float | None, key: float | None, end: float | None
) -> None:
    claims = Claims(limit=10, text=Budget(1000))
    claims.begin()
    claims.put(0, "t", Claim("t", "a", expires_at=written), key)
    assert claims.merged["t"].expires_at == end
    assert not claims.put(0, "t", Claim("t", "a", expires_at=written), None if key is None else key + 1.5)


def test_the_end_follows_a_time_to_live_that_is_renewed_and_shortened() -> None:
    claims = Claims(limit=10, text=Budget(1000))
    claims.begin()
    ends = []
    for key in (1300.0, 1900.0, 1901.0, 1100.0, 900.0, None):
        claims.put(0, "t", Claim("t", "a", expires_at=1000.0), key)
        ends.append(claims.merged["t"].expires_at)
    assert ends == [1300.0, 1900.0, 1900.0, 1100.0, 1000.0, 1000.0]
    claims.put(0, "t", Claim("t", "a", expires_at=1000.0), 1000.9)
    claims.put(0, "t", Claim("t", "a", expires_at=1001.5), 1002.0)  # written later than the end as it was
    assert claims.merged["t"].expires_at == 1002.0


def test_a_task_that_two_sources_offer_is_there_until_both_are_gone() -> None:
    available, claims = Available(), Claims(limit=10, text=Budget(1000))
    claims.begin()
    assert available.put(b"one", ("a", "b"), 0) == {"a", "b"}
    assert available.put(b"two", ("b", "c"), 5) == {"c"}
    claims.put(0, "c", Claim("c", "x"))
    assert available.free(claims) == ("a", "b")
    assert available.unnamed == 5
    assert available.put(b"one", (), 0) == {"a"}
    assert available.keep([]) == {"b", "c"}
    assert available.unnamed == 0


def test_what_changes_all_the_time_is_read_for_a_twentieth_of_it() -> None:
    slow: ReadThrottle[bytes] = ReadThrottle()
    assert slow.due is None
    slow.wanted.add(b"k")
    assert slow.ready(0.0)
    assert slow.take() == {b"k"}
    slow.ended(100.0, 100.1)
    assert slow.due is None
    slow.wanted.add(b"k")
    assert slow.due == pytest.approx(102.1)
    assert not slow.ready(102.0)
    assert slow.ready(102.2)
    slow.ended(0.0, 0.0)
    assert slow.due == 0.5
    slow.ended(0.0, 10.0)
    assert slow.due == 15.0
    slow.ended(0.0, 10.0, heavy=True)  # half a gigabyte that is of no use
    assert slow.due == 70.0
