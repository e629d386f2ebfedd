"""Make the table of agents for ``coordctl agents``. Pure: entries of ``agents.list`` to lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import project_words
from coordd.cli.agent_words import (
    STYLE,
    doing,
    key_of,
    labels,
    last_sign_age,
    since,
    state_of,
    task_words,
    tokens,
)
from coordd.cli.grid import Column, grid
from coordd.util.text import age, ago, epoch_of, percent, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordd.cli.agent_words import Key
    from coordd.cli.view import View

ID_COLUMNS = 40
"""Columns of an id in a table, on a terminal and in a pipe; --json shows longer ids in full."""

_PATH_COLUMNS = 200
_HEADING = ["AGENT", "PROJECT", "DOES", "", "FOR", "TASKS", "CTX", "CPU", "MEM", "LAST SIGN"]
_COLUMNS = (
    Column(least=16, most=ID_COLUMNS),
    Column(least=20, most=_PATH_COLUMNS, path=True),
    Column(),
    Column(least=17, leave=6),
    Column(right=True),
    Column(least=8, leave=5),
    Column(right=True, leave=4),
    Column(right=True, leave=3),
    Column(right=True, leave=2),
    Column(right=True, leave=1),
)
_STATE = 2


def agent_table(
    agents: Sequence[dict[str, Any]],
    claims: Mapping[Key, list[Mapping[str, Any]]],
    view: View,
    *,
    asked: object,
) -> list[str]:
    """Return a heading and one row for each agent, in the order given.

    ``claims`` are what agents hold, as far as it is known; ``asked`` is the timestamp of the answer. The
    column without a heading says what the state is about.
    """
    now, names = epoch_of(asked), labels(agents)
    rows = [list(_HEADING)]
    rows += [
        [
            names[key_of(agent)],
            project_words(agent, view.home),
            state_of(agent),
            doing(agent, later=0.0),
            age(since(agent, now, later=0.0)),
            task_words(agent, claims.get(key_of(agent), [])),
            tokens(agent.get("context_tokens")),
            percent(agent.get("cpu_percent")),
            size(agent.get("rss")),
            ago(last_sign_age(agent, later=0.0)),
        ]
        for agent in agents
    ]

    def style(row: int, column: int) -> str | None:
        if row == 0:
            return "bold"
        return STYLE.get(rows[row][_STATE]) if column == _STATE else None

    return grid(rows, _COLUMNS, room=view.columns, style=style if view.colour else None, headed=True)
