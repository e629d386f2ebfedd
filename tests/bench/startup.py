"""How long a command takes: coordctl status, and a daemon from its spawn to its first answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from harness import Agents, Figure, Settings, daemon, median, wait_for_agents, wall, workspace

PYTHON = sys.executable
STATUS = [
    PYTHON,
    "-c",
    "import sys; from coordd.cli import main; sys.exit(main())",
    "status",
]  # as the script does
IMPORTS = "import click, socket, json"
ASYNCIO = "import asyncio"


def command(settings: Settings) -> Iterator[Figure]:
    """``coordctl status`` with 100 agents, pair by pair with its floor."""
    with workspace(settings) as root:
        Agents(root, 100)
        with daemon(root) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, 100)
            client.close()
            wall(STATUS, cwd=root)  # the first run writes the byte code
            took, floors, ratios = [], [], []
            for _ in range(settings.pick(15, 60)):
                took.append(wall(STATUS, cwd=root))
                floors.append(wall([PYTHON, "-c", IMPORTS]))
                ratios.append(took[-1] / floors[-1])
    value = median(took) * 1000
    # the floor that makes the ratio the median of the pairs' ratios
    yield Figure("coordctl status", "ms", value, "60, 1.25x", IMPORTS, value / median(ratios))


def first_answer(settings: Settings) -> Iterator[Figure]:
    """From spawning ``coordd run`` to the answer to a ping, with 100 agents."""
    with workspace(settings) as root:
        Agents(root, 100)
        took, floors = [], []
        for _ in range(settings.pick(5, 15)):
            begin = time.perf_counter()
            with daemon(root) as service:
                client = service.wait_until_it_answers()
                took.append(time.perf_counter() - begin)
                client.close()
            floors.append(wall([PYTHON, "-c", ASYNCIO]))
    yield Figure(
        "spawn to first answer", "ms", median(took) * 1000, "200, 3x", ASYNCIO, median(floors) * 1000
    )
