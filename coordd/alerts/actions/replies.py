"""Judge what came of one try to post: told, failed for good, or worth another try.

Pure. The table::

    2xx                            told
    408, 425, 429, 5xx             may pass; Retry-After is obeyed as far as the time allows
    3xx                            for good: redirects are not followed, they lead where nobody has agreed to
    any other status               for good
    refused, reset, closed early   may pass
    no address for the name        may pass: a machine that has just woken up has no name server yet
    no answer in time              may pass; it may have been told, so each try has the same idempotency key
    TLS fails                      for good
    no HTTP                        may pass: its first line may have been cut off
    more than 64 KiB of headers    for good

Texts say nothing that the other side has written, nor its address.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException

TRIES = 3
BACKOFF = (1.0, 3.0)
"""Seconds before the second and the third try, less or more by half."""

_LEAST = 1.0
"""Seconds that have to be left for a try."""

_MAY_PASS = frozenset({408, 425, 429})
_HOSTNAME_MISMATCH = frozenset({62, 63, 64})  # X509_V_ERR_HOSTNAME_MISMATCH and alike, whose words hold names


class TooMuch(Exception):
    """More was answered than is read."""


class ProxyRefuses(Exception):
    """The proxy did not make the tunnel; ``status`` is what it answered."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


_ERRORS: tuple[tuple[type[BaseException], str, bool], ...] = (
    (TooMuch, "it answers with more than 64 KiB of headers", False),
    (socket.gaierror, "no address is found for its name", True),
    (TimeoutError, "it does not answer in time", True),
    (ConnectionRefusedError, "it refuses the connection", True),
    (ConnectionError, "it ends the connection without an answer", True),
    (ssl.SSLEOFError, "it ends the connection without an answer", True),
    (HTTPException, "it does not answer in HTTP", True),
)
"""What an error means in words, and whether it may pass; the first that fits."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a try: ``failed`` in words, None if it was told; ``wait`` is what Retry-After asks for."""

    failed: str | None
    may_pass: bool = False
    wait: float = 0.0


def of_status(status: int, retry_after: str | None, now: float) -> Result:
    """Return the result of an answer; ``now`` is epoch seconds."""
    if 200 <= status < 300:
        return Result(None)
    words = f"it answers {status}{_phrase(status)}"
    if 300 <= status < 400:
        return Result(f"{words}, and redirects are not followed: give the address that it leads to")
    may_pass = status in _MAY_PASS or 500 <= status < 600
    return Result(words, may_pass, seconds_of(retry_after, now) if may_pass else 0.0)


def of_error(error: BaseException) -> Result:
    """Return the result of a try that ended in an error."""
    if isinstance(error, ProxyRefuses):
        return Result(f"the proxy answers {error.status}{_phrase(error.status)}", error.status >= 500)
    if isinstance(error, ssl.SSLCertVerificationError):
        mismatch = error.verify_code in _HOSTNAME_MISMATCH
        why = "it is for another name" if mismatch else error.verify_message
        return Result(f"its certificate is not accepted: {why}")
    for kind, words, may_pass in _ERRORS:
        if isinstance(error, kind):
            return Result(words, may_pass)
    if isinstance(error, ssl.SSLError):
        return Result(f"TLS fails: {(error.reason or 'unknown').replace('_', ' ').lower()}")
    if isinstance(error, OSError):
        return Result(f"it cannot be reached: {error.strerror or type(error).__name__}", True)
    return Result(f"unexpected: {type(error).__name__}")


def seconds_of(retry_after: str | None, now: float) -> float:
    """Return the seconds of a Retry-After header, which may be a date; 0 for anything else."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0


def next_wait(tries: int, result: Result, jitter: float, left: float) -> float | None:
    """Return the seconds before the next try, None if there shall be none.

    Args:
        tries: how many there were.
        result: of the last.
        jitter: 0 to 1.
        left: seconds until the deadline.
    """
    if result.failed is None or not result.may_pass or tries >= TRIES:
        return None
    wait = max(BACKOFF[tries - 1] * (0.5 + jitter), result.wait)
    return wait if wait + _LEAST <= left else None


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
