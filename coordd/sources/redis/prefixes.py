"""Look whether agents' keys stand behind another prefix than coordd reads, for ``coordd check-redis``.

A wrong ``redis_prefix`` looks like a Redis in which no agent has left anything. So where no key of a family
is found behind the prefix that is configured, a bounded number of keys is looked at for one behind another.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from coordd.config.redis_prefix import LONGEST_PREFIX, check_redis_prefix
from coordd.redislink.session import RedisSession
from coordd.sources.redis.keys import FAMILIES, Keyspace
from coordd.sources.redis.verdicts import Check
from coordd.util.text import escape

ROUNDS, EACH = 100, 1000
"""How often keys are asked for, and about how many at a time."""
_NAME = "redis_traces"
_PLAIN = Keyspace()
_FAMILY = "|".join(re.escape(family) + ("." if family.endswith(":") else r"\Z") for family in FAMILIES)
_KEY = re.compile(rb"(.{0,%d}?[^0-9A-Za-z])(?:%s)" % (LONGEST_PREFIX, _FAMILY.encode()), re.DOTALL)


def other_prefix(key: bytes) -> str | None:
    """Return what stands before a family's name in a key, "" for nothing; None where no prefix can be that.

    >>> other_prefix(b"shop:agent:heartbeat:a")
    'shop:'
    """
    if _PLAIN.meaning(key) is not None:
        return ""
    found = _KEY.match(key)
    if found is None:
        return None
    try:
        return check_redis_prefix(found[1].decode())
    except ValueError:  # no UTF-8, or what no prefix may hold
        return None


async def look_for_traces(session: RedisSession, keyspace: Keyspace) -> Check | None:
    """Return whether agents' keys are there; None where keys may not be listed, which is said elsewhere.

    Raises:
        RedisLost: the connection failed.
    """
    cursor, others = b"0", Counter[str]()
    for _ in range(ROUNDS):
        reply = (await session.call(("SCAN", cursor, "COUNT", str(EACH))))[0]
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
            return None
        keys = [key for key in reply[1] if isinstance(key, bytes)]
        if any(keyspace.meaning(key) is not None for key in keys):
            return Check(_NAME, "ok", f"agents have left traces there{_behind(keyspace)}")
        others.update(prefix for prefix in map(other_prefix, keys) if prefix is not None)
        cursor = reply[0] if isinstance(reply[0], bytes) else b"0"
        if cursor == b"0":
            break
    if not others:
        which = "" if cursor == b"0" else ", as far as its first keys tell"
        return Check(_NAME, "ok", f"no agent has left a trace there yet{_behind(keyspace)}{which}")
    prefix, count = others.most_common(1)[0]
    more = f", and others behind {len(others) - 1} more prefixes" if len(others) > 1 else ""
    written = json.dumps(prefix, ensure_ascii=False)
    there = f"{count} {'is' if count == 1 else 'are'} there{_named(prefix)}"
    return Check(
        _NAME,
        "warn",
        f"no key of agents is found{_named(keyspace.prefix)}, while {there}{more}",
        f"if they are your agents': set coordination.redis_prefix = {written} (or COORDD_REDIS_PREFIX), and "
        "restart coordd",
    )


def _named(prefix: str) -> str:
    return f" behind '{escape(prefix)}'" if prefix else " without a prefix"


def _behind(keyspace: Keyspace) -> str:
    return _named(keyspace.prefix) if keyspace.prefix else ""
