"""Judge a Redis that answers: its version, eviction policy, memory and clock. Pure.

The text of each check is understood by itself, on one line. What a server answered is untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coordd.redislink.info import number_of, version_of
from coordd.util.text import size

State = Literal["ok", "warn", "fail"]

TRACKING_SINCE = 6
CLOCK_WARN, CLOCK_FAIL = 2.0, 5.0
"""Seconds between two clocks; heartbeats written 5 s ahead of ours count as unknown."""
NEARLY_FULL = 90.0
"""Percent of maxmemory."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, one line of output.

    ``check`` is its name, one word; ``fix`` is what to do, with ``…`` for the user's name (None: nothing to
    do).
    """

    check: str
    state: State
    detail: str
    fix: str | None = None


def of_version(server: Mapping[str, str]) -> Check:
    """Judge the version, from ``INFO server``."""
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = version_of(server)
    if version is None:
        return Check(
            "redis_version", "warn", "cannot tell the version: INFO is not permitted", "ACL SETUSER … +info"
        )
    major = version.partition(".")[0]
    if name == "Redis" and major.isdigit() and int(major) < TRACKING_SINCE:
        return Check(
            "redis_version",
            "warn",
            f"{name} {version} cannot tell of changes: coordd asks every two seconds",
            f"upgrade to Redis {TRACKING_SINCE} or newer",
        )
    return Check("redis_version", "ok", f"{name} {version}")


def of_eviction(memory: Mapping[str, str]) -> Check:
    """Judge what is dropped when the memory is full, from ``INFO memory``."""
    policy, limit = memory.get("maxmemory_policy"), number_of(memory, "maxmemory")
    if policy is None or limit is None:
        return Check("redis_eviction", "warn", "cannot tell the eviction policy", "ACL SETUSER … +info")
    if limit == 0:
        return Check("redis_eviction", "ok", f"nothing is evicted: maxmemory is not set ({policy})")
    if policy.startswith("allkeys-"):
        return Check(
            "redis_eviction",
            "warn",
            f"{policy}: when its memory is full, any key may go, heartbeats, registrations and claims too; "
            "agents that live would look silent",
            "CONFIG SET maxmemory-policy noeviction, or a Redis of their own for agents",
        )
    if policy.startswith("volatile-"):
        return Check(
            "redis_eviction",
            "ok",
            f"{policy}: when its memory is full, keys with a time to live go, heartbeats among them",
        )
    return Check("redis_eviction", "ok", f"{policy}: when its memory is full, writes are refused")


def of_memory(memory: Mapping[str, str]) -> Check:
    """Judge how full the memory is, from ``INFO memory``."""
    used, limit = number_of(memory, "used_memory"), number_of(memory, "maxmemory")
    if used is None or limit is None:
        return Check("redis_memory", "warn", "cannot tell the memory in use", "ACL SETUSER … +info")
    if limit == 0:
        return Check("redis_memory", "ok", f"{size(used)} used, without a limit")
    share = used / limit * 100
    words = f"{size(used)} of {size(limit)} used ({share:.0f} %)"
    if share < NEARLY_FULL:
        return Check("redis_memory", "ok", words)
    policy = memory.get("maxmemory_policy", "")
    then = "heartbeats and samples are refused" if policy == "noeviction" else f"keys are dropped ({policy})"
    return Check(
        "redis_memory",
        "warn",
        f"{words}; when it is full, {then}",
        "raise maxmemory, or remove what fills it",
    )


def of_clock(difference: float | None) -> Check:
    """Judge the clock: ``difference`` is how many seconds it is ahead of ours, None if TIME is forbidden."""
    if difference is None:
        return Check("redis_clock", "warn", "cannot tell its time: TIME is forbidden", "ACL SETUSER … +time")
    away = abs(difference)
    if away <= CLOCK_WARN:
        return Check("redis_clock", "ok", f"its clock is within {away:.1f} s of this machine's")
    words = f"its clock is {away:.1f} s {'ahead of' if difference > 0 else 'behind'} this machine's"
    return Check(
        "redis_clock",
        "fail" if away > CLOCK_FAIL else "warn",
        f"{words}: ages of heartbeats and claims are off by as much, if agents' clocks are like it",
        "synchronise both clocks: 'timedatectl set-ntp true', or chrony",
    )
