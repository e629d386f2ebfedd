"""Make, read and compare the token that opens the dashboard.

A token is 32 random bytes as text, alone in a file. In the system layout the installer makes it, owned by
root and readable by the socket's group. What a browser keeps is not the token but a cookie signed with it:
a new token ends all sessions.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress

from coordd.errors import CoorddError
from coordd.protocol.paths import system_paths, user_paths
from coordd.util.regular_files import make_file, open_regular
from coordd.util.text import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "dashboard.token"
COOKIE = "coordd_dashboard"
COOKIE_AGE = 30 * 86400
"""Seconds that a login lasts."""
_LEAST, _MOST = 16, 256


class TokenError(CoorddError):
    """A token file cannot be made, read or trusted."""


def token_path(layout: str, environ: Mapping[str, str], platform: str) -> str:
    """Return the path of a layout's token: beside its configuration file."""
    paths = system_paths(platform) if layout == "system" else user_paths(environ, platform)
    return os.path.join(os.path.dirname(paths["config_file"]), NAME)


def make_token(path: str, *, mode: int = 0o600, gid: int = -1) -> bool:
    """Make a token file and its directory, unless there is one; return whether it was made.

    ``gid`` is the group that may read it with mode 0o640; -1 leaves the group unchanged.

    Raises:
        TokenError: the file cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    except OSError as error:
        raise TokenError(f"{escape(path)}: {error.strerror or error}") from error
    try:
        descriptor = make_file(path, mode=0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise TokenError(f"{escape(path)}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            if gid != -1:
                os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, mode)
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)  # half a token is useless
        raise TokenError(f"{escape(path)}: {error.strerror or error}") from error
    return True


def read_token(path: str) -> str:
    """Read the token from a file.

    Raises:
        TokenError: the file is missing, unreadable, readable by everybody, or holds no token.
    """
    no_token = TokenError(
        f"{escape(path)}: holds no token: one line of {_LEAST} to {_MOST} characters without blanks. "
        "Remove it and run: coordctl dashboard --make-token"
    )
    try:
        descriptor = open_regular(path, os.O_RDONLY, refuse=lambda _: no_token, follow=True)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST + 2)
    except OSError as error:
        mend = (
            "Its owner and its group may read it: be a member of that group, from the next login on"
            if isinstance(error, PermissionError)
            else "Make it with: coordctl dashboard --make-token"
        )
        raise TokenError(f"{escape(path)}: {error.strerror or error}. {mend}") from error
    if mode & 0o007:
        raise TokenError(
            f"{escape(path)}: everybody may open it; take that right away: chmod o= {escape(path)}"
        )
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not (_LEAST <= len(token) <= _MOST and token.isprintable() and " " not in token):
        raise no_token
    return token


class Keys:
    """Compare tokens and cookies of clients with the token, in constant time."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def opens(self, shown: bytes) -> bool:
        """Return whether this is the token."""
        return hmac.compare_digest(shown, self._token)

    def cookie(self, now: float) -> str:
        """Return a cookie that is valid until :data:`COOKIE_AGE` seconds after ``now`` (epoch)."""
        until = str(int(now) + COOKIE_AGE)
        return f"{until}.{self._signature(until)}"

    def takes_cookie(self, value: str, now: float) -> bool:
        """Return whether a cookie is one of ours and not too old."""
        until, _, signature = value.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return genuine and until.isascii() and until.isdigit() and int(until) > now

    def _signature(self, until: str) -> str:
        return hmac.new(self._token, b"coordd dashboard " + until.encode(), "sha256").hexdigest()
