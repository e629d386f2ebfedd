"""Find out whether a Redis that answers accepts heartbeats; if it does not, silence says nothing of agents.

Only commands that read are sent: the Redis may belong to another application, and coordd may have no right to
write. What the server refuses to tell counts as well. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.redislink.info import number_of
from coordd.redislink.server_info import ServerInfo
from coordd.redislink.trouble import meaning

_ORPHANED = "takes no writes: it is a replica that has lost its master"


def standstill(server: ServerInfo) -> str | None:
    """Return why no client can write to it or connect, said of "Redis"; None if all is well."""
    info = server.fields
    if server.trouble is not None and server.trouble.code == "MISCONF":
        # https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
        return str(server.trouble)
    if _is_full(info):
        return meaning("OOM", "")
    if info.get("role") == "slave" and info.get("master_link_status") == "down":
        return _ORPHANED
    connected, limit = number_of(info, "connected_clients"), number_of(info, "maxclients")
    if connected is not None and limit is not None and connected >= limit:
        return meaning("MAXCLIENTS", "")
    return None


def _is_full(memory: Mapping[str, str]) -> bool:
    """Return whether writes are refused for lack of memory; as getMaxmemoryState in the server's evict.c."""
    used, limit = number_of(memory, "used_memory"), number_of(memory, "maxmemory")
    if not used or not limit or memory.get("maxmemory_policy") != "noeviction":
        return False
    return used - (number_of(memory, "mem_not_counted_for_evict") or 0) > limit
