"""Run a real dashboard for tests, in front of a real daemon, asked over plain sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from live import environment
from waiting import PATIENCE, eventually


class Dashboard:
    """A running ``coordctl dashboard``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, host: str, port: int) -> None:
        self.process = process
        self.log = log
        self.host = host
        self.port = port
        self.token: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Send one request on its own connection; underscores in header names become hyphens.

        The token is shown where there is one, unless ``authorization`` is given; an empty one shows nothing.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and "authorization" not in sent:
            sent["authorization"] = f"Bearer {self.token}"
        sent = {name: value for name, value in sent.items() if value or name != "authorization"}
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """Return the body of an answer that must be 200."""
        answer = self.get(path)
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        return answer.json()

    def raw(self, data: bytes = b"") -> socket.socket:
        """Open a bare connection and send these bytes."""
        sock = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        if data:
            sock.sendall(data)
        return sock

    def events(self, path: str = "/api/events", **headers: str) -> Stream:
        """Open a stream of events."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return Stream(self.raw(("\r\n".join(lines) + "\r\n\r\n").encode()))

    def metric(self, name: str) -> float:
        """Return a sample of /metrics, by name and labels as they are written there."""
        text = self.get("/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found is not None, (name, text)
        return float(found.group(1))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


class Answer:
    """A whole HTTP response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Event:
    """One server-sent event."""

    def __init__(self, name: str, data: Any, ident: str | None) -> None:
        self.name = name
        self.data = data
        self.ident = ident


class Stream:
    """Read events from a socket, decoding the chunks by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass
        self._text = b""

    def __iter__(self) -> Iterator[Event]:
        while True:
            while b"\n\n" not in self._text:
                size = int(self._file.readline() or b"0", 16)
                if size == 0:
                    return
                self._text += self._file.read(size)
                self._file.readline()
            block, _, self._text = self._text.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))

    def until(self, name: str, **fields: object) -> Event:
        """Return the next event of this name whose data has these fields."""
        deadline = time.monotonic() + PATIENCE
        for event in self:
            if event.name == name and fields.items() <= event.data.items():
                return event
            assert time.monotonic() < deadline, f"no {name} {fields}"
        raise AssertionError(f"the stream ended before {name} {fields}")

    def close(self) -> None:
        # shutdown, for the file keeps the descriptor
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self.sock.close()


@contextlib.contextmanager
def dashboard(
    *arguments: str,
    sock: Path | None,
    home: Path,
    cwd: Path | None = None,
    listen: str = "127.0.0.1:0",
    wait_for_daemon: bool = True,
    prefix: Sequence[str] = (),
) -> Iterator[Dashboard]:
    """Run ``coordctl dashboard`` for the daemon on ``sock`` until it serves; stop it at the end.

    Without ``sock`` it is for the one that ``coordctl`` finds in ``cwd``.
    """
    log = home / f"dashboard-{time.monotonic_ns()}.log"
    environ = environment(home)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(*prefix, sys.executable, "-m", "coordd.cli", "dashboard"),
                *(("--socket", str(sock)) if sock is not None else ()),
                *("--listen", listen, *arguments),
            ],
            stdout=output,
            stderr=output,
            env=environ,
            cwd=cwd,
        )

    def address() -> tuple[str, int]:
        said = log.read_text()
        if process.poll() is not None:
            raise RuntimeError(f"the dashboard ended with {process.returncode}:\n{said}")
        found = re.search(r"coordd dashboard: http://(\[?[^/\s]+\]?):(\d+)/", said)
        assert found is not None
        return found.group(1), int(found.group(2))

    try:
        if listen.startswith("unix:"):
            eventually(lambda: "coordd dashboard: unix:" in log.read_text())
            running = Dashboard(process, log, "", 0)
        else:
            host, port = eventually(address, what="the dashboard says where it is")
            running = Dashboard(process, log, "127.0.0.1" if host == os.uname().nodename else host, port)
            if wait_for_daemon:
                eventually(lambda: running.get("/healthz").json()["daemon"] == "up")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")
