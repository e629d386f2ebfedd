"""Complete words that only the daemon knows, such as the ids of agents.

A key press waits for the answer, so the daemon gets little time, and every failure means no suggestion.
Suggestions land on a command line: an id that a shell could take for more than a word is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coordd.cli.common import DaemonTarget
from coordd.errors import CoorddError
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    import click

PATIENCE = 0.5
"""Seconds that a completion may take at most, whatever --timeout says."""
MOST = 500
"""Suggestions at most; more would not help."""

_HARMLESS = re.compile(r"[A-Za-z0-9_][\w.@%+/-]*", re.ASCII)


def agent_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's signature
    """Return the ids of agents that begin with the typed text, each once, in order."""
    return _words(ctx, incomplete, ("agent_id",))


def agents_named(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's signature
    """Return the ids and names of agents that begin with the typed text, each once, in order."""
    return _words(ctx, incomplete, ("agent_id", "name"))


def _words(ctx: click.Context, incomplete: str, fields: tuple[str, ...]) -> list[str]:
    try:
        with _target(ctx).connect(advise=False, tell=False) as client:
            answer = client.call("agents.list", {})
    except CoorddError:
        return []
    words = [agent.get(field) for agent in dicts(as_dict(answer).get("agents")) for field in fields]
    known = {word for word in words if isinstance(word, str)}
    return sorted(word for word in known if word.startswith(incomplete) and _HARMLESS.fullmatch(word))[:MOST]


def _target(ctx: click.Context) -> DaemonTarget:
    """Return the daemon that the words before the cursor name; while completing, click calls no command."""
    named: dict[str, str | None] = {}
    context: click.Context | None = ctx
    while context is not None:
        for name in ("socket", "directory", "layout"):
            named[name] = named.get(name) or context.params.get(name)
        context = context.parent
    return DaemonTarget(
        named.get("socket"), PATIENCE, directory=named.get("directory"), layout=named.get("layout")
    )
