"""Make records and answers of an agent as it is at one moment. Pure."""

from __future__ import annotations

from typing import Any

from coordd.agents.beats import started_at
from coordd.agents.join import Agent
from coordd.agents.liveness import Verdict
from coordd.model import AgentSample
from coordd.util.timestamps import format_utc


def sample_of(agent: Agent, *, verdict: Verdict, wall: float, host: str) -> AgentSample:
    """Return the agent's record at the moment ``wall``."""
    return AgentSample(**_fields(agent, verdict, wall, host))


def view_fields(
    agent: Agent, *, verdict: Verdict, age: float | None, wall: float, host: str
) -> dict[str, Any]:
    """Return the fields of its view at the moment ``wall``, ``age`` seconds after the last beat."""
    fields = _fields(agent, verdict, wall, host)
    fields["last_heartbeat_age"] = None if age is None else round(age, 3)
    return fields


def _fields(agent: Agent, verdict: Verdict, wall: float, host: str) -> dict[str, Any]:
    return {
        "timestamp": format_utc(wall),
        "host": host,
        "workspace": agent.key.recorded_workspace,
        "agent_id": agent.key.agent_id,
        "status": verdict.status,
        "reason": verdict.reason,
        "cause": agent.cause,
        "active_tasks": agent.active_tasks,
        "uptime": uptime(agent, verdict, wall),
        "last_heartbeat": None if agent.beat_wall is None else format_utc(agent.beat_wall),
        "declared_status": agent.declared_status,
        "sources": agent.sources,
    }


def uptime(agent: Agent, verdict: Verdict, wall: float) -> float | None:
    """Return the seconds since the agent started, or else since the first beat of its unbroken run.

    The uptime of an inactive agent ends with its last beat; that of an unknown agent is None.
    """
    start = started_at(agent.traces, wall) or agent.run_since
    end = {"active": wall, "inactive": agent.beat_wall, "unknown": None}[verdict.status]
    if start is None or end is None:
        return None
    return round(max(0.0, end - start), 3)
