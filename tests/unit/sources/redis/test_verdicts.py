"""What is said of a Redis's version, memory, eviction and clock."""

from __future__ import annotations

import pytest

from coordd.sources.redis.verdicts import of_clock, of_eviction, of_memory, of_version


@pytest.mark.parametrize(
    ("info", "state", "words"),
    [
        ({"redis_version": "7.0.15"}, "ok", "Redis 7.0.15"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok", "Valkey 9.1.2"),
        ({"redis_version": "5.0.7"}, "warn", "asks every two seconds"),
        ({}, "warn", "cannot tell"),
    ],
)
def test_version(info: dict[str, str], state: str, words: str) -> None:
    check = of_version(info)
    assert (check.state, words in check.detail) == (state, True)


@pytest.mark.parametrize(
    ("policy", "limit", "state", "words"),
    [
        ("noeviction", "0", "ok", "nothing is evicted"),
        ("allkeys-lru", "0", "ok", "nothing is evicted"),
        ("noeviction", "1000", "ok", "writes are refused"),
        ("allkeys-lru", "1000", "warn", "agents that live would look silent"),
        ("allkeys-random", "1000", "warn", "any key may go"),
        ("volatile-ttl", "1000", "ok", "heartbeats among them"),
        ("volatile-lru", "many", "warn", "cannot tell"),
    ],
)
def test_eviction(policy: str, limit: str, state: str, words: str) -> None:
    check = of_eviction({"maxmemory_policy": policy, "maxmemory": limit})
    assert (check.state, words in check.detail) == (state, True)


@pytest.mark.parametrize(
    ("used", "limit", "policy", "state", "words"),
    [
        ("1048576", "0", "noeviction", "ok", "1.0 MiB used, without a limit"),
        ("89", "100", "noeviction", "ok", "89 B of 100 B used (89 %)"),
        ("90", "100", "noeviction", "warn", "heartbeats and samples are refused"),
        ("90", "100", "volatile-lru", "warn", "keys are dropped (volatile-lru)"),
        ("x", "100", "noeviction", "warn", "cannot tell"),
    ],
)
def test_memory(used: str, limit: str, policy: str, state: str, words: str) -> None:
    check = of_memory({"used_memory": used, "maxmemory": limit, "maxmemory_policy": policy})
    assert (check.state, words in check.detail) == (state, True)


@pytest.mark.parametrize(
    ("difference", "state", "words"),
    [
        (0.0, "ok", "within 0.0 s"),
        (-2.0, "ok", "within 2.0 s"),
        (2.1, "warn", "2.1 s ahead of"),
        (-5.0, "warn", "5.0 s behind"),
        (5.1, "fail", "5.1 s ahead of"),
        (None, "warn", "TIME is forbidden"),
    ],
)
def test_clock(difference: float | None, state: str, words: str) -> None:
    check = of_clock(difference)
    assert (check.state, words in check.detail) == (state, True)
    assert (check.fix is None) == (state == "ok")
