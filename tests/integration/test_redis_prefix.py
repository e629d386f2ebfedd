"""Several who share a Redis, each behind a prefix of its own, against real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from live import Project, owners_file, utc_now, watching
from redisd import KINDS, RedisServer
from redisreading import NOW, Reading, emptied, reading, shared_server
from waiting import eventually

from coordd.agents.traces import Claim, Progress
from coordd.redislink.session import RedisSession
from coordd.sources.redis.keys import Keyspace
from coordd.sources.redis.tracking import track

WRITTEN = "2026-11-21T12:00:00Z"
SHARING = ("", "a", "aa:", "a:", "a:a:", "a*", "[a]:", "?:", "a\\", "é:", "heart", "task:claim", "{a}")
"""Prefixes that would see each other where one were taken for a pattern, or for a part of another."""
ODD = ("shop:", "[a-z]*?^\\", "'\"é:")


@pytest.fixture(scope="module", params=KINDS)
def any_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    with shared_server(tmp_path_factory.mktemp(request.param), kind=request.param) as server:
        yield server


@pytest.fixture
def client(any_server: RedisServer) -> Iterator[redis.Redis]:
    with emptied(any_server) as client:
        yield client


def fill(client: redis.Redis, prefix: str, name: str) -> None:
    """Leave one trace of each kind, all named alike."""
    pipe = client.pipeline(transaction=False)
    pipe.hset(f"{prefix}agents:registry", name, json.dumps({"registered_at": NOW, "hostname": name}))
    pipe.set(f"{prefix}heartbeat:{name}", WRITTEN)
    pipe.set(f"{prefix}agent:heartbeat:{name}2", WRITTEN)
    pipe.sadd(f"{prefix}agent:tasks:{name}", f"{name}-t")
    pipe.sadd(f"{prefix}tasks:available", f"{name}-free")
    pipe.rpush(f"{prefix}work:available:high", json.dumps({"task_id": f"{name}-work"}))
    pipe.zadd(f"{prefix}tasks:priority_queue", {json.dumps({"id": f"{name}-queued"}): 1})
    pipe.set(f"{prefix}tasks:claimed:{name}-t", name)
    pipe.set(f"{prefix}task:claim:{name}-u", json.dumps({"agent_id": name}))
    pipe.set(f"{prefix}task:progress:{name}-t", json.dumps({"progress": 50}))
    pipe.execute()


def holds(one: Reading, name: str) -> bool:
    """Whether a full reading finds what :func:`fill` left, and nothing else."""
    traces = one.scan()
    assert (traces.state, dict(traces.malformed)) == ("read", {})
    assert set(traces.agents) == {name, f"{name}2"}
    registered = traces.agents[name].registration
    assert registered is not None and registered.hostname == name
    assert traces.agents[name].tasks == (f"{name}-t",)
    assert traces.tasks_available == (f"{name}-free", f"{name}-queued", f"{name}-work")
    assert traces.claims == {f"{name}-{one}": Claim(f"{name}-{one}", name) for one in "tu"}
    assert traces.progress == {f"{name}-t": Progress(f"{name}-t", 50.0)}
    return True


def test_those_who_share_a_redis_see_their_own_alone(any_server: RedisServer, client: redis.Redis) -> None:
    for number, prefix in enumerate(SHARING):
        fill(client, prefix, f"n{number}")
    for number, prefix in enumerate(SHARING):
        with reading(any_server, prefix=prefix) as one:
            assert holds(one, f"n{number}"), prefix
            assert one.reader.troubles == {}
            pushed = one.read(*client.keys())
            assert set(pushed.agents) == {f"n{number}", f"n{number}2"}
            assert set(one.reread(f"n{number}").agents) == {f"n{number}"}


@pytest.mark.parametrize("prefix", ODD)
def test_changes_are_announced_of_own_keys_alone(
    any_server: RedisServer, client: redis.Redis, prefix: str
) -> None:
    keyspace = Keyspace(prefix)
    with reading(any_server, prefix=prefix) as one:

        async def told() -> set[bytes]:
            tracking = await RedisSession.open(any_server.url)
            subscription = await track(any_server.url, tracking, keyspace.tracked)
            for other in ("", "shop", "x:", "abc:"):
                fill(client, other, "other")
            fill(client, prefix, "mine")
            found: set[bytes] = set()
            mine = {key for key in client.scan_iter() if keyspace.meaning(key)}
            assert len(mine) == 10
            while not found >= mine:
                found |= set(await subscription.changed() or ())
            await subscription.close()
            await tracking.close()
            return found

        assert all(map(keyspace.meaning, one.run(told())))


@pytest.mark.parametrize("prefix", ODD)
def test_what_is_wrong_is_named_with_its_prefix(
    any_server: RedisServer, client: redis.Redis, prefix: str
) -> None:
    client.set(f"{prefix}heartbeat:", WRITTEN)
    client.set(f"{prefix}agents:registry", "x")
    client.set(f"{prefix}tasks:available", "x")
    client.set(f"{prefix}heartbeat:a", WRITTEN)
    client.execute_command("ACL", "SETUSER", "coordd", "on", ">pw", "allkeys", "+@all", "-scan", "-zcard")
    with reading(any_server, prefix=prefix, url=f"redis://coordd:pw@127.0.0.1:{any_server.port}/0") as one:
        traces = one.scan()
        assert dict(traces.malformed) == {
            f"redis:{prefix}agents:registry": "not a hash",
            f"redis:{prefix}tasks:available": "not a set",
            f"redis:{prefix}tasks:priority_queue": traces.malformed[f"redis:{prefix}tasks:priority_queue"],
        }
        assert set(one.reader.troubles) == {"SCAN", f"{prefix}tasks:priority_queue"}
        assert f"{prefix}agents:registry" in one.reader.troubles["SCAN"]
        assert set(one.read(f"{prefix}heartbeat:a", "heartbeat:b").agents) == {"a"}
        assert set(one.scan().agents) == {"a"}  # what is known is looked for by its name


def statuses(daemon: Any) -> dict[str, str]:
    found: dict[str, str] = daemon.statuses()
    return found


def test_two_daemons_behind_prefixes_show_their_own_agents(server: RedisServer, tmp_path: Path) -> None:
    one, other = Project(tmp_path / "one"), Project(tmp_path / "other")
    for prefix, agent in (("", "bare"), ("one:", "a"), ("other:", "b")):
        server.run("SET", f"{prefix}heartbeat:{agent}", utc_now(), "EX", 600)
        server.run("SET", f"{prefix}tasks:claimed:of-{agent}", agent, "EX", 600)
    with ExitStack() as stack:
        daemons = []
        for project, name in ((one, "one"), (other, "other")):
            environ = {"COORDD_REDIS_URL": server.url, "COORDD_REDIS_PREFIX": f"{name}:"}
            daemons.append(stack.enter_context(watching(project, tmp_path / name, **environ)))
        for daemon, agent in zip(daemons, "ab", strict=True):
            eventually(lambda daemon=daemon, agent=agent: statuses(daemon) == {agent: "active"})
            assert daemon.rpc("status")["redis"]["feed"] == "push"
            assert [task["task_id"] for task in daemon.rpc("tasks.list")["tasks"]] == [f"of-{agent}"]
        server.run("SET", "one:heartbeat:late", utc_now(), "EX", 600)  # told by a push
        eventually(lambda: set(statuses(daemons[0])) == {"a", "late"})
        assert set(statuses(daemons[1])) == {"b"}
        eventually(lambda: server.run("KEYS", "metrics:agent:*"))
        assert not server.run("KEYS", "*:metrics:*")


def test_another_prefix_awaits_a_restart(server: RedisServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")

    def configure(prefix: str) -> None:
        owners_file(tmp_path, project, coordination={"redis_url": server.url, "redis_prefix": prefix})

    server.run("SET", "old:heartbeat:a", utc_now())
    server.run("SET", "new:heartbeat:b", utc_now())
    configure("old:")
    with watching(project, tmp_path) as daemon:
        eventually(lambda: statuses(daemon) == {"a": "active"})
        configure("new:")
        key = "coordination.redis_prefix"
        assert daemon.rpc("reload") == {"changed": [key], "restart_required": [key], "problems": []}
        assert set(statuses(daemon)) == {"a"}
        configure("heartbeat:")
        assert "would be read as heartbeat: by those without a prefix" in daemon.ctl("reload").stderr
