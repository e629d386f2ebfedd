"""Fetch a list that the daemon answers page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.errors import CannotTell

if TYPE_CHECKING:
    from coordd.protocol.client import Client


def all_pages(
    client: Client, method: str, name: str, params: dict[str, object]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the first page, and the entries of the list ``name`` of all pages.

    Raises:
        CannotTell: the answer has another shape, or a cursor repeats, so that the list would never end.
    """
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    first = page = _page(client, method, name, params)
    while True:
        entries += [entry for entry in page[name] if isinstance(entry, dict)]
        cursor = page.get("cursor")
        if cursor is None:
            return first, entries
        if not isinstance(cursor, str) or cursor in seen:
            raise CannotTell(f"{client.path}: the daemon's list of {name} does not end.")
        seen.add(cursor)
        page = _page(client, method, name, {**params, "cursor": cursor})


def _page(client: Client, method: str, name: str, params: dict[str, object]) -> dict[str, Any]:
    page = client.call(method, params)
    if not isinstance(page, dict) or not isinstance(page.get(name), list):
        raise CannotTell(f"{client.path}: the answer is not a list of {name}.")
    return page
