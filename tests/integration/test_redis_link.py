"""The connection to Redis against real servers and what is none: words, turns, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from badredis import closing, echo, repeater, resetting, serving, silent, web_server
from redisd import KINDS, RedisServer, free_port, redis_server
from waiting import PATIENCE, until

from coordd.redislink import connection as linking
from coordd.redislink.connection import RedisConnection
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import LARGEST, RedisLost, RedisSession

SECRET = "p@ss/w:rd hunter2%"
SECRET_IN_URL = "p%40ss%2Fw%3Ard%20hunter2%25"


class Told:
    """A user of the connection that keeps what it was told."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.wire: RedisSession | None = None

    def up(self, wire: RedisSession, facts: RedisFacts) -> None:
        assert facts.connected
        self.wire = wire
        self.turns.append("up")

    def down(self, trouble: str) -> None:
        self.turns.append(f"down: {trouble}")

    @property
    def kinds(self) -> list[str]:
        """Without what only tells of other words."""
        return [kind for kind, _ in itertools.groupby(self.turns, lambda turn: turn.partition(":")[0])]


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[tuple[RedisConnection, Told]]:
    told = Told()
    link = RedisConnection(url=url, random=random.random)
    link.users.append(told)
    link.start()
    try:
        yield link, told
    finally:
        await link.stop()


async def opened(url: str) -> None:
    wire = await RedisSession.open(url)
    try:
        assert await wire.call(("PING",)) == [b"PONG"]
    finally:
        await wire.close()


async def trouble_with(url: str) -> RedisLost:
    """Why this cannot be connected to."""
    with pytest.raises(RedisLost) as caught:
        await opened(url)
    return caught.value


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "r", "--enable-debug-command", "yes", kind=request.param) as one:
        yield one


@pytest.fixture
def any_server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "r", "--enable-debug-command", "yes") as one:
        yield one


def let_in(server: RedisServer, user: str = "ann") -> None:
    server.run("ACL", "SETUSER", user, "on", f">{SECRET}", "~*", "&*", "+@all")


# what leads there


async def test_every_form_of_url_leads_to_its_database(server: RedisServer) -> None:
    let_in(server)
    who = f"ann:{SECRET_IN_URL}@"
    for url in (
        f"redis://127.0.0.1:{server.port}/3",
        f"redis://localhost:{server.port}?db=3",
        f"redis://{who}127.0.0.1:{server.port}/3",
        f"unix://{server.socket}?db=3",
        f"unix://{who}{server.socket}?db=3",
    ):
        wire = await RedisSession.open(url)
        (listed,) = await wire.call(("CLIENT", "LIST"))
        await wire.close()
        (line,) = [line for line in listed.splitlines() if b" name=coordd " in line]
        assert b" db=3 " in line
        assert (b" user=ann " in line) == (who in url)


async def test_many_commands_and_large_values_come_back_in_order(server: RedisServer) -> None:
    large = os.urandom(3 << 20)
    wire = await RedisSession.open(server.url)
    replies = await wire.call(
        *[("SET", f"k{n}", n) for n in range(1000)],
        ("SET", "large", large),
        ("GET", "large"),
        ("LPOP", "k1"),
        largest=len(large),
    )
    assert replies[:1001] == [b"OK"] * 1001
    assert replies[1001] == large
    assert str(replies[1002]).startswith("answers with an error: WRONGTYPE")
    assert await wire.call(("GET", "large"), ("GET", "k7")) == [large[:LARGEST], b"7"]
    together = await asyncio.gather(*[wire.call(("GET", f"k{n}"), ("GET", "k0")) for n in range(50)])
    assert together == [[b"%d" % n, b"0"] for n in range(50)]
    await wire.close()


async def test_facts_are_the_servers(server: RedisServer) -> None:
    server.run("SET", "a", "b")
    async with linked(server.url) as (link, told):
        await link.first_check()
        assert told.turns == ["up"]
        facts = link.facts
    info = server.run("INFO", "server")
    assert (facts.connected, facts.error, facts.keys) == (True, None, 1)
    assert facts.run_id == info["run_id"]
    assert facts.version == info.get("valkey_version", info["redis_version"])
    assert facts.used_memory is not None
    assert facts.latency_ms is not None


