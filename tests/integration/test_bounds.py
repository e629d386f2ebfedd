"""What strangers pile up, before a real daemon and a real Redis: it answers, and says what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from live import Coordd, Project, read_records, running, utc_now
from redisd import KINDS, RedisServer
from redisreading import Reading, emptied, reading, shared_server
from waiting import eventually

HUGE = b"v" * (72 << 20)
"""More than is taken of all replies together."""


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with shared_server(tmp_path_factory.mktemp(request.param), kind=request.param) as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with emptied(server) as one:
        yield one


@pytest.fixture
def reader(server: RedisServer, client: redis.Redis) -> Iterator[Reading]:
    with reading(server) as one:
        yield one


def following(server: RedisServer, tmp_path: Path, project: Project) -> tuple[list[str], Path]:
    config = tmp_path / "coordd.toml"
    config.write_text(f'[coordination]\nredis_url = "{server.url}"\n')
    arguments = ["--workspace", str(project.root), "--config", str(config)]
    return arguments, project.claude / "run" / "coordd.sock"


def plant(client: redis.Redis) -> None:
    """Everything that can be huge, is, beside one of each that is not."""
    client.hset("agents:registry", "good", json.dumps({"status": "working"}))
    client.hset("agents:registry", "huge", HUGE)
    client.hset("agents:registry", b"n" * (1 << 20), "{}")
    client.set("heartbeat:good", utc_now())
    client.set("heartbeat:huge", HUGE)
    client.set(b"heartbeat:" + b"k" * (1 << 20), utc_now())
    client.sadd("agent:tasks:good", "t1", HUGE)
    client.sadd("tasks:available", "free", HUGE)
    client.rpush("work:available:high", '{"task_id": "listed"}', HUGE)
    client.zadd("tasks:priority_queue", {'{"id": "queued"}': 1.0, HUGE: 2.0})
    client.set("task:claim:t1", json.dumps({"agent_id": "good"}))
    client.set("task:claim:huge", HUGE)
    client.set("tasks:claimed:huge", HUGE)
    client.set("task:progress:t1", json.dumps({"progress": 5}))
    client.set("task:progress:huge", HUGE)


def test_values_of_any_size_are_read_past_over_one_connection(client: redis.Redis, reader: Reading) -> None:
    plant(client)
    for _ in range(2):
        traces = reader.scan()
        assert traces.state == "read"
        assert reader.session.alive
        good = traces.agents["good"]
        assert good.registration is not None
        assert (good.registration.status, good.tasks) == ("working", ("t1",))
        assert good.heartbeat is not None
        assert traces.tasks_available == ("free", "listed", "queued")
        assert traces.claims is not None
        assert traces.claims["t1"].agent_id == "good"
        assert (traces.progress or {}).keys() == {"t1"}
        larger = {path for path, reason in traces.malformed.items() if "larger than 64 KiB" in reason}
        assert larger == {
            *("redis:agents:registry huge", "redis:heartbeat:huge", "redis:agent:tasks:good"),
            *("redis:tasks:available", "redis:work:available:high", "redis:tasks:priority_queue"),
            *("redis:task:claim:huge", "redis:tasks:claimed:huge", "redis:task:progress:huge"),
        }
        assert sum("an id of no or more than" in reason for reason in traces.malformed.values()) == 2


def test_a_daemon_keeps_its_connection_and_follows_what_is_small(
    server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    plant(client)
    project = Project(tmp_path / "app")
    arguments, sock = following(server, tmp_path, project)
    with running(arguments, sock=sock, home=tmp_path / "home") as coordd:
        eventually(lambda: coordd.statuses().get("good") == "active")
        eventually(lambda: coordd.rpc("status")["redis"]["feed"] == "push")
        client.set(b"heartbeat:" + b"k" * (1 << 20), utc_now())  # announced, too
        client.set("heartbeat:late", utc_now())
        eventually(lambda: coordd.statuses().get("late") == "active")
        status = coordd.rpc("status")
        assert status["traces_malformed"]["count"] == 11
        assert status["tasks"] == {"available": 3, "claimed": 2, "expired": 0, "orphaned": 0}
        downs = [
            one for one in read_records(project.claude / "metrics", "event") if one["kind"] == "redis.down"
        ]
        assert len(downs) <= 1  # a server may be too busy copying, once; then it is given the time


def test_a_set_that_has_grown_since_it_was_counted_is_not_read_at_once(
    client: redis.Redis, reader: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sadd("agent:tasks:a", "t0")
    call = reader.session.call
    asked: list[object] = []

    async def grow(*commands: object, **options: object) -> object:
        asked.extend(commands)
        replies = await call(*commands, **options)  # type: ignore[arg-type]
        if any(command[0] == b"SCARD" and command[1] == b"agent:tasks:a" for command in commands):  # type: ignore[index]
            client.sadd("agent:tasks:a", *[f"t{number}" for number in range(9000)])
        return replies

    monkeypatch.setattr(reader.session, "call", grow)
    assert len(reader.scan().agents["a"].tasks or ()) == 9000
    assert not [command for command in asked if command[0] == b"SMEMBERS"]  # type: ignore[index]


def test_a_registry_that_is_not_read_to_its_end_is_said_and_nobody_has_left_it(
    server: RedisServer, client: redis.Redis
) -> None:
    with reading(server, max_entries=300) as reader:
        for number in range(250):
            client.hset("agents:registry", f"a{number}", '{"pad": "%s"}' % ("x" * 100))
        known = set(reader.scan().agents)
        assert len(known) == 250
        for number in range(5000):  # another order, and more than are read
            client.hset("agents:registry", f"b{number}", "{}")
        traces = reader.scan()
        assert known <= traces.agents.keys()
        assert len(traces.agents) <= 300
        assert "more than 300" in traces.over_limit["agents"]


def test_lists_of_work_beyond_the_bound_make_it_unknown_what_is_available(
    client: redis.Redis, reader: Reading
) -> None:
    client.sadd("tasks:available", "t")
    assert reader.scan().tasks_available == ("t",)
    for number in range(1001):
        client.rpush(f"work:available:{number}", f"t{number}")
    traces = reader.scan()
    assert traces.tasks_available is None
    assert "more than 1000" in traces.over_limit["lists of work"]
    client.delete("work:available:7")
    traces = reader.scan()
    assert len(traces.tasks_available or ()) == 1001
    assert traces.over_limit == {}


def paged(coordd: Coordd, method: str, what: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor = None
    while True:
        page = coordd.rpc(method, {"limit": 700, **({"cursor": cursor} if cursor else {})})
        found += page[what]
        cursor = page["cursor"]
        assert len(page[what]) == 700 or cursor is None
        if cursor is None:
            return found


def test_lists_in_slices_are_what_they_were_in_one_piece(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    for name in ("tasks", "claims"):
        (project.coordination / name).mkdir()
    for number in range(1500):
        project.beat(f"a{number:04d}")
        (project.coordination / "tasks" / f"free-{number:04d}").touch()
        (project.coordination / "claims" / f"t{number:04d}.claim").write_text(
            json.dumps({"agent_id": f"a{number:04d}"})
        )
    with running(
        ["--workspace", str(project.root)],
        sock=project.claude / "run" / "coordd.sock",
        home=tmp_path / "home",
    ) as coordd:
        eventually(lambda: coordd.rpc("status")["tasks"]["claimed"] == 1500)
        whole = coordd.rpc("agents.list")
        assert [one["agent_id"] for one in whole["agents"]] == [f"a{number:04d}" for number in range(1500)]
        assert whole["cursor"] is None
        assert [one["agent_id"] for one in paged(coordd, "agents.list", "agents")] == [
            one["agent_id"] for one in whole["agents"]
        ]
        assert len(coordd.rpc("agents.list", {"status": "active", "limit": 1000})["agents"]) == 1000
        assert coordd.rpc("agents.list", {"status": "inactive"})["agents"] == []
        tasks = coordd.rpc("tasks.list")
        assert len(tasks["tasks"]) == 3000
        assert (tasks["cursor"], tasks["unknown"]) == (None, [])
        assert paged(coordd, "tasks.list", "tasks") == tasks["tasks"]
        assert coordd.stop() == 0
    snapshot = json.loads(next(project.claude.glob("run/snapshot.json")).read_text())
    assert len(snapshot["agents"]) == 1500


def test_what_is_left_out_is_a_problem_and_lists_of_a_megabyte_are_counted(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    (project.coordination / "tasks").mkdir()
    for agent in range(25):
        (project.agents / f"a{agent}.tasks").write_text("".join(f"{task}\n" for task in range(150_000)))
        project.beat(f"a{agent}")
    for folder in range(3):
        other = Project(tmp_path / f"other{folder}")
        (other.coordination / "tasks").mkdir()
        for number in range(70_000):
            (other.coordination / "tasks" / str(number)).touch()
    others = [part for folder in range(3) for part in ("--workspace", str(tmp_path / f"other{folder}"))]
    home = tmp_path / "home"
    with running(
        ["--workspace", str(project.root), *others, "--socket", str(tmp_path / "s")],
        sock=tmp_path / "s",
        home=home,
    ) as coordd:
        eventually(lambda: coordd.rpc("status")["tasks"]["available"] == 210_000)
        status = coordd.rpc("status")
        assert status["health"] == "degraded"
        assert any("10000 tasks more than are named" in problem for problem in status["problems"])
        agents = coordd.rpc("agents.list")["agents"]
        assert [one["active_tasks"] for one in agents] == [150_000] * 25
        named = [len(coordd.agent(f"a{agent}")["tasks"]) for agent in range(25)]
        assert sum(named) == 200_000
        assert max(named) == 10_000
