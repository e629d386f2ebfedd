"""Gather all that a daemon tells anybody: what subscribers hear, and the answers to every question."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from live import Coordd, RpcFailed
from waiting import PATIENCE


class Listener:
    """A subscriber that keeps all that it is told."""

    def __init__(self, daemon: Coordd) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(daemon.socket))
        self._socket.sendall(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
        self._heard: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self._socket, contextlib.suppress(OSError):
            while data := self._socket.recv(65536):
                self._heard.append(data)

    def heard(self) -> str:
        """Return all of it, once the daemon has hung up."""
        self._thread.join(PATIENCE)
        return b"".join(self._heard).decode()


def answers(daemon: Coordd) -> Iterator[str]:
    """Return the answers to every question that can be asked, for every agent."""
    agents = daemon.rpc("agents.list")["agents"]
    parameters: dict[str, list[dict[str, Any]]] = {
        "agents.get": [{"agent_id": one["agent_id"], "workspace": one["workspace"]} for one in agents],
        "history.query": [{"type": kind} for kind in ("system", "agent", "event")],
    }
    ours = {"subscribe", "reload", "agents.forget", "attention.ack", "records.purge"}  # what is no question
    methods = set(daemon.rpc("describe")["methods"]) - ours
    assert {"status", "agents.list", "agents.get", "history.query", "tasks.list"} <= methods
    for method in methods:
        for given in parameters.get(method, [None]):
            try:
                yield json.dumps(daemon.rpc(method, given))
            except RpcFailed as failed:
                yield json.dumps(failed.error)
    for command in (["status"], ["agents"], ["doctor"], *(["why", one["agent_id"]] for one in agents)):
        done = daemon.ctl(*command)
        yield done.stdout + done.stderr