# what does not


async def test_places_where_nothing_is(tmp_path: Path) -> None:
    assert "refuses connections" in str(await trouble_with(f"redis://127.0.0.1:{free_port()}"))
    assert "no such socket" in str(await trouble_with(f"unix://{tmp_path}/none.sock"))
    (tmp_path / "file").touch()
    assert "refuses connections" in str(await trouble_with(f"unix://{tmp_path}/file"))
    assert "too long" in str(await trouble_with(f"unix:///{'x' * 200}"))
    assert "cannot be found" in str(await trouble_with("redis://no-such-host.invalid"))


@pytest.mark.root
async def test_a_socket_without_permission(any_server: RedisServer) -> None:
    any_server.socket.chmod(0o700)
    for above in [any_server.directory, *any_server.directory.parents][:-2]:
        above.chmod(above.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        found = await trouble_with(f"unix://{any_server.socket}")
    finally:
        os.seteuid(0)
    assert str(found) == "cannot be reached: no permission for its socket"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (silent, "does not answer in time"),
        (web_server, "does not speak the Redis protocol: something else listens there"),
        (echo, "does not speak the Redis protocol"),
        (repeater, "answers with an error: (its words are withheld: they repeat a password)"),
        (closing, "closed the connection"),
        (resetting, "the connection"),
    ],
)
async def test_what_is_no_redis(behaviour: Any, words: str) -> None:
    async with serving(behaviour) as (port, _):
        with pytest.raises(RedisLost) as caught:
            await opened(f"redis://ann:{SECRET_IN_URL}@127.0.0.1:{port}/1")
    assert words in str(caught.value)
    assert_hidden(caught.value)


async def test_passwords_users_and_databases_that_are_refused(server: RedisServer) -> None:
    place = f"127.0.0.1:{server.port}"
    assert (await trouble_with(f"redis://:{SECRET_IN_URL}@{place}")).code == "NOPASSWORD"
    assert (await trouble_with(f"redis://{place}/9999")).code == "NODB"
    let_in(server)
    server.run("ACL", "SETUSER", "ann", "-select")
    found = await trouble_with(f"redis://ann:{SECRET_IN_URL}@{place}/1")
    assert (found.code, "does not permit this to its user (ACL)" in str(found)) == ("NOPERM", True)
    for url in (f"redis://ann:wrong@{place}", f"redis://nobody:{SECRET_IN_URL}@{place}"):
        found = await trouble_with(url)
        assert found.code == "WRONGPASS"
        assert "the user name or the password of the URL" in str(found)
        assert "percent-encoded" in str(found)
    server.run("CONFIG", "SET", "requirepass", SECRET)
    for url in (f"redis://{place}", f"redis://{place}/1", f"unix://{server.socket}"):
        found = await trouble_with(url)
        assert found.code == "NOAUTH"
        assert str(found).startswith("wants a password")
    await opened(f"redis://:{SECRET_IN_URL}@{place}")


@pytest.mark.parametrize("scheme", ["redis", "unix"])
async def test_a_server_that_takes_no_more_clients(server: RedisServer, scheme: str) -> None:
    held = await RedisSession.open(server.url)
    await held.call(("CONFIG", "SET", "maxclients", 1))
    url = f"unix://{server.socket}" if scheme == "unix" else server.url
    # The server may have hung up before our first command: then what it said is lost with the connection.
    async with asyncio.timeout(PATIENCE):
        while True:
            with pytest.raises(RedisLost) as caught:
                await opened(url)
            if caught.value.code is not None:
                break
    assert caught.value.code == "MAXCLIENTS"
    assert "takes no more clients" in str(caught.value)
    async with linked(url) as (link, told):
        await until(lambda: link.facts.code == "MAXCLIENTS", what="it says why")
        await held.call(("CONFIG", "SET", "maxclients", 100))
        await until(lambda: link.facts.connected, what="connected")
        assert told.kinds == ["down", "up"]
    await held.close()


