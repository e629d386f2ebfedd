"""Run coordd between agents in Redis and in files, for tests of what happens while Redis fails.

What never stops beats: ``filer`` into a file, ``alone`` into Redis as long as that takes it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from live import Coordd, Project, watching
from redis.backoff import NoBackoff
from redis.retry import Retry
from redisd import RedisServer
from redisproxy import Proxy
from waiting import eventually

TIMEOUT = 3
"""Seconds of silence after which an agent of a scene is inactive."""
TURNS = ("redis.down", "redis.up", "mode.changed")
SECRET = "hunter2-s3cret"
USERS = (
    *("--user", "admin", "on", ">admin", "~*", "&*", "+@all"),
    *("--user", "coordd", "on", f">{SECRET}", "~*", "&*", "+@all"),
)
"""Options of a server that has them, after each start."""


def admin(server: RedisServer) -> redis.Redis:
    """Return a client of its own user, over the socket, which still connects when others cannot."""
    return redis.Redis(
        unix_socket_path=str(server.socket),
        username="admin",
        password="admin",
        socket_timeout=2,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )


def beat_once(client: redis.Redis) -> None:
    """Do all that the scene's agents do in Redis; each key changes, but not what it says of tasks."""
    now = time.time()
    with client.pipeline(transaction=True) as pipeline:
        entry = {"id": "alone", "hostname": "h", "status": "active", "registered_at": 1764000000}
        pipeline.hset("agents:registry", "alone", json.dumps(entry))
        pipeline.set("heartbeat:alone", f"{now:.3f}", ex=600)
        for key, member in (("agent:tasks:alone", "t1"), ("tasks:available", "free")):
            pipeline.srem(key, member)
            pipeline.sadd(key, member)
        pipeline.set("tasks:claimed:t1", "alone", ex=600)
        pipeline.set("task:progress:t1", json.dumps({"task_id": "t1", "progress": int(now) % 100}))
        pipeline.execute()


class Scene:
    """One coordd, its project and its Redis; ``mark`` is the number of events when the fault began."""

    def __init__(self, server: RedisServer, project: Project, proxy: Proxy | None = None) -> None:
        self.server = server
        self.project = project
        self.proxy = proxy
        self.mark = 0
        self.held: list[Any] = []
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._daemon: Coordd | None = None

    @property
    def daemon(self) -> Coordd:
        assert self._daemon is not None
        return self._daemon

    def redis(self, *command: Any) -> Any:
        """Run one command of the administrator, on its own connection."""
        with admin(self.server) as client:
            return client.execute_command(*command)

    def apart(self, *command: Any) -> None:
        """Run a command that does not end by itself."""

        def run() -> None:
            with contextlib.suppress(redis.RedisError):
                self.redis(*command)

        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)

    @property
    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.daemon.rpc("status")
        return answer

    @property
    def problems(self) -> str:
        return " | ".join(self.status["problems"])

    def well(self) -> bool:
        """Return whether everything is as it was before the fault."""
        told = self.status
        assert told["redis"]["connected"], told["redis"]
        assert told["redis"]["feed"] == "push", told["redis"]
        assert told["daemon"]["coord_mode"] == "redis"
        assert told["health"] == "ok", told["problems"]
        assert told["tasks"] == {"available": 1, "claimed": 1, "expired": 0, "orphaned": 0}
        assert self.daemon.statuses() == {"alone": "active", "filer": "active"}
        return True

    def resident(self) -> int:
        """Return the bytes of memory that the daemon has now."""
        lines = Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def turns(self) -> list[str]:
        """Return the events of losing and regaining Redis since the fault began."""
        events = self.project.records("event")[self.mark :]
        return [event["kind"] for event in events if event["kind"] in TURNS]

    def gaps(self) -> list[float]:
        """Return the seconds between one sample of the host and the next."""
        times = [
            datetime.fromisoformat(one["timestamp"]).timestamp() for one in self.project.records("system")
        ]
        return [later - earlier for earlier, later in pairwise(times)]

    def recorded(self, agent: str) -> list[dict[str, Any]]:
        return [one for one in self.project.records("agent") if one["agent_id"] == agent]

    def file_beat_is_recorded(self) -> bool:
        """Wait for the record of a heartbeat that is made now."""
        at = time.time()
        eventually(
            lambda: any(_time(one["last_heartbeat"]) >= at for one in self.recorded("filer")),
            what="a beat into a file is recorded",
        )
        return True

    def everything_is_there(self) -> bool:
        """Return whether the last record of each agent, the host and each second is in Redis."""
        expected = {}
        for record in self.project.records("agent"):
            key = f"metrics:agent:{_epoch(record)}:{record['host']}"
            expected[key, f"{record['workspace'] or ''}:{record['agent_id']}"] = record
        for record in self.project.records("system"):
            expected[f"metrics:system:{_epoch(record)}:{record['host']}", ""] = record
        there = self.samples()
        missing = [place for place, record in expected.items() if there.get(place) != record]
        assert expected
        assert not missing, f"{len(missing)} of {len(expected)}: {missing[:3]}"
        return True

    def samples(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return all samples in Redis by (key, field); field is empty if the key is no hash."""
        found = {}
        with admin(self.server) as client:
            for key in client.scan_iter("metrics:agent:*", count=1000):
                for field, value in client.hgetall(key).items():
                    found[key.decode(), field.decode()] = json.loads(value)
            for key in client.scan_iter("metrics:system:*", count=1000):
                value = client.get(key)
                found[key.decode(), ""] = json.loads(value)
        return found

    def still(self) -> None:
        """Stop all agents."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @contextlib.contextmanager
    def playing(
        self, tmp_path: Path, url: str, *, wait: bool = True, prefix: tuple[str, ...] = (), **extra: str
    ) -> Iterator[Scene]:
        """Let agents beat and coordd run; ``wait`` until it sees everything."""
        for beater in (self._beat_into_redis, self._beat_into_files):
            self._threads.append(threading.Thread(target=beater))
            self._threads[-1].start()
        settings = {
            "COORDD_REDIS_URL": url,
            "COORDD_SAMPLING_INTERVAL": "1s",
            "COORDD_AGENTS_TIMEOUT": f"{TIMEOUT}s",
        }
        try:
            with watching(self.project, tmp_path, prefix=prefix, **(settings | extra)) as daemon:
                self._daemon = daemon
                if wait:
                    eventually(self.well, what="coordd sees everything")
                yield self
        finally:
            self.still()

    def _beat_into_redis(self) -> None:
        client = admin(self.server)
        while not self._ending.wait(0.3):
            try:
                beat_once(client)
            except (redis.RedisError, OSError):
                client.close()
                client = admin(self.server)
        client.close()

    def _beat_into_files(self) -> None:
        while not self._ending.wait(0.3):
            self.project.beat("filer", f"{time.time():.3f}")


def _time(text: str | None) -> float:
    return 0.0 if text is None else datetime.fromisoformat(text).timestamp()


def _epoch(record: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(record["timestamp"]).timestamp())
