"""What is wrong with a Redis, in words that help: a table from its error codes, and from the system's.

Pure. No text that comes out holds a user name's password: :func:`scrub` takes it out of whatever a server
says, for some repeat the command that they refuse.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

_MAX_TEXT = 200

_MEANINGS = {
    "NOAUTH": "wants a password: put one into the URL, redis://:PASSWORD@host",
    "WRONGPASS": "refuses the user name or the password of the URL",
    "NOPERM": "does not permit it to this user (ACL)",
    "OOM": "takes no writes: its memory is full (maxmemory)",
    "READONLY": "takes no writes: it is a read-only replica",
    "LOADING": "is loading its data set after a start",
    "BUSY": "is busy running a script (SCRIPT KILL ends it)",
    "MISCONF": "takes no writes: it cannot save its data set to disk (its log says why)",
    "MASTERDOWN": "is a replica that has lost its master",
    "CLUSTERDOWN": "is a cluster that is down",
    "MAXCLIENTS": "takes no more clients (maxclients)",
    "DENIED": "runs in protected mode and takes no remote clients without a password",
    "NOREPLICAS": "takes no writes: too few replicas are connected",
}

_SYSTEM = {
    errno.ECONNREFUSED: "refuses connections: nothing listens there",
    errno.ENOENT: "is not there: no such socket",
    errno.EACCES: "cannot be reached: no permission for its socket",
    errno.ECONNRESET: "reset the connection",
    errno.EPIPE: "closed the connection",
    errno.ENETUNREACH: "cannot be reached: no route to its network",
    errno.EHOSTUNREACH: "cannot be reached: no route to its host",
    errno.ETIMEDOUT: "does not answer: the connection timed out",
    errno.ENOTSOCK: "is no socket",
    errno.EMFILE: "cannot be reached: coordd has no file descriptor left",
}

_OTHER_CODES = frozenset({"WRONGTYPE", "NOSCRIPT", "EXECABORT", "NOPROTO", "NOMASTERLINK"})

_PHRASES = (
    ("max number of clients", "MAXCLIENTS"),
    ("loading the dataset", "LOADING"),
    ("authentication required", "NOAUTH"),
    ("invalid username-password", "WRONGPASS"),
    ("invalid password", "WRONGPASS"),
    ("called without any password configured", "WRONGPASS"),
)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error that the server answered to one command: its code (``NOPERM``) and the whole text."""

    code: str
    text: str

    def __str__(self) -> str:
        return meaning(self.code, self.text)


def meaning(code: str, text: str) -> str:
    """What an error of the server says of it, as in "Redis …"."""
    return _MEANINGS.get(code) or f"answers with an error: {text}"


def server_error(text: str, code: str | None = None) -> ServerError:
    """An error from its text, which begins with the code unless that is given.

    >>> server_error("OOM command not allowed when used memory > 'maxmemory'.").code
    'OOM'
    """
    text = text.strip()[:_MAX_TEXT]
    lower = text.lower()
    for phrase, known in _PHRASES:
        if phrase in lower:
            return ServerError(known, text)
    first = text.partition(" ")[0]
    return ServerError(code or (first if first in _MEANINGS or first in _OTHER_CODES else "ERR"), text)


def system_trouble(error: BaseException) -> str | None:
    """What an error of the operating system or of TLS says of a Redis; None where it is neither."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if (text := _of_one(cause)) is not None:
            return text
        cause = cause.__cause__ or cause.__context__
    return None


def _of_one(error: BaseException) -> str | None:
    reason = getattr(error, "reason", None)
    if type(error).__module__ == "ssl":
        detail = getattr(error, "verify_message", None) or reason or "no agreement"
        return f"cannot be trusted, or speaks no TLS: {detail}"
    if type(error).__name__ == "gaierror":
        return "cannot be found: its host name has no address"
    if isinstance(error, OSError) and error.errno is not None:
        return _SYSTEM.get(error.errno)
    if isinstance(error, OSError) and "Multiple exceptions" in str(error):  # asyncio tried IPv6 and IPv4
        found = re.search(r"\[Errno (\d+)\]", str(error))
        return _SYSTEM.get(int(found[1])) if found else None
    return None


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
