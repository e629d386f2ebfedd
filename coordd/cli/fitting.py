"""Make a status fit a window: fewer agents in rows of their own, then fewer entries of what needs a human.

What is left out is counted by need in the text itself; what does not fit even then, the screen cuts. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordd.cli.view import View

_LEAST_NEEDS = 1


def fitted(make: Callable[[View], str], view: View, rows: int) -> list[str]:
    """Return the lines of a text, made with so few agents and entries that they fit into ``rows``."""
    lines = make(view).split("\n")
    agents, needs = view.agents, view.needs
    while len(lines) > rows and (agents > 0 or needs > _LEAST_NEEDS):
        over = len(lines) - rows
        if agents > 0:
            agents = max(agents - over, 0)
        else:
            needs = max(needs - over, _LEAST_NEEDS)
        lines = make(view.shorter(agents=agents, needs=needs)).split("\n")
    return lines
