"""Exchange one POST and its answer with one server; blocks, and knows neither deadlines nor further tries."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from coordd import __version__
from coordd.alerts.actions.address import Address
from coordd.alerts.actions.proxies import Proxy
from coordd.alerts.actions.replies import ProxyRefuses, Result, TooMuch, of_status

ANSWER = 64 * 1024
"""Bytes that are read of an answer, headers and body together."""
_BODY_SECONDS = 1.0
"""Seconds for the body of an answer: only the status counts, but a peer that is cut off may log an error."""
_CONNECT_SECONDS = 4.0
"""Seconds for each address of a name, so that one that does not answer leaves time for the next."""


class Exchange:
    """Make one try; ``phase`` says what it does at this moment, for whoever gives it up."""

    def __init__(self, address: Address, proxy: Proxy | None, *, key: str, body: bytes) -> None:
        self._address = address
        self._proxy = proxy
        self._key = key
        self._body = body
        self._socket: socket.socket | None = None
        self._given_up = False
        self.phase = "looking up its name"

    def run(self) -> Result:
        """Connect, send, and return what the answer means; raises what goes wrong on the way."""
        address, proxy = self._address, self._proxy
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._go_on("connecting")
        self._socket = _connected(found)
        connection = _Connection(address.host, address.port)
        connection.default_port = 443 if address.tls else 80
        connection.sock = self._socket
        target = address.target
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"coordd-alert/{__version__}",
            "Idempotency-Key": self._key,
            "Connection": "close",
        }
        if address.userinfo:
            headers["Authorization"] = _basic(address.userinfo)
        if proxy is not None and not address.tls:
            target = f"http://{_authority(address)}{target}"
            if proxy.userinfo:
                headers["Proxy-Authorization"] = _basic(proxy.userinfo)
        if address.tls:
            if proxy is not None:
                self._go_on("asking the proxy")
                self._tunnel(self._socket, proxy)
            self._go_on("agreeing on TLS")
            context = ssl.create_default_context()
            secure = context.wrap_socket(
                self._socket, server_hostname=address.host, do_handshake_on_connect=False
            )
            self._socket = connection.sock = secure
            secure.do_handshake()
        self._go_on("sending")
        with suppress(ConnectionError):  # it may have answered before it has read all
            connection.request("POST", target, body=self._body, headers=headers)
        self._go_on("waiting for its answer")
        response = connection.getresponse()
        result = of_status(response.status, response.headers.get("Retry-After"), time.time())
        self.phase = "reading its answer"
        self._read(response)
        connection.close()
        return result

    def give_up(self) -> None:
        """End the connection from another thread: whatever waits for it fails at once."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                # socket's own method: that of SSLSocket would forget its TLS under the other thread
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _go_on(self, phase: str) -> None:
        """Enter a phase, unless it has been given up meanwhile: nothing is sent beside the next try."""
        if self._given_up:
            raise TimeoutError
        self.phase = phase

    def _tunnel(self, plain: socket.socket, proxy: Proxy) -> None:
        where = _authority(self._address)
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if proxy.userinfo:
            lines.append(f"Proxy-Authorization: {_basic(proxy.userinfo)}")
        plain.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        response = _Response(plain, method="CONNECT")
        try:
            response.begin()
        finally:
            response.close()
        if not 200 <= response.status < 300:
            raise ProxyRefuses(response.status)

    def _read(self, response: http.client.HTTPResponse) -> None:
        """Read the body, as far as it comes soon and is small; nothing of it matters."""
        until = time.monotonic() + _BODY_SECONDS
        with suppress(OSError, http.client.HTTPException, TooMuch):
            if self._socket is not None:
                self._socket.settimeout(_BODY_SECONDS)
            while response.read1(4096) and time.monotonic() < until:
                pass


class _Limited:
    """A file of which only so many bytes can be read; the rest raises TooMuch."""

    def __init__(self, file: Any, limit: int) -> None:
        self._file = file
        self._left = limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch
        return data

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self._file.readline(self._at_most(size)))

    def read(self, size: int = -1) -> bytes:
        return self._counted(self._file.read(self._at_most(size)))

    def read1(self, size: int = -1) -> bytes:
        return self._counted(self._file.read1(self._at_most(size)))

    def _at_most(self, size: int) -> int:
        most = max(self._left, 0) + 1
        return most if size < 0 else min(size, most)


class _Response(http.client.HTTPResponse):
    """An answer of at most :data:`ANSWER` bytes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp: Any = _Limited(self.fp, ANSWER)


class _Connection(http.client.HTTPConnection):
    response_class = _Response
    auto_open = 0  # it is connected already, and never again


def _connected(found: list[Any]) -> socket.socket:
    """Return a connection to the first address that takes one."""
    last: OSError = OSError("no address")
    for family, kind, protocol, _, where in found:
        one = socket.socket(family, kind, protocol)
        one.settimeout(_CONNECT_SECONDS)
        try:
            one.connect(where)
            one.settimeout(None)
        except OSError as error:
            one.close()
            last = error
        else:
            return one
    raise last


def _authority(address: Address) -> str:
    """Return host and port as a proxy is asked for them."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _basic(userinfo: str) -> str:
    return "Basic " + base64.b64encode(userinfo.encode()).decode("ascii")
