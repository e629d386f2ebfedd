"""Read the replies to INFO, of which each field is optional: a server may refuse it, or not have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def parse_info(reply: object) -> dict[str, str]:
    """Return the fields of an ``INFO`` reply; empty if it was refused."""
    if not isinstance(reply, bytes):
        return {}
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value.strip()[:100] for name, colon, value in lines if colon}


def version_of(info: Mapping[str, str]) -> str | None:
    """Return the version from ``INFO server``; None if it is not told."""
    return info.get("valkey_version") or info.get("redis_version")


def number_of(info: Mapping[str, str], name: str) -> int | None:
    """Return a field that is a whole number; None if it is not told."""
    text = info.get(name, "")
    return int(text) if text.isdigit() and len(text) < 20 else None
