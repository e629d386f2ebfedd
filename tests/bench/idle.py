"""Measure what a daemon does while nothing happens: wake-ups and CPU of all threads, commands to Redis.

``python tests/bench/idle.py [--redis] [--foreign N] [--seconds 200] [--tree DIR]...`` starts one daemon for
each source tree (by default this checkout), each on a project of its own with 100 agents that fell silent an
hour ago, waits until all are quiet, and reads their counters side by side, so that two trees are compared in
the same weather. ``--foreign`` starts so many processes beside them that only wait, run by an interpreter, so
that they may be agents'. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT, Client, cpu_seconds, environment, timestamp, until, wait_for_agents

sys.path.insert(0, str(ROOT / "tests" / "support"))

from played_claude import processes
from redisd import RedisServer, redis_server

AGENTS = 100
SILENT_FOR = 3600.0


@dataclass(frozen=True)
class Counters:
    """What was counted of one daemon by a moment; ``commands`` is None without Redis."""

    at: float
    voluntary: int
    forced: int
    cpu: float
    commands: int | None


class Daemon:
    """One daemon of one source tree, on a project of its own."""

    def __init__(self, tree: Path, place: Path, server: RedisServer | None) -> None:
        self.tree = tree
        self.server = server
        self._asked = 0
        project = place / "project"
        _silent_files(project)
        environ = {**environment(), "PYTHONPATH": str(tree), "HOME": str(place)}
        if server is not None:
            _silent_keys(server)
            environ["COORDD_REDIS_URL"] = server.url
        self._log = (place / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "coordd", "run", "--workspace", str(project)],
            cwd=place,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.socket = project / ".claude" / "run" / "coordd.sock"

    def wait_for_agents(self) -> None:
        """Return once it answers and knows its agents."""
        until(self.socket.exists, pause=0.05)
        client = Client(str(self.socket))
        wait_for_agents(client, AGENTS)
        client.close()

    def counters(self) -> Counters:
        """Return the counters of all its threads."""
        pid = self.process.pid
        cpu = cpu_seconds(pid)
        if cpu is None:
            raise SystemExit("there is no /proc to read CPU time from")
        return Counters(time.monotonic(), *_switches(pid), cpu, self._commands())

    def _commands(self) -> int | None:
        if self.server is None:
            return None
        with self.server.client as client:
            counted = client.info("commandstats")
        own, self._asked = self._asked, self._asked + 1
        return sum(entry["calls"] for entry in counted.values()) - own

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


def _switches(pid: int) -> tuple[int, int]:
    """Return how often all threads together went to sleep, and how often they were put aside."""
    voluntary = forced = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                voluntary += int(value) if name == "voluntary_ctxt_switches" else 0
                forced += int(value) if name == "nonvoluntary_ctxt_switches" else 0
    return voluntary, forced


def _silent_files(project: Path) -> None:
    folder = project / ".claude" / "coordination" / "agents"
    folder.mkdir(parents=True)
    then = time.time() - SILENT_FOR
    for number in range(AGENTS):
        beat = folder / f"agent-{number:05d}.heartbeat"
        beat.write_text(timestamp(then))
        os.utime(beat, (then, then))


def _silent_keys(server: RedisServer) -> None:
    then = timestamp(time.time() - SILENT_FOR)
    with server.client as client:
        for number in range(AGENTS):
            name = f"redis-{number:05d}"
            client.hset("agents:registry", name, json.dumps({"id": name, "registered_at": then}))
            client.set(f"heartbeat:{name}", then)
        client.config_resetstat()


@contextlib.contextmanager
def daemons(trees: list[Path], *, redis: bool) -> Iterator[list[Daemon]]:
    """Run a daemon for each tree, in a temporary directory."""
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coordd-idle-")))
        found = []
        for number, tree in enumerate(trees):
            place = base / str(number)
            place.mkdir()
            server = stack.enter_context(redis_server(place / "redis")) if redis else None
            daemon = Daemon(tree, place, server)
            stack.callback(daemon.stop)
            found.append(daemon)
        for daemon in found:
            daemon.wait_for_agents()
        yield found


def main() -> None:
    """Print a line for each tree."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=200.0, help="how long to count (200)")
    parser.add_argument("--settle", type=float, default=20.0, help="how long to wait before (20)")
    parser.add_argument("--redis", action="store_true", help="with a Redis that has 100 silent agents, too")
    parser.add_argument("--foreign", type=int, default=0, help="processes that only wait (0)")
    parser.add_argument("--tree", type=Path, action="append", help="a source tree; repeat it to compare")
    options = parser.parse_args()
    trees = [tree.resolve() for tree in options.tree or [ROOT]]
    with processes(options.foreign), daemons(trees, redis=options.redis) as running:
        time.sleep(options.settle)
        before = [daemon.counters() for daemon in running]
        time.sleep(options.seconds)
        after = [daemon.counters() for daemon in running]
    print(f"{'wake-ups/s':>10} {'put aside/s':>11} {'CPU s/hour':>10} {'commands/s':>10}  tree")
    for daemon, then, now in zip(running, before, after, strict=True):
        seconds = now.at - then.at
        asked = ""
        if now.commands is not None and then.commands is not None:
            asked = f"{(now.commands - then.commands) / seconds:.3f}"
        slept, forced = (now.voluntary - then.voluntary) / seconds, (now.forced - then.forced) / seconds
        cpu = (now.cpu - then.cpu) / seconds * 3600
        print(f"{slept:>10.3f} {forced:>11.3f} {cpu:>10.3f} {asked:>10}  {daemon.tree}")


if __name__ == "__main__":
    main()
