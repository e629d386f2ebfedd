"""Merge two observations of one agent, from a workspace's files and from Redis, into the agent that is shown.

Pure. Each observation was reduced on its own source's clock (reducer.py); the result is what is shown and
recorded. The rule: the fresher beat wins, a task that both list counts once, and a field of the registration
file wins over the same field of the registry in Redis.
"""

from __future__ import annotations

from dataclasses import fields, replace

from coordd.agents.reducer import KnownAgent
from coordd.agents.traces import AgentTraces, Registration

SOURCES = ("file", "redis")


def merge(file: KnownAgent, redis: KnownAgent, *, redis_fresher: bool) -> KnownAgent:
    """Return the merged agent, under the file's key and with its verdict, which was recorded last for both.

    Args:
        file: the observation in a workspace.
        redis: the observation in Redis.
        redis_fresher: whether Redis saw the later beat.
    """
    fresher, other = (redis, file) if redis_fresher and redis.beat_wall is not None else (file, redis)
    if fresher.beat_wall is None:
        fresher, other = other, fresher
    runs = [run for run in (fresher.run_since, other.run_since) if run is not None]
    # The runs are one where the other source still saw beats after this run had begun.
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
        return None  # one was not read again since the restart: the recorded values stay
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
