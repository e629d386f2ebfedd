"""One agent out of two observations: what a workspace's files say of it, and what Redis says.

Pure. Each observation was reduced on its own source's clock (reducer.py); here they become what is shown and
recorded. The fresher beat wins, a task that both list counts once, and what a file says of the agent itself
counts before what the registry says.
"""

from __future__ import annotations

from dataclasses import fields, replace

from coordd.agents.reducer import KnownAgent
from coordd.agents.traces import AgentTraces, Registration

SOURCES = ("file", "redis")


def merge(file: KnownAgent, redis: KnownAgent, *, redis_fresher: bool) -> KnownAgent:
    """The agent under the file's key, with the file's verdict: that one was recorded last for both.

    Args:
        redis_fresher: the last beat is the one that Redis knows.
    """
    fresher, other = (redis, file) if redis_fresher and redis.beat_wall is not None else (file, redis)
    if fresher.beat_wall is None:
        fresher, other = other, fresher
    runs = [run for run in (fresher.run_since, other.run_since) if run is not None]
    # The other run is part of this one where it reached into it.
    joined = (
        other.beat_wall is not None and fresher.run_since is not None and other.beat_wall >= fresher.run_since
    )
    return replace(
        file,
        traces=_traces(file.traces, redis.traces),
        restored_tasks=redis.restored_tasks if file.restored_tasks is None else file.restored_tasks,
        restored_status=file.declared_status or redis.declared_status,
        beat_wall=fresher.beat_wall,
        beat_at=fresher.beat_at,
        run_since=min(runs) if joined else fresher.run_since,
        sources=SOURCES,
    )


def _traces(file: AgentTraces | None, redis: AgentTraces | None) -> AgentTraces | None:
    if file is None or redis is None:
        return None  # one of them was not read again since a restart: what was recorded stands
    tasks: tuple[str, ...] | None = None
    if file.tasks is not None and redis.tasks is not None:
        tasks = tuple(dict.fromkeys((*file.tasks, *redis.tasks))) if redis.tasks else file.tasks
    return AgentTraces(
        agent_id=file.agent_id,
        heartbeat=file.heartbeat or redis.heartbeat,
        registration=_registration(file.registration, redis.registration),
        tasks=tasks,
        listed=file.listed,
        unnamed_tasks=file.unnamed_tasks + redis.unnamed_tasks,
    )


def _registration(file: Registration | None, redis: Registration | None) -> Registration | None:
    if file is None or redis is None:
        return file or redis
    missing = {
        field.name: getattr(redis, field.name)
        for field in fields(Registration)
        if getattr(file, field.name) is None
    }
    return replace(file, **missing)
