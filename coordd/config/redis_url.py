"""Check Redis URLs, and show them without their password.

Pure. The rule: a password never reaches an error, a log or a status; :func:`public_url` is for any text that
was meant as a URL, however broken. No part of a URL holds a control character once it is decoded: to a server
that reads lines, a line break in a user's name begins a command. The forms and options are those of
redis-py's ``from_url``: ``redis://``, ``rediss://`` and ``unix://``
(https://www.iana.org/assignments/uri-schemes/prov/redis).
"""

from __future__ import annotations

import re

EXPECTED = "expected redis://[user:password@]host[:port][/db], rediss://… or unix:///path[?db=n]"
ENCODE = (
    "expected / # ? @ : [ ] % and blanks in a user's name or a password percent-encoded, "
    "in this order as %2F %23 %3F %40 %3A %5B %5D %25 %20"
)
NO_CONTROLS = (
    "expected a URL without control characters, such as line breaks, also where it is percent-encoded"
)

_QUERY_PASSWORD = re.compile(r"(?i)([?&]\w*password=)[^&]*")
_SCHEMES = ("redis", "rediss", "unix")
_SPECIAL = frozenset("/#?@[] ")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TLS_FILES = frozenset({"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"})
_TLS_WORDS = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}
_TLS_OPTIONS = _TLS_FILES | _TLS_WORDS.keys()


def public_url(url: str) -> str:
    """Return the URL with ``***`` for its password.

    What stands before an ``@`` without a colon is hidden as well: too many people write a password there.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    userinfo, at, host = rest.rpartition("@")
    if at:
        user, colon, _ = userinfo.partition(":")
        rest = f"{user}:***@{host}" if colon else f"***@{host}"
    return _QUERY_PASSWORD.sub(r"\1***", f"{scheme}{separator}{rest}")


def uses_tls(url: str) -> bool:
    """Return whether a Redis URL asks for TLS; the case of its scheme does not matter."""
    return url.partition(":")[0].lower() == "rediss"


def has_controls(text: str) -> bool:
    """Return whether the text holds a control character, a line or paragraph separator, or a surrogate."""
    if text.isprintable():
        return False
    from unicodedata import category  # 100 kB resident, for what hardly any URL needs

    return any(category(char) in _CONTROLS for char in text)


def check_redis_url(url: str) -> str:
    """Return the URL after checking all that can be checked without a connection.

    Raises:
        ValueError: in words that do not repeat the URL, since it may hold a password.
    """
    try:
        return _checked(url)
    except ValueError:
        # What is wrong with the parts says nothing where a password made them, and could repeat some of it.
        if _is_cut_by_its_password(url):
            raise ValueError(ENCODE) from None
        raise


def _is_cut_by_its_password(url: str) -> bool:
    """Return whether a user's name or a password, all before the last ``@``, holds what ends or splits it."""
    scheme, _, rest = url.partition("://")
    userinfo, at, _ = rest.rpartition("@")
    if not at or scheme.lower() not in _SCHEMES or has_controls(url):
        return False
    return not _SPECIAL.isdisjoint(userinfo) or ":" in userinfo.partition(":")[2]


def _checked(url: str) -> str:
    from urllib.parse import parse_qs, unquote, urlsplit

    # before the URL is taken apart, for urlsplit drops some of them; whole, for every part is decoded once
    if has_controls(url) or has_controls(unquote(url)):
        raise ValueError(NO_CONTROLS)
    try:
        parts = urlsplit(url)
        port = parts.port  # parsed when asked for
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        # the original names the parts it disliked, a password among them
        raise ValueError(EXPECTED) from None
    if parts.scheme not in _SCHEMES or parts.fragment or any(c.isspace() for c in url):
        raise ValueError(EXPECTED)
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/") or len(parts.path) < 2:
            raise ValueError("expected an absolute path after unix://, as in unix:///run/redis/redis.sock")
    elif not parts.hostname or port == 0:
        raise ValueError(EXPECTED)
    allowed = {"db"} | (_TLS_OPTIONS if uses_tls(url) else frozenset())
    if unknown := sorted(set(options) - allowed):
        raise ValueError(
            f"unknown option {unknown[0]!r:.40} in the URL: expected {', '.join(sorted(allowed))}"
        )
    for name, values in options.items():
        _check_option(name, values)
    databases = list(options.get("db", []))
    if parts.scheme != "unix" and parts.path.strip("/"):
        databases.append(parts.path.strip("/"))
    if any(re.fullmatch(r"[0-9]{1,5}", db) is None for db in databases) or len(databases) > 1:
        raise ValueError("expected one database number, as in redis://localhost:6379/0")
    return url


def _check_option(name: str, values: list[str]) -> None:
    """Check one option; files are not opened here, since they may appear later or be replaced."""
    if len(values) > 1:
        raise ValueError(f"expected {name} once in the URL")
    if name in _TLS_FILES and not values[0].startswith("/"):
        raise ValueError(f"expected an absolute path for {name} in the URL")
    if name in _TLS_WORDS and values[0] not in _TLS_WORDS[name]:
        raise ValueError(f"expected {name} in the URL to be {' or '.join(_TLS_WORDS[name])}")
