"""The same traces, written as files and as keys of Redis, mean the same agents, tasks, claims and progress.

Both readers follow the same changes, each told of them in its own way; after each step what they were told
adds up to what a full reading says, and both say the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redisd import RedisServer
from redisreading import NOW, Reading, emptied, reading, shared_server

from coordd.agents.traces import AgentsChange, AgentTraces, Claim, Progress, Registration, SourceTraces
from coordd.sources.file.hints import Hint, WorkFile
from coordd.sources.file.reader import WorkspaceReader

LARGE = "x" * 70_000


class Backend(Protocol):
    """Where agents leave traces; None takes one away. ``read`` reads what was announced since."""

    def heartbeat(self, agent_id: str, content: str | None) -> None: ...
    def register(self, agent_id: str, entry: str | None) -> None: ...
    def tasks(self, agent_id: str, tasks: tuple[str, ...]) -> None: ...
    def available(self, task: str, *, there: bool) -> None: ...
    def claim(self, task: str, content: str | None) -> None: ...
    def progress(self, task: str, content: str | None) -> None: ...
    def scan(self) -> SourceTraces: ...
    def read(self) -> AgentsChange: ...


class Files:
    """The file backend."""

    def __init__(self, root: Path) -> None:
        self._base = root / ".claude" / "coordination"
        for folder in ("agents", "claims", "tasks", "status"):
            (self._base / folder).mkdir(parents=True)
        self._reader = WorkspaceReader(str(root))
        self._told: set[Hint] = set()

    def heartbeat(self, agent_id: str, content: str | None) -> None:
        self._agent(f"{agent_id}.heartbeat", content)

    def register(self, agent_id: str, entry: str | None) -> None:
        self._agent(f"{agent_id}.active", entry)

    def tasks(self, agent_id: str, tasks: tuple[str, ...]) -> None:
        self._agent(f"{agent_id}.tasks", "\n".join(tasks) or None)

    def available(self, task: str, *, there: bool) -> None:
        self._work("tasks", task, "" if there else None)

    def claim(self, task: str, content: str | None) -> None:
        self._work("claims", f"{task}.claim", content)

    def progress(self, task: str, content: str | None) -> None:
        self._work("status", f"{task}.progress", content)

    def scan(self) -> SourceTraces:
        return self._reader.scan(0.0)

    def read(self) -> AgentsChange:
        told, self._told = self._told, set()
        return self._reader.read(told)

    def _agent(self, name: str, content: str | None) -> None:
        _write(self._base / "agents" / name, content)
        self._told.add(name)

    def _work(self, folder: str, name: str, content: str | None) -> None:
        _write(self._base / folder / name, content)
        self._told.add(WorkFile(folder, name))


def _write(path: Path, content: str | None) -> None:
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)


class Keys:
    """The Redis backend. Dialects: which of two families of heartbeats and claims, which source of tasks."""

    def __init__(self, reading: Reading, client: redis.Redis, dialect: int) -> None:
        self._reading = reading
        self._client = client
        self._dialect = dialect
        self._told: set[str] = set()

    def heartbeat(self, agent_id: str, content: str | None) -> None:
        self._string(("heartbeat:", "agent:heartbeat:")[self._dialect % 2] + agent_id, content)

    def register(self, agent_id: str, entry: str | None) -> None:
        if entry is None:
            self._client.hdel("agents:registry", agent_id)
        else:
            self._client.hset("agents:registry", agent_id, entry)
        self._told.add("agents:registry")

    def tasks(self, agent_id: str, tasks: tuple[str, ...]) -> None:
        key = f"agent:tasks:{agent_id}"
        self._client.delete(key)
        if tasks:
            self._client.sadd(key, *tasks)
        self._told.add(key)

    def available(self, task: str, *, there: bool) -> None:
        key = ("tasks:available", "work:available:high", "tasks:priority_queue")[self._dialect % 3]
        if self._dialect % 3 == 0:
            (self._client.sadd if there else self._client.srem)(key, task)
        elif self._dialect % 3 == 1:
            self._client.lrem(key, 0, json.dumps({"task_id": task}))
            if there:
                self._client.lpush(key, json.dumps({"task_id": task}))
        elif there:
            self._client.zadd(key, {json.dumps({"id": task}): 1})
        else:
            self._client.zrem(key, json.dumps({"id": task}))
        self._told.add(key)

    def claim(self, task: str, content: str | None) -> None:
        self._string(("task:claim:", "tasks:claimed:")[self._dialect % 2] + task, content)

    def progress(self, task: str, content: str | None) -> None:
        self._string(f"task:progress:{task}", content)

    def scan(self) -> SourceTraces:
        return self._reading.scan()

    def read(self) -> AgentsChange:
        told, self._told = self._told, set()
        self._reading.mono += 60
        return self._reading.read(*told)

    def _string(self, key: str, content: str | None) -> None:
        if content is None:
            self._client.delete(key)
        else:
            self._client.set(key, content)
        self._told.add(key)


@dataclass
class Seen:
    """What traces mean, without what only one backend can know: inodes, pushes, the order of tasks."""

    agents: dict[str, tuple[float | str | None, Registration | None, frozenset[str] | None]] = field(
        default_factory=dict
    )
    claims: dict[str, Claim] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    available: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, traces: SourceTraces) -> Seen:
        assert traces.state == "read"
        assert traces.claims is not None
        assert traces.progress is not None
        assert traces.tasks_available is not None
        assert list(traces.tasks_available) == sorted(set(traces.tasks_available))
        agents = {agent_id: _agent(agent) for agent_id, agent in traces.agents.items()}
        return cls(agents, dict(traces.claims), dict(traces.progress), set(traces.tasks_available))

    def take(self, change: AgentsChange) -> None:
        """Follow a partial reading."""
        assert not change.rescan_needed
        for agent_id, agent in change.agents.items():
            if agent is None:
                self.agents.pop(agent_id, None)
            else:
                self.agents[agent_id] = _agent(agent)
        _take(self.claims, dict(change.work.claims))
        _take(self.progress, dict(change.work.progress))
        for task, there in change.work.available.items():
            (self.available.add if there else self.available.discard)(task)


def _agent(agent: AgentTraces) -> tuple[Any, Registration | None, frozenset[str] | None]:
    written = "none" if agent.heartbeat is None else agent.heartbeat.written
    registration = agent.registration
    if registration is not None:
        registration = replace(
            registration, owner=None, written=None, identity=0
        )  # a key of Redis has neither
    return written, registration, None if agent.tasks is None else frozenset(agent.tasks)


def _take(known: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value


AGENTS = st.sampled_from(("a", "b", "team:1", "Zoë", "tab\there"))
TASKS = st.sampled_from(("t1", "t2", "t:3", "mañana"))
BEATS = st.sampled_from((None, "2026-11-21T12:00:00Z", f"{NOW + 5}\n", "", "soon", LARGE))
ENTRIES = st.sampled_from(
    (
        None,
        "{",
        "",
        '{"started_at": 100, "status": "active", "capabilities": ["code"], "hostname": "h", "pid": 7}',
        '{"started_at": "soon", "status": "idle", "pid": -1, "hostname": "h"}',
    )
)
CLAIMS = st.sampled_from(
    (
        None,
        "{",
        "",
        '{"agent_id": "a", "claimed_at": 100, "ttl": 300}',
        '{"agent_id": "b", "claimed_at": 200, "expires_at": 900, "description": "d"}',
        '{"agent_id": "a", "claimed_at": 300, "status": "done"}',
        '{"agent_id": "a", "claimed_at": "never", "status": "released"}',
    )
)
PROGRESS = st.sampled_from((None, "", "[]", '{"progress": 10, "timestamp": 5}', '{"progress": 101}', LARGE))

Step = Callable[[Backend], None]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda who, what: lambda to: to.heartbeat(who, what), AGENTS, BEATS),
    st.builds(lambda who, what: lambda to: to.register(who, what), AGENTS, ENTRIES),
    st.builds(
        lambda who, what: lambda to: to.tasks(who, tuple(sorted(what))), AGENTS, st.sets(TASKS, max_size=3)
    ),
    st.builds(lambda task, there: lambda to: to.available(task, there=there), TASKS, st.booleans()),
    st.builds(lambda task, what: lambda to: to.claim(task, what), TASKS, CLAIMS),
    st.builds(lambda task, what: lambda to: to.progress(task, what), TASKS, PROGRESS),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with shared_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@settings(max_examples=60)
@given(dialect=st.integers(0, 5), batches=st.lists(st.lists(STEPS, min_size=1, max_size=6), max_size=6))
def test_both_backends_follow_the_same_traces_to_the_same_picture(
    server: RedisServer, dialect: int, batches: list[list[Step]]
) -> None:
    with TemporaryDirectory() as root, emptied(server) as client, reading(server) as reader:
        backends: list[Backend] = [Files(Path(root)), Keys(reader, client, dialect)]
        seen = [Seen.of(backend.scan()) for backend in backends]
        for batch in batches:
            for step in batch:
                for backend in backends:
                    step(backend)
            for one, backend in zip(seen, backends, strict=True):
                one.take(backend.read())
            assert seen[0] == seen[1]
            assert [Seen.of(backend.scan()) for backend in backends] == seen


def beats(backend: Backend) -> list[tuple[object, ...]]:
    """The identity of an agent's heartbeat after each of some readings."""
    found = []
    for content in ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z", "2026-11-21T12:00:30Z"):
        backend.heartbeat("a", content)
        agent = backend.read().agents["a"]
        assert agent is not None
        assert agent.heartbeat is not None
        found.append(agent.heartbeat.identity)
    agent = backend.scan().agents["a"]
    assert agent is not None
    assert agent.heartbeat is not None
    found.append(agent.heartbeat.identity)
    return found


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_each_beat_that_is_announced_is_another_one_and_a_rescan_is_none(
    kind: str, server: RedisServer, tmp_path: Path
) -> None:
    with emptied(server) as client, reading(server) as reader:
        backend: Backend = Files(tmp_path) if kind == "files" else Keys(reader, client, 0)
        backend.scan()
        first, second, third, rescanned = beats(backend)
        assert len({first, second, third}) == 3
        assert rescanned == third
