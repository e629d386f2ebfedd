"""Test the Redis sink on a server in memory: its status, its retries, its checkpoint."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_samples import NOON, Files, MemoryServer, MemorySession, agent_record, samples_in, system_record
from waiting import PATIENCE, until

from coordd.redislink.session import RedisLost
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import Worker
from coordd.sinks.redis import refill as refill_module
from coordd.sinks.redis import sink as sink_module
from coordd.sinks.redis import topic_writer
from coordd.sinks.redis.sink import RedisSink
from coordd.util.timestamps import format_utc, utc_date

TTL = 3600.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No waiting for company, none between two tries but the backoff."""
    monkeypatch.setattr(sink_module, "LINGER", 0.0)
    monkeypatch.setattr(topic_writer, "PAUSE", 0.0)


class Bench:
    """A sink, its files, its server, and a clock to be set."""

    def __init__(self, directory, *, keep=4096):
        self.files = Files(directory)
        self.server = MemoryServer()
        self.wall = NOON
        self.keep = keep
        self.worker = Worker("history")
        self.notices = []
        self.broken = []
        self.written = []
        self.session = None
        self.sink = self.make()

    def make(self, **more):
        return RedisSink(
            metrics_dir=str(self.files.directory),
            ttl=TTL,
            worker=self.worker,
            now=lambda: Moment(self.wall, monotonic()),
            random=lambda: 0.9,
            on_notice=self.notices.append,
            broken=self.broken.append,
            keep=self.keep,
            **more,
        )

    def offer(self, topic, *records):
        self.files.write(topic, self.wall, *records)
        self.sink.offer(topic, samples_in(topic, *records))
        self.written += [(topic, record) for record in records]

    def agents(self, count, *, begin=0):
        for number in range(begin, begin + count):
            self.offer("agent", agent_record(self.wall, f"a{number}"))

    def up(self):
        self.session = MemorySession(self.server)
        self.sink.up(self.session, self.server.facts)

    def down(self):
        self.sink.down("refuses connections: nothing listens there")

    def kinds(self):
        return [notice.kind for notice in self.notices]

    def missing(self, since=0.0):
        """What of all that was written is not in Redis as it should be."""
        expected = {}
        for topic, record in self.written:
            (sample,) = samples_in(topic, record)
            if sample.epoch + TTL > max(since, self.wall):
                expected[sample.key, sample.field] = record
        content = self.server.content()
        return {
            place: content.get(place) for place, record in expected.items() if content.get(place) != record
        }

    @property
    def caught_up(self):
        checkpoint = self.sink.checkpoint()
        return (
            checkpoint is not None
            and checkpoint["until"] == format_utc(self.wall)
            and self.sink.status().backlog == 0
        )


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path / "metrics")
    yield bench
    await bench.sink.stop()
    bench.worker.close()


