"""Say what is asked for one look at everything, and put the answers together. Pure, and quick to import.

A daemon may know 100,000 agents; a look asks for some of each state, those that need a human first, and of
the tasks for the first ones, since claims come before what is available.
"""

from __future__ import annotations

from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROWS = 20
"""Agents that a look shows at most; ``coordctl agents`` shows all."""
TASKS = 100
"""Tasks that are asked for at most, to name those that the agents shown hold."""
INACTIVE = 100
"""Inactive agents that are asked for at most: among them the killed ones have to be found beside many that
ended in order.
"""

_TASKS_ASKED: tuple[str, object] = ("tasks.list", {"limit": TASKS})
LOOK: list[tuple[str, object]] = [
    ("status", None),
    _TASKS_ASKED,
    *[("agents.list", {"activity": a, "limit": ROWS}) for a in ("waiting", "stalled", "blocked")],
    ("agents.list", {"status": "inactive", "limit": INACTIVE}),
    ("agents.list", {"status": "unknown", "limit": ROWS}),
    *[("agents.list", {"activity": a, "limit": ROWS}) for a in ("working", "unknown", "idle")],
]
"""What is asked for a look."""
OLD_LOOK: list[tuple[str, object]] = [
    ("status", None),
    _TASKS_ASKED,
    *[("agents.list", {"status": status, "limit": ROWS}) for status in ("inactive", "unknown", "active")],
]
"""The same of a daemon that knows no activities, and refuses the question with INVALID_PARAMS."""
SUBSCRIBE: list[tuple[str, object]] = [("subscribe", None), _TASKS_ASKED]
"""A look and a subscription in one; the snapshot has all agents."""


class Picture:
    """What was seen: the status document, entries of ``agents.list`` and of ``tasks.list``."""

    __slots__ = ("agents", "document", "tasks")

    def __init__(
        self,
        document: dict[str, Any],
        agents: Sequence[dict[str, Any]] = (),
        tasks: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.document = document
        self.agents = agents
        self.tasks = tasks


def picture_of(answers: Sequence[object], *, subscribed: bool = False) -> Picture | None:
    """Return the picture that the answers to a look give, or with ``subscribed`` those to :data:`SUBSCRIBE`.

    It is None where there is no status among them.
    """
    pages = [as_dict(answer) for answer in answers]
    document = as_dict(pages[0].get("status")) if subscribed else pages[0]
    if document.get("health") not in ("ok", "degraded"):
        return None
    return Picture(
        document,
        [agent for page in pages for agent in dicts(page.get("agents"))],
        [task for page in pages for task in dicts(page.get("tasks"))],
    )
