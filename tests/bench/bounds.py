"""What strangers' excess costs: ``python tests/bench/bounds.py`` plants it and looks at a real daemon.

    python tests/bench/bounds.py                every case
    python tests/bench/bounds.py tasks agents   some of them, by the names of the functions below

Of each case the peak of resident memory, the slowest ``status``, the longest time that a ping took (one each
10 ms, over one connection: the loop was held as long), and how often Redis was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Client, Daemon, Settings, daemon, resident, timestamp, workspace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
from redisd import RedisServer, redis_server

WATCHED = 40.0
HUGE = 400 << 20

Plant = Callable[[str, RedisServer], None]


def tasks(project: str, _: RedisServer) -> None:
    """300 agents with a list of tasks of 1 MiB each."""
    folder = _agents(project)
    for agent in range(300):
        lines = "".join(f"{agent:03d}{task:x}\n" for task in range(131_072))
        (folder / f"a{agent}.tasks").write_text(lines[: 1 << 20])
        (folder / f"a{agent}.heartbeat").write_text(timestamp(time.time()))


def files(project: str, _: RedisServer) -> None:
    """100,000 agents and as many claims, reports and tasks as files, with long texts in them."""
    root = _agents(project).parent
    for name in ("claims", "status", "tasks"):
        (root / name).mkdir(exist_ok=True)
    told = json.dumps({"progress": 1, "message": "m" * 900})
    claimed = json.dumps({"agent_id": "a1", "description": "d" * 900})
    for number in range(100_000):
        (root / "agents" / f"a{number}.heartbeat").write_text("")
        (root / "claims" / f"t{number}.claim").write_text(claimed)
        (root / "status" / f"t{number}.progress").write_text(told)
        (root / "tasks" / f"o{number}").write_text("")


def agents(_: str, server: RedisServer) -> None:
    """200,000 agents in the registry, with a heartbeat each."""
    with server.client as client:
        for start in range(0, 200_000, 5000):
            pipe = client.pipeline(transaction=False)
            now = timestamp(time.time())
            for number in range(start, start + 5000):
                pipe.set(f"heartbeat:agent-{number}", now, ex=3600)
                pipe.hset(
                    "agents:registry",
                    f"agent-{number}",
                    json.dumps({"id": f"agent-{number}", "hostname": "h", "registered_at": now}),
                )
            pipe.execute()


def heartbeat(_: str, server: RedisServer) -> None:
    """A heartbeat of 400 MB."""
    _string(server, "heartbeat:x")


def progress(_: str, server: RedisServer) -> None:
    """A report of 400 MB."""
    _string(server, "task:progress:x")


def registry(_: str, server: RedisServer) -> None:
    """A field of 400 MB in the registry, and a name of 100 MB."""
    with server.client as client:
        client.hset("agents:registry", "good", "{}")
        client.hset("agents:registry", "x", b"v" * HUGE)
        client.hset("agents:registry", b"n" * (100 << 20), "{}")


def sets(_: str, server: RedisServer) -> None:
    """Sets of 5 million tasks, available ones and one agent's own; members of 400 MB."""
    with server.client as client:
        for start in range(0, 5_000_000, 50_000):
            names = [f"task-{number}" for number in range(start, start + 50_000)]
            client.sadd("agent:tasks:x", *names)
            client.sadd("tasks:available", *names)
        client.sadd("agent:tasks:huge", b"m" * HUGE, "small")
        client.rpush("work:available:high", b"l" * HUGE, '{"task_id": "small"}')


CASES: dict[str, Plant] = {
    one.__name__: one for one in (tasks, files, agents, heartbeat, progress, registry, sets)
}


def _agents(project: str) -> Path:
    folder = Path(project, ".claude", "coordination", "agents")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _string(server: RedisServer, key: str) -> None:
    with server.client as client:
        client.set(key, b"v" * HUGE)
        client.set("heartbeat:good", timestamp(time.time()))


class Watch:
    """Pings each 10 ms over one connection, and looks at the memory."""

    def __init__(self, pid: int, socket: str) -> None:
        self.longest = 0.0
        self.peak = 0
        self._pid = pid
        self._socket = socket
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ending.set()
            self._thread.join()

    def _run(self) -> None:
        client = Client(self._socket)
        while not self._ending.wait(0.01):
            began = time.perf_counter()
            client.call("ping")
            self.longest = max(self.longest, time.perf_counter() - began)
            self.peak = max(self.peak, resident(self._pid) or 0)
        client.close()


def look(name: str) -> str:
    """One case, as a line."""
    settings = Settings(quick=False, directory=None)
    with (
        tempfile.TemporaryDirectory() as directory,
        redis_server(Path(directory)) as server,
        workspace(settings) as project,
    ):
        CASES[name](project, server)
        began = time.monotonic()
        with _configured(project, server) as one:
            client = one.wait_until_it_answers()
            started = time.monotonic() - began
            watch, slowest = Watch(one.pid, one.socket), 0.0
            with watch.watching():
                end = time.monotonic() + WATCHED
                while time.monotonic() < end:
                    begin = time.perf_counter()
                    status = client.call("status")
                    slowest = max(slowest, time.perf_counter() - begin)
                    time.sleep(0.25)
            begin = time.perf_counter()
            client.call("agents.list", limit=500)
            listed = time.perf_counter() - begin
            begin = time.perf_counter()
            client.call("tasks.list", limit=500)
            tasked = time.perf_counter() - begin
            events = client.call("history.query", type="event", since="1h", limit=10000)["records"]
            lost = sum(event["kind"] == "redis.down" for event in events)
            print(
                json.dumps(
                    {k: status[k] for k in ("health", "problems", "agents", "tasks", "traces_malformed")}
                ),
                file=sys.stderr,
            )
            peak = max(watch.peak, resident(one.pid) or 0) / 2**20
            return (
                f"{name:<10} first answer {started:5.1f} s, peak {peak:6.0f} MiB, "
                f"slowest status {slowest * 1000:6.0f} ms, longest ping {watch.longest * 1000:6.0f} ms, "
                f"agents.list {listed * 1000:.0f} ms, tasks.list {tasked * 1000:.0f} ms, "
                f"Redis lost {lost} times"
            )


@contextlib.contextmanager
def _configured(project: str, server: RedisServer) -> Iterator[Daemon]:
    config = Path(project, "coordd-bench.toml")
    config.write_text(f'[coordination]\nredis_url = "{server.url}"\n')
    with daemon(project, "--config", str(config)) as one:
        yield one


def main() -> int:
    """Look at the cases that are asked for."""
    for name in sys.argv[1:] or CASES:
        print(look(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
