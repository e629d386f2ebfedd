"""Parse query strings strictly: an unknown, repeated or overlong parameter is an error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from coordd.dashboard.answers import BadRequest

MAX_QUERY = 8192
"""Bytes of a query string at most."""
MAX_TEXT = 4096
"""Characters of a value at most: as many as a path may have."""

Kind = type[str] | type[int] | tuple[str, ...]
"""The kind of a parameter: text, a whole number from 1, or one of some words."""


def read_query(raw: bytes, known: Mapping[str, Kind], *, most: int = 100_000) -> dict[str, object]:
    """Return the parameters in a raw query string by name.

    Raises:
        BadRequest: a parameter is unknown, repeated, too long or has a wrong value.
    """
    if not raw:
        return {}
    if len(raw) > MAX_QUERY:
        raise BadRequest(f"the query is longer than {MAX_QUERY} bytes")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=32,
        )
    except ValueError as error:  # includes UnicodeDecodeError
        raise BadRequest(
            "the query string cannot be read: name=value pairs in UTF-8, percent-encoded"
        ) from error
    found: dict[str, object] = {}
    for name, text in pairs:
        kind = known.get(name)
        if kind is None:
            names = ", ".join(known) or "none"
            raise BadRequest(f"unknown parameter {name[:40]!r}; known here: {names}")
        if name in found:
            raise BadRequest(f"{name}: given more than once")
        found[name] = _value(name, text, kind, most)
    return found


def _value(name: str, text: str, kind: Kind, most: int) -> object:
    if isinstance(kind, tuple):
        if text not in kind:
            raise BadRequest(f"{name}: one of {', '.join(kind)}, not {text[:40]!r}")
        return text
    if kind is int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
            raise BadRequest(f"{name}: a whole number from 1 to {most}, not {text[:40]!r}")
        return int(text)
    if not 1 <= len(text) <= MAX_TEXT:
        raise BadRequest(f"{name}: 1 to {MAX_TEXT} characters")
    return text
