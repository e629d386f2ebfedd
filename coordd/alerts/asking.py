"""Ask the daemon what its notifications do not say: names and projects, who is back, what was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from coordd.alerts.conditions import Condition
from coordd.alerts.link import Link
from coordd.errors import ClientError
from coordd.util.untyped import as_dict, dicts

WITHIN = 10.0
"""Seconds that an answer may take."""
PAGE = 500
"""Records or agents in an answer: more at once would stay in memory."""
PAGES = 200


async def agent_of(link: Link, condition: Condition) -> dict[str, Any]:
    """Return the agent that something is about, as ``agents.get`` has it; empty if it is not known."""
    try:
        answer = await link.call(
            "agents.get",
            {"agent_id": condition.subject, "workspace": condition.workspace or ""},
            within=WITHIN,
        )
    except ClientError:
        return {}
    return as_dict(answer)


async def project_of(link: Link, workspace: str | None) -> str | None:
    """Return the project that a workspace is of: of a git worktree its repository's; None if not known."""
    if workspace is None:
        return None
    try:
        listed = as_dict(await link.call("agents.list", {"workspace": workspace, "limit": 1}, within=WITHIN))
        status = {} if listed.get("agents") else as_dict(await link.call("status", {}, within=WITHIN))
    except ClientError:
        return None
    of_workspace = (one for one in dicts(status.get("workspaces")) if one.get("path") == workspace)
    for one in (*dicts(listed.get("agents")), *of_workspace):
        project = one.get("project")
        if isinstance(project, str):
            return project
    return None


async def is_back(link: Link, condition: Condition) -> bool:
    """Return whether a killed agent lives, or somebody does in the workspace of a group that fell."""
    if condition.kind != "mass":
        return (await agent_of(link, condition)).get("status") == "active"
    try:
        answer = await link.call(
            "agents.list",
            {"workspace": condition.workspace or "", "status": "active", "limit": 1},
            within=WITHIN,
        )
    except ClientError:
        return False
    return bool(dicts(as_dict(answer).get("agents")))


async def agents(link: Link) -> AsyncIterator[dict[str, Any]]:
    """Yield all agents, as ``agents.list`` has them; raises ClientError."""
    cursor: object = None
    for _ in range(PAGES):
        params: dict[str, object] = {"limit": PAGE} | ({"cursor": cursor} if cursor is not None else {})
        answer = as_dict(await link.call("agents.list", params, within=WITHIN))
        for one in dicts(answer.get("agents")):
            yield one
        cursor = answer.get("cursor")
        if cursor is None:
            return


async def records(
    link: Link, kind: str, since: str, *, of: Condition | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the records of a kind since a time, oldest first; of one agent where ``of`` is about one.

    Raises:
        ClientError: the daemon does not give them.
    """
    params: dict[str, object] = {"type": kind, "limit": PAGE}
    if of is not None:
        params["agent_id"] = of.subject
        if of.workspace is not None:
            params["workspace"] = of.workspace
    for _ in range(PAGES):
        answer = as_dict(await link.call("history.query", {**params, "since": since}, within=WITHIN + 5))
        found = dicts(answer.get("records"))
        for one in found:
            yield one
        last = found[-1].get("timestamp") if found else None
        if not answer.get("truncated") or not isinstance(last, str) or last == since:
            return
        since = last