async def test_protected_mode_is_named(any_server: RedisServer) -> None:
    async def denying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n")
        await writer.drain()

    async with serving(denying) as (port, _), linked(f"redis://127.0.0.1:{port}") as (link, _told):
        await link.first_check()
        assert link.facts.code == "DENIED"


async def test_loading(server: RedisServer) -> None:
    server.run("DEBUG", "POPULATE", 20_000)
    server.run("SAVE")
    server.kill()
    # a millisecond a key, and after a few of them it looks who asks; so it lasts until it is told to be quick
    server.start(*("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"), wait=False)
    async with linked(server.url) as (link, told):
        await until(lambda: link.facts.code == "LOADING", what="loading is told of")
        assert link.facts.error == "is loading its data set after a start"
        with contextlib.closing(server.client) as client:
            await asyncio.to_thread(client.config_set, "key-load-delay", 0)
        await until(lambda: link.facts.connected, what="connected")
        assert told.kinds == ["down", "up"]


async def test_a_script_that_does_not_end(server: RedisServer) -> None:
    server.run("CONFIG", "SET", "busy-reply-threshold", 1)
    async with linked(server.url) as (link, told):
        await link.first_check()
        script = threading.Thread(target=_run_for_ever, args=(server,))
        script.start()
        await until(lambda: link.facts.code == "BUSY", what="the script is told of")
        assert link.facts.error == "is busy running a script (SCRIPT KILL ends it)"
        await asyncio.to_thread(server.run, "SCRIPT", "KILL")
        script.join(PATIENCE)
        await until(lambda: link.facts.connected, what="connected")
        assert told.kinds == ["up", "down", "up"]


def _run_for_ever(server: RedisServer) -> None:
    with contextlib.suppress(Exception):  # it is killed
        server.run("EVAL", "while true do end", 0)


# what comes and goes


