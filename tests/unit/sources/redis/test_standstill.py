"""Whether agents can beat, by what a Redis says of itself."""

from __future__ import annotations

import pytest

from coordd.redislink.server_info import ServerInfo
from coordd.redislink.session import Reply
from coordd.redislink.trouble import server_error
from coordd.sources.redis.standstill import standstill

NOT_PERMITTED = server_error("NOPERM this user has no permissions to run the 'info' command")
FULL = b"used_memory:1000\r\nmaxmemory:900\r\nmaxmemory_policy:noeviction\r\nmem_not_counted_for_evict:0\r\n"


def told(*, ping: Reply = b"PONG", info: Reply = b"role:master\r\n") -> str | None:
    return standstill(ServerInfo.of([ping, info]))


def test_a_redis_that_is_well() -> None:
    assert told() is None
    assert told(info=b"used_memory:1000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n") is None
    assert told(info=FULL.replace(b"maxmemory:900", b"maxmemory:1000")) is None
    assert told(info=b"connected_clients:3\r\nmaxclients:10000\r\n") is None


def test_a_memory_that_is_full() -> None:
    assert told(info=FULL) == "takes no writes: its memory is full (maxmemory)"
    # what the server itself does not count
    assert told(info=FULL.replace(b"evict:0", b"evict:100")) is None
    # it makes room
    assert told(info=FULL.replace(b"noeviction", b"volatile-lru")) is None


def test_a_disk_that_takes_no_dump() -> None:
    words = told(ping=server_error("MISCONF Redis is configured to save RDB snapshots, but cannot"))
    assert words == "takes no writes: it cannot save its data set to disk (its log says why)"


def test_a_replica_beats_with_its_master() -> None:
    replica = b"role:slave\r\nmaster_link_status:%s\r\n"
    assert told(info=replica % b"up") is None
    assert told(info=replica % b"down") == "takes no writes: it is a replica that has lost its master"


def test_no_room_for_another_client() -> None:
    assert told(info=b"connected_clients:10\r\nmaxclients:10\r\n") == "takes no more clients (maxclients)"


@pytest.mark.parametrize(
    "odd", [NOT_PERMITTED, None, 5, b"\xff:\xff\r\nused_memory:x\r\nmaxmemory:" + b"9" * 50]
)
def test_what_it_does_not_tell_is_taken_for_well(odd: Reply) -> None:
    assert told(ping=odd, info=odd) is None
