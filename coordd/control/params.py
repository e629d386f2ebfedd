"""Say what the methods of the control socket take: a struct for each that takes something.

A parameter that is not here is refused, and so is a value of another type; ``describe`` answers these fields.
"""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from coordd.control.pages import Limit
from coordd.model import Activity, Status, TaskState, Topic


class ListParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``agents.list``."""

    status: Status | None = None
    activity: Activity | None = None
    workspace: str | None = None
    limit: Limit | None = None
    cursor: str | None = None


class GetParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``agents.get``; the workspace "" means an agent that only Redis knows."""

    agent_id: str
    workspace: str | None = None


class AckParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``attention.ack``: the id of an entry; None means all of them."""

    entry: str | None = None


class TasksParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``tasks.list``."""

    state: TaskState | None = None
    workspace: str | None = None
    limit: Limit | None = None
    cursor: str | None = None


class PurgeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``records.purge``: whose records go, or the number of a purge that was begun.

    ``workspace`` is that of the agent, or its project; ``project`` a workspace or project with its worktrees.
    """

    agent_id: str | None = None
    workspace: str | None = None
    project: str | None = None
    dry_run: bool = False
    job: int | None = None


class SubscribeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``subscribe``.

    ``topics``: None means every topic; an empty list ends a subscription. ``since``: the place to go on from,
    ``RUN:SEQ``. ``snapshot``: what the answer holds of it unless it goes on from there: ``all``, the
    ``status`` alone, or ``none``.
    """

    topics: frozenset[Topic] | None = None
    since: str | None = None
    snapshot: Literal["all", "status", "none"] = "all"


def parameters_of(params: type[msgspec.Struct]) -> list[dict[str, object]]:
    """Return the parameters that a struct stands for, each with ``name``, ``type`` and ``required``."""
    return [
        {"name": field.name, "type": _type_name(field.type), "required": field.required}
        for field in msgspec.structs.fields(params)
    ]


def _type_name(kind: object) -> str:
    schema = msgspec.json.schema(kind)
    options = schema.get("anyOf", [schema])
    names: list[str] = []
    for option in options:
        names += [json.dumps(value) for value in option["enum"]] if "enum" in option else [option["type"]]
    return "|".join(names)
