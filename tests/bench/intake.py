"""How many heartbeats a second one daemon takes in: every agent beats once, all at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from harness import Agents, Figure, Settings, cpu_seconds, daemon, until, wait_for_agents, workspace

FLOOR = "open, fstat, read, close"


def measure(settings: Settings) -> Iterator[Figure]:
    """Beats a second until the last sample is on disk, and beats for each CPU second of the daemon."""
    count = settings.pick(1000, 10_000)
    with workspace(settings) as root:
        agents = Agents(root, count)
        with daemon(root) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, count)
            client.close()
            path = os.path.join(service.metrics, "agent.jsonl")
            until(lambda: _lines(path) >= count, pause=0.05)
            time.sleep(2)
            rates, efforts, floors = [], [], []
            for _ in range(3):
                before, cpu, begin = _lines(path), cpu_seconds(service.pid), time.perf_counter()
                for index in range(count):
                    agents.beat(index)
                until(lambda expected=before + count: _lines(path) >= expected, pause=0.005)  # type: ignore[misc]  # a default has no type
                rates.append(count / (time.perf_counter() - begin))
                spent = cpu_seconds(service.pid)
                if cpu is not None and spent is not None:
                    efforts.append(count / (spent - cpu))
                floors.append(_read_all(agents.paths()))
    yield Figure(f"heartbeats taken in, burst of {count:,}", "/s", max(rates), "-", FLOOR, max(floors))
    effort = max(efforts) if efforts else None
    yield Figure("heartbeats for each CPU second", "/s", effort, "20000, 0.4x", FLOOR, max(floors))


def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _read_all(paths: list[str]) -> float:
    begin = time.perf_counter()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        os.fstat(descriptor)
        os.read(descriptor, 65536)
        os.close(descriptor)
    return len(paths) / (time.perf_counter() - begin)
