"""A real HTTP server for one connection after the other, each of which is answered as a test says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Request:
    """What was sent: the first line, headers by name in small letters, and the body."""

    line: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[socket.socket, threading.Event], None]
"""Answers a connection whose request has been read; the event is set when the test ends."""


@dataclass
class Hook:
    """A listening server; ``requests`` is what it was sent, ``connections`` how many there were."""

    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)


def answer(status: str, *headers: str, body: bytes = b"") -> Handler:
    """Answer with a status, headers, and a body."""

    def handle(one: socket.socket, _: threading.Event) -> None:
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
        one.sendall("\r\n".join(lines).encode() + body)

    return handle


def raw(data: bytes, *, reset: bool = False) -> Handler:
    """Send these bytes, and close; or reset, as a server does that was killed."""

    def handle(one: socket.socket, _: threading.Event) -> None:
        one.sendall(data)
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return handle


def endless(block: bytes, *, first: bytes = b"", pause: float = 0.0) -> Handler:
    """Send blocks for as long as somebody reads."""

    def handle(one: socket.socket, ended: threading.Event) -> None:
        one.sendall(first)
        while not ended.wait(pause):
            one.sendall(block)

    return handle


def hang(_: socket.socket, ended: threading.Event) -> None:
    """Answer nothing."""
    ended.wait()


@contextmanager
def hook(
    *handlers: Handler,
    certificate: tuple[Path, Path] | None = None,
    read: bool = True,
    connect: bool = False,
) -> Iterator[Hook]:
    """Serve on a free port of the loopback; the last handler answers all further connections.

    Args:
        handlers: for one connection each.
        certificate: with its key, for TLS.
        read: whether requests are read before they are answered.
        connect: whether it is a proxy, whose tunnels lead to the handlers.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        served = Hook(listener.getsockname()[1])
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)

        def serve(one: socket.socket, handler: Handler) -> None:
            with contextlib.suppress(OSError):
                one.settimeout(30)
                if connect:
                    request = read_request(one)
                    served.requests.append(request)
                    if request.line.startswith("CONNECT"):
                        one.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                secure = context.wrap_socket(one, server_side=True) if context else one
                with secure:
                    if read and not (connect and context is None):
                        served.requests.append(read_request(secure))
                    handler(secure, served.ended)
            one.close()

        def accept() -> None:
            while not served.ended.is_set():
                try:
                    one, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                handler = handlers[min(served.connections, len(handlers) - 1)]
                served.connections += 1
                thread = threading.Thread(target=serve, args=(one, handler), daemon=True)
                threads.append(thread)
                thread.start()

        threads = [threading.Thread(target=accept, daemon=True)]
        threads[0].start()
        try:
            yield served
        finally:
            served.ended.set()
            for thread in threads:
                thread.join(10)


def read_request(one: socket.socket) -> Request:
    """Return the next request of a connection."""
    file = one.makefile("rb")
    line = file.readline().decode().strip()
    if not line:
        raise OSError("no request")
    headers = {}
    while header := file.readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, file.read(int(headers.get("content-length", "0"))))
