"""Define JSON-RPC 2.0 as the control socket uses it: one object a line, checked by its shape.

Pure, and without a JSON library: the service decodes with msgspec, clients with json, and both use what is
defined here. Source: https://www.jsonrpc.org/specification; batches are refused (each line is one request).
"""

from __future__ import annotations

PROTOCOL = 1
"""Version of the methods and documents, as ``describe`` reports it."""

MAX_REQUEST = 1024 * 1024
"""Bytes of one request line, without its newline."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
"""The code of coordd's own errors; ``data.kind`` says which one."""

MESSAGES = {
    PARSE_ERROR: "Parse error",
    INVALID_REQUEST: "Invalid Request",
    METHOD_NOT_FOUND: "Method not found",
    INVALID_PARAMS: "Invalid params",
    INTERNAL_ERROR: "Internal error",
}


class Fault(Exception):
    """An error to answer with: ``code``, ``message`` and ``data`` (a dict with ``kind``, or None)."""

    def __init__(
        self, code: int, message: str | None = None, *, kind: str | None = None, **data: object
    ) -> None:
        self.code = code
        self.message = message or MESSAGES.get(code, "Server error")
        self.data: dict[str, object] | None = {"kind": kind, **data} if kind else None
        super().__init__(self.message)


class Request:
    """One checked request. ``wants_answer`` is false for a notification, which has no ``id``."""

    __slots__ = ("id", "method", "params", "wants_answer")

    def __init__(
        self,
        method: str,
        params: dict[str, object] | list[object],
        id: str | float | None,
        *,
        wants_answer: bool,
    ) -> None:
        self.method = method
        self.params = params
        self.id = id
        self.wants_answer = wants_answer


def check_request(message: object) -> Request:
    """Return a decoded line as a request.

    Raises:
        Fault: the line is not a request object, or is a batch (INVALID_REQUEST).
    """
    if isinstance(message, list):
        raise Fault(
            INVALID_REQUEST,
            "Batches are not supported: send one request a line",
            kind="batch",
        )
    if not isinstance(message, dict):
        raise Fault(INVALID_REQUEST)
    method, ident, params = message.get("method"), message.get("id"), message.get("params", {})
    if (
        message.get("jsonrpc") != "2.0"
        or not isinstance(method, str)
        or isinstance(ident, bool)
        or not (ident is None or isinstance(ident, (str, int, float)))
        or not isinstance(params, (dict, list))
    ):
        raise Fault(INVALID_REQUEST)
    return Request(method, params, ident, wants_answer="id" in message)


def request_id(message: object) -> str | float | None:
    """Return the id to answer a bad request with; None where it has none."""
    ident = message.get("id") if isinstance(message, dict) else None
    return ident if isinstance(ident, (str, int, float)) and not isinstance(ident, bool) else None


def error_object(fault: Fault) -> dict[str, object]:
    """Return the ``error`` member of an answer."""
    error: dict[str, object] = {"code": fault.code, "message": fault.message}
    if fault.data is not None:
        error["data"] = fault.data
    return error


class AnswerAndClose(Exception):
    """Internal: send this answer, then close the connection."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        super().__init__()


class TooLong(Exception):
    """Internal: a line is longer than the limit."""


class LineSplitter:
    """Split chunks into lines, each when it is asked for; the rest stays as it came.

    Holds the chunks of which lines are left, and one unfinished line of at most ``limit`` bytes.
    """

    def __init__(self, limit: int = MAX_REQUEST) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._begun = 0
        self._whole = b""
        self._at = 0

    @property
    def pending(self) -> bool:
        """Return whether a line has begun and not ended."""
        return self._begun > 0

    @property
    def waiting(self) -> bool:
        """Return whether whole lines are left; they may hold white space alone."""
        return bool(self._whole)

    @property
    def held(self) -> int:
        """Return the number of bytes that came and were not taken."""
        return self._begun + len(self._whole)

    def feed(self, chunk: bytes) -> bool:
        """Keep a chunk; return whether a line with more than white space ends in it.

        Raises:
            TooLong: the line that has begun exceeds the limit.
        """
        end = chunk.rfind(b"\n") + 1
        asks = False
        if end:
            whole = chunk[:end]
            if self._parts:
                whole = b"".join((*self._parts, whole))
                self._parts.clear()
                self._begun = 0
            asks = not whole.isspace()
            self._whole = self._whole[self._at :] + whole if self._whole else whole
            self._at = 0
        if end < len(chunk):
            self._parts.append(chunk[end:])
            self._begun += len(chunk) - end
            if self._begun > self._limit:
                raise TooLong
        return asks

    def take(self) -> bytes | None:
        """Return the next whole line without its newline, or None; lines of white space alone are skipped.

        Raises:
            TooLong: it exceeds the limit. Nothing after it can be trusted.
        """
        while self._whole:
            end = self._whole.index(b"\n", self._at)
            if end - self._at > self._limit:
                self._whole = b""
                raise TooLong
            line = self._whole[self._at : end]
            self._at = end + 1
            if self._at == len(self._whole):
                self._whole = b""
                self._at = 0
            if line and not line.isspace():
                return line
        return None
