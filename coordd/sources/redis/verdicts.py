"""What is to be said of a Redis that answers: its version, memory, clock, and who may do what in it. Pure.

The words of a check stand by themselves, a line each; what a server answered is data from strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coordd.util.text import size

State = Literal["ok", "warn", "fail"]

TRACKING_SINCE = 6
CLOCK_WARN, CLOCK_FAIL = 2.0, 5.0
"""Seconds between two clocks; one that is 5 s ahead has its agents' heartbeats taken for unknown."""
NEARLY_FULL = 90.0
"""Percent of maxmemory."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line: ``check`` is one word, ``fix`` what to do about it (None: nothing; ``…`` is the user)."""

    check: str
    state: State
    detail: str
    fix: str | None = None


def of_version(server: Mapping[str, str]) -> Check:
    """By ``INFO server``."""
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version") or server.get("redis_version")
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
    """By ``INFO memory``: what goes when the memory is full."""
    policy, limit = memory.get("maxmemory_policy"), _number(memory.get("maxmemory"))
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
    """By ``INFO memory``: how full it is."""
    used, limit = _number(memory.get("used_memory")), _number(memory.get("maxmemory"))
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
    """By ``TIME``: seconds by which its clock is ahead of ours, None where it will not say."""
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


def parse_info(reply: object) -> dict[str, str]:
    """An ``INFO`` reply as its fields; empty where it was refused."""
    if not isinstance(reply, bytes):
        return {}
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value.strip()[:100] for name, colon, value in lines if colon}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None
