"""Find the agent whose mute a person means, by an id, a name, or a unique beginning of either.

A mute of a name counts for whoever has the name. It may be of somebody who is not there yet, so nothing has
to be found; but then it is said, for a mute of a typing error keeps nobody quiet.
"""

from __future__ import annotations

import os
from typing import Any

from coordd.cli.common import DaemonTarget
from coordd.cli.find_agent import NoSuchAgent, explained, meant
from coordd.cli.pages import all_pages
from coordd.cli.typed import shown_forms, spellings, typed
from coordd.errors import CoorddError

PATIENCE = 3.0


def muted_agent(socket: str | None, words: str) -> tuple[str, str | None]:
    """Return the id or name that the words mean, and what to tell the person about it; None for nothing.

    Args:
        socket: that of the daemon that coordd-alert follows; None where it has followed none yet.
        words: what was typed.

    Raises:
        NoSuchAgent: they are the beginning of several.
    """
    if socket is None:
        return typed(words), None
    try:
        _, agents = all_pages(DaemonTarget(socket, PATIENCE), "agents.list", "agents", {})
    except CoorddError:
        return typed(words), None
    found = meant(agents, words, None)
    for one in found:
        word = _exact(one, words)
        if word is not None:
            return word, None
    home = os.environ.get("HOME")
    if len(found) > 1:
        raise NoSuchAgent(explained(agents, found, typed(words), home))
    if not found:
        return typed(words), explained(agents, [], typed(words), home)
    return str(found[0].get("agent_id")), None


def _exact(agent: dict[str, Any], words: str) -> str | None:
    for word in (agent.get("agent_id"), agent.get("name")):
        if isinstance(word, str) and word and set(spellings(words)) & set(shown_forms(word)):
            return word
    return None
