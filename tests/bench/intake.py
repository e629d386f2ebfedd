"""How many heartbeats a second one daemon takes in: every agent beats once, all at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from harness import (
    Agents,
    Daemon,
    Figure,
    Settings,
    count_lines,
    cpu_seconds,
    daemon,
    until,
    wait_for_agents,
    workspace,
)

FLOOR = "open, fstat, read, close"


def measure(settings: Settings) -> Iterator[Figure]:
    """Beats a second until the last sample is on disk, and beats for each CPU second of the daemon."""
    count = settings.pick(1000, 10_000)
    with workspace(settings) as root:
        agents = Agents(root, count)
        with daemon(root) as service:
            wait_for_samples(service, count)
            rates, efforts, floors = [], [], []
            for _ in range(3):
                rate, effort = burst(agents, service)
                rates.append(rate)
                if effort is not None:
                    efforts.append(effort)
                floors.append(_read_all(agents.paths()))
    yield Figure(f"heartbeats taken in, burst of {count:,}", "/s", max(rates), "-", FLOOR, max(floors))
    best = max(efforts) if efforts else None
    yield Figure("heartbeats for each CPU second", "/s", best, "20000, 0.4x", FLOOR, max(floors))


def wait_for_samples(service: Daemon, count: int) -> None:
    """Until the first sample of so many agents is on disk, and a moment for what follows it."""
    client = service.wait_until_it_answers()
    wait_for_agents(client, count)
    client.close()
    until(lambda: count_lines(service.samples) >= count, pause=0.05)
    time.sleep(2)


def burst(agents: Agents, service: Daemon) -> tuple[float, float | None]:
    """Let each agent beat once; beats a second until the last sample is on disk, and beats a CPU second."""
    count = len(agents.ids)
    return timed_burst(service, count, lambda: [agents.beat(index) for index in range(count)])


def timed_burst(service: Daemon, count: int, beat: Callable[[], object]) -> tuple[float, float | None]:
    """Call ``beat``, which makes so many beats; beats a second as above, and beats a CPU second."""
    expected = count_lines(service.samples) + count
    cpu, begin = cpu_seconds(service.pid), time.perf_counter()
    beat()
    until(lambda: count_lines(service.samples) >= expected, pause=0.005)
    rate = count / (time.perf_counter() - begin)
    spent = cpu_seconds(service.pid)
    return rate, None if cpu is None or spent is None else count / (spent - cpu)


def _read_all(paths: list[str]) -> float:
    begin = time.perf_counter()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        os.fstat(descriptor)
        os.read(descriptor, 65536)
        os.close(descriptor)
    return len(paths) / (time.perf_counter() - begin)
