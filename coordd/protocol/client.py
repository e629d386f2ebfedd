"""Call the daemon over its socket: blocking, newline-delimited JSON-RPC 2.0, every wait with a deadline.

Knows sockets and the protocol's envelope; knows nothing of the service, nor what the methods mean. It imports
neither dataclasses, typing, json nor socket (only the C module below that one), because ``coordctl status``
must answer in the time that importing those would take.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from _socket import (
    AF_UNIX,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)  # the public module adds enums, which cost 8 ms to build

from coordd.errors import CannotTell, DaemonNotRunning, RpcError
from coordd.protocol.paths import address_problem
from coordd.util import fastjson
from coordd.util.text import escape

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any

    from coordd.protocol.paths import DaemonLocation

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of one answer line; 1,000 agents make about 300 KiB."""

_BLOCK = 256 * 1024
_NOT_LISTENING = {
    errno.ENOENT: "nothing there",
    errno.ENOTDIR: "nothing there",
    errno.ECONNREFUSED: "nobody listens; a daemon that ended without cleaning up left it, or it is no socket",
    errno.ENOTSOCK: "not a socket",
    errno.EPROTOTYPE: "a socket of another type",
    errno.ELOOP: "a link or a file stands in the way there; in a project no link is followed",
}


class Client:
    """One connection to a daemon. The constructor starts nothing; use it as a context manager.

    Args:
        path: the socket.
        timeout: seconds that connecting, and then each call as a whole, may take.
        max_answer: bytes of one answer line.
        root: the project that the socket is in: below it no link is followed, and only a process of this
            user or of root is asked. None: wherever the path leads.
        own: ask only a process of this user or of root, wherever the socket is.

    ``note`` says in a sentence why this daemon is asked and not the one that is meant; None if it is that.
    """

    __slots__ = ("_buffer", "_max_answer", "_next_id", "_socket", "_timeout", "note", "own", "path", "root")

    def __init__(
        self,
        path: str,
        timeout: float,
        *,
        max_answer: int = MAX_ANSWER,
        root: str | None = None,
        own: bool = False,
    ) -> None:
        self.path = path
        self.root = root
        self.own = own or root is not None
        self.note: str | None = None
        self._timeout = timeout
        self._max_answer = max_answer
        self._socket: socket | None = None
        self._buffer = bytearray()
        self._next_id = 1

    def __enter__(self) -> Client:
        if self._socket is None:
            self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect within the timeout.

        When the daemon's backlog is full, connect(2) fails with EAGAIN at once (a TCP socket would wait; see
        unix(7)), so it is tried again until the deadline.

        Raises:
            OSError: as connect(2); the caller knows whether another socket may answer instead.
            CannotTell: it took longer than the timeout, or another user's process listens where it may not.
        """
        if self.root is None:
            self._connect(self.path)
            if self.own:
                self._demand_own_peer()
            return
        from coordd.protocol.access import open_socket

        itself = open_socket(self.path, self.root)
        try:
            # What was opened is connected to (proc(5)), whatever its name means by now.
            way = f"/proc/self/fd/{itself}" if itself is not None else ""
            self._connect(way if os.path.exists(way) else self.path)
        finally:
            if itself is not None:
                os.close(itself)
        self._demand_own_peer()

    def peer(self) -> tuple[int | None, int] | None:
        """Return pid and uid of the listening process, from the kernel; None where it does not tell."""
        found: tuple[int | None, int] | None = None
        try:
            if self._socket is None:
                pass
            elif sys.platform == "linux":
                data = self._socket.getsockopt(SOL_SOCKET, 17, 12)  # SO_PEERCRED, unix(7): pid, uid, gid
                found = (_int(data[:4]), _int(data[4:8]))
            elif sys.platform == "darwin":
                data = self._socket.getsockopt(0, 1, 76)  # LOCAL_PEERCRED, <sys/un.h>: version, uid
                found = (None, _int(data[4:8]))
        except OSError:
            pass
        return found

    def hand_over(self) -> int:
        """Return the connected descriptor, which the caller then has to close."""
        if self._socket is None:
            raise self._closed()
        descriptor = self._socket.detach()
        self.close()
        return descriptor

    def _demand_own_peer(self) -> None:
        peer = self.peer()
        uid = os.lstat(self.path).st_uid if peer is None else peer[1]
        if uid in (0, os.geteuid()):
            return
        self.close()
        raise CannotTell(
            f"{escape(self.path)}: a process of uid {uid} listens there, and unless you name the socket only "
            "your own coordd or root's is asked. Ask as that user, or if you trust it, name it with --socket."
        )

    def _connect(self, way: str) -> None:
        deadline = time.monotonic() + self._timeout
        sock = socket(AF_UNIX, SOCK_STREAM)
        try:
            while True:
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                try:
                    sock.connect(way)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise self._too_slow() from None
                    time.sleep(min(0.01, self._timeout))
        except TimeoutError:
            sock.close()
            raise self._too_slow() from None
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    def close(self) -> None:
        """Close the connection; harmless when it is closed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def call(self, method: str, params: object = None) -> Any:
        """Return the result of one call. Raises as :meth:`call_many`."""
        return self.call_many([(method, params)])[0]

    def call_many(self, calls: Sequence[tuple[str, object]]) -> list[Any]:
        """Return the results of several calls in their order; they are sent together.

        ``params`` is a dict, a list, or None for none. Notifications that come before the last answer are
        passed over; :meth:`send` and :meth:`arrived` give them.

        Raises:
            RpcError: the daemon answered one of them with an error; the first one in order counts.
            CannotTell: no complete, valid answer came within the timeout.
        """
        deadline = time.monotonic() + self._timeout
        try:
            sent = self._send_calls(calls, deadline)
            answers = self._answers(sent, deadline)
        except BaseException:
            self.close()  # answers that still come on this connection would be taken for later ones
            raise
        return [result_of(answers[identity]) for identity in sent]

    def fileno(self) -> int:
        """Return the descriptor to wait for before :meth:`arrived`; -1 when closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def send(self, calls: Sequence[tuple[str, object]]) -> Sequence[int]:
        """Send calls without waiting for their answers; return the ids that the answers will carry.

        Raises:
            CannotTell: the connection is broken, or the daemon does not take them within the timeout.
        """
        return self._send_calls(calls, time.monotonic() + self._timeout)

    def arrived(self) -> list[dict[str, Any]]:
        """Return the complete messages that have come, answers and notifications in order; never waits.

        Raises:
            CannotTell: no message will come: the connection has ended, or does not carry JSON-RPC.
        """
        if self._socket is None:
            raise self._closed()
        self._socket.settimeout(0.0)
        try:
            block = self._socket.recv(_BLOCK)
            self._buffer += block
            ended = not block
        except BlockingIOError:
            ended = False
        except OSError as error:
            raise self._broken(error) from error
        end = self._buffer.rfind(b"\n")
        if end < 0 and ended:
            raise CannotTell(f"{escape(self.path)}: the daemon closed the connection.")
        if end < 0 and len(self._buffer) > self._max_answer:
            raise self._too_long()
        if end < 0:
            return []
        lines = bytes(memoryview(self._buffer)[:end]).split(b"\n")
        del self._buffer[: end + 1]
        return [self._message(line) for line in lines]

    def _send_calls(self, calls: Sequence[tuple[str, object]], deadline: float) -> Sequence[int]:
        if self._socket is None:
            raise self._closed()
        sent = range(self._next_id, self._next_id + len(calls))
        self._next_id = sent.stop
        lines = []
        for identity, (method, params) in zip(sent, calls, strict=True):
            request: dict[str, object] = {"jsonrpc": "2.0", "id": identity, "method": method}
            if params is not None:
                request["params"] = params
            lines.append(fastjson.dumps(request))
        self._send("\n".join([*lines, ""]).encode(), deadline)
        return sent

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._within(deadline).send(view) :]
            except TimeoutError:
                raise self._too_slow() from None
            except (BrokenPipeError, ConnectionResetError):
                return  # it may have said why before it hung up: reading tells
            except OSError as error:
                raise self._broken(error) from error

    def _answers(self, wanted: Iterable[int], deadline: float) -> dict[int, dict[str, Any]]:
        missing = set(wanted)
        answers: dict[int, dict[str, Any]] = {}
        while missing:
            message = self._message(self._line(deadline))
            identity = message.get("id")
            if isinstance(identity, int) and identity in missing:
                missing.discard(identity)
                answers[identity] = message
            elif identity is None and "error" in message:
                words = _error_of(message)
                raise CannotTell(f"{escape(self.path)}: the daemon refused: {words.message}")
        return answers

    def _line(self, deadline: float) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(memoryview(self._buffer)[:end])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            if searched > self._max_answer:
                raise self._too_long()
            try:
                block = self._within(deadline).recv(_BLOCK)
            except TimeoutError:
                raise self._too_slow() from None
            except OSError as error:
                raise self._broken(error) from error
            if not block:
                raise CannotTell(
                    f"{escape(self.path)}: the daemon closed the connection before its answer was whole."
                )
            self._buffer += block

    def _message(self, line: bytes) -> dict[str, Any]:
        try:
            message = fastjson.loads(line.decode())
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            start = escape(line[:60].decode("utf-8", "backslashreplace"))
            raise CannotTell(f"{escape(self.path)}: the answer is not JSON-RPC 2.0: {start}")
        return message

    def _within(self, deadline: float) -> socket:
        left = deadline - time.monotonic()
        if self._socket is None or left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket

    def _closed(self) -> CannotTell:
        return CannotTell(f"{escape(self.path)}: the connection is closed.")

    def _too_long(self) -> CannotTell:
        return CannotTell(f"{escape(self.path)}: an answer of more than {self._max_answer} bytes.")

    def _too_slow(self) -> CannotTell:
        return CannotTell(
            f"{escape(self.path)}: no answer within {self._timeout:g} s; the daemon may be stopped or "
            "overloaded. Wait longer with --timeout SECONDS."
        )

    def _broken(self, error: OSError) -> CannotTell:
        return CannotTell(f"{escape(self.path)}: {error.strerror or error}")


def connect(locations: Iterable[DaemonLocation], timeout: float) -> Client:
    """Return a connected client of the first location where a daemon listens.

    Raises:
        DaemonNotRunning: none listens; names every socket tried, with the reason.
        CannotTell: one listens but refuses this user, or does not accept in time. Later locations are then
            not asked, because their answer would pass for this one's.
    """
    tried: list[tuple[str, str]] = []
    for location in locations:
        found = attempt(location, timeout)
        if not isinstance(found, str):
            return found
        tried.append((escape(location.socket), found))
    raise DaemonNotRunning(tried)


def attempt(location: DaemonLocation, timeout: float) -> Client | str:
    """Return a connected client of one location, or in words why nobody listens there.

    Raises:
        CannotTell: as :func:`connect`.
    """
    problem = address_problem(location.socket, sys.platform)
    if problem is not None:
        return problem
    client = Client(location.socket, timeout, root=location.root, own=location.own)
    try:
        client.connect()
    except PermissionError as error:
        from coordd.protocol.access import denial

        raise CannotTell(denial(location.socket)) from error
    except OSError as error:
        reason = _NOT_LISTENING.get(error.errno or 0)
        if reason is None:
            raise CannotTell(f"{escape(location.socket)}: {error.strerror or error}") from error
        return reason
    return client


def _int(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def result_of(message: dict[str, Any]) -> Any:
    """Return the result in an answer. Raises RpcError where it is an error."""
    if "error" in message:
        raise _error_of(message)
    return message.get("result")


def _error_of(message: dict[str, Any]) -> RpcError:
    error = message["error"]
    if not isinstance(error, dict):
        return RpcError(-32603, escape(str(error)))
    code = error.get("code")
    return RpcError(
        code if isinstance(code, int) else -32603, escape(str(error.get("message"))), error.get("data")
    )
