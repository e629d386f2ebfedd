"""Find the agent that a person means by an id, a name, or a unique beginning of either.

| first that fits | of |
|---|---|
| the id, as it is | the whole list (the daemon's own search) |
| id or name, as it is or as it was shown | the project above the current directory, then all |
| a unique beginning of id or name, also with the ellipsis of a table | the same |

A word whose bytes may mean several texts (typed.py) is looked for in each of them, rule by rule.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import is_at, place_of, short_path
from coordd.cli.agent_words import key_of, name_of
from coordd.cli.pages import all_pages
from coordd.cli.typed import shown_forms, spellings, typed
from coordd.cli.workspace_names import workspace_named
from coordd.errors import CannotTell, CoorddError, RpcError
from coordd.protocol.paths import workspace_above
from coordd.util.text import CUT, escape, shown
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coordd.cli.common import DaemonTarget

_MENTIONED = 8  # agents named at most in an error


class NoSuchAgent(CoorddError):
    """No agent, or more than one, is meant by the words that were typed."""


def agent_of(target: DaemonTarget, words: str, workspace: str | None) -> dict[str, Any]:
    """Return the answer of ``agents.get`` for the agent that is meant.

    Raises:
        NoSuchAgent: there is none, or there are several; the message says what is near, or how to choose.
        RpcError: the daemon refuses.
        CannotTell: the answer has another shape.
    """
    found = _asked(target, words, workspace)
    if isinstance(found, RpcError):
        return _get(target, *_searched(target, words, workspace, found))
    return found


def identity_of(target: DaemonTarget, words: str, workspace: str | None) -> tuple[str, str | None]:
    """Return id and workspace of the agent that is meant; the workspace is None where the id is enough.

    Raises:
        NoSuchAgent, RpcError, CannotTell: as :func:`agent_of`.
    """
    found = _asked(target, words, workspace)
    if isinstance(found, RpcError):
        return _searched(target, words, workspace, found)
    return str(found.get("agent_id")), workspace


def _asked(target: DaemonTarget, words: str, workspace: str | None) -> dict[str, Any] | RpcError:
    """Return the answer of the daemon's own search; its last refusal where it finds no single agent.

    Raises:
        RpcError: it refuses for another reason.
        CannotTell: the answer has another shape.
    """
    refusals = []
    for spelling in spellings(words):
        try:
            return _get(target, spelling, workspace)
        except RpcError as error:
            if as_dict(error.data).get("kind") not in ("no-such-agent", "ambiguous"):
                raise
            refusals.append(error)
    return refusals[-1]


def _searched(
    target: DaemonTarget, words: str, workspace: str | None, refused: RpcError
) -> tuple[str, str | None]:
    """Return id and workspace of what the daemon's own search did not find.

    Raises:
        NoSuchAgent: as :func:`agent_of`.
    """
    _, agents = all_pages(target, "agents.list", "agents", {})
    if workspace is not None:
        place = workspace_named(target, workspace) or ""
        agents = [agent for agent in agents if is_at(agent, place)]
    found = meant(agents, words, _here(target))
    if len(found) != 1:
        home = os.environ.get("HOME")
        raise NoSuchAgent(explained(agents, found, spellings(words)[0], home)) from refused
    return str(found[0].get("agent_id")), key_of(found[0])[0]


def meant(agents: Sequence[dict[str, Any]], words: str, cwd: str | None) -> list[dict[str, Any]]:
    """Return the agents that the words mean, by the first rule of the table that fits.

    ``cwd`` is the current directory; agents of the project above it win. Pure.
    """
    here = [agent for agent in agents if _is_here(agent, cwd)]
    for rule in (_is, _begins):
        for group in (here, agents):
            for spelling in spellings(words):
                found = [agent for agent in group if rule(agent, spelling)]
                if found:
                    return found
    return []


def explained(
    agents: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], words: str, home: str | None
) -> str:
    """Return in words why no single agent is meant, and what to type. Pure."""
    if found:
        lines = [f"{shown(words)} may mean {len(found)} agents:"]
        lines += [f"  {_line(agent, home)}" for agent in found[:_MENTIONED]]
        if len(found) > _MENTIONED:
            lines.append(f"  … and {len(found) - _MENTIONED} more")
        return "\n".join([*lines, "Name one by more of its id, or with --workspace DIR."])
    near = _near(agents, words)
    if near:
        hint = "\n".join(["Did you mean", *[f"  {_line(agent, home)}" for agent in near]])
    else:
        hint = "'coordctl agents' lists those that are known." if agents else "No agent is known at all."
    return f"No agent '{shown(words)}' is known.\n{hint}"


def _get(target: DaemonTarget, agent_id: str, workspace: str | None) -> dict[str, Any]:
    params = {"agent_id": agent_id} | ({} if workspace is None else {"workspace": workspace})
    with target.connect() as client:
        agent = client.call("agents.get", params)
        if not isinstance(agent, dict):
            raise CannotTell(f"{client.path}: the answer is not an agent.")
    return agent


def _here(target: DaemonTarget) -> str | None:
    """Return the current directory; in a path that leads to another's workspace, that workspace."""
    here = target.where()
    root = workspace_above(here) if here is not None else None
    named = workspace_named(target, root)
    return here if named in (None, root) else named


def _words_of(agent: dict[str, Any]) -> Iterable[str]:
    return [word for word in (agent.get("agent_id"), agent.get("name")) if isinstance(word, str) and word]


def _is(agent: dict[str, Any], words: str) -> bool:
    return any(words in shown_forms(word) for word in _words_of(agent))


def _begins(agent: dict[str, Any], words: str) -> bool:
    for mark in shown_forms(CUT):  # as a table cuts it
        words = words.removesuffix(mark)
    forms = [form for word in _words_of(agent) for form in shown_forms(word)]
    return bool(words) and any(form.startswith(words) for form in forms)


def _is_here(agent: dict[str, Any], cwd: str | None) -> bool:
    cwd = None if cwd is None else typed(cwd)
    places = [agent.get("workspace"), agent.get("project")]
    return cwd is not None and any(
        isinstance(place, str) and place and f"{cwd}/".startswith(f"{place.rstrip('/')}/") for place in places
    )


def _near(agents: Sequence[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    from difflib import get_close_matches

    by_word = {word: agent for agent in agents for word in _words_of(agent)}
    unique = {key_of(by_word[word]): by_word[word] for word in get_close_matches(words, by_word, n=3)}
    return list(unique.values())


def _line(agent: dict[str, Any], home: str | None) -> str:
    name, identity = name_of(agent), shown(agent.get("agent_id"))
    label = name if name == identity else f"{name} ({identity})"
    place = agent.get("workspace") or place_of(agent)
    return f"{label}  {short_path(place, home) if str(place).startswith('/') else escape(str(place))}"
