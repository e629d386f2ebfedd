"""Say in helpful words what is wrong with a Redis: by its error codes (codes.py), and by the system's.

Pure. The words follow "Redis …" and hold no secret: a server's text is withheld if it repeats one, and the
arguments that some servers repeat of an unknown command are cut off.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from dataclasses import dataclass

from coordd.redislink.codes import CODES, UNKNOWN, Code

_MAX_TEXT = 200
WITHHELD = "(its words are withheld: they repeat a password)"

_SYSTEM = {
    errno.ECONNREFUSED: "refuses connections: nothing listens there",
    errno.ENOENT: "is not there: no such socket",
    errno.ENOTDIR: "is not there: no such socket",
    errno.EACCES: "cannot be reached: no permission for its socket",
    errno.EPERM: "cannot be reached: a firewall or a sandbox forbids it",
    errno.ECONNRESET: "reset the connection",
    errno.EPIPE: "closed the connection",
    errno.ENETUNREACH: "cannot be reached: no route to its network",
    errno.EHOSTUNREACH: "cannot be reached: no route to its host",
    errno.ETIMEDOUT: "does not answer: the connection timed out",
    errno.ENOTSOCK: "is no socket",
    errno.EAGAIN: "takes no connection: too many wait for it already",
    errno.ENOTCONN: "takes no connection: too many wait for it already",
    errno.EMFILE: "cannot be reached: coordd has no file descriptor left",
    errno.EAFNOSUPPORT: "cannot be reached: this machine, or coordd's sandbox, has no network of that kind",
}

_PHRASES = (
    ("max number of clients", "MAXCLIENTS"),
    ("max clients reached", "MAXCLIENTS"),
    ("loading the dataset", "LOADING"),
    ("authentication required", "NOAUTH"),
    ("invalid username-password", "WRONGPASS"),
    ("invalid password", "WRONGPASS"),
    ("called without any password configured", "NOPASSWORD"),
    ("no password is set", "NOPASSWORD"),
    ("db index is out of range", "NODB"),
    ("select is not allowed in cluster mode", "CLUSTER"),
    ("unknown command 'select'", "SENTINEL"),
    ("unknown command `select`", "SENTINEL"),
)

_ALERTS = (
    ("CERTIFICATE_REQUIRED", "wants a client certificate: give ssl_certfile= and ssl_keyfile= in the URL"),
    ("HANDSHAKE_FAILURE", "refuses TLS: it may want a client certificate (ssl_certfile=), or other ciphers"),
    ("UNKNOWN_CA", "refuses the client certificate: it does not know who signed it"),
    ("BAD_CERTIFICATE", "refuses the client certificate"),
    ("CERTIFICATE_EXPIRED", "refuses the client certificate: it has expired"),
    ("WRONG_VERSION_NUMBER", "speaks no TLS: redis:// is for a port without it"),
    ("RECORD_LAYER_FAILURE", "speaks no TLS: redis:// is for a port without it"),
    ("PROTOCOL_VERSION", "speaks another version of TLS"),
)

_WRONG_NAME = frozenset({62, 63, 64})  # openssl/x509_vfy.h: hostname, email, IP address mismatch
_UNKNOWN_SIGNER = frozenset({2, 18, 19, 20, 21, 27})


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error that the server returned for one command: its code (``NOPERM``) and the whole text."""

    code: str
    text: str

    @property
    def means(self) -> Code:
        """What the code means."""
        return CODES.get(self.code, UNKNOWN)

    def __str__(self) -> str:
        """Return what the error says of "Redis"."""
        return meaning(self.code, self.text)


def meaning(code: str, text: str) -> str:
    """Return what an error of the server means, as a sentence after "Redis"."""
    if code == "NOPERM":
        return f"does not permit this to its user (ACL): {text.removeprefix('NOPERM ')}"
    return CODES.get(code, UNKNOWN).words or f"answers with an error: {text.removeprefix('ERR ')}"


def server_error(text: str, code: str | None = None, *, secrets: tuple[str, ...] = ()) -> ServerError:
    """Build an error from its text, which begins with the code unless that is given.

    >>> server_error("OOM command not allowed when used memory > 'maxmemory'.").code
    'OOM'
    """
    # the arguments follow as they were sent: a password, if the server does not know AUTH
    text = re.split(r",? with args beginning with", text.strip(), maxsplit=1)[0]
    lower = text.lower()
    known = next((known for phrase, known in _PHRASES if phrase in lower), None)
    first = text.partition(" ")[0]
    found = known or code or (first if re.fullmatch(r"[A-Z][A-Z0-9]{2,19}", first) else "ERR")
    return ServerError(found, scrub(text, secrets)[:_MAX_TEXT])


def system_trouble(error: BaseException) -> str | None:
    """Return what an error of the system or of TLS says of a Redis; None for other errors."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if (text := _of_one(cause)) is not None:
            return text
        cause = cause.__cause__ or cause.__context__
    return None


def _of_one(error: BaseException) -> str | None:
    if type(error).__module__ == "ssl":  # avoids importing ssl, which may not be needed
        return _of_tls(error)
    if isinstance(error, socket.gaierror):
        again = error.errno == socket.EAI_AGAIN
        return f"cannot be found: {'no name server answers' if again else 'its host name has no address'}"
    if not isinstance(error, OSError) or (isinstance(error, TimeoutError) and error.errno is None):
        return None
    if error.errno is not None:
        return _SYSTEM.get(error.errno) or f"cannot be reached: {os.strerror(error.errno)}"
    # asyncio raises a bare ConnectionError when the server has closed the connection
    return "closed the connection" if isinstance(error, ConnectionError) else f"cannot be reached: {error}"


def _of_tls(error: BaseException) -> str:
    code, message = getattr(error, "verify_code", None), getattr(error, "verify_message", None)
    if code in _WRONG_NAME:
        return f"shows a certificate for another name: {message}"
    if code in _UNKNOWN_SIGNER:
        return f"cannot be trusted: {message}; ssl_ca_certs= in the URL names the authority that signed it"
    if code:
        return f"cannot be trusted: {message}"
    reason = str(getattr(error, "reason", None) or "")
    for part, words in _ALERTS:
        if part in reason.upper().replace(" ", "_"):
            return words
    return f"and coordd find no agreement on TLS: {reason or 'no reason given'}"


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text, or that it is withheld if it holds a secret.

    Replacing only the secret would not do: the text around a short one would reveal it.
    """
    return WITHHELD if any(secret and secret in text for secret in secrets) else text
