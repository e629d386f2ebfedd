"""Test what Redis alone knows of values: when a key changed, and in which zone its times are written then."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Heartbeat, Registration
from coordd.sources.bodies import parse_claim, parse_heartbeat
from coordd.sources.bounds import Bounds
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.hashes import as_json, spellings
from coordd.sources.redis.keys import id_of
from coordd.sources.redis.parse import parse_found_heartbeat, parse_registry_entry, parse_tasks
from coordd.sources.redis.zones import Zones, may_lack_zone
from coordd.util import written_times

NOON = 1795262400.0  # 2026-11-21T12:00:00Z
HOUR = 3600.0
WEST, EAST = "America/Bogota", "Asia/Tokyo"  # five hours behind UTC, nine ahead; neither changes its clocks


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This machine's zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    written_times._offsets.cache_clear()
    yield request.param
    monkeypatch.undo()
    time.tzset()
    written_times._offsets.cache_clear()


def iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def local(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment))


def known() -> Agents:
    agents = Agents(limit=100, bounds=Bounds())
    agents.begin(connected=True)
    return agents


def beat(agents: Agents, agent_id: str = "a") -> Heartbeat:
    found = agents.traces[agent_id].heartbeat
    assert found is not None
    return found


def entry(agents: Agents, agent_id: str = "a") -> Registration:
    found = agents.traces[agent_id].registration
    assert found is not None
    return found


# Heartbeats.


@pytest.mark.parametrize(
    "value",
    [
        b"2026-11-21T12:00:00Z",
        b'"2026-11-21T12:00:00Z"',
        b" 2026-11-21T13:00:00+01:00\n",
        b"1795262400",
        b"1795262400.0",
        b"1795262400000",
        b"1795262400000000",
        b"1795262400000000000",
        b'{"last_heartbeat": "2026-11-21T12:00:00Z"}',
        b'{"lastSeen": 1795262400000, "status": "busy"}',
        b'{"timestamp": 1795262400}',
        b'\xef\xbb\xbf{"updated_at": "2026-11-21T12:00:00.000Z"}',
        "2026-11-21T12:00:00Z".encode("utf-16"),
        as_json({"last_seen": b"1795262400"}),
        as_json({"heartbeatAt": b" 1795262400000 ", "pid": b"17"}),
    ],
)
def test_a_heartbeat_is_a_time_in_many_forms(value: bytes) -> None:
    assert parse_heartbeat(value, NOON + 10, NOON + 10) == NOON
    assert parse_found_heartbeat(value, NOON + 10) == (NOON, None)


@pytest.mark.parametrize(
    "value",
    [
        b"1",
        b"31337",
        b"$$",
        b"alive",
        b'{"pid": 1}',
        b'{"last_seen": 7}',
        b"2036-01-01T00:00:00Z",
        b"\xff\xfe1",
    ],
)
def test_what_is_no_time_is_told_of_and_changes_when_it_is_pushed(value: bytes) -> None:
    agents = known()
    assert agents.put_heartbeat(0, "a", value, NOON, pushed=False) is not None
    first = beat(agents)
    assert (first.written, first.mtime) == (None, None)
    again = agents.put_heartbeat(0, "a", value, NOON + 5, pushed=False)
    assert again == agents.put_heartbeat(0, "a", value, NOON + 5, pushed=True) is not None
    pushed = beat(agents)
    assert (pushed.written, pushed.mtime) == (None, NOON + 5)
    assert pushed.identity != first.identity


def test_an_empty_heartbeat_is_no_problem() -> None:
    agents = known()
    assert agents.put_heartbeat(0, "a", b"", NOON, pushed=True) is None
    assert (beat(agents).written, beat(agents).mtime) == (None, NOON)


@pytest.mark.parametrize("zone", [WEST, EAST, "UTC"], indirect=True)
@pytest.mark.parametrize("body", ["%s", '"%s"', '{"last_seen": "%s"}'])
def test_a_pushed_time_without_a_zone_is_utc_or_local_as_the_push_says(zone: str, body: str) -> None:
    for written in (iso(NOON - 20), local(NOON - 20)):
        agents = known()
        assert agents.put_heartbeat(0, "a", (body % written).encode(), NOON, pushed=True) is None
        assert (beat(agents).written, beat(agents).local) == (NOON - 20, None), written


@pytest.mark.parametrize(
    ("zone", "written", "expected"),
    [
        (WEST, iso(NOON - 20), (NOON - 20, NOON - 20 + 5 * HOUR)),  # now, or in five hours: which is not now
        (WEST, iso(NOON - 5 * HOUR), (NOON - 5 * HOUR, NOON)),  # five hours ago, or now
        (EAST, iso(NOON - 20), (NOON - 20, NOON - 20 - 9 * HOUR)),
        (EAST, iso(NOON + 9 * HOUR), (NOON, None)),  # ahead as UTC alone
        (EAST, iso(NOON + 10 * HOUR), (NOON + 10 * HOUR, NOON + HOUR)),  # ahead either way
        ("UTC", iso(NOON - 20), (NOON - 20, None)),
        (WEST, iso(NOON - 5 * HOUR) + "Z", (NOON - 5 * HOUR, None)),
        (WEST, iso(NOON - 5 * HOUR) + "-00:00", (NOON - 5 * HOUR, None)),
        (WEST, str(NOON - 5 * HOUR), (NOON - 5 * HOUR, None)),
    ],
    indirect=["zone"],
)
@pytest.mark.parametrize("body", ["%s", '"%s"', '{"last_seen": "%s"}'])
def test_a_time_without_a_zone_that_was_there_before_may_be_either(
    zone: str, written: str, expected: tuple[float, float | None], body: str
) -> None:
    value = (body % written).encode()
    assert parse_found_heartbeat(value, NOON) == expected
    if body.startswith("{"):
        registration, problem = parse_registry_entry(value, NOON, observed=False)
        assert (registration.updated_at, registration.local) == expected
        assert (problem is not None) == (expected == (NOON - 5 * HOUR, NOON))


@pytest.mark.parametrize("zone", [WEST], indirect=True)
def test_what_was_ambiguous_is_not_once_it_is_pushed(zone: str) -> None:
    agents = known()
    for _ in range(2):
        problem = agents.put_heartbeat(0, "a", local(NOON - 10).encode(), NOON, pushed=False)
        assert problem == "a time without a zone: of now if it is local, and long past if it is UTC"
    assert beat(agents).local == NOON - 10
    assert agents.put_heartbeat(0, "a", local(NOON + 20).encode(), NOON + 20, pushed=True) is None
    assert (beat(agents).written, beat(agents).local) == (NOON + 20, None)


def test_two_keys_of_one_id_take_turns_without_a_beat_of_either() -> None:
    agents = known()
    for _ in range(3):
        agents.put_heartbeat(0, "a", b"2026-11-21T11:00:00Z", NOON, pushed=False)
        assert (beat(agents).written, beat(agents).mtime) == (NOON - HOUR, None)
        agents.put_heartbeat(0, "a", b"2026-11-21T10:00:00Z", NOON, pushed=False, name=b"a ")
        assert (beat(agents).written, beat(agents).mtime) == (NOON - 2 * HOUR, None)
        agents.begin(connected=False)
    assert agents.heartbeat_names("a") == (b"a ", None)
    agents.remove_heartbeat(0, "a")  # of the other key
    assert beat(agents).written == NOON - 2 * HOUR
    agents.put_heartbeat(0, "a", b"2026-11-21T11:59:00Z", NOON, pushed=True)
    assert beat(agents).mtime == NOON
    agents.remove_heartbeat(0, "a")
    assert agents.traces == {}


def test_a_key_that_a_full_reading_did_not_find_was_made_since() -> None:
    agents = known()
    agents.put_heartbeat(0, "old", b"1", NOON, pushed=False)
    agents.end()
    agents.begin(connected=False)
    agents.put_heartbeat(0, "old", b"1", NOON + 2, pushed=False)
    agents.put_heartbeat(0, "new", b"1", NOON + 2, pushed=False)
    agents.put_heartbeat(1, "old", b"1", NOON + 2, pushed=False)
    assert (beat(agents, "new").mtime, beat(agents, "old").mtime) == (NOON + 2, NOON + 2)
    agents.end()
    agents.begin(connected=True)
    agents.put_heartbeat(0, "newer", b"1", NOON + 4, pushed=False)
    assert beat(agents, "newer").mtime is None


def test_where_not_all_was_kept_what_is_new_may_be_old() -> None:
    agents = Agents(limit=1, bounds=Bounds())
    agents.begin(connected=True)
    agents.put_heartbeat(0, "a", b"1", NOON, pushed=False)
    agents.put_heartbeat(0, "b", b"1", NOON, pushed=False)
    agents.end()
    agents.begin(connected=False)
    agents.remove_heartbeat(0, "a")
    agents.put_heartbeat(0, "b", b"1", NOON + 2, pushed=False)
    assert beat(agents, "b").mtime is None


# The registry.


def test_any_change_of_an_entry_has_the_time_at_which_it_was_seen() -> None:
    agents = known()
    agents.begin_registry()
    agents.register("a", b'{"status": "idle"}', NOON)
    agents.end_registry()
    first = entry(agents)
    assert (first.written, first.status) == (None, "idle")
    assert not agents.register("a", b'{"status": "idle"}', NOON + 1)[0]
    assert entry(agents) is first
    assert agents.register("a", b'{"status": "idle", "beats": 2}', NOON + 2)[0]
    second = entry(agents)
    assert (second.written, second.status) == (NOON + 2, "idle")
    assert second.identity != first.identity
    agents.begin(connected=True)
    agents.register("a", b'{"status": "idle", "beats": 3}', NOON + 3)  # when is not known
    assert (entry(agents).written, entry(agents).identity != second.identity) == (None, True)
    agents.register("a", b'{"status": "idle", "beats": 4}', NOON + 4)
    assert entry(agents).written == NOON + 4


def test_an_entry_that_is_new_in_a_registry_known_to_its_end_was_made_now() -> None:
    agents = known()
    agents.begin_registry()
    agents.register("old", b"{}", NOON)
    agents.end_registry()
    agents.begin_registry()
    agents.register("old", b"{}", NOON + 1)
    agents.register("new", b"{}", NOON + 1)
    agents.end_registry()
    assert (entry(agents, "old").written, entry(agents, "new").written) == (None, NOON + 1)
    agents.begin(connected=True)
    agents.begin_registry()
    agents.register("newer", b"{}", NOON + 2)
    assert entry(agents, "newer").written is None


def test_of_two_entries_of_one_id_the_first_counts_and_the_other_is_told_of() -> None:
    agents = known()
    for _ in range(3):
        agents.begin_registry()
        assert agents.register("a", b'{"status": "idle"}', NOON)[1] is None
        assert (
            agents.register("a", b'{"status": "busy"}', NOON, b"a ")[1]
            == "another entry is of the same agent"
        )
        agents.end_registry()
        assert (entry(agents).status, entry(agents).written) == ("idle", None)
    assert agents.entry_name("a") == b"a"
    agents.begin_registry()
    agents.register(
        "a", b'{"status": "busy"}', NOON, b"a "
    )  # the first is gone, and nobody saw the other change
    assert agents.end_registry() == set()
    assert (entry(agents).status, entry(agents).written) == ("busy", None)
    assert agents.entry_name("a") == b"a "


@pytest.mark.parametrize("name", ["last_update", "last_heartbeat", "last_seen", "updated_at", "heartbeat_at"])
def test_an_entry_tells_of_itself_under_many_names(name: str) -> None:
    for spelled in spellings(name):
        value = json.dumps({spelled: NOON * 1000, "registeredAt": "2026-11-21T11:00:00Z"}).encode()
        registration, problem = parse_registry_entry(value, NOON, observed=False)
        assert (registration.updated_at, registration.started_at, problem) == (NOON, NOON - HOUR, None)


@pytest.mark.parametrize("zone", [WEST], indirect=True)
def test_an_entry_may_be_a_time_alone(zone: str) -> None:
    for value in (b"1795262400", b'"2026-11-21T12:00:00Z"', b"1795262400000"):
        found = parse_registry_entry(value, NOON + 10, observed=False)
        assert found == (Registration(updated_at=NOON), None)
    registration, problem = parse_registry_entry(local(NOON).encode(), NOON + 10, observed=False)
    assert (registration.updated_at, registration.local) == (NOON - 5 * HOUR, NOON)
    assert problem is not None
    found = parse_registry_entry(local(NOON).encode(), NOON + 10, observed=True)
    assert found == (Registration(updated_at=NOON), None)
    for value, words in ((b"1", "JSON, but not an object"), (b"active", "not JSON"), (b"{}", None)):
        assert parse_registry_entry(value, NOON, observed=False) == (Registration(), words)


# Ids.


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b" a\n", "a"), (b"a b", "a b"), (b"42", "42"), ("\u00a0Zoë ".encode(), "Zoë"), (b"a:b ", "a:b")],
)
def test_white_space_around_an_id_in_a_key_is_no_part_of_it(name: bytes, expected: str) -> None:
    assert id_of(name) == expected


def test_ids_in_members_are_text_or_whole_numbers() -> None:
    members = [b" t1 ", b"42", b'{"task_id": 43}', b'{"id": " t2 "}', b'"t3"', b'\xef\xbb\xbf{"id": "t4"}']
    assert parse_tasks([*members, "t5".encode("utf-16")]) == (
        ("t1", "42", "43", "t2", "t3", "t4", "t5"),
        None,
    )


@pytest.mark.parametrize("member", [b"\xff", b"a\x00b", "t".encode("utf-16-le"), b"a\nb", b" "])
def test_a_member_that_is_no_text_is_told_of(member: bytes) -> None:
    tasks, problem = parse_tasks([b"a", member])
    assert tasks == ("a",)
    assert problem is not None


# Claims and progress: the same at each reading.


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        (b'{"claimed_at": "2026-11-22T06:05:00"}', True),
        (b'{"claimed_at": "2026-11-22 06:05"}', True),
        (b'{"claimed_at": "20261122T060500"}', True),
        (b'{"claimed_at": "2026-11-22"}', True),
        (b"2026-11-22T06:05:00\n", True),
        (b"2026-W47-7T06:05", True),
        (b'{"claimed_at": "2026-11-22T06:05:00Z"}', False),
        (b'{"claimed_at": "2026-11-22T06:05:00+01:00", "ttl": 300}', False),
        (b'{"claimed_at": 1795262400, "ttl": 300}', False),
        (b"agent-1", False),
    ],
)
def test_where_a_zone_may_be_missing(content: bytes, lacks: bool) -> None:
    assert may_lack_zone(content) is lacks
    text = content.decode()
    for encoded in (text.encode("utf-8-sig"), text.encode("utf-16"), b"\xfe\xff" + text.encode("utf-16-be")):
        assert may_lack_zone(encoded) is lacks, "its encoding is no matter"
    assert may_lack_zone(b"\xff\xfe" + content[: len(content) // 2 * 2 - 1]) in (True, False)


@given(
    st.datetimes(datetime(2001, 1, 2), datetime(9999, 12, 30)),
    st.sampled_from(["T", " ", "t", "_"]),
    st.sampled_from(["hours", "minutes", "seconds", "milliseconds", "microseconds"]),
    st.booleans(),
    st.sampled_from(["%s", '"%s"', '{"a": "x", "claimed_at": "%s"}', '{"claimed_at":"%s","status":"z+Z"}']),
)
def test_no_time_without_a_zone_is_missed(
    moment: datetime, separator: str, timespec: str, compact: bool, body: str
) -> None:
    text = moment.isoformat(separator, timespec)
    if compact:
        text = text.replace("-", "").replace(":", "")
    for written in (text, text[: text.index(separator)], moment.strftime("%G-W%V-%u")):
        if written_times.read_time(written).zoneless:
            assert may_lack_zone((body % written).encode()), written


class Reading:
    """Values of one key, read at moments that a test says."""

    def __init__(self) -> None:
        self.zones = Zones(limit=10)
        self.zones.connected()

    def claimed_at(self, written: str, now: float, *, pushed: bool = False) -> float | None:
        content = json.dumps({"agent_id": "a", "claimed_at": written, "ttl": "5m"}).encode()
        claim: Claim = self.zones.parse(
            b"k",
            content,
            lambda at: parse_claim("t", content, at, now),
            lambda claim: claim.claimed_at,
            pushed=pushed,
            now=now,
        ).value
        assert claim.agent_id == "a"
        return claim.claimed_at


@pytest.mark.parametrize("zone", [WEST, EAST], indirect=True)
def test_a_claim_keeps_the_zone_that_its_push_told(zone: str) -> None:
    one = Reading()
    assert one.claimed_at(local(NOON), NOON, pushed=True) == NOON
    for later in (HOUR, 5 * HOUR, 9 * HOUR):  # renewed without another value, or read again
        assert one.claimed_at(local(NOON), NOON + later, pushed=True) == NOON
        assert one.claimed_at(local(NOON), NOON + later) == NOON
    one.zones.connected()
    assert one.claimed_at(local(NOON), NOON + 20 * HOUR) == NOON
    one.zones.complete()
    later = NOON + 20 * HOUR
    assert one.claimed_at(iso(later), later) == later, "it changed while it was followed"
    one.zones.forget(b"k")
    assert one.claimed_at(local(later + 60), later + 60) == later + 60, "it is new"
    one.zones.connected()
    one.zones.forget(b"k")
    assert one.claimed_at(iso(NOON), NOON + HOUR) == NOON


@pytest.mark.parametrize("zone", [EAST], indirect=True)
def test_a_claim_that_would_be_made_ahead_is_local_and_stays_so(zone: str) -> None:
    one = Reading()
    assert one.claimed_at(local(NOON), NOON + 60) == NOON
    assert one.claimed_at(local(NOON), NOON + 20 * HOUR) == NOON


@pytest.mark.parametrize("zone", [WEST], indirect=True)
def test_a_claim_that_was_there_before_is_utc_however_often_it_is_renewed(zone: str) -> None:
    one = Reading()
    assert one.claimed_at(iso(NOON - 5 * HOUR), NOON) == NOON - 5 * HOUR
    assert one.claimed_at(iso(NOON - 5 * HOUR), NOON + 1, pushed=True) == NOON - 5 * HOUR


def test_zones_are_remembered_of_few_keys() -> None:
    zones = Zones(limit=2)
    zones.connected()
    content = b'{"claimed_at": "2026-11-21T12:00:00"}'
    for number in range(5):
        zones.parse(
            b"%d" % number,
            content,
            lambda at: parse_claim("t", content, at, NOON),
            lambda claim: claim.claimed_at,
            pushed=True,
            now=NOON,
        )
    assert len(zones._known) == 2


@pytest.mark.parametrize("zone", [WEST], indirect=True)
def test_where_no_zone_can_be_remembered_it_is_the_same_at_each_reading_too(zone: str) -> None:
    one = Reading()
    one.zones = Zones(limit=0)
    found = {one.claimed_at(local(NOON), NOON, pushed=pushed) for pushed in (True, False)}
    assert found == {NOON - 5 * HOUR}


# Hashes.


def test_the_fields_of_a_hash_are_read_as_json() -> None:
    assert as_json({}) == b""
    fields = {"agent_id": b'a"\\b', "ttl": b"300", "claimed_at": b"1795262400"}
    claim, problem = parse_claim("t", as_json(fields), None, NOON)
    assert (claim, problem) == (Claim("t", 'a"\\b', NOON, NOON + 300), None)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        encoded = {name: value.decode().encode(encoding) for name, value in fields.items()}
        assert as_json(encoded) == as_json(fields)
        beat = as_json({"last_seen": "1795262400".encode(encoding)})
        assert parse_heartbeat(beat, None, NOON) == NOON
    claim, problem = parse_claim("t", as_json({"agent_id": b"\xff\xfe\x00"}), None, NOON)
    assert claim.agent_id is None, "half a character of UTF-16"
    claim, problem = parse_claim("t", as_json({"agent_id": b"\xff", "ttl": b"1m"}), None, NOON)
    assert claim.agent_id is None
    assert problem is not None and "UTF-8" in problem
