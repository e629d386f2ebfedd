"""Run a RedisReader on a real server, for tests that are not coroutines themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import redis
from redisd import RedisServer, redis_server

from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.redislink.session import RedisSession
from coordd.sources.redis.keys import Keyspace
from coordd.sources.redis.reader import RedisReader

T = TypeVar("T")

NOW = 1795262400.0  # 2026-11-21T12:00:00Z


class Reading:
    """A reader, its connection, and a monotonic clock that only a test moves."""

    def __init__(
        self, server: RedisServer, *, url: str | None = None, prefix: str = "", **limits: int
    ) -> None:
        self.server = server
        self.mono = 1000.0
        self.now = NOW
        self.reader = RedisReader(mono=lambda: self.mono, keyspace=Keyspace(prefix), **limits)
        self._url = url or server.url
        self._loop = asyncio.Runner()
        self.session = self.run(RedisSession.open(self._url))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(coroutine)

    def scan(self) -> SourceTraces:
        return self.run(self.reader.scan(self.session, self.now))

    def read(self, *keys: str | bytes, pushed: bool = True) -> AgentsChange:
        named = [key.encode() if isinstance(key, str) else key for key in keys]
        return self.run(self.reader.read(self.session, named, self.now, pushed=pushed))

    def reread(self, *agent_ids: str) -> AgentsChange:
        return self.run(self.reader.reread(self.session, agent_ids, self.now))

    def reconnect(self) -> None:
        self.run(self.session.close())
        self.session = self.run(RedisSession.open(self._url))

    def close(self) -> None:
        self.run(self.session.close())
        self._loop.close()


@contextlib.contextmanager
def reading(server: RedisServer, **options: Any) -> Iterator[Reading]:
    one = Reading(server, **options)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def shared_server(directory: Path, *options: str, kind: str | None = None) -> Iterator[RedisServer]:
    """Run a server for many tests, each of which empties it with :func:`emptied`."""
    with redis_server(directory, *options, kind=kind) as server:
        yield server


def emptied(server: RedisServer) -> redis.Redis:
    """Empty the server of keys and users; return its client."""
    client = server.client
    client.flushall()
    for user in client.acl_users():
        if user != "default":
            client.acl_deluser(user)
    return client


def agent(traces: SourceTraces | AgentsChange, agent_id: str) -> AgentTraces:
    found = traces.agents[agent_id]
    assert found is not None
    return found
