"""Test what each key means among the foreign keys of a database."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sources.redis.keys import (
    AVAILABLE,
    FAMILIES,
    QUEUE,
    REGISTRY,
    Keyspace,
    RedisKey,
    glob_escaped,
    id_of,
    location,
)
from coordd.sources.redis.problems import Problems
from coordd.sources.redis.read_plan import ReadPlan
from coordd.util.fields import Malformed

SINGLE = (REGISTRY, AVAILABLE, QUEUE)
SEVERAL = tuple(family for family in FAMILIES if family not in SINGLE)
BARE = Keyspace()
PREFIXES = ("", "shop:", "a", "a:b:c:", ":", "heart", "task:claim", "équipe:", "a[b]*?^\\", "heartbeat")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"agents:registry", RedisKey("agents:registry")),
        (b"heartbeat:a", RedisKey("heartbeat:", b"a")),
        (b"heartbeat:a:b", RedisKey("heartbeat:", b"a:b")),
        (b"agent:heartbeat:a:b", RedisKey("agent:heartbeat:", b"a:b")),
        (b"agent:tasks:\x00\xff", RedisKey("agent:tasks:", b"\x00\xff")),
        (b"tasks:available", RedisKey("tasks:available")),
        (b"work:available:high", RedisKey("work:available:", b"high")),
        (b"tasks:priority_queue", RedisKey("tasks:priority_queue")),
        (b"tasks:claimed:t", RedisKey("tasks:claimed:", b"t")),
        (b"task:claim:t", RedisKey("task:claim:", b"t")),
        (b"task:progress::", RedisKey("task:progress:", b":")),
        (b"heartbeat:", RedisKey("heartbeat:", b"")),
    ],
)
def test_every_row_of_the_table(key: bytes, expected: RedisKey) -> None:
    assert BARE.meaning(key) == expected
    assert BARE.family_of(key) == expected.family


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_behind_a_prefix_means_the_same(prefix: str, family: str) -> None:
    keyspace, name = Keyspace(prefix), b"a:b" if family in SEVERAL else b""
    key = prefix.encode() + family.encode() + name
    assert keyspace.key(family, name) == key
    assert keyspace.meaning(key) == RedisKey(family, name)
    assert sum(key.startswith(beginning) for beginning in keyspace.tracked) == 1
    assert key.startswith(keyspace.spelled(family).encode())
    for other in PREFIXES:
        if other != prefix:
            assert Keyspace(other).meaning(key) is None, other


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b":", b"::", b"heartbeat", b"Heartbeat:a", b"agents:registry2", b"agents:registry:x"),
        *(
            b"agent:task:a",
            b"agent:",
            b"agent:tasks",
            b"tasks:available:x",
            b"task:claimed:t",
            b"x:heartbeat:a",
        ),
        *(b"work:available", b"tasks:priority_queue:x", b"session:1:2", b"\xff\x00:"),
    ],
)
def test_foreign_keys_mean_nothing(key: bytes) -> None:
    assert BARE.meaning(key) is None
    assert BARE.family_of(key) == ""
    assert Keyspace("x:").meaning(key) in (None, RedisKey("heartbeat:", b"a"))


@given(st.sampled_from(SEVERAL), st.binary(min_size=1, max_size=40))
def test_scan_and_tracking_announce_every_key_that_has_a_meaning(family: str, name: bytes) -> None:
    key = family.encode() + name
    assert BARE.meaning(key) == RedisKey(family, name)
    assert fnmatch.fnmatchcase(key.decode("latin-1"), BARE.scan_pattern.decode())
    assert sum(key.startswith(prefix) for prefix in BARE.tracked) == 1


@pytest.mark.parametrize("key", SINGLE)
def test_tracking_announces_the_single_keys(key: str) -> None:
    assert any(key.encode().startswith(prefix) for prefix in BARE.tracked)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_beginning_begins_another_for_redis_refuses_such(prefix: str) -> None:
    tracked = Keyspace(prefix).tracked
    for one in tracked:
        assert [other for other in tracked if other.startswith(one)] == [one]


@pytest.mark.parametrize("key", ["app:session:1", "task_queue:x", "h:1", "a:b:c", "worker:avail:1", "user:1"])
def test_scan_passes_over_what_databases_are_full_of(key: str) -> None:
    assert not fnmatch.fnmatchcase(key, BARE.scan_pattern.decode())


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("a:b-c_1", "a:b-c_1"), ("a[1]*?", r"a\[1\]\*\?"), ("\\^", r"\\\^"), ("é", "é"), ("", "")],
)
def test_what_is_special_in_a_pattern_is_escaped(text: str, pattern: str) -> None:
    assert glob_escaped(text) == pattern


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a:b", "a:b"),
        ("Zoë".encode(), "Zoë"),
        (b"\xff\x00", "\\xff\x00"),
        (b"x" * 256, "x" * 256),
        (("𝄞" * 256).encode(), "𝄞" * 256),
    ],
)
def test_an_id_is_text_of_1_to_256_characters(name: bytes, expected: str) -> None:
    assert id_of(name) == expected


@pytest.mark.parametrize("name", [b"", b"x" * 257, b"\xff" * 65, b"x" * 10_000_000])
def test_anything_else_is_no_id(name: bytes) -> None:
    with pytest.raises(Malformed, match="256"):
        id_of(name)


@given(st.lists(st.binary(max_size=30) | st.sampled_from(FAMILIES).map(str.encode)))
def test_whatever_the_keys_are_they_are_sorted_or_passed_over(keys: list[bytes]) -> None:
    for prefix in PREFIXES:
        ReadPlan(Keyspace(prefix)).add(keys, Problems())


@given(st.binary(max_size=400), st.none() | st.binary(max_size=400))
def test_a_location_can_be_written_as_json_and_is_short(key: bytes, member: bytes | None) -> None:
    text = location(key, member)
    text.encode()
    assert text.startswith("redis:")
    assert len(text) < 3000


def test_a_key_of_an_impossible_id_is_told_of_and_read_by_nobody() -> None:
    problems, plan = Problems(), ReadPlan(BARE)
    problems.begin()
    plan.add([b"heartbeat:", b"agent:tasks:" + b"x" * 257, b"heartbeat:a", b"other:a"], problems)
    assert [one.id for one in plan.beats] == ["a"]
    assert len(plan) == 1
    assert set(problems.end()) == {"redis:heartbeat:", "redis:agent:tasks:" + "x" * 257}


def test_problems_are_bounded_and_leave_when_mended() -> None:
    problems = Problems(limit=2)
    problems.begin()
    for key in (b"a", b"b", b"c"):
        problems.note(key, "bad")
    assert problems.take_new() == {"redis:a": "bad", "redis:b": "bad"}
    problems.note(b"a", None)
    problems.note(b"b", "bad")
    assert problems.take_new() == {}
    problems.note(b"hash", "worse", b"field")
    assert problems.take_new() == {"redis:hash field": "worse"}
    problems.begin()
    problems.note(b"b", "bad")
    assert problems.end() == {"redis:b": "bad"}
