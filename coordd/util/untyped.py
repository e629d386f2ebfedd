"""Take parts out of JSON of any shape, such as an answer of another version; what does not fit is empty."""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any


def as_dict(value: object) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list, without entries of other types."""
    return [entry for entry in as_list(value) if isinstance(entry, dict)]
