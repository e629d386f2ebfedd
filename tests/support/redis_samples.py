"""Provide records, record files and an in-memory server that can fail, for tests of samples in Redis."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import Command, RedisLost, Reply
from coordd.redislink.trouble import server_error
from coordd.sinks.redis.commands import Sample, sample_of
from coordd.util.timestamps import format_utc, utc_date

NOON = 1795348800.0  # 2026-11-22T12:00:00Z


def agent_record(
    at: float, agent: str = "a", *, host: str = "h", workspace: str | None = "/w", **more: Any
) -> bytes:
    """Return an agent's record with the fields that matter here."""
    fields = {"timestamp": format_utc(at), "host": host, "workspace": workspace, "agent_id": agent, **more}
    return json.dumps(fields, separators=(",", ":")).encode()


def system_record(at: float, *, host: str = "h", **more: Any) -> bytes:
    """Return a system record with the fields that matter here."""
    fields = {"timestamp": format_utc(at), "host": host, **more}
    return json.dumps(fields, separators=(",", ":")).encode()


def samples_in(topic: str, *records: bytes) -> list[Sample]:
    """Return the samples in these records, each of which must have one."""
    found = [sample_of(topic, record, json.loads(record)) for record in records]
    assert None not in found
    return [sample for sample in found if sample is not None]


class Files:
    """Write record files as the sink ``jsonl`` does; rotate and compress on demand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.numbers: dict[tuple[str, str], int] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, topic: str, wall: float) -> Path:
        date = utc_date(wall)
        number = self.numbers.get((topic, date), 1)
        return self.directory / f"{topic}_{date}{'' if number == 1 else f'.{number}'}.jsonl"

    def write(self, topic: str, wall: float, *records: bytes) -> None:
        with self.path(topic, wall).open("ab") as file:
            file.write(b"".join(record + b"\n" for record in records))

    def rotate(self, topic: str, wall: float) -> None:
        """Write the next record into another part."""
        if self.path(topic, wall).exists():
            place = (topic, utc_date(wall))
            self.numbers[place] = self.numbers.get(place, 1) + 1

    def compress(self, wall: float) -> None:
        """Compress all parts but those that are written to."""
        current = {self.path(topic, wall) for topic in ("agent", "system")}
        for path in set(self.directory.glob("*.jsonl")) - current:
            (self.directory / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()


class MemoryServer:
    """Hold the part of Redis that the sink uses.

    ``refuses`` is the text of an error for each command; ``breaks`` ends the connection ``before`` or
    ``after`` the next exchange is done.
    """

    def __init__(self) -> None:
        self.starts = 0
        self.refuses: str | None = None
        self.refused_keys: tuple[str, ...] = ("",)
        self.breaks: str | None = None
        self.exchanges: list[tuple[Command, ...]] = []
        self.start()

    def start(self) -> None:
        """Start empty, as another run, as after a kill."""
        self.starts += 1
        self.strings: dict[bytes, bytes] = {}
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.ttl: dict[bytes, int] = {}

    @property
    def facts(self) -> RedisFacts:
        return RedisFacts(connected=True, run_id=f"run-{self.starts}")

    def content(self) -> dict[tuple[bytes, bytes | None], bytes]:
        found: dict[tuple[bytes, bytes | None], bytes] = {
            (key, None): value for key, value in self.strings.items()
        }
        for key, fields in self.hashes.items():
            found |= {(key, field): value for field, value in fields.items()}
        return found

    def do(self, command: Command) -> Reply:
        name, key, *rest = command
        assert isinstance(key, bytes)
        if self.refuses and key.decode().startswith(self.refused_keys):
            return server_error(self.refuses)
        if name == "SET":
            value, ex, seconds = rest
            assert ex == "EX"
            assert isinstance(value, bytes)
            self.strings[key] = value
        elif name == "HSET":
            assert rest
            for field, value in zip(rest[::2], rest[1::2], strict=True):
                assert isinstance(field, bytes)
                assert isinstance(value, bytes)
                self.hashes.setdefault(key, {})[field] = value
            return len(rest) // 2
        else:
            assert name == "EXPIRE"
            (seconds,) = rest
        assert isinstance(seconds, int)
        assert seconds >= 1
        self.ttl[key] = seconds
        return 1


class MemorySession:
    """A connection to a :class:`MemoryServer`; it fails after a break or a restart of the server."""

    def __init__(self, server: MemoryServer, pause: Callable[[], Any] | None = None) -> None:
        self.server = server
        self.start = server.starts
        self.lost: RedisLost | None = None
        self._pause = pause

    async def call(self, *commands: Command, deadline: float = 1.0) -> list[Reply]:
        if self._pause is not None:
            await self._pause()
        server = self.server
        if self.lost is None and self.start != server.starts:
            self.lost = RedisLost("closed the connection")
        if self.lost is None and server.breaks is not None:
            self.lost = RedisLost("does not answer in time")
            how, server.breaks = server.breaks, None
            if how == "after":
                for command in commands:
                    server.do(command)
        if self.lost is not None:
            raise self.lost
        server.exchanges.append(commands)
        return [server.do(command) for command in commands]
