"""Decide whether a request may be answered: the first rule that objects to its headers wins. Pure.

A browser is a way past the control socket's rights: any page on the web can make it send requests to
127.0.0.1. So a name in ``Host`` must be one of ours (after DNS rebinding, a page whose name was pointed at
127.0.0.1 still sends its own name), ``Origin`` must be this site, and a request that Fetch Metadata calls
cross-site is refused unless it follows a link.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from coordd.dashboard.tokens import COOKIE, Keys

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PUBLIC = frozenset({"/healthz", "/login"})
"""Paths that need no token, beside the files of the page."""
STATIC = "/static/"


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers that decide; None if missing. ``hosts`` is how many Host headers there are."""

    host: str | None
    hosts: int
    origin: str | None
    site: str | None
    mode: str | None
    dest: str | None
    authorization: str | None
    cookie: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: HTTP status, kind and message."""

    status: int
    kind: str
    message: str
    wrong_token: bool = False


class Access:
    """The rules of one dashboard.

    Args:
        names: host names and addresses under which the dashboard is known, lower case, without ports.
        any_address: whether every IP address in ``Host`` counts as ours, for a dashboard that listens on more
        than loopback. DNS rebinding needs a name, so an address is safe.
        keys: compares tokens and cookies; None if no token is needed.
    """

    def __init__(self, *, names: Iterable[str], any_address: bool, keys: Keys | None) -> None:
        self._names = frozenset(names)
        self._any_address = any_address
        self.keys = keys

    def refusal(self, method: str, path: str, headers: Headers, now: float) -> Refusal | None:
        """Return why this request is refused; None if it is allowed. ``now`` is epoch seconds."""
        return self._wrong_site(method, headers) or self._locked(path, headers, now)

    def _wrong_site(self, method: str, headers: Headers) -> Refusal | None:
        if headers.host is None or headers.hosts != 1:
            return Refusal(400, "host", "exactly one Host header is needed")
        name = host_name(headers.host)
        if name is None or not self._ours(name):
            return Refusal(
                421,
                "host",
                f"this dashboard is not known as {headers.host[:100]!r}; "
                "start it with --allow-host NAME where it should be",
            )
        # Our own login form: because of no-referrer, browsers send Origin: null with it.
        own_form = headers.origin == "null" and headers.site == "same-origin"
        if headers.origin is not None and not own_form:
            origin = origin_host(headers.origin)
            if origin is None or origin.lower() != headers.host.lower():
                return Refusal(403, "origin", "requests from other sites are refused")
        if headers.site in ("cross-site", "same-site"):
            followed = method in ("GET", "HEAD") and headers.mode == "navigate" and headers.dest == "document"
            if not followed:
                return Refusal(403, "origin", "requests from other sites are refused")
        return None

    def _locked(self, path: str, headers: Headers, now: float) -> Refusal | None:
        keys = self.keys
        if keys is None or path in PUBLIC or path.startswith(STATIC):
            return None
        if headers.authorization is not None:
            scheme, _, token = headers.authorization.partition(" ")
            bearer = scheme.lower() == "bearer"
            if bearer and keys.opens(token.strip().encode("utf-8", "replace")):
                return None
            return Refusal(401, "token", "this is not the token", wrong_token=bearer)
        cookie = cookie_of(headers.cookie)
        if cookie is not None and keys.takes_cookie(cookie, now):
            return None
        return Refusal(401, "token", "a token is needed: Authorization: Bearer TOKEN, or log in at /login")

    def _ours(self, name: str) -> bool:
        if name in self._names:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def host_name(host: str) -> str | None:
    """Return the name or address in a Host header: lower case, no brackets, no port; None if malformed."""
    text = host.lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket:
            return None
    else:
        name, colon, port = text.partition(":")
        rest = colon + port
    if rest and not (rest.startswith(":") and rest[1:].isascii() and rest[1:].isdigit()):
        return None
    return name.rstrip(".") or None


def origin_host(origin: str) -> str | None:
    """Return host and port of an Origin header, in the form of Host; None for ``null`` and nonsense."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    if (
        parts.scheme not in ("http", "https")
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        return None
    return parts.netloc or None


def cookie_of(header: str | None) -> str | None:
    """Return our cookie from a Cookie header; cookies of other services on this host are ignored."""
    for part in (header or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return None
