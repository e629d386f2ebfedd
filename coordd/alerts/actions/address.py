"""Check the address of a webhook, take it apart, and say of it what may be shown.

Pure. An address is a secret as a whole: whoever has it can post, and its path, its query, its user or the
first parts of its name can be all there is of a password. So errors do not repeat it, and what is shown of it
is the end of its host's name.
"""

from __future__ import annotations

from typing import NamedTuple

EXPECTED = "expected an address such as https://example.org/hook"
NO_CONTROLS = "expected an address without blanks and control characters, also where they are percent-encoded"

_KEPT = "/%:@!$&'()*+,;=~-._"
"""What stays as it is in a path: all that RFC 3986 allows, and what is percent-encoded already."""


class Address(NamedTuple):
    """An address in parts: ``target`` is path and query in ASCII, ``userinfo`` USER:PASSWORD or empty."""

    tls: bool
    host: str
    port: int
    target: str
    userinfo: str


def address_of(url: str) -> Address:
    """Return the parts of an address.

    Raises:
        ValueError: the text is not an address of http or https; the error does not repeat that secret.
    """
    from urllib.parse import quote, unquote, urlsplit

    # before the URL is taken apart, for urlsplit drops some of them
    if not url.isprintable() or " " in url or any(ord(c) < 32 or ord(c) == 127 for c in unquote(url)):
        raise ValueError(NO_CONTROLS)
    try:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        host = _ascii_host(parts.hostname or "")
    except ValueError:  # the original names the parts it dislikes
        raise ValueError(EXPECTED) from None
    if parts.scheme not in ("http", "https") or not host or parts.port == 0:
        raise ValueError(EXPECTED)
    target = quote(parts.path or "/", safe=_KEPT)
    if parts.query:
        target += "?" + quote(parts.query, safe=f"{_KEPT}?")
    userinfo = ""
    if parts.username is not None:
        userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(tls, host, port, target, userinfo)


def public_host(host: str) -> str:
    """Return what may be shown of a host: the last two parts of its name (three of ``co.uk``), an IP address.

    ``https://TOKEN.m.example.net/`` is a common form of webhooks.
    """
    parts = host.split(".")
    if ":" in host or (len(parts) == 4 and all(part.isdecimal() for part in parts)):
        return host
    kept = 3 if len(parts) > 2 and len(parts[-1]) == 2 and len(parts[-2]) <= 3 else 2
    return ".".join(parts[-kept:])


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    return host.encode("idna").decode("ascii")  # UnicodeError is a ValueError
