"""Make records and answers of an agent as it is at one moment. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from coordd.agents.beats import started_at
from coordd.agents.join import Agent
from coordd.agents.liveness import Verdict
from coordd.agents.seen_process import SeenProcess
from coordd.agents.session import Session, TokenCounts, Turn
from coordd.agents.shown import ShownAgent
from coordd.agents.work import waiting_for
from coordd.host.trees import TreeUse
from coordd.model import AgentSample, Tokens
from coordd.util.timestamps import format_utc


def sample_of(
    agent: Agent,
    *,
    verdict: Verdict,
    wall: float,
    host: str,
    tree: TreeUse | None = None,
    project: str | None = None,
) -> AgentSample:
    """Return the agent's record at the moment ``wall``; ``tree`` is what its processes use, if measured.

    ``project`` is that of its workspace; None: the workspace itself.
    """
    return AgentSample(**_fields(agent, verdict, wall, host, tree, project=project))


def view_fields(shown: ShownAgent, *, wall: float, host: str, project: str | None = None) -> dict[str, Any]:
    """Return the fields of an agent's view at the moment ``wall``, at which it was judged."""
    agent = shown.agent
    if shown.doing != agent.doing:
        agent = agent.recorded(agent.verdict, agent.cause, shown.doing)
    fields = _fields(agent, shown.verdict, wall, host, shown.tree, project=project)
    fields["last_heartbeat_age"] = None if shown.age is None else round(shown.age, 3)
    fields["inactive_since"] = _moment(shown.fell)
    return fields


def _fields(
    agent: Agent, verdict: Verdict, wall: float, host: str, tree: TreeUse | None, *, project: str | None
) -> dict[str, Any]:
    workspace, doing, session = agent.key.recorded_workspace, agent.doing, agent.session
    fields: dict[str, Any] = {
        "timestamp": format_utc(wall),
        "host": host,
        "workspace": workspace,
        "agent_id": agent.key.agent_id,
        "status": verdict.status,
        "reason": verdict.reason,
        "cause": agent.cause,
        "active_tasks": agent.active_tasks,
        "uptime": uptime(agent, verdict, wall),
        "last_heartbeat": None if agent.beat_wall is None else format_utc(agent.beat_wall),
        "declared_status": agent.declared_status,
        "sources": agent.sources,
        "project": project or workspace,
        "activity": doing.activity,
        "activity_since": _since(doing.since) if doing.activity else None,
    }
    if session is not None:
        fields |= _session_fields(agent, session, verdict)
        fields["project"] = session.project or fields["project"]
    process = agent.process
    if process is not None:
        fields |= _process_fields(process, session, tree)
    return fields


def _session_fields(agent: Agent, session: Session, verdict: Verdict) -> dict[str, Any]:
    """Return the fields of an agent's session."""
    turn = session.turn or Turn()
    # Of two processes of one session the idle one reads the other's calls.
    at_work = verdict.status == "active" and session.declared != "idle"
    call = turn.calls[0] if turn.calls and at_work else None
    waiting = agent.doing.activity == "waiting"
    return {
        "name": session.name,
        "kind": session.kind,
        "session_id": session.session_id,
        "waiting_for": (waiting_for(session) or "input") if waiting else None,
        "tool": call.name if call else None,
        "tool_since": _moment(call.since) if call else None,
        "background": None
        if session.process_only
        else len(turn.background) + (session.shell and not turn.background),
        "last_progress": _moment(turn.last if turn.last is not None else session.declared_at),
        "model": turn.model,
        "context_tokens": turn.context_tokens,
        "tokens": _tokens(turn.tokens),
    }


def _process_fields(process: SeenProcess, session: Session | None, tree: TreeUse | None) -> dict[str, Any]:
    return {
        "pid": process.process.pid,
        "proc_start": process.process.start,
        "tty": session.tty if session else None,
        "user": session.user if session else None,
        "processes": tree.processes if tree else None,
        "cpu_percent": tree.cpu_percent if tree else None,
        "rss": tree.rss if tree else None,
        "ended_at": _moment(process.end.wall) if process.end else None,
    }


def _tokens(counts: TokenCounts | None) -> Tokens | None:
    if counts is None:
        return None
    since = _moment(counts.since)
    return Tokens(counts.input, counts.output, counts.cache_read, counts.cache_write, since)


@lru_cache(maxsize=2048)  # it is the same in each record of an agent until that does something else
def _since(epoch: float | None) -> str | None:
    return _moment(epoch)


def _moment(epoch: float | None) -> str | None:
    return None if epoch is None else format_utc(epoch)


def uptime(agent: Agent, verdict: Verdict, wall: float) -> float | None:
    """Return the seconds since the agent started, or else since the first beat of its unbroken run.

    The uptime of an inactive agent ends with its process or its last beat; that of an unknown agent is None.
    """
    start = started_at(agent.traces, wall) or agent.run_since
    if start is None and agent.session is not None:
        start = agent.session.started_at
    ended = agent.process.end.wall if agent.process and agent.process.end else agent.beat_wall
    end = {"active": wall, "inactive": ended, "unknown": None}[verdict.status]
    if start is None or end is None:
        return None
    return round(max(0.0, end - start), 3)
