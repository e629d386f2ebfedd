"""What one process can shut: the doors of coordd and its dashboard against a client that takes all it can.

``python tests/bench/doors.py`` starts a real daemon and a real dashboard on a project of its own and prints,
for each way of holding a door, how many honest requests were served meanwhile. The honest ones come from
processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from dash import Dashboard, dashboard
from live import Coordd, Project, watching

HONEST = 100
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
HALF = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n"
STREAM = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"

ASK = """
import http.client, json, sys
served = 0
for _ in range(int(sys.argv[3])):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
    try:
        connection.request("GET", sys.argv[2])
        answer = connection.getresponse()
        answer.read()
        served += answer.status == 200
    except OSError:
        pass
    finally:
        connection.close()
print(served)
"""


class Hoard:
    """Connections that are opened again whenever they end."""

    def __init__(self, connect: Callable[[], socket.socket], many: int) -> None:
        self._connect = connect
        self._sockets = [connect() for _ in range(many)]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _keep(self) -> None:
        while not self._end.wait(0.05):
            for index, sock in enumerate(self._sockets):
                sock.setblocking(False)
                try:
                    ended = sock.recv(65536) == b""
                except BlockingIOError:
                    ended = False
                except OSError:
                    ended = True
                if ended:
                    sock.close()
                    with contextlib.suppress(OSError):
                        self._sockets[index] = self._connect()

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()


@contextlib.contextmanager
def held(connect: Callable[[], socket.socket], many: int) -> Iterator[None]:
    hoard = Hoard(connect, many)
    try:
        yield
    finally:
        hoard.close()


def polite(path: Path, request: bytes = PING) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect(str(path))
    with contextlib.suppress(OSError):
        sock.sendall(request)
        sock.recv(65536)
    return sock


def honest_http(dash: Dashboard, path: str) -> str:
    said = subprocess.run(
        [sys.executable, "-I", "-c", ASK, str(dash.port), path, str(HONEST)],
        capture_output=True,
        text=True,
        check=True,
    )
    return f"{int(said.stdout)} of {HONEST} served"


def honest_ctl(coordd: Coordd, *command: str) -> str:
    said = coordd.ctl(*command)
    words = (said.stderr or said.stdout).strip().splitlines()
    return f"exit {said.returncode}" + (f" ({words[0][:100]})" if said.returncode and words else "")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="coordd-doors-") as place:
        project = Project(Path(place) / "app")
        project.beat("coder")
        with (
            watching(project, Path(place)) as coordd,
            dashboard(sock=coordd.socket, home=Path(place) / "home") as dash,
        ):
            for name, bytes_, many in (
                ("280 half requests", HALF, 280),
                ("256 event streams", STREAM, 256),
                ("1100 half requests", HALF, 1100),
                ("1100 event streams", STREAM, 1100),
            ):
                with held(lambda sent=bytes_: dash.raw(sent), many):
                    time.sleep(0.5)
                    for path in ("/api/status", "/healthz"):
                        print(f"dashboard, {name}: {path}: {honest_http(dash, path)}")
            for name, request, many in (
                ("64 idle polite clients", PING, 64),
                ("1100 idle polite clients", PING, 1100),
                ("1100 subscribers", json.dumps(SUBSCRIBE).encode() + b"\n", 1100),
            ):
                with held(lambda sent=request: polite(coordd.socket, sent), many):
                    for command in (("ping",), ("reload",), ("status",)):
                        print(
                            f"control socket, {name}: coordctl {command[0]}: {honest_ctl(coordd, *command)}"
                        )


SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "subscribe"}

if __name__ == "__main__":
    main()
