"""What the reader of traces in Redis costs: CPU and commands for a heartbeat, full readings, stalls.

The reader alone, in this process, on a real server; the floor is the same commands without a reader.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from harness import Figure, Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from redisd import RedisServer, redis_server

from coordd.redislink.session import RedisSession
from coordd.sources.redis.reader import RedisReader

BATCH = 15  # beats in 50 ms at 300 a second


def measure(settings: Settings) -> Iterator[Figure]:
    """CPU for a heartbeat with 10,000 agents registered, commands for one, the worst stall in bad cases."""
    agents, crowd = settings.pick(2000, 10_000), settings.pick(10_000, 50_000)
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        _fill(server, agents, beating=True)
        yield from asyncio.run(_beats(server, agents))
        server.run("FLUSHALL")
        _fill(server, crowd, beating=False)
        yield from asyncio.run(_stalls(server, f"a registry of {crowd:,}"))
        server.run("FLUSHALL")
        _foreign(server, 10 * crowd)
        yield from asyncio.run(_stalls(server, f"{10 * crowd:,} foreign keys"))
        server.run("FLUSHALL")
        _members(server, 20 * crowd)
        yield from asyncio.run(_stalls(server, f"sets and lists of {20 * crowd:,}"))


async def _beats(server: RedisServer, count: int) -> list[Figure]:
    wire, reader = await RedisSession.open(server.url), RedisReader(mono=time.monotonic)
    await reader.scan(wire, time.time())
    keys = [b"heartbeat:agent-%05d" % n for n in range(count)]

    async def read(some: list[bytes]) -> object:
        return await reader.read(wire, some, time.time())

    async def raw(some: list[bytes]) -> object:
        return await wire.call(*[(b"GETRANGE", key, b"0", b"65536") for key in some])

    figures = []
    for size in (BATCH, 200):
        costs = [await _cost(read, keys, size) for _ in range(3)]
        floors = [await _cost(raw, keys, size) for _ in range(3)]
        name = f"CPU for a heartbeat, {count:,} registered, by {size}"
        figures.append(Figure(name, "us", min(costs), "50", "GETRANGE", min(floors)))
    before = _commands(server)
    await read(keys[:1])
    figures.append(Figure("commands for a heartbeat", "", _commands(server) - before - 1.0, "6"))
    begin, cpu = time.perf_counter(), time.process_time()
    await reader.scan(wire, time.time())
    figures.append(Figure(f"full reading of {count:,} agents", "ms", (time.perf_counter() - begin) * 1000))
    figures.append(Figure("its CPU", "ms", (time.process_time() - cpu) * 1000))
    await wire.close()
    return figures


async def _cost(do: Callable[[list[bytes]], Awaitable[object]], keys: list[bytes], size: int) -> float:
    """Microseconds of CPU for each key."""
    begin = time.process_time()
    for start in range(0, len(keys), size):
        await do(keys[start : start + size])
    return (time.process_time() - begin) / len(keys) * 1e6


async def _stalls(server: RedisServer, what: str) -> list[Figure]:
    """The longest time for which the loop did not turn during two full readings."""
    wire, reader = await RedisSession.open(server.url), RedisReader(mono=time.monotonic)
    longest = 0.0

    async def turn() -> None:
        nonlocal longest
        while True:
            cpu = time.thread_time()  # of this thread alone, for other processes stall it too
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - cpu)

    turning = asyncio.ensure_future(turn())
    begin = time.perf_counter()
    for _ in range(2):
        traces = await reader.scan(wire, time.time())
        assert traces.state == "read"
    took = (time.perf_counter() - begin) / 2
    turning.cancel()
    await wire.close()
    return [
        Figure(f"longest stall, {what}", "ms", longest * 1000, "100"),
        Figure(f"full reading, {what}", "ms", took * 1000),
    ]


def _commands(server: RedisServer) -> int:
    with server.client as client:
        return int(client.info("stats")["total_commands_processed"])


def _fill(server: RedisServer, count: int, *, beating: bool) -> None:
    with server.client as client:
        pipe = client.pipeline(transaction=False)
        for n in range(count):
            agent_id = f"agent-{n:05d}"
            entry = {"id": agent_id, "hostname": "box", "capabilities": ["code"], "pid": n + 1}
            entry |= {"registered_at": "2026-11-22T06:05:00Z", "status": "active", "version": "1"}
            pipe.hset("agents:registry", agent_id, json.dumps(entry))
            if beating:
                pipe.set(f"heartbeat:{agent_id}", "2026-11-22T06:05:00.123Z")
            if n % 5000 == 4999:
                pipe.execute()
        pipe.execute()


def _foreign(server: RedisServer, count: int) -> None:
    with server.client as client:
        for start in range(0, count, 10_000):
            client.mset({f"app:cache:{n}": "x" for n in range(start, start + 10_000)})


def _members(server: RedisServer, count: int) -> None:
    with server.client as client:
        for start in range(0, count, 10_000):
            members = [f"task-{n}" for n in range(start, start + 10_000)]
            client.sadd("tasks:available", *members)
            client.sadd("agent:tasks:a", *members)
            client.rpush("work:available:high", *members)