async def test_samples_are_written_as_they_come(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.offer("agent", agent_record(NOON, "a"))
    bench.offer("system", system_record(NOON))
    bench.sink.offer("agent", [])
    await until(lambda: bench.caught_up)
    assert not bench.missing()
    assert len(bench.server.content()) == 2
    assert bench.sink.status().state == "ok"
    assert (bench.sink.status().backlog, bench.sink.status().dropped) == (0, 0)
    assert bench.notices == []


async def test_before_the_first_connection_it_waits_and_does_not_fail(bench):
    bench.agents(3)
    status = bench.sink.status()
    assert (status.state, status.backlog, status.error) == ("ok", 3, None)


async def test_an_outage_is_told_once_and_so_is_its_end(bench):
    bench.down()
    bench.down()
    bench.agents(3)
    status = bench.sink.status()
    assert (status.state, status.backlog) == ("failing", 3)
    assert status.error == "Redis refuses connections: nothing listens there"
    bench.up()
    await until(lambda: bench.caught_up)
    await until(lambda: bench.sink.status().state == "ok")
    assert bench.kinds() == ["sink.failed", "sink.recovered"]
    assert "nothing listens there" in bench.notices[0].message
    assert bench.notices[1].detail == {"dropped": 0}
    assert not bench.missing()


async def test_a_short_outage_of_the_same_server_reads_no_file(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.down()
    bench.agents(3)
    for path in bench.files.directory.iterdir():
        path.unlink()
    bench.up()
    await until(lambda: bench.caught_up)
    assert not bench.missing()


async def test_a_long_outage_is_read_back_and_memory_stays_bounded(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.down()
    for _ in range(60):
        bench.wall += 10
        bench.offer("agent", *(agent_record(bench.wall, f"a{n}") for n in range(1000)))
    status = bench.sink.status()
    assert status.backlog == 60_000
    bench.up()
    await until(lambda: bench.caught_up)
    assert not bench.missing()
    assert bench.sink.status().backlog == 0
    assert bench.sink.status().written >= 60_000


async def test_a_server_that_lost_its_data_gets_the_whole_hour(bench):
    bench.files.write("agent", NOON - 3590, agent_record(NOON - 3590, "early"))
    bench.files.write("agent", NOON - 3590, agent_record(NOON - 3601, "too early"))
    bench.up()
    bench.agents(2)
    await until(lambda: bench.caught_up)
    bench.server.start()
    bench.agents(1, begin=2)
    await until(lambda: bench.broken)
    bench.up()
    await until(lambda: bench.caught_up)
    fields = {field for _, field in bench.server.content()}
    assert fields == {b"/w:early", b"/w:a0", b"/w:a1", b"/w:a2"}
    assert bench.server.ttl[b"metrics:agent:%d:h" % (NOON - 3590)] == 10
    assert not bench.missing()


async def test_a_server_that_does_not_tell_its_run_id_gets_it_each_time(bench):
    bench.agents(1)
    for _ in range(2):
        session = MemorySession(bench.server)
        bench.sink.up(session, replace(bench.server.facts, run_id=None))
        await until(lambda: not bench.missing() and bench.sink.status().backlog == 0)
        bench.down()
        bench.server.start()
    assert bench.sink.checkpoint() is None


async def test_a_refusal_fails_with_its_reason_and_is_tried_again(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.server.refuses = "OOM command not allowed when used memory > 'maxmemory'."
    bench.agents(3)
    await until(lambda: bench.sink.status().state == "failing")
    assert bench.sink.status().error == "Redis takes no writes: its memory is full (maxmemory)"
    assert bench.sink.status().backlog == 3
    tries = len(bench.server.exchanges)
    await until(lambda: len(bench.server.exchanges) > tries + 1)
    bench.server.refuses = None
    await until(lambda: bench.sink.status().state == "ok")
    assert bench.kinds() == ["sink.failed", "sink.recovered"]
    assert not bench.missing()
    assert bench.broken == []


async def test_between_two_tries_lies_a_second(bench):
    topic_writer.PAUSE = 1.0  # the fixture's monkeypatch sets it back
    bench.up()
    await until(lambda: bench.caught_up)
    bench.server.refuses = "MISCONF Redis is configured to save RDB snapshots"
    bench.agents(1)
    await until(lambda: bench.sink.status().state == "failing")
    tries, began = len(bench.server.exchanges), monotonic()
    for number in range(50):
        bench.agents(1, begin=number)
        await asyncio.sleep(0.001)
    await until(lambda: len(bench.server.exchanges) > tries)
    assert monotonic() - began > 0.9
    assert len(bench.server.exchanges) == tries + 1


@pytest.mark.parametrize("error", ["OOM no", "READONLY You can't write against a read only replica."])
async def test_what_may_have_cost_data_is_followed_by_the_whole_hour(bench, error):
    bench.up()
    bench.agents(2)
    await until(lambda: bench.caught_up)
    bench.server.refuses = error
    bench.offer("system", system_record(NOON))
    await until(lambda: bench.sink.status().state == "failing")
    bench.server.hashes.clear()  # evicted, or replaced by the master's
    bench.server.refuses = None
    await until(lambda: bench.caught_up)
    assert not bench.missing()


async def test_a_topic_that_is_refused_stops_no_other(bench):
    bench.server.refuses = "NOPERM no permissions to access one of the keys"
    bench.server.refused_keys = ("metrics:system:",)
    bench.up()
    bench.agents(2)
    bench.offer("system", system_record(NOON))
    await until(lambda: len(bench.missing()) == 1)
    await until(lambda: bench.sink.status().state == "failing")
    assert "metrics:system:*" in bench.sink.status().error
    bench.agents(300, begin=2)
    await until(lambda: len(bench.missing()) == 1)
    assert bench.sink.status().backlog == 1


async def test_a_key_that_is_somebody_elses_stops_nothing(bench):
    bench.server.refuses = "WRONGTYPE Operation against a key holding the wrong kind of value"
    bench.server.refused_keys = (f"metrics:agent:{int(NOON)}:h",)
    bench.up()
    await until(lambda: bench.caught_up)
    bench.agents(2)
    bench.wall += 1
    bench.agents(1)
    await until(lambda: bench.caught_up)
    assert bench.sink.status().state == "ok"
    assert bench.sink.status().dropped == 2
    assert bench.kinds() == ["sink.dropping"]
    assert len(bench.server.content()) == 1


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_connection_that_breaks_is_told_and_nothing_is_lost(bench, how):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.server.breaks = how
    bench.agents(3)
    await until(lambda: bench.broken)
    assert bench.sink.status().error == "Redis does not answer in time"
    assert bench.sink.status().backlog == 3
    bench.up()
    await until(lambda: bench.caught_up)
    assert not bench.missing()
    assert bench.kinds() == ["sink.failed", "sink.recovered"]


async def test_a_connection_of_before_is_nobodys_fault(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    gate = asyncio.Event()
    bench.session._pause = gate.wait
    old = bench.session
    bench.agents(1)
    await asyncio.sleep(0.01)
    bench.down()
    bench.up()
    old.lost = RedisLost("was left")
    gate.set()
    await until(lambda: bench.caught_up)
    assert bench.broken == []
    assert not bench.missing()


async def test_what_never_made_it_within_the_hour_counts_as_dropped(bench):
    bench.sink._by_topic["agent"].queue._keep = 2
    bench.down()
    bench.agents(5)
    bench.wall += TTL + 60
    sink_module._AGE_EVERY = 0.0
    try:
        bench.agents(1, begin=5)
        status = bench.sink.status()
    finally:
        sink_module._AGE_EVERY = 5.0
    assert (status.backlog, status.dropped) == (1, 5)
    bench.up()
    await until(lambda: bench.sink.status().state == "ok")
    assert bench.kinds() == ["sink.failed", "sink.dropping", "sink.recovered"]
    assert bench.notices[-1].detail == {"dropped": 5}
    assert {field for _, field in bench.server.content()} == {b"/w:a5"}


async def test_a_clock_set_back_loses_nothing(bench):
    bench.sink._by_topic["agent"].queue._keep = 2
    bench.up()
    bench.agents(3)
    await until(lambda: bench.caught_up)
    bench.down()
    bench.wall -= 1800
    bench.agents(20, begin=3)
    bench.wall += 900
    bench.agents(3, begin=23)
    bench.up()
    await until(lambda: bench.caught_up)
    assert not bench.missing()


async def test_parts_rotated_and_compressed_while_they_are_read(bench):
    bench.sink._by_topic["agent"].queue._keep = 2
    bench.down()
    midnight = NOON + 43_200
    bench.wall = midnight - 60
    for number in range(1000):
        bench.wall += 0.12
        bench.agents(1, begin=number)
        if number % 300 == 0:
            bench.files.rotate("agent", bench.wall)
    assert len(list(bench.files.directory.iterdir())) == 6
    with bench.files.path("agent", bench.wall).open("ab") as file:
        file.write(b'torn{"timestamp"\n\xff\xfe\n')
    bench.up()
    await until(lambda: bench.server.exchanges)
    bench.files.rotate("agent", bench.wall)
    bench.files.compress(bench.wall)
    bench.agents(10, begin=1000)
    await until(lambda: bench.caught_up)
    assert not bench.missing()


async def test_records_that_cannot_be_read_are_a_fault_in_words(bench):
    name = f"agent_{utc_date(NOON)}.jsonl"
    bench.files.directory.rmdir()
    bench.files.directory.write_text("not a directory")
    bench.sink._by_topic["agent"].queue.put(samples_in("agent", agent_record(NOON)))
    bench.sink._by_topic["agent"]._metrics_dir = "\0"  # os.listdir: ValueError, as a bug would be
    bench.up()
    await until(lambda: bench.sink.status().state == "failing")
    assert bench.sink.status().error == "writing samples fails: ValueError"
    bench.files.directory.unlink()
    bench.files.directory.mkdir()
    (bench.files.directory / name).write_bytes(agent_record(NOON) + b"\n")
    bench.sink._by_topic["agent"]._metrics_dir = str(bench.files.directory)
    await until(lambda: bench.sink.status().state == "ok")
    assert bench.server.content()


async def test_a_file_system_that_denies_is_a_fault_in_words(bench):
    class Denied:
        async def run(self, fn, *args, deadline):
            if fn.__name__ == "_close":
                return
            raise PermissionError(13, "Permission denied", "/metrics/agent.jsonl")

    good = bench.sink._by_topic["agent"]._worker
    bench.sink._by_topic["agent"]._worker = Denied()
    bench.up()
    await until(lambda: bench.sink.status().state == "failing")
    assert (
        bench.sink.status().error
        == "the records cannot be read back: /metrics/agent.jsonl: Permission denied"
    )
    bench.sink._by_topic["agent"]._worker = good
    await until(lambda: bench.sink.status().state == "ok")


async def test_reading_that_hangs_is_given_up_and_tried_again(bench):
    refill_module.DEADLINE, before = 0.01, refill_module.DEADLINE
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    held = asyncio.ensure_future(
        bench.worker.run(
            lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(PATIENCE), deadline=PATIENCE
        )
    )
    try:
        await asyncio.sleep(0.01)
        bench.up()
        await until(lambda: bench.sink.status().state == "failing")
        assert bench.sink.status().error.endswith("reading the records back takes too long")
    finally:
        refill_module.DEADLINE = before
    gate.set()
    await held
    await until(lambda: bench.sink.status().state == "ok")


async def test_the_end_writes_what_waits(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    sink_module.LINGER = 0.05
    bench.agents(500)
    await bench.sink.stop()
    assert not bench.missing()
    assert bench.caught_up


async def test_the_end_waits_for_no_server(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    gate = asyncio.Event()
    bench.session._pause = gate.wait
    bench.agents(5)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        await bench.sink.stop()
    assert bench.sink.status().backlog == 5
    assert not bench.caught_up


@asynccontextmanager
async def next_run(bench, checkpoint, **more):
    await bench.sink.stop()
    bench.server.exchanges.clear()
    bench.sink = bench.make(**more)
    bench.sink.resume(json.dumps(checkpoint).encode())
    bench.up()
    await until(lambda: bench.caught_up)
    yield sum(command[0] == "HSET" for exchange in bench.server.exchanges for command in exchange)


async def test_the_next_run_goes_on_where_the_last_one_ended(bench):
    bench.up()
    for _ in range(30):
        bench.wall += 60
        bench.agents(1)
    await until(lambda: bench.caught_up)
    checkpoint = bench.sink.checkpoint()
    assert checkpoint == {"run_id": "run-1", "until": format_utc(bench.wall), "place": ""}
    bench.offer("agent", agent_record(bench.wall, "after the checkpoint"))
    async with next_run(bench, checkpoint) as written:
        assert written == 3  # two minutes of overlap
        assert not bench.missing()
    bench.server.start()
    async with next_run(bench, bench.sink.checkpoint()) as written:
        assert written == 30
        assert not bench.missing()
    async with next_run(bench, None) as written:
        assert written == 30
    async with next_run(bench, checkpoint, shown_url="redis://elsewhere") as written:
        assert written == 30
    bench.wall -= 600  # the checkpoint is of the future now
    async with next_run(bench, bench.sink.checkpoint() | {"until": format_utc(bench.wall + 600)}) as written:
        assert written == 30


async def test_a_second_is_read_back_whole(bench):
    bench.up()
    bench.offer("agent", agent_record(NOON + 0.8, n=1))
    bench.offer("agent", agent_record(NOON + 0.2, n=2))  # the clock was set back by a little
    await until(lambda: bench.caught_up)
    bench.wall += sink_module.OVERLAP + 0.5
    async with next_run(bench, bench.sink.checkpoint()) as written:
        assert written == 1
        assert not bench.missing()


async def test_a_checkpoint_taken_while_something_waits_is_from_before_it(bench):
    bench.up()
    await until(lambda: bench.caught_up)
    bench.down()
    bench.agents(2)
    bench.wall += 600
    checkpoint = bench.sink.checkpoint()
    assert checkpoint["until"] == format_utc(NOON)
    async with next_run(bench, checkpoint):
        assert not bench.missing()


class World(Bench):
    """What may happen, a method each."""

    def __init__(self, directory, *, keep):
        super().__init__(directory, keep=keep)
        self.latest, self.checkpoint, self.count, self.connected = self.wall, None, 0, False

    async def do_agents(self, count):
        for _ in range(count):
            self.count += 1
            self.offer("agent", agent_record(self.wall, f"a{self.count % 3}", n=self.count))

    async def do_system(self, _):
        self.count += 1
        self.offer("system", system_record(self.wall, n=self.count))

    async def do_clock(self, seconds):
        self.wall += seconds
        self.latest = max(self.latest, self.wall)
        if seconds < 0:  # as coordd does at a step of the clock
            self.checkpoint = self.sink.checkpoint()

    async def do_break(self, how):
        self.server.breaks = how

    async def do_refuse(self, error):
        self.server.refuses = error

    async def do_kill(self, _):
        self.server.start()

    async def do_down(self, _):
        self.down()
        self.connected = False

    async def do_up(self, _):
        if self.connected:
            self.down()
        self.server.breaks = None
        self.up()
        self.connected = True

    async def do_rotate(self, _):
        self.files.rotate("agent", self.wall)

    async def do_compress(self, _):
        self.files.compress(self.wall)

    async def do_snapshot(self, _):
        self.checkpoint = self.sink.checkpoint()

    async def do_restart(self, how):
        await self.sink.stop()
        self.checkpoint = self.sink.checkpoint() if how == "in order" else self.checkpoint
        self.sink = self.make()
        self.sink.resume(json.dumps(self.checkpoint).encode())
        self.notices.clear()
        self.connected = False

    async def do_run(self, steps):
        for _ in range(steps):
            await asyncio.sleep(0.0002)


STEPS = st.one_of(
    st.tuples(st.just("agents"), st.integers(1, 6)),
    st.tuples(st.just("system"), st.just(1)),
    st.tuples(st.just("clock"), st.sampled_from([0.2, 1, 59, 700, 1900, 40_000, -0.4, -3, -1000])),
    st.tuples(st.just("break"), st.sampled_from(["before", "after"])),
    st.tuples(st.just("refuse"), st.sampled_from(["OOM x", "NOPERM x", "READONLY x", "MISCONF x", None])),
    st.tuples(st.sampled_from(["kill", "down", "up", "rotate", "compress", "snapshot"]), st.just(0)),
    st.tuples(st.just("restart"), st.sampled_from(["in order", "after a crash"])),
    st.tuples(st.just("run"), st.integers(1, 20)),
)


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
def test_whatever_happens_the_newest_of_each_place_is_there_in_the_end(tmp_path_factory, steps, keep):
    async def go():
        world = World(tmp_path_factory.mktemp("model"), keep=keep)
        for step, value in [*steps, ("refuse", None), ("up", 0)]:
            await getattr(world, f"do_{step}")(value)
        await until(lambda: world.caught_up)
        assert not world.missing(world.latest)
        assert world.sink.status().state == "ok"
        turns = [kind for kind in world.kinds() if kind != "sink.dropping"]
        assert turns == ["sink.failed", "sink.recovered"] * (len(turns) // 2)
        await world.sink.stop()
        world.worker.close()

    asyncio.run(go())
