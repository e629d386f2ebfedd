"""From a heartbeat written to its sample on disk, and to its being visible on the socket; 1,000 agents."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator

from harness import (
    Agents,
    Client,
    Daemon,
    Figure,
    Metronome,
    Settings,
    daemon,
    percentile,
    wait_for_agents,
    workspace,
)

AGENTS = 1000
INTERVAL = 30.0  # 33 beats a second
LIMIT = 10.0


def measure(settings: Settings) -> Iterator[Figure]:
    """p50 and p99 of each, single beats of random agents while the fleet beats on."""
    probes = settings.pick(60, 300)
    with workspace(settings) as root:
        agents = Agents(root, AGENTS)
        with daemon(root) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, AGENTS)
            beats = Metronome(agents, INTERVAL)
            beats.rest(2.0)
            chance = random.Random(1)
            for name, visible in (
                ("heartbeat to sample on disk", _on_disk(service)),
                ("heartbeat to agents.get", _on_socket(client)),
            ):
                took = [_probe(agents, beats, chance, visible) for _ in range(probes)]
                for share in (50, 99):
                    yield Figure(
                        f"{name}, p{share}, {AGENTS:,} agents",
                        "ms",
                        percentile(took, share) * 1000,
                        target="250" if share == 99 else "-",
                    )
            client.close()


def _probe(
    agents: Agents, beats: Metronome, chance: random.Random, visible: Callable[[str, str], bool]
) -> float:
    beats.rest(chance.uniform(0.01, 0.06))  # no rhythm that could fall in with the daemon's
    index = chance.randrange(AGENTS)
    begin = time.perf_counter()
    written = agents.beat(index)
    while not visible(agents.ids[index], written):
        if time.perf_counter() - begin > LIMIT:
            raise RuntimeError(f"the beat of {agents.ids[index]} did not arrive within {LIMIT:g} s")
        beats.play()
        time.sleep(0.0005)
    return time.perf_counter() - begin


def _on_disk(service: Daemon) -> Callable[[str, str], bool]:
    descriptor = os.open(os.path.join(service.metrics, "agent.jsonl"), os.O_RDONLY)
    os.lseek(descriptor, 0, os.SEEK_END)
    seen: set[tuple[str, str]] = set()
    rest = b""

    def visible(agent_id: str, written: str) -> bool:
        nonlocal rest
        lines = (rest + os.read(descriptor, 1 << 20)).split(b"\n")
        rest = lines.pop()
        for line in lines:
            record = json.loads(line)
            seen.add((record["agent_id"], record["last_heartbeat"]))
        return (agent_id, written) in seen

    return visible


def _on_socket(client: Client) -> Callable[[str, str], bool]:
    def visible(agent_id: str, written: str) -> bool:
        return bool(client.call("agents.get", agent_id=agent_id)["last_heartbeat"] == written)

    return visible
