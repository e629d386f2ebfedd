"""Samples into a real Redis and a real Valkey, through a real connection and real record files.

At the end of each test nothing of the last hour is missing, whatever the server did in between.
"""

from __future__ import annotations

import asyncio
import os
import random
from time import monotonic, time

from redis_samples import agent_record, samples_in, system_record
from redisd import RedisServer, redis_server
from waiting import until

from coordd.redislink.connection import RedisConnection
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import Worker
from coordd.sinks.base import Batch
from coordd.sinks.compress import compress
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.redis.sink import RedisSink
from coordd.util.timestamps import format_utc

TTL = 3600.0


class Host:
    """What of coordd matters here: record files, connection, sink. ``ahead``: how wrong its clock is."""

    def __init__(self, directory, url, *, name="h", ahead=0.0, keep=4096, part=256 * 1024 * 1024):
        self.directory = directory / name
        self.name = name
        self.ahead = ahead
        self.notices = []
        self.written = {}
        self.count = 0
        self.worker = Worker("history", replaceable=True)
        self.jsonl = JsonlSink(
            folder=HeldFolder(str(self.directory)), random=random.random, max_part_bytes=part
        )
        self.jsonl.open(wall=self.wall, mono=0.0)
        self.link = RedisConnection(url=url, random=random.random)
        self.sink = RedisSink(
            metrics_dir=str(self.directory),
            ttl=TTL,
            worker=self.worker,
            now=lambda: Moment(self.wall, monotonic()),
            random=random.random,
            on_notice=self.notices.append,
            broken=self.link.report_lost,
            keep=keep,
        )
        self.link.users.append(self.sink)

    @property
    def wall(self):
        return time() + self.ahead

    def start(self):
        self.link.start()

    async def stop(self):
        await self.sink.stop()
        await self.link.stop()
        self.jsonl.close(wall=self.wall, mono=0.0)
        self.worker.close()

    def record(self, agents=1, *, system=0, wall=None, written_at=None):
        """So many samples of as many agents, written to the files and offered."""
        wall = self.wall if wall is None else wall
        self.count += 1
        batch = Batch(
            agent=[agent_record(wall, f"a{n}", host=self.name, n=self.count) for n in range(agents)],
            system=[system_record(wall, host=self.name, n=self.count)] * system,
        )
        self.jsonl.write(batch, wall=wall if written_at is None else written_at, mono=0.0)
        for topic, records in (("agent", batch.agent), ("system", batch.system)):
            samples = samples_in(topic, *records)
            self.sink.offer(topic, samples)
            for sample in samples:
                self.written[sample.key, sample.field] = (sample.epoch, sample.value)

    async def healthy(self):
        await until(
            lambda: self.sink.status().backlog == 0 and self.sink.status().state == "ok", what="healthy"
        )

    async def failing(self, words):
        await until(lambda: words in (self.sink.status().error or ""), what=words)
        assert self.sink.status().state == "failing"

    def kinds(self):
        return [notice.kind for notice in self.notices]

    def missing(self, server):
        """What of the last hour is not as it should be."""
        places = list(self.written)
        with server.client as client, client.pipeline(transaction=False) as pipeline:
            for key, field in places:
                pipeline.get(key) if field is None else pipeline.hget(key, field)
                pipeline.ttl(key)
            answers = pipeline.execute()
        found = []
        for place, value, ttl in zip(places, answers[::2], answers[1::2], strict=True):
            epoch, record = self.written[place]
            if value != record and epoch + TTL > self.wall + 5:
                found.append(place)
            assert value is None or 0 < ttl <= TTL
        return found

    async def all_there(self, server):
        await until(lambda: not self.missing(server), what="all samples are there")


def removed(path):
    os.unlink(path)
    return True


async def quietly(fn, *args):
    """A call that takes a while, beside the loop."""
    return await asyncio.to_thread(fn, *args)


async def test_names_values_and_time_to_live(server, tmp_path):
    host = Host(tmp_path, server.url)
    old = host.wall - 1000
    host.record(2, system=1, wall=old)
    host.start()
    await host.all_there(server)
    host.record(3, system=1)
    await host.all_there(server)
    await host.healthy()
    with server.client as client:
        key = f"metrics:agent:{int(old)}:h"
        assert set(client.hgetall(key)) == {b"/w:a0", b"/w:a1"}
        assert client.type(f"metrics:system:{int(old)}:h") == b"string"
        for kind in ("agent", "system"):
            assert 2500 < client.ttl(f"metrics:{kind}:{int(old)}:h") <= 2600
        fresh = [key for key in client.scan_iter("metrics:*") if str(int(old)).encode() not in key]
        assert all(3590 < client.ttl(key) <= 3600 for key in fresh)
        assert len(fresh) >= 2
    assert host.kinds() == []
    await host.stop()


