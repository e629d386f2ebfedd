"""Heartbeats that come through Redis: how many, how soon seen, at what cost to the server, in what memory.

The server is one of its own, from a private directory; floors are what the same commands cost a bare client.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness import (
    ROOT,
    Client,
    Daemon,
    Figure,
    Settings,
    cpu_seconds,
    daemon,
    percentile,
    resident,
    timestamp,
    until,
    wait_for_agents,
    workspace,
)
from intake import timed_burst

sys.path.insert(0, str(ROOT / "tests" / "support"))

from redisd import RedisServer, redis_server

REGISTERED = 10_000
RATE = 300
LIMIT = 10.0


class Fleet:
    """Agents that beat into Redis, each with an entry in the registry."""

    def __init__(self, server: RedisServer, count: int) -> None:
        self.ids = [f"agent-{i:05d}" for i in range(count)]
        self._client = server.client
        now = timestamp(time.time())
        for start in range(0, count, 1000):
            pipe = self._client.pipeline(transaction=False)
            for agent_id in self.ids[start : start + 1000]:
                entry = {"id": agent_id, "hostname": "h", "registered_at": now, "status": "active"}
                pipe.hset("agents:registry", agent_id, json.dumps(entry))
                pipe.set(f"heartbeat:{agent_id}", now, ex=600)
            pipe.execute()

    def beat(self, index: int) -> str:
        """One heartbeat; the timestamp in it."""
        written = timestamp(time.time())
        self._client.set(f"heartbeat:{self.ids[index]}", written, ex=600)
        return written

    def beat_all(self) -> None:
        """Each agent once, as fast as it goes."""
        for start in range(0, len(self.ids), 200):
            now = timestamp(time.time())
            pipe = self._client.pipeline(transaction=False)
            for agent_id in self.ids[start : start + 200]:
                pipe.set(f"heartbeat:{agent_id}", now, ex=600)
            pipe.execute()

    def read_all(self) -> float:
        """Heartbeats a second that a bare client reads, pipelined."""
        begin = time.perf_counter()
        for start in range(0, len(self.ids), 200):
            pipe = self._client.pipeline(transaction=False)
            for agent_id in self.ids[start : start + 200]:
                pipe.get(f"heartbeat:{agent_id}")
            pipe.execute()
        return len(self.ids) / (time.perf_counter() - begin)

    def commands(self) -> int:
        """How many commands the server has carried out so far."""
        return int(self._client.info("stats")["total_commands_processed"])


def measure(settings: Settings) -> Iterator[Figure]:
    """All figures."""
    count = settings.pick(2000, REGISTERED)
    with scene(settings, count) as (fleet, service, client):
        yield from _intake(fleet, service)
        yield from _latency(settings, fleet, service, client)
        yield from _idle(settings, fleet, service)
    with scene(settings, 100) as (fleet, service, client):
        time.sleep(6)  # what starting took of memory is given back
        fleet.beat_all()
        time.sleep(1)
        memory = resident(service.pid)
        yield Figure(
            "resident, Redis in use, 100 agents", "MB", None if memory is None else memory / 1e6, "40"
        )


@contextlib.contextmanager
def scene(settings: Settings, count: int, *, tree: Path = ROOT) -> Iterator[tuple[Fleet, Daemon, Client]]:
    """Agents that beat into a Redis of their own, a daemon that has taken all of them in, and its client."""
    with workspace(settings) as root, redis_server(Path(root) / "redis") as server:
        fleet = Fleet(server, count)
        config = os.path.join(root, "coordd.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[coordination]\nredis_url = "{server.url}"\n')
        with daemon(root, "--config", config, tree=tree) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, count)
            until(lambda: client.call("status")["redis"]["feed"] == "push", pause=0.05)
            until(lambda: client.call("status")["sinks"]["redis"]["backlog"] == 0, pause=0.05)
            time.sleep(2)
            yield fleet, service, client
            client.close()


def _intake(fleet: Fleet, service: Daemon) -> Iterator[Figure]:
    count = len(fleet.ids)
    rates, efforts, floors = [], [], []
    for _ in range(3):
        rate, effort = timed_burst(service, count, fleet.beat_all)
        rates.append(rate)
        if effort is not None:
            efforts.append(effort)
        floors.append(fleet.read_all())
        time.sleep(2)
    yield Figure(
        f"heartbeats through Redis, burst of {count:,}",
        "/s",
        max(rates),
        "5000",
        "pipelined GETs",
        max(floors),
    )
    best = max(efforts) if efforts else None
    yield Figure("the same for each CPU second", "/s", best, "5000", "pipelined GETs", max(floors))


def _latency(settings: Settings, fleet: Fleet, service: Daemon, client: Client) -> Iterator[Figure]:
    chance = random.Random(1)
    took: list[float] = []
    beats = 0
    commands = fleet.commands()
    begin = due = time.monotonic()
    end = begin + settings.pick(5, 20)
    probe: tuple[str, str, float] | None = None
    while (now := time.monotonic()) < end:
        if now >= due:
            index = chance.randrange(len(fleet.ids))
            at = time.perf_counter()
            written = fleet.beat(index)
            probe = probe or (fleet.ids[index], written, at)
            beats += 1
            due += 1 / RATE
        if probe is not None:
            agent_id, written, at = probe
            if client.call("agents.get", agent_id=agent_id)["last_heartbeat"] >= written:
                took.append(time.perf_counter() - at)
                probe = None
            elif time.perf_counter() - at > LIMIT:
                raise RuntimeError(f"the beat of {agent_id} did not arrive within {LIMIT:g} s")
        time.sleep(0.0005)
    time.sleep(1)
    spent = fleet.commands() - commands - beats
    for share in (50, 99):
        yield Figure(
            f"heartbeat in Redis to agents.get, p{share}, {beats / (end - begin):.0f}/s",
            "ms",
            percentile(took, share) * 1000,
            "250" if share == 99 else "-",
        )
    yield Figure("commands to Redis per heartbeat, with samples", "", spent / beats, "6")


def _idle(settings: Settings, fleet: Fleet, service: Daemon) -> Iterator[Figure]:
    seconds = settings.pick(10, 60)
    commands, cpu = fleet.commands(), cpu_seconds(service.pid)
    time.sleep(seconds)
    spent = cpu_seconds(service.pid)
    yield Figure("commands to Redis, idle", "/s", (fleet.commands() - commands - 1) / seconds)
    if cpu is not None and spent is not None:
        yield Figure(f"CPU idle, {len(fleet.ids):,} agents of Redis", "s/h", (spent - cpu) / seconds * 3600)
