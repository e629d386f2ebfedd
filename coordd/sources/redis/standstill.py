"""Find out whether a Redis that answers accepts heartbeats; if it does not, silence says nothing of agents.

Only commands that read are sent: the Redis may belong to another application, and coordd may have no right to
write. What the server refuses to tell counts as well. Pure, except for :func:`standstill_of`.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.redislink.info import number_of, parse_info
from coordd.redislink.session import Command, RedisSession, Reply
from coordd.redislink.trouble import ServerError, meaning

ASKED: tuple[Command, ...] = (("PING",), ("INFO", "memory"), ("INFO", "replication"), ("INFO", "clients"))
_ORPHANED = "takes no writes: it is a replica that has lost its master"


async def standstill_of(session: RedisSession) -> str | None:
    """Return why no client can write to it or connect, said of "Redis"; None if all is well.

    Raises:
        RedisLost: the connection failed.
    """
    return standstill(await session.call(*ASKED))


def standstill(replies: list[Reply]) -> str | None:
    """Return the same as :func:`standstill_of`, from the replies to :data:`ASKED`."""
    ping = replies[0]
    memory, replication, clients = map(parse_info, replies[1:])
    if isinstance(ping, ServerError) and ping.code == "MISCONF":
        return str(ping)  # https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
    if _is_full(memory):
        return meaning("OOM", "")
    if replication.get("role") == "slave" and replication.get("master_link_status") == "down":
        return _ORPHANED
    connected, limit = number_of(clients, "connected_clients"), number_of(clients, "maxclients")
    if connected is not None and limit is not None and connected >= limit:
        return meaning("MAXCLIENTS", "")
    return None


def _is_full(memory: Mapping[str, str]) -> bool:
    """Return whether writes are refused for lack of memory; as getMaxmemoryState in the server's evict.c."""
    used, limit = number_of(memory, "used_memory"), number_of(memory, "maxmemory")
    if not used or not limit or memory.get("maxmemory_policy") != "noeviction":
        return False
    return used - (number_of(memory, "mem_not_counted_for_evict") or 0) > limit
