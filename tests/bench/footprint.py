"""What a daemon costs that nobody asks: resident memory, wake-ups, CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator

from harness import (
    Agents,
    Figure,
    Metronome,
    Settings,
    cpu_seconds,
    daemon,
    resident,
    running,
    voluntary_switches,
    wait_for_agents,
    workspace,
)

FLOOR = "import asyncio"
SLEEPER = "import asyncio, time; print(flush=True); time.sleep(600)"


def memory(settings: Settings) -> Iterator[Figure]:
    """Resident memory with 100 and 1,000 agents that beat each 30 s."""
    with running(SLEEPER) as process:
        floor = resident(process.pid)
    for count in (100, 1000):
        with workspace(settings) as root:
            agents = Agents(root, count)
            with daemon(root) as service:
                client = service.wait_until_it_answers()
                wait_for_agents(client, count)
                Metronome(agents, 30.0).rest(settings.pick(10, 60))
                size = resident(service.pid)
                client.close()
        for unit, factor in (("MB", 1e6), ("MiB", 2.0**20)):
            yield Figure(
                f"resident memory, {count:,} agents",
                unit,
                None if size is None else size / factor,
                target="30",
                floor_name=FLOOR,
                floor=None if floor is None else floor / factor,
            )


def idle(settings: Settings) -> Iterator[Figure]:
    """Wake-ups and CPU while 100 agents are silent and nobody asks.

    A full run watches for a minute, so that one sample of the host falls into it.
    """
    with workspace(settings) as root:
        Agents(root, 100)
        with daemon(root) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, 100)
            client.close()
            time.sleep(settings.pick(3, 10))
            switches, cpu, begin = voluntary_switches(service.pid), cpu_seconds(service.pid), time.monotonic()
            time.sleep(settings.pick(20, 60))
            elapsed = time.monotonic() - begin
            switches_then, cpu_then = voluntary_switches(service.pid), cpu_seconds(service.pid)
    known = switches is not None and switches_then is not None
    yield Figure(
        "wake-ups when idle, all threads",
        "/s",
        (switches_then - switches) / elapsed if known else None,  # type: ignore[operator]  # both known
        target="1",
    )
    known = cpu is not None and cpu_then is not None
    yield Figure(
        "CPU when idle",
        "s/hour",
        (cpu_then - cpu) / elapsed * 3600 if known else None,  # type: ignore[operator]  # both known
        target="0.2",
    )
