"""Test what a real daemon makes of what Redis alone can hold: hashes, times to live, keys without a time.

What every source can carry is in test_values.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from live import Coordd, Project, watching
from redisd import RedisServer, redis_server
from values import BEATS, CHANGED, ages, written
from waiting import eventually

WEST, EAST = "EST5", "IST-5:30"
ZONES = {WEST: -18000.0, EAST: 19800.0}
"""Zones as POSIX has them, and by how many seconds their time is ahead of UTC."""
ROUNDED = 2.0


class Found(NamedTuple):
    """What a heartbeat key held before coordd began, and what its agent then is; None: in every zone."""

    raw: str | dict[str, str]
    shown: str
    zone: str | None = None


ACTIVE, SILENT, UNKNOWN = "active heartbeat", "inactive silent", "unknown no-heartbeat"
FOUND = (
    Found("<iso 20>", ACTIVE),
    Found("<ms 20>", ACTIVE),
    Found("<iso 400>", SILENT),
    Found("<naive 20>", ACTIVE),
    Found("<local 20>", UNKNOWN, WEST),  # five hours ago, or now
    Found("<local 400>", SILENT),
    Found("<local 20>", ACTIVE, EAST),  # ahead if it were UTC
    Found('{"last_seen": "<local 20>"}', UNKNOWN, WEST),
    Found('{"last_seen": "<local 20>"}', ACTIVE, EAST),
    Found('{"last_seen": "<local 20>", "now": "<there 20>"}', UNKNOWN, WEST),
    Found('{"last_seen": "<local 20>", "updated_at": "<iso 20>"}', ACTIVE),
    Found("", UNKNOWN),
    Found("1", UNKNOWN),
    Found("4711", UNKNOWN),
    Found("alive", UNKNOWN),
    Found("<iso -10000>", UNKNOWN),
    Found({"last_seen": "<s 20>"}, ACTIVE),
    Found({"lastHeartbeat": "<ms 20>", "status": "busy"}, ACTIVE),
    Found({"last_seen": "<iso 400>", "timestamp": "<iso 20>"}, ACTIVE),
    Found({"last_seen": "<iso 400>"}, SILENT),
    Found({"last_seen": "<local 20>"}, UNKNOWN, WEST),
    Found({"pid": "17"}, UNKNOWN),
)
REGISTERED = (
    Found('{"registered_at": "<iso 3600>", "last_seen": "<iso 20>"}', ACTIVE),
    Found('{"registered_at": "<iso 3600>", "last_seen": "<local 20>"}', ACTIVE, EAST),
    Found('{"last_seen": "<local 20>"}', UNKNOWN, WEST),
    Found('{"last_seen": "<local 20>"}', ACTIVE, EAST),
    Found('{"registered_at": "<iso 3600>"}', SILENT),
    Found('{"status": "busy"}', UNKNOWN),
    Found('{"last_seen": 1}', UNKNOWN),
    Found("<s 20>", ACTIVE),
    Found("<iso 400>", SILENT),
)

HASHES: tuple[tuple[dict[str, str], float], ...] = (
    # (the fields of a heartbeat, age of the beat)
    ({"last_heartbeat": "<iso 40>"}, 40),
    ({"last_seen": "<s 40>", "status": "busy"}, 40),
    ({"updatedAt": "<ms 40>"}, 40),
    ({"heartbeat_at": "<local 40>", "started_at": "<local 3600>"}, 40),
    ({"timestamp": "<naive 40>"}, 40),
    ({"status": "busy"}, CHANGED),
    ({"last_seen": "1"}, CHANGED),
    ({"last_seen": "<s 10000>"}, CHANGED),
)


class Scene:
    """A daemon in some zone, and a client of its Redis."""

    def __init__(self, daemon: Coordd, client: redis.Redis, zone: str) -> None:
        self.daemon = daemon
        self.client = client
        self.zone = zone

    def text(self, raw: str) -> str:
        return text(raw, self.zone)

    def agent(self, agent_id: str) -> dict[str, Any]:
        return next((one for one in self.agents() if one["agent_id"] == agent_id), {})

    def agents(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.daemon.rpc("agents.list", {"limit": 1000})["agents"]
        return listed

    def task(self, task_id: str) -> dict[str, Any]:
        listed = self.daemon.rpc("tasks.list", {"limit": 1000})["tasks"]
        return next((one for one in listed if one["task_id"] == task_id), {})

    def ends_in(self, task_id: str) -> float | None:
        """In how many seconds the claim ends."""
        (age,) = ages(self.task(task_id), time.time(), "expires_at")
        return None if age is None else -age


def text(raw: str, zone: str) -> str:
    return written(raw, time.time(), ZONES[zone])


def put(client: redis.Redis, key: str, raw: str | dict[str, str], zone: str) -> None:
    if isinstance(raw, str):
        client.set(key, text(raw, zone))
    else:
        client.hset(key, mapping={name: text(value, zone) for name, value in raw.items()})


@pytest.fixture(scope="module", params=sorted(ZONES))
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    tmp_path, zone = tmp_path_factory.mktemp("values"), str(request.param)
    project = Project(tmp_path / "app")
    with (
        redis_server(tmp_path / "redis") as server,
        server.client as client,
        watching(project, tmp_path, TZ=zone, COORDD_REDIS_URL=server.url) as daemon,
    ):
        eventually(lambda: daemon.rpc("status")["redis"]["feed"] == "push")
        yield Scene(daemon, client, zone)


@pytest.mark.parametrize("zone", sorted(ZONES))
def test_what_was_there_before_is_judged_by_what_can_be_true(
    server: RedisServer, tmp_path: Path, zone: str
) -> None:
    """What may be a beat of now is unknown until it changes; it is not dead."""
    cases = [("beat", one) for one in FOUND] + [("reg", one) for one in REGISTERED]
    cases = [(kind, one) for kind, one in cases if one.zone in (None, zone)]
    with server.client as client:
        for number, (kind, one) in enumerate(cases):
            if kind == "beat":
                put(client, f"heartbeat:a{number}", one.raw, zone)
            else:
                client.hset("agents:registry", f"a{number}", text(str(one.raw), zone))
        # a heartbeat that tells nothing is no silence, whatever was registered when
        client.set("heartbeat:both", "1")
        client.hset("agents:registry", "both", text('{"registered_at": "<iso 3600>"}', zone))
        with watching(Project(tmp_path / "app"), tmp_path, TZ=zone, COORDD_REDIS_URL=server.url) as daemon:
            scene = Scene(daemon, client, zone)
            eventually(lambda: len(scene.agents()) == len(cases) + 1)
            shown = {one["agent_id"]: f"{one['status']} {one['reason']}" for one in scene.agents()}
            expected = {f"a{number}": one.shown for number, (_, one) in enumerate(cases)}
            assert shown == {**expected, "both": UNKNOWN}
            for number, (kind, one) in enumerate(cases):
                if one.shown == UNKNOWN and kind == "beat":
                    put(client, f"heartbeat:a{number}", one.raw, zone)
            client.expire("heartbeat:both", 600)
            changed = {
                f"a{n}" for n, (kind, one) in enumerate(cases) if (kind, one.shown) == ("beat", UNKNOWN)
            }

            def live() -> bool:
                return {one["agent_id"] for one in scene.agents() if one["status"] == "active"} >= changed | {
                    "both"
                }

            eventually(live)


def test_a_hash_is_a_beat_with_each_change_of_a_field(scene: Scene) -> None:
    now = time.time()
    for number, (raw, _) in enumerate(HASHES):
        put(scene.client, f"heartbeat:hash-{number}", raw, scene.zone)
        put(scene.client, f"agent:heartbeat:other-{number}", raw, scene.zone)
    eventually(lambda: sum(one["agent_id"].startswith(("hash-", "other-")) for one in scene.agents()) == 16)
    wrong = {}
    for number, (raw, age) in enumerate(HASHES):
        for kind in ("hash", "other"):
            agent = scene.agent(f"{kind}-{number}")
            (found,) = ages(agent, now, "last_heartbeat")
            expected = 0.0 if age is CHANGED else age
            late = time.time() - now if age is CHANGED else 0.0
            if (
                agent["status"] != "active"
                or found is None
                or not -late - ROUNDED < found - expected < ROUNDED
            ):
                wrong[kind, str(raw)] = (agent["status"], agent["reason"], found, expected)
    assert not wrong
    before = scene.agent("hash-5")["last_heartbeat"]
    scene.client.hset("heartbeat:hash-5", "beats", "2")
    eventually(lambda: scene.agent("hash-5")["last_heartbeat"] > before)


def test_a_string_that_becomes_a_hash_and_back_is_one_agent(scene: Scene) -> None:
    scene.client.set("heartbeat:turns", scene.text("<iso 50>"))
    eventually(lambda: scene.agent("turns").get("status") == "active")
    for age in (40, 30, 20, 10):
        before = scene.agent("turns")["last_heartbeat"]
        raw = f"<iso {age}>"
        scene.client.delete("heartbeat:turns")
        put(scene.client, "heartbeat:turns", {"last_seen": raw} if age in (40, 20) else raw, scene.zone)
        eventually(lambda before=before: scene.agent("turns")["last_heartbeat"] > before)
    assert scene.agent("turns")["status"] == "active"


def test_a_huge_hash_costs_its_known_fields(scene: Scene) -> None:
    pipe = scene.client.pipeline(transaction=False)
    for start in range(0, 50_000, 5000):
        pipe.hset("heartbeat:huge", mapping={f"f{n}": "x" * 100 for n in range(start, start + 5000)})
    pipe.hset("heartbeat:large", mapping={"last_seen": "x" * 5_000_000, "last_update": scene.text("<iso 5>")})
    pipe.execute()
    sent = scene.client.info("stats")["total_net_output_bytes"]
    scene.client.hset("heartbeat:huge", "last_seen", scene.text("<iso 5>"))
    scene.client.hset("heartbeat:large", "more", "x")
    eventually(lambda: scene.agent("huge").get("status") == "active")
    assert scene.client.info("stats")["total_net_output_bytes"] - sent < 1_000_000

    def told() -> bool:
        return "redis:heartbeat:large" in str(scene.daemon.rpc("status")["traces_malformed"])

    eventually(told)
    assert scene.agent("large") == {}


def test_each_change_of_an_entry_is_a_beat(scene: Scene) -> None:
    entry = {"registered_at": scene.text("<iso 3600>"), "status": "busy"}
    scene.client.hset("agents:registry", "entry", json.dumps(entry))
    eventually(lambda: scene.agent("entry").get("status") == "active", what="a new entry")
    for number in range(3):
        before = scene.agent("entry")["last_heartbeat"]
        scene.client.hset("agents:registry", "entry", json.dumps({**entry, "beats": number}))
        eventually(lambda before=before: scene.agent("entry")["last_heartbeat"] > before)
    scene.client.hset("agents:registry", "other", "{}")  # the hash changed, but not the entry
    eventually(lambda: scene.agent("other").get("status") == "active")
    last = scene.agent("entry")["last_heartbeat"]
    scene.client.hset("agents:registry", "entry", json.dumps({**entry, "status": "completed"}))
    eventually(lambda: scene.agent("entry")["reason"] == "ended")
    assert scene.agent("entry")["last_heartbeat"] == last


CLAIMS: tuple[tuple[str | dict[str, str], int | None, str | None, float | None], ...] = (
    # (what is written, the key's time to live, the holder, in how many seconds it ends)
    ('{"agent_id": "w", "claimed_at": "<iso 40>", "ttl": 300}', None, "w", 260),
    ('{"agent_id": "w", "claimed_at": "<iso 40>", "ttl": 300}', 100, "w", 260),
    ('{"agent_id": "w", "claimed_at": "<iso 40>", "ttl": 300}', 900, "w", 900),
    ('{"agent_id": "w", "claimed_at": <ms 40>, "expires_at": <ms -260>}', 900, "w", 900),
    ('{"agent_id": "w", "claimed_at": "<local 40>", "ttl": "5m"}', 100, "w", 260),
    ('{"agent_id": "w", "claimed_at": "<iso 40>"}', 900, "w", 900),
    ("w", 300, "w", 300),
    ("w", None, "w", None),
    ("", 300, None, 300),
    ({"agent_id": "w", "claimed_at": "<s 40>", "ttl": "300"}, None, "w", 260),
    ({"agentId": " w ", "claimedAt": "<ms 40>", "ttl": "5m"}, 100, "w", 260),
    ({"agent_id": "7", "expires_at": "<iso -260>"}, 900, "7", 900),
)


@pytest.mark.parametrize("family", ["tasks:claimed:", "task:claim:"])
def test_a_claim_ends_at_the_later_of_what_is_written_and_its_keys_end(scene: Scene, family: str) -> None:
    kind = family.replace(":", "-")
    for number, (raw, ttl, _, _) in enumerate(CLAIMS):
        with scene.client.pipeline(transaction=True) as pipe:
            put(pipe, f"{family}{kind}{number}", raw, scene.zone)
            if ttl is not None:
                pipe.expire(f"{family}{kind}{number}", ttl)
            pipe.execute()
    eventually(lambda: scene.task(f"{kind}{len(CLAIMS) - 1}"))
    wrong = {}
    for number, (raw, ttl, holder, ends) in enumerate(CLAIMS):
        found = (scene.task(f"{kind}{number}")["agent_id"], scene.ends_in(f"{kind}{number}"))
        if (
            found[0] != holder
            or (found[1] is None) != (ends is None)
            or abs((found[1] or 0) - (ends or 0)) > 20
        ):
            wrong[str(raw), ttl] = (found, holder, ends)
    assert not wrong
    scene.client.expire(f"{family}{kind}0", 5000)  # the value is as before
    eventually(lambda: (scene.ends_in(f"{kind}0") or 0) > 4000)
    scene.client.persist(f"{family}{kind}0")
    eventually(lambda: (scene.ends_in(f"{kind}0") or 0) < 300)


def test_progress_is_json_or_a_hash(scene: Scene) -> None:
    for task in ("p1", "p2", "p3"):
        scene.client.set(f"tasks:claimed:{task}", "w")
    put(scene.client, "task:progress:p1", {"progress": "40.5", "message": "half"}, scene.zone)
    put(scene.client, "task:progress:p2", {"progress": "-1"}, scene.zone)
    put(scene.client, "task:progress:p3", {"note": "x"}, scene.zone)
    eventually(lambda: scene.task("p1").get("progress") == 40.5)
    eventually(lambda: scene.task("p2").get("failed") is True)
    assert scene.task("p3")["progress"] is None
    scene.client.hset("task:progress:p1", "progress", "90")
    eventually(lambda: scene.task("p1")["progress"] == 90)
    scene.client.delete("task:progress:p1")
    eventually(lambda: scene.task("p1")["progress"] is None)


def test_ids_are_what_is_between_white_space_wherever_they_stand(scene: Scene) -> None:
    client = scene.client
    client.set("heartbeat:id-1\n", scene.text("<iso 5>"))
    client.hset("agents:registry", " id-1 ", json.dumps({"hostname": "h", "status": "busy"}))
    client.sadd("agent:tasks:id-1\n", " 17", '{"id": 18}')
    client.set("task:claim:17", json.dumps({"agent_id": " id-1\n"}))
    client.rpush("work:available:high", json.dumps({"task_id": 19}), b"\xff", "x\0y", "t".encode("utf-16-le"))
    client.zadd("tasks:priority_queue", {json.dumps({"id": " id-20 "}): 1})
    eventually(lambda: scene.agent("id-1").get("declared_status") == "busy")
    eventually(lambda: scene.agent("id-1")["active_tasks"] == 2)
    assert scene.agent("id-1")["status"] == "active"
    detail = scene.daemon.rpc("agents.get", {"agent_id": "id-1"})
    assert sorted(detail["tasks"]) == ["17", "18"]
    assert [one["task_id"] for one in detail["claims"]] == ["17"]
    eventually(lambda: scene.task("19").get("state") == "available" and scene.task("id-20"))
    eventually(lambda: "redis:work:available:high" in str(scene.daemon.rpc("status")["traces_malformed"]))
    client.delete("heartbeat:id-1\n")
    client.set("heartbeat:id-1", scene.text("<iso 1>"))  # the same agent, spelled as it should be
    eventually(lambda: (ages(scene.agent("id-1"), time.time(), "last_heartbeat")[0] or 99) < 60)
    assert sum(one["agent_id"].strip() == "id-1" for one in scene.agents()) == 1


def test_where_changes_are_not_told_every_value_is_read_all_the_same(
    server: RedisServer, tmp_path: Path
) -> None:
    server.run("ACL", "SETUSER", "ann", "on", "nopass", "~*", "&*", "+@all", "-client|tracking")
    url = f"redis://ann:x@127.0.0.1:{server.port}/0"
    project = Project(tmp_path / "app")
    with server.client as client:
        for number in range(len(BEATS)):
            client.set(f"heartbeat:b{number}", text("<iso 400>", WEST))
            client.hset(f"agent:heartbeat:c{number}", "last_seen", text("<iso 400>", WEST))
        with watching(project, tmp_path, TZ=WEST, COORDD_REDIS_URL=url) as daemon:
            scene = Scene(daemon, client, WEST)
            eventually(lambda: daemon.rpc("status")["redis"]["feed"] == "poll")
            eventually(lambda: [one["status"] for one in scene.agents()] == ["inactive"] * 2 * len(BEATS))
            for number, (raw, _) in enumerate(BEATS):
                client.set(f"heartbeat:b{number}", scene.text(raw))
                client.hset(f"agent:heartbeat:c{number}", "last_seen", scene.text(raw))
                client.set(f"heartbeat:new{number}", scene.text(raw))
            eventually(lambda: len(scene.agents()) == 3 * len(BEATS))
            eventually(lambda: {one["status"] for one in scene.agents()} == {"active"})
