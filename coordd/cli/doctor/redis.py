"""Check the Redis: what the daemon reports, and what ``coordd check-redis`` finds.

coordctl speaks no Redis; the service's command does, in a process of its own, with the daemon up or down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from coordd.cli.doctor.facts import check_redis as ask_redis
from coordd.cli.doctor.findings import Finding, Result
from coordd.errors import CannotTell
from coordd.util.text import number, shown
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from coordd.cli.doctor.facts import DoctorFacts

_START = "start it, or correct coordination.redis_url; files are read meanwhile"
_ELSEWHERE = "run 'coordd check-redis' as the daemon's user, with its environment"


def check_redis(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the Redis, if one is configured."""
    redis = facts.section("redis") if facts.alive else {}
    configured = as_dict(facts.config.values.get("coordination")).get("redis_url") is not None
    if facts.alive and redis.get("configured") is True:
        yield _as_the_daemon_sees_it(redis)
    elif not configured or facts.alive:
        return
    if facts.config.code is None:
        yield Finding("redis_check", "warn", f"cannot ask it: {facts.config.error}", _ELSEWHERE)
    elif facts.config.code == 0:  # a bad configuration is reported by its own check
        yield from _asked(facts, redis)


def _as_the_daemon_sees_it(redis: Mapping[str, Any]) -> Finding:
    url = shown(redis.get("url"))
    if redis.get("connected") is not True:
        fix = redis.get("fix")
        words = f"{url}: {shown(redis.get('error'))}"
        return Finding("redis", "fail", words, fix if isinstance(fix, str) else _START)
    latency = number(redis.get("latency_ms"))
    words = f"{url} answers" + (f" in {latency:.1f} ms" if latency is not None else "")
    if feed := redis.get("feed"):
        words += f", changes come by {shown(feed)}"
    if redis.get("writes") is False:
        words += "; samples are not written there, for REDIS_URL alone names it"
    return Finding("redis", "ok", words)


def _asked(facts: DoctorFacts, redis: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        answer = ask_redis(facts)
    except CannotTell as error:
        yield Finding("redis_check", "warn", f"cannot tell more: {error}", _ELSEWHERE)
        return
    url, used = answer.get("url"), redis.get("url")
    if facts.alive and url is None:
        yield Finding(
            "redis_check",
            "warn",
            "cannot tell more: this user does not see what makes the daemon use it, its environment perhaps",
            _ELSEWHERE,
        )
        return
    if facts.alive and url != used:
        yield Finding(
            "redis_check",
            "warn",
            f"the daemon uses {shown(used)}, while its configuration now names {shown(url)}",
            "restart the daemon: a reload does not change this",
        )
    checks = answer.get("checks")
    for check in checks if isinstance(checks, list) else ():
        finding = _finding(as_dict(check))
        if finding is None or (facts.alive and finding.name == "redis" and url == used):
            finding = _differing(finding, redis)
        if finding is not None:
            yield finding


def _differing(finding: Finding | None, redis: Mapping[str, Any]) -> Finding | None:
    """Return the finding on whether Redis answers only if it differs from what the daemon reported."""
    if finding is None or finding.result == "ok" or redis.get("connected") is not True:
        return None
    return Finding("redis_check", "warn", f"cannot tell more, for here {finding.message}", _ELSEWHERE)


def _finding(check: Mapping[str, Any]) -> Finding | None:
    name, state, detail, fix = (check.get(key) for key in ("check", "state", "detail", "fix"))
    if not isinstance(name, str) or not isinstance(detail, str):
        return None
    result: Result = next((known for known in get_args(Result) if known == state), "warn")
    return Finding(name, result, detail, fix if isinstance(fix, str) else None)