async def test_killed_and_started_anew_empty(server, tmp_path):
    host = Host(tmp_path, server.url, keep=50)
    host.start()
    for age in range(3580, 40, -40):
        host.record(3, system=1, wall=host.wall - age)
    await host.all_there(server)
    # What was read back from the files is there; the records kept in memory are written once more.
    await until(lambda: host.sink.status().backlog == 0, what="all acknowledged")
    server.kill()
    await host.failing("connection")  # closed, or reset
    await host.failing("refuses connections: nothing listens there")  # the words follow
    for age in range(39, 0, -1):
        host.record(3, wall=host.wall - age)
    assert host.sink.status().backlog == 3 * 39
    await quietly(server.start)
    await host.healthy()
    await host.all_there(server)
    assert host.kinds()[0] == "sink.failed"
    assert host.kinds()[-1] == "sink.recovered"
    assert host.kinds().count("sink.failed") == 1
    await host.stop()


async def test_not_there_at_the_start(tmp_path):
    server = RedisServer(tmp_path / "server")

    try:
        host = Host(tmp_path, server.url)
        host.start()
        host.record(3, system=1)
        await host.failing("refuses connections: nothing listens there")
        await quietly(server.start)
        await host.healthy()
        await host.all_there(server)
        assert host.kinds() == ["sink.failed", "sink.recovered"]
        await host.stop()
    finally:
        server.kill()


async def test_stopped_and_going_on(server, tmp_path):
    """What was on its way when it froze is done later, and must not undo what came after."""
    host = Host(tmp_path, server.url)
    host.start()
    await until(lambda: host.link.facts.connected, what="connected")
    for _ in range(3):
        second = host.wall // 1 + 0.5
        host.record(150, wall=second)
        server.pause()
        host.record(150, wall=second + 0.1)
        await host.failing("does not answer in time")
        host.record(150, wall=second + 0.2)
        server.resume()
        await host.healthy()
        await host.all_there(server)
    await host.stop()


async def test_a_memory_that_is_full(server, tmp_path):
    host = Host(tmp_path, server.url)
    host.start()
    host.record(3, system=1, wall=host.wall - 60)
    await host.all_there(server)
    await host.healthy()  # read back from the files, they are there before they have left the queue
    server.run("CONFIG", "SET", "maxmemory-policy", "volatile-lru")  # ours go first
    server.run("CONFIG", "SET", "maxmemory", "1")
    host.record(3, system=1)
    await host.failing("Redis takes no writes: its memory is full (maxmemory)")
    assert host.sink.status().backlog == 4
    assert host.missing(server)
    assert host.link.facts.connected
    server.run("CONFIG", "SET", "maxmemory", "0")
    await host.healthy()
    await host.all_there(server)
    assert host.kinds() == ["sink.failed", "sink.recovered"]
    await host.stop()


async def test_a_server_that_was_made_a_replica(server, tmp_path):
    with redis_server(tmp_path / "master", "--repl-diskless-sync-delay", "0", kind=server.kind) as master:
        host = Host(tmp_path, server.url)
        host.start()
        host.record(3, system=1, wall=host.wall - 60)
        await host.all_there(server)
        server.run("REPLICAOF", "127.0.0.1", str(master.port))
        await until(lambda: server.run("DBSIZE") == 0, what="the master's data, none, replaced its own")
        host.record(3, system=1)
        await host.failing("Redis takes no writes: it is a read-only replica")
        server.run("REPLICAOF", "NO", "ONE")
        await host.healthy()
        await host.all_there(server)
        await host.stop()


