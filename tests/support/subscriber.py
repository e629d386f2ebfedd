"""Subscribe to a real daemon on a connection of one's own."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiting import PATIENCE


class Subscriber:
    """A connection that has subscribed."""

    def __init__(self, path: Path | str, params: object = None, *, timeout: float = PATIENCE) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")
        self.snapshot = self.ask("subscribe", params)

    def ask(self, method: str, params: object = None) -> Any:
        """The result; notifications that come before it are passed over."""
        request = {"jsonrpc": "2.0", "id": method, "method": method}
        self.socket.sendall(
            json.dumps(request if params is None else {**request, "params": params}).encode() + b"\n"
        )
        while (message := self.next()).get("id") != method:
            pass
        return message["result"]

    def next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        assert message.pop("jsonrpc") == "2.0"
        return message

    def until(self, seq: int) -> list[dict[str, Any]]:
        """All messages up to the notification of this number."""
        messages = [self.next()]
        while messages[-1]["params"]["seq"] < seq:
            messages.append(self.next())
        return messages

    def rest(self) -> list[dict[str, Any]]:
        """All messages until the daemon hangs up."""
        messages = []
        with contextlib.suppress(EOFError):
            while True:
                messages.append(self.next())
        return messages

    def listen(self) -> Callable[[], list[dict[str, Any]]]:
        """Read on in a thread; what is returned gives all messages, after the daemon hung up."""
        heard: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: heard.extend(self.rest()))
        thread.start()

        def all_heard() -> list[dict[str, Any]]:
            thread.join(PATIENCE)
            assert not thread.is_alive()
            return heard

        return all_heard

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()
