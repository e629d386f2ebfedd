"""Fetch a list that the daemon answers page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.errors import CannotTell
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordd.cli.common import DaemonTarget
    from coordd.protocol.client import Client


def all_pages(
    target: DaemonTarget, method: str, name: str, asked: Mapping[str, str | None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the first page, and the entries of the list ``name`` of all pages; None asks for everything.

    Raises:
        CannotTell: the answer has another shape, or a cursor repeats, so that the list would never end.
    """
    params = {name: value for name, value in asked.items() if value is not None}
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    with target.connect() as client:
        first = page = _page(client, method, name, params)
        while True:
            entries += dicts(page[name])
            cursor = page.get("cursor")
            if cursor is None:
                return first, entries
            if not isinstance(cursor, str) or cursor in seen:
                raise CannotTell(f"{client.path}: the daemon's list of {name} does not end.")
            seen.add(cursor)
            page = _page(client, method, name, {**params, "cursor": cursor})


def nothing(name: str, asked: Mapping[str, str | None]) -> str:
    """Return what to say of an empty list."""
    return f"no {name}" if all(value is None for value in asked.values()) else f"no such {name}"


def unread_sources(document: Mapping[str, Any], unknown: object, workspace: str | None) -> list[str | None]:
    """Return where agents may be that nobody can see now: paths, None for Redis.

    Args:
        document: the status.
        unknown: what an answer of ``tasks.list`` calls so; it tells whether Redis is read at all.
        workspace: the one that is asked for, "" for Redis alone, None for all.
    """
    down = as_dict(document.get("redis")).get("connected") is False and None in as_list(unknown)
    found: list[str | None] = [None] if down and not workspace else []
    for one in (*dicts(document.get("workspaces")), *dicts(document.get("sources"))):
        path = one.get("path")
        if one.get("state") == "unreadable" and isinstance(path, str) and workspace in (None, path):
            found.append(path)
    return found


def _page(client: Client, method: str, name: str, params: dict[str, str]) -> dict[str, Any]:
    page = client.call(method, params)
    if not isinstance(page, dict) or not isinstance(page.get(name), list):
        raise CannotTell(f"{client.path}: the answer is not a list of {name}.")
    return page