async def test_rights_that_are_missing_for_one_topic(server, tmp_path):
    rights = ["ACL", "SETUSER", "coordd", "reset", "on", ">secret", "+@all"]
    server.run(*rights, "~metrics:agent:*")
    host = Host(tmp_path, f"redis://coordd:secret@127.0.0.1:{server.port}/0")
    host.start()
    host.record(3, system=1)
    await host.failing("does not permit this user to write metrics:system:*")
    await until(lambda: len(host.missing(server)) == 1, what="agents are written")
    for _ in range(5):
        host.record(300)
    await until(lambda: len(host.missing(server)) == 1, what="agents are written on")
    await until(lambda: host.sink.status().backlog == 1, what="and their replies read")
    assert "secret" not in repr(host.notices)
    server.run("ACL", "SETUSER", "coordd", "~metrics:*")
    await host.healthy()
    await host.all_there(server)
    assert host.kinds() == ["sink.failed", "sink.recovered"]
    await host.stop()


async def test_rights_to_expire_are_needed_too(server, tmp_path):
    server.run("ACL", "SETUSER", "coordd", "reset", "on", ">s", "+@all", "-expire", "~*")
    host = Host(tmp_path, f"redis://coordd:s@127.0.0.1:{server.port}/0")
    host.start()
    host.record(1)
    await host.failing("does not permit")
    server.run("ACL", "SETUSER", "coordd", "+expire")
    await host.healthy()
    await host.all_there(server)
    await host.stop()


async def test_a_disk_that_takes_no_dump(tmp_path):
    with redis_server(tmp_path / "server", "--dbfilename", "taken") as server:
        (tmp_path / "server" / "taken" / "by something").mkdir(parents=True)
        host = Host(tmp_path, server.url)
        host.start()
        host.record(1)
        await host.all_there(server)
        server.run("CONFIG", "SET", "save", "1 1")
        server.run("SET", "something", "changed")

        def in_trouble():
            host.record(1)
            return "cannot save its data set" in (host.sink.status().error or "")

        await until(in_trouble, what="MISCONF")
        server.run("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        await host.healthy()
        await host.all_there(server)
        await host.stop()


async def test_across_midnight_parts_and_gzip(server, tmp_path):
    now = time()
    midnight = now // 86_400 * 86_400
    host = Host(tmp_path, server.url, keep=5, part=20_000, ahead=midnight + 600 - now)
    start = host.wall - 1200
    for second in range(0, 1200, 2):
        host.record(2, wall=start + second)
    host.record(1)
    parts = sorted(host.directory.glob("agent_*.jsonl"))
    assert len(parts) > 5
    folder = Folder.at(str(host.directory))
    for path in parts[:-1:2]:
        compress(folder, path.name, lambda name: removed(host.directory / name))
    assert host.sink.status().backlog > 1200 - 10
    host.start()
    await until(lambda: host.sink.status().written, what="begun")
    for path in sorted(set(host.directory.glob("agent_*.jsonl")) - {parts[-1]})[:-1]:
        compress(folder, path.name, lambda name: removed(host.directory / name))  # while they are read
    folder.close()
    host.record(2)
    await host.healthy()
    await host.all_there(server)
    await host.stop()


async def test_two_hosts_in_one_redis(server, tmp_path):
    hosts = [Host(tmp_path, server.url, name=name) for name in ("one", "two")]
    for host in hosts:
        host.start()
    wall = time()
    for host in hosts:
        host.record(3, system=1, wall=wall)
    for host in hosts:
        await host.all_there(server)
    server.kill()
    for host in hosts:
        host.record(3, system=1)
    await quietly(server.start)
    for host in hosts:
        await host.healthy()
        await host.all_there(server)
        await host.stop()


async def test_live_samples_during_a_long_refill(server, tmp_path):
    host = Host(tmp_path, server.url)
    for age in range(3500, 0, -50):
        host.record(300, wall=host.wall - age)
    host.start()
    await until(lambda: host.sink.status().written > 300, what="begun")
    assert host.sink.checkpoint() is None
    for _ in range(50):
        host.record(20, system=1)
        await asyncio.sleep(0)
    await host.healthy()
    await host.all_there(server)
    await host.stop()
    assert host.sink.checkpoint()["until"] <= format_utc(host.wall)


async def test_the_end_comes_in_time_while_the_server_is_frozen(server, tmp_path):
    host = Host(tmp_path, server.url)
    host.start()
    await until(lambda: host.sink.checkpoint() is not None, what="connected and filled")
    server.pause()
    host.record(5)
    reached = host.sink.checkpoint()["until"]
    await host.sink.stop()
    assert host.sink.checkpoint()["until"] == reached
    await host.stop()
    server.resume()
