"""The reader of traces in Redis against real servers: each row of the table, changes, bad data, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from redisd import KINDS, RedisServer
from redisreading import NOW, Reading, agent, emptied, reading, shared_server
from waiting import eventually

from coordd.agents.traces import AgentTraces, Claim, Heartbeat, Progress, Registration, SourceTraces
from coordd.redislink.session import RedisLost
from coordd.sources.redis.keys import Keyspace

WRITTEN = "2026-11-21T12:00:00Z"
MEGABYTE = b"x" * 1024 * 1024


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


@pytest.fixture
def reader(any_server: RedisServer, client: redis.Redis) -> Iterator[Reading]:
    with reading(any_server) as one:
        yield one


def beat_of(traces: AgentTraces) -> Heartbeat:
    assert traces.heartbeat is not None
    return traces.heartbeat


def said_of(traces: AgentTraces) -> Registration:
    """The registration, whichever reading it is of."""
    assert traces.registration is not None
    return replace(traces.registration, identity=0)


def registered(**fields: Any) -> str:
    return json.dumps({"registered_at": NOW - 60, "status": "active", **fields})


def test_an_empty_redis_is_read_and_holds_nothing(reader: Reading) -> None:
    assert reader.scan() == SourceTraces("", "read")
    assert reader.reader.troubles == {}
    assert reader.reader.due is None


def test_every_row_of_the_table(client: redis.Redis, reader: Reading) -> None:
    client.hset("agents:registry", "a", registered(hostname="box", pid=17, last_update=NOW - 5))
    client.set("heartbeat:a", WRITTEN, ex=120)
    client.set("agent:heartbeat:b", str(NOW - 3))
    client.sadd("agent:tasks:a", "t2", "t1")
    client.sadd("agent:tasks:c", "t9")
    client.sadd("tasks:available", "free", "t1", "listed")
    client.rpush("work:available:high", json.dumps({"task_id": "listed"}), json.dumps({"task_id": "w1"}))
    client.rpush("work:available:low", json.dumps({"task_id": "w2"}))
    client.zadd("tasks:priority_queue", {json.dumps({"id": "q1"}): 1, "plain": 2})
    client.set("tasks:claimed:t1", "a", ex=30)
    client.hset("tasks:claimed:t3", "agent", "b")
    client.set("task:claim:t1", json.dumps({"agent_id": "a", "claimed_at": NOW - 10, "ttl": 60}))
    client.set("task:claim:t4", json.dumps({"agent_id": "b", "claimed_at": WRITTEN}))
    client.set(
        "task:progress:t1", json.dumps({"task_id": "t1", "progress": 40, "message": "m", "timestamp": NOW})
    )
    traces = reader.scan()
    assert (traces.state, traces.error, traces.malformed) == ("read", None, {})
    assert set(traces.agents) == {"a", "b", "c"}
    assert said_of(agent(traces, "a")) == Registration(
        started_at=NOW - 60, status="active", hostname="box", pid=17, updated_at=NOW - 5
    )
    assert agent(traces, "a").tasks == ("t1", "t2")
    assert beat_of(agent(traces, "a")).written == NOW
    assert beat_of(agent(traces, "b")).written == NOW - 3
    assert agent(traces, "c") == AgentTraces("c", tasks=("t9",))
    assert traces.tasks_available == ("free", "listed", "plain", "q1", "w1", "w2")
    assert traces.available_unnamed == 0
    assert traces.claims == {
        "t1": Claim("t1", "a", NOW - 10, NOW + 50),
        "t3": Claim("t3"),
        "t4": Claim("t4", "b", NOW),
    }
    assert traces.progress == {"t1": Progress("t1", 40.0, "m", NOW)}


def test_a_claim_without_a_time_has_that_of_its_key_and_a_rescan_changes_nothing(
    client: redis.Redis, reader: Reading
) -> None:
    client.set("tasks:claimed:t", "a", nx=True, ex=300)
    first = (reader.scan().claims or {})["t"]
    assert first.expires_at == pytest.approx(NOW + 300, abs=5)
    assert (reader.scan().claims or {})["t"] == first
    assert not reader.read("tasks:claimed:t").work
    client.expire("tasks:claimed:t", 900)
    renewed = reader.read("tasks:claimed:t").work.claims["t"]
    assert renewed is not None
    assert renewed.expires_at == pytest.approx(NOW + 900, abs=5)


@pytest.mark.parametrize("family", ["tasks:claimed:", "task:claim:"])
def test_a_claim_ends_at_the_later_of_the_written_end_and_that_of_its_key(
    client: redis.Redis, reader: Reading, family: str
) -> None:
    def left() -> float | None:
        """The seconds until the claim ends."""
        one = (reader.scan().claims or {})["t"]
        again = reader.read(f"{family}t").work.claims.get("t", one)
        assert again == one, "a reading after a push says the same"
        return None if one.expires_at is None else one.expires_at - NOW

    body = json.dumps({"agent_id": "a", "claimed_at": NOW - 10, "ttl": 60})
    client.set(f"{family}t", body)
    assert left() == 50
    client.expire(f"{family}t", 900)  # renewed without another value
    assert left() == pytest.approx(900, abs=5)
    client.expire(f"{family}t", 20)
    assert left() == 50
    client.persist(f"{family}t")
    assert left() == 50
    client.set(f"{family}t", json.dumps({"agent_id": "a"}), ex=300)
    assert left() == pytest.approx(300, abs=5)
    client.persist(f"{family}t")
    assert left() is None
    client.set(f"{family}t", json.dumps({"agent_id": "a", "expires_at": NOW + 50}), px=40_000)
    assert left() == 50
    client.pexpire(f"{family}t", 3_000_000_000_000_000)  # beyond any calendar
    assert (left() or 0) > 200 * 365 * 86400


def test_a_pushed_heartbeat_is_a_beat_and_costs_one_command(client: redis.Redis, reader: Reading) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(1000):
        pipe.set(f"heartbeat:a{n}", WRITTEN)
        pipe.hset("agents:registry", f"a{n}", registered())
    pipe.execute()
    before = agent(reader.scan(), "a7")
    assert beat_of(before).mtime is None
    assert agent(reader.scan(), "a7") is before
    reader.now += 1
    told = client.info("stats")["total_commands_processed"]
    change = reader.read("heartbeat:a7")
    assert client.info("stats")["total_commands_processed"] - told == 2  # INFO itself is the other one
    assert set(change.agents) == {"a7"}
    after = agent(change, "a7")
    assert beat_of(after).mtime == NOW + 1
    assert beat_of(after).identity != beat_of(before).identity
    assert after.registration == before.registration
    assert agent(reader.scan(), "a7") == after, "a rescan is no beat"


def test_a_heartbeat_that_expires_is_gone_and_an_empty_one_is_there(
    client: redis.Redis, reader: Reading
) -> None:
    client.set("heartbeat:a", WRITTEN)
    client.set("heartbeat:b", "")
    assert set(reader.scan().agents) == {"a", "b"}
    client.delete("heartbeat:a")
    change = reader.read("heartbeat:a", "heartbeat:b")
    assert change.agents["a"] is None
    assert beat_of(agent(change, "b")).written is None
    assert beat_of(agent(change, "b")).mtime == NOW
    assert change.malformed == {}
    assert set(reader.scan().agents) == {"b"}


def test_over_a_new_connection_equal_content_is_no_beat(client: redis.Redis, reader: Reading) -> None:
    client.set("heartbeat:a", "2099-01-01T00:00:00Z")
    reader.scan()
    beat = beat_of(agent(reader.read("heartbeat:a"), "a"))
    assert beat.mtime == NOW
    reader.reconnect()
    assert reader.read("heartbeat:a").rescan_needed
    assert reader.reread("a").rescan_needed
    again = beat_of(agent(reader.scan(), "a"))
    assert (again.identity, again.mtime) == (beat.identity, None)


def test_reread_reads_heartbeat_and_registration_and_takes_equal_content_for_no_beat(
    client: redis.Redis, reader: Reading
) -> None:
    client.set("heartbeat:a", WRITTEN)
    client.hset("agents:registry", mapping={"a": registered(), "b": registered()})
    traces = reader.scan()
    change = reader.reread("a", "b", "nobody")
    assert change.agents == {**traces.agents, "nobody": None}
    client.set("heartbeat:a", "2026-11-21T12:00:30Z")
    client.hset("agents:registry", "b", registered(last_update=NOW + 40))
    reader.now += 50
    change = reader.reread("a", "b")
    assert beat_of(agent(change, "a")) == Heartbeat(NOW + 30, NOW + 50, beat_of(agent(change, "a")).identity)
    registration = agent(change, "b").registration
    assert registration is not None
    assert registration.updated_at == NOW + 40
    client.delete("heartbeat:a", "agents:registry")
    assert reader.reread("a", "b").agents == {"a": None, "b": None}


def test_changes_of_tasks_add_up_to_a_full_reading(client: redis.Redis, reader: Reading) -> None:
    client.sadd("tasks:available", "t1", "t2")
    reader.scan()
    client.set("tasks:claimed:t1", "a")
    change = reader.read("tasks:claimed:t1")
    assert change.work.claims == {"t1": Claim("t1", "a")}
    assert change.work.available == {"t1": False}
    client.set("task:claim:t1", json.dumps({"agent_id": "a", "status": "released"}))
    change = reader.read("task:claim:t1")
    assert change.work.available == {"t1": True}
    client.delete("tasks:claimed:t1", "task:claim:t1")
    client.set("task:progress:t1", '{"progress": 5}')
    client.sadd("agent:tasks:a", "t1")
    change = reader.read("tasks:claimed:t1", "task:claim:t1", "task:progress:t1", "agent:tasks:a")
    assert change.work.claims == {"t1": None}
    assert change.work.progress == {"t1": Progress("t1", 5.0)}
    assert agent(change, "a").tasks == ("t1",)
    client.delete("task:progress:t1", "agent:tasks:a")
    change = reader.read("task:progress:t1", "agent:tasks:a")
    assert change.work.progress == {"t1": None}
    assert change.agents == {"a": None}
    reader.mono += 60
    client.srem("tasks:available", "t1")
    client.rpush("work:available:new", '{"task_id": "t2"}', '{"task_id": "t3"}')
    change = reader.read("tasks:available", "work:available:new")
    assert change.work.available == {"t1": False, "t3": True}
    assert reader.scan().tasks_available == ("t2", "t3")


def test_a_registry_that_changes_at_each_beat_is_read_now_and_then(
    client: redis.Redis, reader: Reading
) -> None:
    client.hset("agents:registry", "a", registered())
    reader.scan()
    client.hset("agents:registry", "a", registered(status="busy"))
    reader.mono += 0.5
    registration = agent(reader.read("agents:registry"), "a").registration
    assert registration is not None
    assert registration.status == "busy"
    assert reader.reader.due is None
    client.hset("agents:registry", "b", registered())
    assert reader.read("agents:registry").agents == {}
    assert reader.reader.due == reader.mono + 0.5
    assert reader.read().agents == {}, "it is not due"
    reader.mono += 0.5
    assert set(reader.read().agents) == {"b"}
    assert reader.reader.due is None


def test_what_is_available_is_read_now_and_then(client: redis.Redis, reader: Reading) -> None:
    reader.scan()
    client.sadd("tasks:available", "t")
    assert not reader.read("tasks:available").work
    assert reader.reader.due == reader.mono + 0.5
    reader.mono += 0.5
    assert reader.read().work.available == {"t": True}


def test_a_million_members_are_counted_and_not_fetched(any_server: RedisServer, client: redis.Redis) -> None:
    pipe = client.pipeline(transaction=False)
    members = [f"t{n}" for n in range(20_000)]
    pipe.sadd("tasks:available", *members)
    pipe.rpush("work:available:high", *members)
    pipe.zadd("tasks:priority_queue", {member: n for n, member in enumerate(members)})
    pipe.sadd("agent:tasks:a", *members)
    pipe.sadd("agent:tasks:b", *members[:900])
    pipe.execute()
    with reading(any_server) as reader:
        sent = client.info("stats")["total_net_output_bytes"]
        traces = reader.scan()
        assert client.info("stats")["total_net_output_bytes"] - sent < 300_000
        assert agent(traces, "a") == AgentTraces("a", tasks=(), unnamed_tasks=20_000)
        assert agent(traces, "b").tasks == tuple(sorted(members[:900]))
        assert len(traces.tasks_available or ()) == 10_000
        assert traces.available_unnamed == 50_000
        reader.mono += 60
        client.rpush("work:available:high", "one more")
        assert reader.read("work:available:high").work.available_unnamed == 50_001


def test_bad_data_costs_a_line_each_and_nothing_else(client: redis.Redis, reader: Reading) -> None:
    client.rpush("heartbeat:list", "x")
    client.set("heartbeat:big", MEGABYTE)
    client.set("heartbeat:words", "soon")
    client.set(b"heartbeat:\xff\x00", WRITTEN)
    client.set("heartbeat:a:b\x1b[31m\n", WRITTEN)
    client.set("heartbeat:", WRITTEN)
    client.set("heartbeat:" + "x" * 257, WRITTEN)
    client.set("agent:tasks:string", "x")
    client.sadd("agent:tasks:odd", "t", b"\xfe", MEGABYTE)
    client.hset(
        "agents:registry", mapping={"bad": "{", "big": MEGABYTE, "": "{}", "y" * 300: "{}", "a:b": "{}"}
    )
    client.hset("agents:registry", b"\xfd", "{}")
    client.set("tasks:available", "x")
    client.rpush("work:available:p", "{}", MEGABYTE, '{"task_id": "ok"}')
    client.set("tasks:priority_queue", "x")
    client.set("tasks:claimed:big", MEGABYTE)
    client.set("task:claim:bad", "[")
    client.rpush("task:claim:list", "x")
    client.set("task:progress:bad", '{"progress": 300}')
    client.rpush("task:progress:list", "x")
    traces = reader.scan()
    assert traces.state == "read"
    assert reader.reader.troubles == {}
    assert set(traces.agents) == {
        *("words", "\\xff\x00", "a:b\x1b[31m", "string", "odd", "bad", "big", "a:b", "\\xfd"),
    }
    assert agent(traces, "string").tasks is None
    assert agent(traces, "odd").tasks == ("t",)
    assert said_of(agent(traces, "big")) == Registration()
    assert traces.tasks_available == ("ok",)
    assert traces.claims == {"big": Claim("big"), "bad": Claim("bad")}
    assert traces.progress == {"bad": Progress("bad")}
    at = "redis:"
    assert traces.malformed == {
        f"{at}heartbeat:list": "not a string or a hash",
        f"{at}heartbeat:big": "larger than 64 KiB",
        f"{at}heartbeat:words": "not a timestamp",
        f"{at}heartbeat:": "an id of no or more than 256 characters",
        f"{at}heartbeat:{'x' * 257}": "an id of no or more than 256 characters",
        f"{at}agent:tasks:string": "not a set",
        f"{at}agent:tasks:odd": "holds what is no task: larger than 64 KiB",
        f"{at}agents:registry bad": "not JSON",
        f"{at}agents:registry big": "larger than 64 KiB",
        f"{at}agents:registry ": "an id of no or more than 256 characters",
        f"{at}agents:registry {'y' * 300}": "an id of no or more than 256 characters",
        f"{at}tasks:available": "not a set",
        f"{at}work:available:p": "holds what is no task: JSON without task_id or id",
        f"{at}tasks:priority_queue": "not a sorted set",
        f"{at}tasks:claimed:big": "larger than 64 KiB",
        f"{at}task:claim:bad": "not JSON",
        f"{at}task:claim:list": "not a string or a hash",
        f"{at}task:progress:bad": "progress: not a number of up to 100",
        f"{at}task:progress:list": "not a string or a hash",
    }
    assert reader.scan() == traces
    change = reader.reread("\\xff\x00", "\\xfd", "a:b\x1b[31m")
    assert change.agents == {one: traces.agents[one] for one in change.agents}
    keys = [
        b"heartbeat:\xff\x00",
        b"heartbeat:words",
        b"heartbeat:",
        b"foreign",
        b"\xff",
        b"agents:registryx",
    ]
    change = reader.read(*keys)
    assert set(change.agents) == {"\\xff\x00", "words"}
    client.flushall()
    assert reader.scan() == SourceTraces("", "read")


def test_a_registry_of_the_wrong_type_registers_nobody(client: redis.Redis, reader: Reading) -> None:
    client.hset("agents:registry", "a", registered())
    reader.scan()
    client.delete("agents:registry")
    client.set("agents:registry", "x")
    reader.mono += 60
    change = reader.read("agents:registry")
    assert change.agents == {"a": None}
    assert change.malformed == {"redis:agents:registry": "not a hash"}
    assert reader.scan().malformed == change.malformed


def test_malformed_traces_are_bounded(client: redis.Redis, reader: Reading) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(1500):
        pipe.rpush(f"heartbeat:{n}", "x")
    pipe.execute()
    traces = reader.scan()
    assert traces.agents == {}
    assert len(traces.malformed) == 1000


def test_more_agents_than_the_limit_are_passed_over(any_server: RedisServer, client: redis.Redis) -> None:
    for n in range(20):
        client.set(f"heartbeat:{n}", WRITTEN)
        client.set(f"tasks:claimed:{n}", "a")
        client.set(f"task:progress:{n}", "{}")
    client.hset("agents:registry", mapping={f"r{n}": "{}" for n in range(2000)})
    with reading(any_server, max_entries=10) as reader:
        traces = reader.scan()
        assert len(traces.agents) == 10
        assert (traces.claims, traces.progress) == (None, None)  # which are the rest nobody can tell
        assert traces.malformed == {
            "redis:agents:registry": "more than 10 entries; the rest is not read",
            **{
                f"redis: {what}": "more than 10, or than there is room for; the rest is not read"
                for what in ("agents", "claims", "progress")
            },
        }


def limited(client: redis.Redis, server: RedisServer, *rules: str) -> str:
    """The URL of a user who may do what the rules say."""
    client.execute_command("ACL", "SETUSER", "coordd", "on", ">pw", "allkeys", "+@all", *rules)
    return f"redis://coordd:pw@127.0.0.1:{server.port}/0"


def filled(client: redis.Redis) -> None:
    client.hset("agents:registry", "r", registered())
    client.set("heartbeat:a", WRITTEN)
    client.set("agent:heartbeat:b", WRITTEN)
    client.sadd("agent:tasks:a", "t")
    client.sadd("tasks:available", "free")
    client.set("tasks:claimed:t", "a")
    client.set("task:claim:u", "{}")
    client.set("task:progress:t", "{}")


def refused(words: str, *, then: str = "") -> bool:
    """Whether these words tell of a right that is missing; each server says in its own which."""
    return words.startswith("does not permit this to its user (ACL): ") and words.endswith(then)


@pytest.mark.parametrize(
    ("kept", "troubles", "unknown"),
    [
        (["heartbeat:*"], {"agents:registry", "agent:heartbeat:", "agent:tasks:", "tasks:available"}, "cpv"),
        (["a*", "heartbeat:*", "tasks:*"], {"task:claim:", "task:progress:", "work:available:"}, "p"),
        (["a*", "heartbeat:*", "task:*", "work:*"], {"tasks:claimed:", "tasks:available"}, "v"),
        (["a*", "h*", "t*", "w*"], set(), ""),
    ],
)
def test_a_family_that_may_not_be_read_is_unknown_and_told_of(
    any_server: RedisServer, client: redis.Redis, kept: list[str], troubles: set[str], unknown: str
) -> None:
    filled(client)
    url = limited(client, any_server, "resetkeys", *(f"~{pattern}" for pattern in kept))
    with reading(any_server, url=url) as reader:
        traces = reader.scan()
        assert traces.state == "read"
        found = {key for key in troubles if key != "work:available:"}
        assert found <= set(reader.reader.troubles)
        assert all(map(refused, reader.reader.troubles.values()))
        assert (traces.claims is None) == ("c" in unknown)
        assert (traces.progress is None) == ("p" in unknown)
        assert (traces.tasks_available is None) == ("v" in unknown)
        assert beat_of(agent(traces, "a")).written == NOW
        if "agent:tasks:" in troubles:
            assert agent(traces, "a").tasks is None
            assert agent(traces, "b").heartbeat is None
            assert refused(traces.malformed["redis:agent:heartbeat:b"].removeprefix("Redis "))
        change = reader.read("tasks:claimed:t", "task:progress:t", "tasks:available", "heartbeat:a")
        assert not change.rescan_needed
        assert beat_of(agent(change, "a")).mtime == NOW
        assert reader.reader.due is None or reader.reader.due > reader.mono


def test_a_redis_whose_heartbeats_may_not_be_read_is_unreadable_until_they_may(
    any_server: RedisServer, client: redis.Redis
) -> None:
    filled(client)
    url = limited(client, any_server, "resetkeys", "~agents:*", "~task*")
    with reading(any_server, url=url) as reader:
        traces = reader.scan()
        assert traces.state == "unreadable"
        assert refused(traces.error or "", then=": no heartbeat can be read")
        assert (traces.claims, traces.progress, traces.tasks_available) == (None, None, None)
        assert reader.read("heartbeat:a").rescan_needed
        client.execute_command("ACL", "SETUSER", "coordd", "allkeys")
        traces = reader.scan()
        assert traces.state == "read"
        assert set(traces.agents) == {"a", "b", "r"}
        assert reader.reader.troubles == {}


def test_where_scan_is_refused_what_is_known_is_looked_for(
    any_server: RedisServer, client: redis.Redis
) -> None:
    filled(client)
    client.set("heartbeat:r", WRITTEN)
    client.set("tasks:claimed:free", "r")
    with reading(any_server, url=limited(client, any_server, "-scan")) as reader:
        traces = reader.scan()
        assert set(reader.reader.troubles) == {"SCAN"}
        then = ": found is only what agents:registry names, and what changes"
        assert refused(reader.reader.troubles["SCAN"], then=then)
        assert set(traces.agents) == {"r"}
        assert beat_of(agent(traces, "r")).written == NOW
        assert traces.claims == {"free": Claim("free", "r")}
        assert traces.tasks_available == ()
        assert set(reader.read("heartbeat:a").agents) == {"a"}
        assert set(reader.scan().agents) == {"a", "r"}
        client.delete("heartbeat:a", "agent:tasks:a")
        assert set(reader.scan().agents) == {"r"}


def test_where_the_time_to_live_may_not_be_read_a_claim_that_goes_is_gone(
    any_server: RedisServer, client: redis.Redis
) -> None:
    client.set("tasks:claimed:t", "a", ex=300)
    client.set("tasks:claimed:empty", "", ex=300)
    client.set("task:claim:u", json.dumps({"agent_id": "a", "claimed_at": NOW, "ttl": 60}), ex=300)
    with reading(any_server, url=limited(client, any_server, "-pttl")) as reader:
        claims = reader.scan().claims
        assert claims == {"t": Claim("t", "a"), "empty": Claim("empty"), "u": Claim("u", "a", NOW, NOW + 60)}
        keys = ("tasks:claimed:t", "tasks:claimed:empty", "task:claim:u")
        client.delete(*keys)
        assert reader.read(*keys).work.claims == dict.fromkeys(claims)


def test_where_a_registry_may_not_be_read_it_is_as_it_was(
    any_server: RedisServer, client: redis.Redis
) -> None:
    filled(client)
    with reading(any_server, url=limited(client, any_server)) as reader:
        traces = reader.scan()
        client.execute_command("ACL", "SETUSER", "coordd", "-hscan")
        again = reader.scan()
        assert again.agents == traces.agents
        assert set(reader.reader.troubles) == {"agents:registry"}
        assert refused(reader.reader.troubles["agents:registry"])


def test_a_busy_redis_is_unreadable_in_words_and_read_on_afterwards(
    any_server: RedisServer, client: redis.Redis, reader: Reading
) -> None:
    filled(client)
    reader.scan()
    before = client.config_get("busy-reply-threshold")["busy-reply-threshold"]
    client.config_set("busy-reply-threshold", 1)
    endless = any_server.client
    connection = endless.connection_pool.get_connection()
    connection.send_command("EVAL", "while true do end", 0)
    try:
        busy = "is busy running a script (SCRIPT KILL ends it)"
        traces = eventually(lambda: next((one for one in [reader.scan()] if one.state != "read"), None))
        assert traces is not None
        assert (traces.state, traces.error) == ("unreadable", busy)
        assert reader.read("heartbeat:a").rescan_needed
    finally:
        client.script_kill()
        connection.disconnect()
        eventually(lambda: answers(client), what="the script has ended")
        client.config_set("busy-reply-threshold", before)
    assert set(reader.scan().agents) == {"a", "b", "r"}


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ResponseError:
        return False


def test_a_connection_that_fails_half_way_loses_nothing(client: redis.Redis, reader: Reading) -> None:
    filled(client)
    traces = reader.scan()

    async def cut_off() -> None:
        scan = asyncio.ensure_future(reader.reader.scan(reader.session, NOW))
        await asyncio.sleep(0)
        await reader.session.close()
        await scan

    with pytest.raises(RedisLost):
        reader.run(cut_off())
    reader.reconnect()
    assert reader.scan() == traces


def test_a_beat_need_not_wait_for_a_scan_and_is_in_it(client: redis.Redis, reader: Reading) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(5000):
        pipe.set(f"heartbeat:{n}", WRITTEN)
    pipe.execute()
    reader.scan()

    async def both() -> tuple[bool, AgentTraces | None, SourceTraces]:
        scan = asyncio.ensure_future(reader.reader.scan(reader.session, NOW))
        await asyncio.sleep(0)
        change = await reader.reader.read(reader.session, [b"heartbeat:77"], NOW)
        return scan.done(), change.agents["77"], await scan

    waited, beaten, traces = reader.run(both())
    assert not waited
    assert beaten is not None
    assert beat_of(beaten).mtime == NOW
    assert traces.agents["77"] == beaten


def test_another_applications_keys_are_passed_over_on_the_server(
    client: redis.Redis, reader: Reading
) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(20_000):
        pipe.set(f"app:session:{n}", "x" * 20)
        pipe.set(f"agents_cache:{n}", "x")
        pipe.hset(f"task:{n}:data", "x", "y")
    pipe.execute()
    client.set("heartbeat:a", WRITTEN)
    sent = client.info("stats")["total_net_output_bytes"]
    traces = reader.scan()
    assert set(traces.agents) == {"a"}
    assert traces.malformed == {}
    assert client.info("stats")["total_net_output_bytes"] - sent < 50_000


def test_the_server_takes_the_prefixes_and_announces_every_key_that_is_filled(
    any_server: RedisServer, client: redis.Redis
) -> None:
    with any_server.client as tracker, any_server.client as subscriber:
        told = subscriber.pubsub()
        told.subscribe("__redis__:invalidate")
        assert told.get_message(timeout=30) is not None
        target = next(one["id"] for one in tracker.client_list(_type="pubsub"))
        single = tracker.client()
        prefixes = [part for prefix in Keyspace().tracked for part in ("PREFIX", prefix)]
        single.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", target, "BCAST", *prefixes)
        filled(client)
        client.rpush("work:available:high", "w")
        client.zadd("tasks:priority_queue", {"q": 1})
        client.set("foreign:key", "x")
        expected = set(client.keys()) - {b"foreign:key"}
        found: set[bytes] = set()
        while found != expected:
            message = told.get_message(timeout=30)
            assert message is not None, expected - found
            found.update(message["data"])
        assert all(Keyspace().meaning(key) for key in found)
        single.close()
        told.close()