async def test_each_turn_is_told_once(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed by CLIENT KILL, by kill -9, frozen: each is one down and, when it is over, one up."""
    monkeypatch.setattr(linking, "PAUSE", 0.0)
    turned: list[bool] = []
    told = Told()
    link = RedisConnection(
        url=server.url, random=random.random, on_change=lambda facts: turned.append(facts.connected)
    )
    link.users.append(told)
    link.start()

    async def turn(up: bool, expected: int) -> None:
        await until(
            lambda: len(told.kinds) == expected and link.facts.connected == up, what=f"turn {expected}"
        )

    await turn(True, 1)
    await asyncio.to_thread(server.run, "CLIENT", "KILL", "TYPE", "normal")
    await turn(True, 3)
    server.pause()
    await turn(False, 4)
    frozen = link.facts
    server.resume()
    await turn(True, 5)
    server.kill()
    await turn(False, 6)
    before = link.facts
    await until(lambda: "refuses connections" in str(link.facts.error), what="tried again")
    tried = link.facts
    await until(lambda: link.facts is not tried, what="tried once more")
    assert told.turns[-2].startswith("down: ")
    assert told.turns[-1] == "down: refuses connections: nothing listens there"
    assert len(told.kinds) == 6
    assert (link.facts.since, link.facts.version) == (before.since, before.version)
    await asyncio.to_thread(server.start)
    await turn(True, 7)
    await link.stop()
    assert frozen.error == "does not answer in time"
    assert told.kinds == ["up", "down", "up", "down", "up", "down", "up"]
    turns = told.turns
    assert turns[1] == "down: closed the connection"
    assert all(before != after for before, after in itertools.pairwise(turns))
    assert turned == [True, False, True, False, True, False, True]


async def test_a_tenant_that_sees_its_own_connection_fail_brings_both_down_once(
    any_server: RedisServer,
) -> None:
    async with linked(any_server.url) as (link, told):
        await link.first_check()
        first = told.wire
        link.report_lost(RedisLost("closed the connection"))
        link.report_lost(RedisLost("closed the connection"))
        await until(lambda: len(told.turns) == 3, what="it is back")
        assert told.kinds == ["up", "down", "up"]
        assert first is not told.wire
        assert first is not None
        assert not first.alive


async def test_a_tenant_that_fails_keeps_nobody_from_being_told(
    any_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Told):
        def up(self, wire: RedisSession, facts: RedisFacts) -> None:
            raise ZeroDivisionError

        down = up  # type: ignore[assignment]

    told = Told()
    link = RedisConnection(url=any_server.url, random=random.random)
    link.users += [Failing(), told]
    link.start()
    await link.first_check()
    link.report_lost(RedisLost("closed the connection"))
    await until(lambda: told.kinds == ["up", "down", "up"], what="told in spite of it")
    await link.stop()
    assert caplog.text.count("ZeroDivisionError") >= 3


async def test_it_stops_in_the_very_turn_in_which_it_is_woken(any_server: RedisServer) -> None:
    async with linked(any_server.url) as (link, told):
        await link.first_check()
        any_server.pause()
        link.report_lost(RedisLost("does not answer in time"))
        async with asyncio.timeout(PATIENCE):
            await link.stop()
        assert told.kinds == ["up", "down"]
    any_server.resume()


async def test_there_is_a_second_between_two_tries() -> None:
    async with serving(web_server) as (port, came), linked(f"redis://127.0.0.1:{port}") as (_, told):
        await until(lambda: len(came) >= 4, what="four tries")
        assert told.kinds == ["down"]
    # a little less: the clock is read when the loop comes to it
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(came))


# nothing is left behind


async def test_fifty_connections_leave_nothing_behind(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "PAUSE", 0.0)
    async with linked(server.url) as (link, told):
        await link.first_check()
        tasks, files = len(asyncio.all_tasks()), psutil.Process().num_fds()
        with contextlib.closing(server.client) as client:
            client.ping()
            files += 1
            for n in range(50):
                await until(lambda n=n: told.turns.count("up") == n + 1, what="it is back")
                await asyncio.to_thread(client.execute_command, "CLIENT", "KILL", "TYPE", "normal")
            await until(lambda: told.turns.count("up") == 51, what="it is back")
            assert len(client.client_list()) == 2
            assert psutil.Process().num_fds() <= files + 1  # asyncio's own, of the thread above
            assert len(asyncio.all_tasks()) == tasks


@pytest.mark.parametrize("behaviour", [silent, web_server, closing, resetting])
async def test_tries_in_vain_leave_nothing_behind(behaviour: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from coordd.redislink import session as wiring

    monkeypatch.setattr(wiring, "CONNECT_DEADLINE", 0.05)
    async with serving(behaviour) as (port, _):
        files, tasks = psutil.Process().num_fds(), len(asyncio.all_tasks())
        for _ in range(50):
            with pytest.raises(RedisLost):
                await opened(f"redis://127.0.0.1:{port}")
        await until(lambda: psutil.Process().num_fds() <= files, what="sockets are closed")
        await until(lambda: len(asyncio.all_tasks()) <= tasks, what="tasks have ended")


async def test_what_a_frozen_server_has_not_taken_is_not_waited_for(any_server: RedisServer) -> None:
    files = psutil.Process().num_fds()
    wire = await RedisSession.open(any_server.url)
    any_server.pause()
    with pytest.raises(RedisLost, match="does not answer in time"):
        await wire.call(("SET", "large", bytes(20 << 20)), deadline=0.2)
    await until(lambda: psutil.Process().num_fds() <= files, what="the socket is closed")
    with pytest.raises(RedisLost, match="does not answer in time"):
        await wire.call(("PING",))
    assert not wire.alive
    any_server.resume()


async def test_what_was_given_up_is_not_delivered_after_all() -> None:
    """Else an old sample, from before a network was cut off, would be written over a newer one."""
    healed = asyncio.Event()
    taken: list[str] = []

    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"coordd\r\n")
        writer.write(b"+OK\r\n")
        await healed.wait()
        try:
            while await reader.read(1 << 20):
                pass
            taken.append("all that was on its way")
        except ConnectionResetError:
            taken.append("reset")

    async with serving(cut_off) as (port, _):
        wire = await RedisSession.open(f"redis://127.0.0.1:{port}")
        with pytest.raises(RedisLost, match="does not answer in time"):
            await wire.call(("SET", "large", bytes(20 << 20)), deadline=0.2)
        await wire.close()
        healed.set()
        await until(lambda: taken, what="the server has read on")
        assert taken == ["reset"]


async def test_whoever_waits_is_told_when_it_is_closed(any_server: RedisServer) -> None:
    wire = await RedisSession.open(any_server.url)
    waiting = asyncio.ensure_future(wire.receive())
    await asyncio.sleep(0)
    await wire.close()
    with pytest.raises(RedisLost, match="was left"):
        await waiting
    left = await RedisSession.open(any_server.url)
    cancelled = asyncio.ensure_future(left.call(("BLPOP", "none", 0), deadline=60))
    await until(lambda: b"cmd=blpop" in _clients(any_server), what="it waits")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(RedisLost, match="was left in the middle of an exchange"):
        await left.call(("PING",))


def _clients(server: RedisServer) -> bytes:
    listed = server.client.execute_command("CLIENT LIST", NEVER_DECODE=True)
    return listed if isinstance(listed, bytes) else repr(listed).replace("'cmd': '", "cmd=").encode()


async def test_a_name_server_that_hangs_holds_up_neither_the_loop_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, asked = threading.Event(), []
    really = socket.getaddrinfo

    def hangs(host: str, *rest: Any, **more: Any) -> Any:
        if host == "slow.test":
            asked.append(host)
            over.wait(PATIENCE)
            return really("127.0.0.1", *rest, **more)
        return really(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    nobody = free_port()
    for _ in range(3):
        with pytest.raises(RedisLost, match="looking up its host name"):
            await opened("redis://slow.test:1")
    assert asked == ["slow.test"]  # nobody asks again beside it
    over.set()
    async with asyncio.timeout(PATIENCE):
        url = f"redis://slow.test:{nobody}"
        while "refuses connections" not in str(await trouble_with(url)):  # noqa: ASYNC110  # nothing tells it
            await asyncio.sleep(0.01)


def test_a_hanging_lookup_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    code = """
import asyncio, socket, time
socket.getaddrinfo = lambda *a, **k: time.sleep(3600)
from coordd.redislink.session import RedisSession, RedisLost
async def play():
    try:
        await RedisSession.open("redis://slow.test")
    except RedisLost as lost:
        print(lost)
asyncio.run(play())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "looking up its host name" in done.stdout


# passwords


def assert_hidden(error: BaseException) -> None:
    seen: BaseException | None = error
    while seen is not None:
        for form in (SECRET, SECRET_IN_URL, "hunter2"):
            assert form not in f"{seen}{seen!r}{vars(seen)}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


@pytest.mark.parametrize("user", ["ann:", ":"])
async def test_a_server_that_knows_no_auth_repeats_it_and_we_do_not(tmp_path: Path, user: str) -> None:
    for kind in KINDS:
        with redis_server(tmp_path / kind, "--rename-command", "AUTH", "", kind=kind) as server:
            found = await trouble_with(f"redis://{user}{SECRET_IN_URL}@127.0.0.1:{server.port}")
            assert "unknown command" in str(found)
            assert_hidden(found)


async def test_no_password_is_logged_or_shown(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    let_in(server)
    url = f"redis://ann:{SECRET_IN_URL}@127.0.0.1:{server.port}"
    async with linked(url) as (link, told):
        await link.first_check()
        texts = [repr(link), repr(told.wire), repr(link.facts), link.shown_url]
        await asyncio.to_thread(server.run, "ACL", "SETUSER", "ann", "resetpass")
        await asyncio.to_thread(server.run, "CLIENT", "KILL", "USER", "ann")
        await until(lambda: link.facts.code == "WRONGPASS", what="it is refused")
        shown = " ".join([*texts, repr(link.facts), *told.turns])
    shown += caplog.text
    assert "hunter2" not in shown
