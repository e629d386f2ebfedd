"""Fake a daemon for tests of clients: a thread with a real Unix socket and answers from the test.

``answers`` maps a method to its result, or to a function of the params; an RpcFault raised by it becomes an
error object. What a real daemon would never do is done by ``behaviour``, a function of the raw
connection and of an event that is set when the test is over.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

Behaviour = Callable[[socket.socket, threading.Event], None]


class RpcFault(Exception):
    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.error = {"code": code, "message": message, "data": data}
        super().__init__(message)


class FakeCoordd:
    def __init__(self, path: str, answers: dict[str, Any], behaviour: Behaviour | None = None) -> None:
        self.path = path
        self.answers = answers
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self.ending = threading.Event()
        self._behaviour = behaviour or self._answer_all
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(8)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def methods(self) -> list[str]:
        """The names of the methods it was asked for, in order."""
        return [request["method"] for request in self.requests]

    def close(self) -> None:
        self.ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._behaviour(connection, self.ending)

    def _answer_all(self, connection: socket.socket, ending: threading.Event) -> None:
        for line in connection.makefile("rb"):
            request = json.loads(line)
            self.requests.append(request)
            connection.sendall(self.answer(request))

    def answer(self, request: dict[str, Any]) -> bytes:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            found = self.answers.get(request["method"], _no_method)
            message["result"] = found(request.get("params") or {}) if callable(found) else found
        except RpcFault as fault:
            message["error"] = fault.error
        return json.dumps(message).encode() + b"\n"


def _no_method(params: dict[str, Any]) -> None:
    raise RpcFault(-32601, "Method not found")


@contextlib.contextmanager
def fake_coordd(
    path: str, answers: dict[str, Any], behaviour: Behaviour | None = None
) -> Iterator[FakeCoordd]:
    daemon = FakeCoordd(str(path), answers, behaviour)
    try:
        yield daemon
    finally:
        daemon.close()


AGENT: dict[str, Any] = {
    "timestamp": "2026-11-22T06:05:00.123Z",
    "host": "box",
    "workspace": "/src/app",
    "agent_id": "builder-1",
    "status": "active",
    "reason": "heartbeat",
    "cause": "heartbeat",
    "active_tasks": 2,
    "uptime": 3725.0,
    "last_heartbeat": "2026-11-22T06:04:48.123Z",
    "last_heartbeat_age": 12.4,
    "declared_status": None,
    "sources": ["file"],
    "pid": None,
    "cpu_percent": None,
    "rss": None,
}


def agent(agent_id: str, status: str = "active", **fields: Any) -> dict[str, Any]:
    return {**AGENT, "agent_id": agent_id, "status": status, **fields}


def status_document(**fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "timestamp": "2026-11-22T06:05:00.123Z",
        "health": "ok",
        "problems": [],
        "daemon": {
            "version": "0.1.0",
            "pid": 4242,
            "metrics_dir": "/nowhere/metrics",
            "log_dir": "/nowhere/logs",
            "host": "box",
            "uptime": 7980.0,
            "started_at": "2026-11-22T03:52:00.000Z",
            "layout": "user",
            "config_file": None,
            "coord_mode": "file",
            "cpu_seconds": 0.5,
            "rss": 31000000,
            "socket": "/nowhere/coordd.sock",
        },
        "redis": {"configured": False, "connected": False, "url": None},
        "system": {
            "timestamp": "2026-11-22T06:04:36.123Z",
            "host": "box",
            "cpu_percent": 12.34,
            "memory_usage": {"percent": 45.1, "total": 16 * 2**30},
            "disk_usage": {"percent": 71.0, "total": 100 * 2**30},
            "load_average": [0.52, 0.4, 0.31],
        },
        "agents": {"total": 1, "active": 1, "inactive": 0, "unknown": 0},
        "tasks": {"available": None, "claimed": None, "expired": None, "orphaned": None},
        "sinks": {},
        **fields,
    }


def paged(agents: list[dict[str, Any]], page: int = 1000) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answer ``agents.list`` over these agents, in pages whose cursor is the next index."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            a
            for a in agents
            if params.get("status") in (None, a["status"])
            and params.get("workspace") in (None, a["workspace"])
        ]
        start = int(params.get("cursor") or 0)
        end = start + min(page, params.get("limit") or page)
        cursor = str(end) if end < len(wanted) else None
        return {"timestamp": "2026-11-22T06:05:00.123Z", "agents": wanted[start:end], "cursor": cursor}

    return answer
