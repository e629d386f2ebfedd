"""Answer on the control socket: the same lines of JSON-RPC as the daemon's, for ``coordctl alerts``.

The socket is this user's alone (0600, in a directory of 0700), and who asks has to be this user or root.
Bounds: :data:`MOST` connections, :data:`MAX_REQUEST` bytes a request, :data:`IDLE` seconds without one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from coordd.protocol.jsonrpc import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    SERVER_ERROR,
    Fault,
    Request,
    check_request,
    error_object,
    request_id,
)
from coordd.util import fastjson

log = logging.getLogger(__name__)

MOST = 16
MAX_REQUEST = 64 * 1024
IDLE = 60.0
_WRITE = 10.0

Params = Mapping[str, Any]
Handler = Callable[[Params], Awaitable[object]]


class ControlServer:
    """Answer requests; ``methods`` has a handler for each method's name, and its parameters' names."""

    def __init__(self, methods: Mapping[str, tuple[Handler, frozenset[str]]]) -> None:
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, path: str) -> None:
        """Listen at a path in a locked directory of this user's; a socket that is left there is removed.

        Raises:
            OSError: it is impossible.
        """
        with suppress(FileNotFoundError):
            os.unlink(path)  # the lock is held: nobody listens there
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            sock.bind(path)
        except BaseException:
            sock.close()
            raise
        finally:
            os.umask(umask)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_REQUEST)

    async def stop(self) -> None:
        """Stop listening, and close the connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=_WRITE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MOST or not _may_ask(writer):
            writer.close()
            return
        self._open.add(task)
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    line = await reader.readuntil(b"\n")
                answer = await self._answer(line)
                if answer is not None:
                    writer.write(answer)
                    async with asyncio.timeout(_WRITE):
                        await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> bytes | None:
        try:
            message = fastjson.loads(line.decode())
        except (ValueError, RecursionError):
            return _line({"id": None, "error": error_object(Fault(PARSE_ERROR))})
        try:
            request = check_request(message)
            handler, params = self._meant(request)
            result = await handler(params)
        except Fault as fault:
            return _line({"id": request_id(message), "error": error_object(fault)})
        except Exception:
            log.exception("a request failed")
            return _line({"id": request_id(message), "error": error_object(Fault(SERVER_ERROR))})
        return _line({"id": request.id, "result": result}) if request.wants_answer else None

    def _meant(self, request: Request) -> tuple[Handler, Params]:
        if request.method not in self._methods:
            raise Fault(METHOD_NOT_FOUND)
        handler, known = self._methods[request.method]
        if not isinstance(request.params, dict) or not known.issuperset(request.params):
            raise Fault(INVALID_PARAMS, f"Invalid params: expected {', '.join(sorted(known)) or 'none'}")
        return handler, request.params


def _line(answer: dict[str, object]) -> bytes:
    return fastjson.dumps({"jsonrpc": "2.0", **answer}).encode() + b"\n"


def _may_ask(writer: asyncio.StreamWriter) -> bool:
    """Return whether this user or root asks; where the kernel does not tell, the socket's mode decides."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None or not hasattr(socket, "SO_PEERCRED"):
        return True
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return False
    return int.from_bytes(found[4:8], sys.byteorder) in (0, os.geteuid())
