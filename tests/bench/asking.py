"""How fast the socket answers ``status``, beside an asyncio Protocol that echoes the same request."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator

from harness import (
    Agents,
    Client,
    Figure,
    Settings,
    daemon,
    percentile,
    request,
    running,
    wait_for_agents,
    workspace,
)

AGENTS = 1000
ECHO = """
import asyncio, sys
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1])
    print(flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
STATUS = request("status")
FLOOR = "bare asyncio Protocol echo"


def measure(settings: Settings) -> Iterator[Figure]:
    """One client's p50 and p99, then what 32 clients get through together."""
    with workspace(settings) as root:
        Agents(root, AGENTS)
        echo_path = os.path.join(root, "echo.sock")
        with daemon(root) as service, running(ECHO, echo_path):
            client = service.wait_until_it_answers()
            wait_for_agents(client, AGENTS)
            echo = Client(echo_path)
            took: list[float] = []
            floors: list[float] = []
            for _ in range(settings.pick(10, 40)):  # by turns: the machine's mood hits both
                took += one_by_one(client, 100)
                floors += one_by_one(echo, 100)
            client.close()
            echo.close()
            for share, bound in ((50, "150, 2x"), (99, "2.5x")):
                floor = percentile(floors, share) * 1e6
                yield Figure(
                    f"socket status, 1 client, p{share}",
                    "us",
                    percentile(took, share) * 1e6,
                    bound,
                    FLOOR,
                    floor,
                )
            seconds = settings.pick(1, 3)
            rates, floor_rates = [], []
            for _ in range(3):
                rates.append(together(service.socket, 32, seconds))
                floor_rates.append(together(echo_path, 32, seconds))
            yield Figure(
                "socket status, 32 clients", "/s", max(rates), "50000, 0.3x", FLOOR, max(floor_rates)
            )


def one_by_one(client: Client, count: int, line: bytes = STATUS) -> list[float]:
    """Seconds that each of so many requests takes."""
    took = []
    for _ in range(count):
        begin = time.perf_counter()
        client.exchange(line)
        took.append(time.perf_counter() - begin)
    return took


def together(path: str, clients: int, seconds: float) -> float:
    """Requests a second; this process is the one that asks, and on few cores part of the limit."""
    with selectors.DefaultSelector() as selector:
        sockets = []
        for _ in range(clients):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, connection)
            sockets.append(connection)
        done = 0
        begin = time.perf_counter()
        for connection in sockets:
            connection.send(STATUS)
        while (elapsed := time.perf_counter() - begin) < seconds:
            for key, _ in selector.select(1):
                if key.data.recv(1 << 16).endswith(b"\n"):
                    done += 1
                    key.data.send(STATUS)
        for connection in sockets:
            connection.close()
    return done / elapsed
