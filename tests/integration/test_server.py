"""The real control socket: who is let in, what a bad client costs, and that nobody else pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from waiting import PATIENCE, eventually, until

from coordd.control.connection import ANSWERS_PER_TURN, ConnectionLimits
from coordd.control.hub import Hub
from coordd.control.params import SubscribeParams
from coordd.control.peer import Peer
from coordd.control.rpc import Dispatcher, Method, NoParams, Opened
from coordd.control.server import ControlServer
from coordd.control.socket_file import listen
from coordd.control.turns import SLICE
from coordd.model import TOPICS

SHORT = 0.2
BURN = 0.001
"""Seconds that a request of ``burn`` takes."""
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
BIG = Raw(b'"' + b"x" * 8_000_000 + b'"')

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Any = None


class Service:
    """The server under test, its clients, and what its methods were asked."""

    def __init__(self, path: str, server: ControlServer, gate: asyncio.Event, burnt: list[None]) -> None:
        self.burnt = burnt
        self.path = path
        self.server = server
        self.gate = gate
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=32 * 1024 * 1024)
        self.writers.append(writer)
        return reader, writer


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@contextlib.asynccontextmanager
async def serving(path: str, limits: ConnectionLimits | None = None) -> AsyncIterator[Service]:
    gate = asyncio.Event()
    hub = Hub(run="r")
    burnt: list[None] = []

    def burn() -> None:
        time.sleep(BURN)
        burnt.append(None)

    async def wait(params: Echo, _peer: Peer) -> object:
        await gate.wait()
        return params.value

    rows = (
        Method("ping", "", lambda _params, _peer: "pong", NoParams),
        Method("echo", "", lambda params, _peer: params.value, Echo),
        Method("wait", "", wait, Echo),
        Method(
            "subscribe",
            "",
            lambda params, _peer: Opened(
                Raw(b'"snapshot"'),
                hub.subscribe(params.topics if params.topics is not None else TOPICS),
            ),
            SubscribeParams,
        ),
        Method("big", "", lambda _params, _peer: BIG, NoParams),
        Method("burn", "", lambda _params, _peer: burn(), NoParams),
        Method("reload", "", lambda _params, peer: peer.uid, NoParams, control=True),
    )
    dispatcher = Dispatcher(methods={row.name: row for row in rows}, own_uid=os.geteuid())
    listener = listen(path, mode=0o666)
    server = ControlServer(dispatch=dispatcher, refusal=dispatcher.refusal, limits=limits)
    server.start(listener.socket)
    service = Service(path, server, gate, burnt)
    try:
        yield service
    finally:
        await server.stop(grace=0.1)
        listener.close()
        for writer in service.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def request(method: str, ident: object = 1, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}).encode() + b"\n"


async def answer(reader: asyncio.StreamReader) -> Any:
    async with asyncio.timeout(PATIENCE):
        line = await reader.readline()
    assert line.endswith(b"\n"), "the connection ended without an answer"
    return json.loads(line)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether nothing more comes; a reset after unread requests is an end too."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def ping(client: Client) -> None:
    client[1].write(PING)
    assert (await answer(client[0]))["result"] == "pong"


async def test_pipelined_requests_are_answered_in_order_even_behind_a_slow_one(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        count = ANSWERS_PER_TURN * 3
        writer.write(request("wait", "slow", value=7))
        writer.write(b"".join(request("echo", i, value=i) for i in range(count)))
        other = await service.connect()
        await ping(other)  # a slow answer holds up nobody else
        service.gate.set()
        assert (await answer(reader))["id"] == "slow"
        assert [(await answer(reader))["result"] for _ in range(count)] == list(range(count))


async def test_a_request_in_pieces_is_one_request(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        for byte in PING:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await answer(reader))["result"] == "pong"


@pytest.mark.parametrize("newline", [b"\n", b""])
async def test_a_client_that_closes_its_side_first_is_answered_and_let_go(path: str, newline: bytes) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        writer.write(PING + request("wait", 2, value=5).rstrip() + newline)
        writer.write_eof()
        assert (await answer(reader))["result"] == "pong"
        service.gate.set()
        assert (await answer(reader))["result"] == 5
        assert await ended(reader)
        await until(lambda: len(service.server) == 0)


async def test_a_client_that_says_nothing_and_leaves_costs_nothing(path: str) -> None:
    async with serving(path) as service:
        for _ in range(200):
            _reader, writer = await service.connect()
            writer.close()
        await until(lambda: len(service.server) == 0)


async def test_a_line_that_is_no_json_is_answered_last(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        writer.write(PING + b"GET / HTTP/1.1\r\n" + PING)
        assert (await answer(reader))["result"] == "pong"
        last = await answer(reader)
        assert (last["id"], last["error"]["code"]) == (None, -32700)
        assert await ended(reader)


async def test_a_bad_request_leaves_the_connection_open(path: str) -> None:
    async with serving(path) as service:
        client = await service.connect()
        client[1].write(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n')
        error = (await answer(client[0]))["error"]
        assert (error["code"], error["data"]["kind"]) == (-32600, "batch")
        await ping(client)


async def test_a_request_of_1_mib_is_taken_and_one_byte_more_is_not(path: str) -> None:
    async with serving(path) as service:
        frame = len(request("echo", 1, value="")) - 1
        text = "y" * (1024 * 1024 - frame)
        reader, writer = await service.connect()
        writer.write(request("echo", 1, value=text))
        assert (await answer(reader))["result"] == text
        # What came whole before it is answered first, also when the answer takes its time.
        writer.write(request("wait", 2, value=2) + request("echo", 3, value=text + "y"))
        await asyncio.sleep(0)
        service.gate.set()
        assert (await answer(reader))["id"] == 2
        assert (await answer(reader))["error"]["data"]["kind"] == "too-long"
        assert await ended(reader)


async def test_a_request_without_end_is_refused_before_it_ends(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        writer.write(b" " * (1024 * 1024 + 1))
        assert (await answer(reader))["error"]["data"]["kind"] == "too-long"
        assert await ended(reader)


async def test_a_request_has_a_deadline_to_become_whole(path: str) -> None:
    async with serving(path, ConnectionLimits(whole_request=SHORT)) as service:
        reader, writer = await service.connect()
        writer.write(PING + b'{"jsonrpc"')
        assert (await answer(reader))["result"] == "pong"
        assert (await answer(reader))["error"]["data"]["kind"] == "too-slow"
        assert await ended(reader)


async def test_each_request_has_its_own_deadline(path: str) -> None:
    """Requests cut anywhere, for longer than one of them may take, are each whole in time."""
    async with serving(path, ConnectionLimits(whole_request=1.0)) as service:
        reader, writer = await service.connect()
        half = len(PING) // 2
        writer.write(PING[:half])
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            writer.write(PING[half:] + PING[:half])
            assert (await answer(reader))["result"] == "pong"
            await asyncio.sleep(0.05)


async def test_an_idle_client_has_no_deadline(path: str) -> None:
    async with serving(path, ConnectionLimits(whole_request=SHORT, write_deadline=SHORT)) as service:
        client = await service.connect()
        await ping(client)
        await asyncio.sleep(SHORT * 3)
        await ping(client)


@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_client_that_never_reads_is_dropped_and_holds_up_nobody(path: str, half_closed: bool) -> None:
    async with serving(path, ConnectionLimits(write_deadline=SHORT)) as service:
        greedy = socket.socket(socket.AF_UNIX)
        try:
            greedy.connect(path)
            greedy.sendall(request("big", 1) * 100)
            if half_closed:
                greedy.shutdown(socket.SHUT_WR)
            await until(lambda: len(service.server) == 1)
            await ping(await service.connect())
            await until(lambda: len(service.server) == 1)  # the polite one
        finally:
            greedy.close()


async def test_a_small_answer_left_unread_has_the_same_deadline(path: str) -> None:
    async with serving(path, ConnectionLimits(write_deadline=SHORT)) as service:
        greedy = socket.socket(socket.AF_UNIX)
        greedy.setblocking(False)
        try:
            greedy.connect(path)
            with contextlib.suppress(BlockingIOError):
                while True:  # until neither side takes any more
                    greedy.send(PING * 100)
            await until(lambda: len(service.server) == 1)
            await until(lambda: len(service.server) == 0)
        finally:
            greedy.close()


async def test_a_slow_reader_gets_everything_and_its_waiting_request_is_not_too_slow(path: str) -> None:
    async with serving(path, ConnectionLimits(whole_request=SHORT)):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(client, path)
            await loop.sock_sendall(client, request("big", 1) + PING[:20])
            await asyncio.sleep(SHORT * 3)  # it waits for us, not we for it
            await loop.sock_sendall(client, PING[20:])
            received = b""
            while received.count(b"\n") < 2:
                chunk = await loop.sock_recv(client, 1 << 20)
                assert chunk, "the connection ended too soon"
                received += chunk
            assert b"pong" in received[-100:]
        finally:
            client.close()


async def test_a_flood_of_tiny_requests_leaves_others_their_turn(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        flood = b"1\n" * 100_000
        writer.write(flood)
        await ping(await service.connect())
        async with asyncio.timeout(PATIENCE):
            for _ in range(100_000):
                assert b"-32600" in await reader.readline()


async def test_many_pipelines_at_once_leave_the_loop_its_turns(path: str) -> None:
    async with serving(path) as service:
        clients = [await service.connect() for _ in range(20)]
        await until(lambda: len(service.server) == 20)
        loop = asyncio.get_running_loop()
        seen, most, ended = 0, 0, False

        def tick() -> None:
            nonlocal seen, most
            most = max(most, len(service.burnt) - seen)
            seen = len(service.burnt)
            if not ended:
                loop.call_soon(tick)

        tick()
        for _, writer in clients:
            writer.write(request("burn") * 60)
        for reader, _ in clients:
            for _ in range(60):
                assert (await answer(reader))["result"] is None
        ended = True
        assert len(service.burnt) == 20 * 60
        assert most <= 2 * SLICE / BURN + 2  # in one turn of the loop, where it was hundreds


async def test_when_full_an_incomplete_request_gives_way_first_then_the_longest_idle(path: str) -> None:
    async with serving(path, ConnectionLimits(connections=64)) as service:
        clients = [await service.connect() for _ in range(64)]
        await until(lambda: len(service.server) == 64)
        for index, client in enumerate(clients):
            if index != 20:
                await ping(client)
        clients[20][1].write(b'{"jsonrpc"')
        await ping(clients[0])  # so that the second is the longest idle
        for gives_way in (20, 1, 2):
            await ping(await service.connect())
            assert await ended(clients[gives_way][0])
            assert len(service.server) == 64
        assert service.server.refused == 0
        for index, client in enumerate(clients):
            if index not in {20, 1, 2}:
                await ping(client)


async def test_when_all_are_being_answered_a_newcomer_is_refused_politely(path: str) -> None:
    async with serving(path, ConnectionLimits(connections=16)) as service:
        clients = [await service.connect() for _ in range(16)]
        for number, (_, writer) in enumerate(clients):
            writer.write(request("wait", number, value=number))
        for _, writer in clients:
            await writer.drain()
        await until(lambda: all(not one.waits for one in service.server._admission.connections()))
        refused_reader, _ = await service.connect()
        error = (await answer(refused_reader))["error"]
        assert error["data"]["kind"] == "busy"
        assert "16" in error["message"]
        assert await ended(refused_reader)
        assert service.server.refused == 1
        service.gate.set()
        for number, (reader, _) in enumerate(clients):
            assert (await answer(reader))["result"] == number


async def test_who_does_not_read_its_answer_gives_way_before_its_deadline(path: str) -> None:
    async with serving(path, ConnectionLimits(connections=16, write_deadline=PATIENCE)) as service:
        greedy = [socket.socket(socket.AF_UNIX) for _ in range(16)]
        try:
            for one in greedy:
                one.connect(path)
                one.sendall(request("big"))
            await until(
                lambda: sum(one._unread is not None for one in service.server._admission.connections()) == 16
            )
            await ping(await service.connect())
            assert len(service.server) == 16
        finally:
            for one in greedy:
                one.close()


async def test_a_rush_of_silent_newcomers_cannot_lock_anybody_out(path: str) -> None:
    async with serving(path, ConnectionLimits(connections=64)) as service:
        rush = [await service.connect() for _ in range(200)]
        asker = await service.connect()
        await ping(asker)
        await until(lambda: len(service.server) <= 64)
        assert rush


@pytest.mark.parametrize("what", ["half requests", "unread answers", "waiting requests"])
async def test_what_lies_in_memory_for_all_together_is_bounded(path: str, what: str) -> None:
    most = 20_000_000
    limits = ConnectionLimits(whole_request=PATIENCE, write_deadline=PATIENCE, held=most)
    sent = {
        "half requests": b'{"' + b"x" * 900_000,
        "unread answers": request("big"),
        # behind an answer that is long in coming
        "waiting requests": request("wait") + b"x" * 900_000,
    }[what]
    async with serving(path, limits) as service:
        greedy = [socket.socket(socket.AF_UNIX) for _ in range(60)]
        loop = asyncio.get_running_loop()
        try:
            for one in greedy:
                one.setblocking(False)
                await loop.sock_connect(one, path)
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(one, sent)
                await ping(await service.connect())
                assert service.server._memory._total <= most
            await until(lambda: len(service.server) <= 60 + 22)  # some of them were dropped
        finally:
            for one in greedy:
                one.close()


async def test_subscribers_have_half_of_the_places_and_are_told(path: str) -> None:
    async with serving(path, ConnectionLimits(connections=16)) as service:
        clients = [await service.connect() for _ in range(10)]
        for _, writer in clients:
            writer.write(request("subscribe", 5))
        said = [await answer(reader) for reader, _ in clients]
        assert [one.get("result") for one in said] == ["snapshot"] * 8 + [None] * 2
        assert {(one["id"], one["error"]["data"]["kind"]) for one in said[8:]} == {(5, "busy")}
        await ping(clients[9])  # it is refused the subscription alone
        clients[0][1].write(request("subscribe", 6))  # again, for it is one already
        assert (await answer(clients[0][0]))["result"] == "snapshot"
        clients[1][1].write(request("subscribe", 7, topics=[]))
        assert (await answer(clients[1][0]))["result"] == "snapshot"
        clients[9][1].write(request("subscribe", 8))
        assert (await answer(clients[9][0]))["result"] == "snapshot"
        clients[2][1].close()
        await until(lambda: len(service.server) == 9)
        clients[8][1].write(request("subscribe", 9))
        assert (await answer(clients[8][0]))["result"] == "snapshot"


async def test_stopping_lets_answers_out_and_then_drops_everybody(path: str) -> None:
    async with serving(path) as service:
        polite, silent = await service.connect(), await service.connect()
        await ping(polite)
        await until(lambda: len(service.server) == 2)
        await service.server.stop(grace=0.1)
        assert await ended(polite[0])
        assert await ended(silent[0])
        assert len(service.server) == 0


async def test_one_who_leaves_does_not_leave_its_call_behind(path: str) -> None:
    async with serving(path) as service:
        _reader, writer = await service.connect()
        writer.write(request("wait"))
        await until(lambda: len(service.server) == 1)
        writer.transport.abort()
        service.gate.set()
        await until(lambda: len(service.server) == 0)
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_the_own_user_may_control(path: str) -> None:
    async with serving(path) as service:
        reader, writer = await service.connect()
        writer.write(request("reload"))
        assert (await answer(reader))["result"] == os.geteuid()


ASK = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
client = socket.socket(socket.AF_UNIX)
client.settimeout(20)
client.connect(sys.argv[1])
client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"reload"}\\n{"jsonrpc":"2.0","id":2,"method":"ping"}\\n')
client.shutdown(socket.SHUT_WR)
sys.stdout.buffer.write(client.makefile("rb").read())
"""


@pytest.mark.root
async def test_another_user_may_ask_and_not_control(open_directory: Path) -> None:
    path = f"{open_directory}/s"
    async with serving(path):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", ASK, path, stdout=subprocess.PIPE
        )
        out, _ = await child.communicate()
        assert child.returncode == 0
        forbidden, pong = (json.loads(line) for line in out.splitlines())
        assert forbidden["error"]["data"]["kind"] == "forbidden"
        assert pong["result"] == "pong"


HOARD = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]))
clients = []
served = 0
for _ in range(int(sys.argv[3])):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(sys.argv[1])
    client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\\n')
    served += b"pong" in client.recv(1000)
    clients.append(client)
print(served, flush=True)
sys.stdin.readline()
held = 0
for client in clients:
    client.setblocking(False)
    try:
        held += client.recv(1) != b""
    except BlockingIOError:
        held += 1
    except OSError:
        pass
print(held)
"""


@pytest.mark.root
async def test_one_user_shuts_out_neither_another_nor_root(open_directory: Path) -> None:
    async def hoard(path: str, uid: int, many: int) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", HOARD, path, str(uid), str(many)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout
        assert int(await child.stdout.readline()) == many  # each was served
        return child

    async def held(child: asyncio.subprocess.Process) -> int:
        out, _ = await child.communicate(b"\n")
        return int(out)

    path = f"{open_directory}/s"
    async with serving(path, ConnectionLimits(connections=64)) as service:
        honest = await hoard(path, 65533, 5)
        greedy = await hoard(path, 65534, 200)
        assert len(service.server) == 60  # four are kept
        roots = [await service.connect() for _ in range(4)]
        for client in roots:
            await ping(client)
        assert len(service.server) == 64
        more = [await service.connect() for _ in range(4)]
        for client in more:
            await ping(client)
        late = await hoard(path, 65532, 5)
        assert await held(honest) == 5
        assert await held(late) == 5
        assert await held(greedy) == 64 - 5 - 5 - 8
        for client in (*roots, *more):
            await ping(client)


STARVED = """
import asyncio, logging, os, resource, sys, time
from coordd.control.connection import ConnectionLimits
from coordd.control.socket_file import listen
from coordd.control.rpc import Dispatcher, Method, NoParams
from coordd.control import server as server_module
from coordd.control.server import ControlServer

logging.basicConfig(stream=sys.stderr)

server_module.PAUSE = 0.2

class Counted(ControlServer):
    calls = 0

    def _accept(self):
        self.calls += 1
        super()._accept()

async def main():
    dispatcher = Dispatcher(
        methods={"ping": Method("ping", "", lambda _p, _q: "pong", NoParams)}, own_uid=os.geteuid()
    )
    listener = listen(sys.argv[1], mode=0o600)
    server = Counted(dispatch=dispatcher, refusal=dispatcher.refusal)
    server.start(listener.socket)
    if sys.argv[2] == "no spare":
        os.close(server._spare)
        server._spare = None
    hoard = []
    try:
        while True:
            hoard.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    print("starved", flush=True)
    loop = asyncio.get_running_loop()
    free = asyncio.Event()
    loop.add_reader(0, free.set)
    began = time.monotonic()
    if sys.argv[2] == "no spare":
        while server.calls < 5:
            await asyncio.sleep(0.01)
        print(time.monotonic() - began, flush=True)
    await free.wait()
    print(server.calls, flush=True)
    loop.remove_reader(0)
    for one in hoard:
        os.close(one)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop(grace=0.1)
    listener.close()

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
asyncio.run(main())
"""


@contextlib.contextmanager
def starved(path: str, spare: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STARVED), path, spare],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def ask(path: str) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(PING)
        return json.loads(client.makefile("rb").readline())


@pytest.mark.parametrize("spare", ["spare", "no spare"])
def test_without_descriptors_clients_are_told_so_once_each_and_it_recovers(path: str, spare: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40
    with starved(path, spare) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline() == "starved\n"
        waiting = []
        if spare == "spare":
            for _ in range(30):
                assert ask(path)["error"]["data"]["kind"] == "busy"
        else:
            for _ in range(3):
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].connect(path)
            # Five looks at them, with a pause after each: a busy loop has had them in no time.
            assert float(child.stdout.readline()) > 0.2 * 3
        child.stdin.write("\n")
        child.stdin.flush()
        calls = int(child.stdout.readline())
        if spare == "spare":
            assert calls <= 2 * 30, "it was woken up for nobody"
        eventually(lambda: "result" in ask(path))
        for one in waiting:
            one.close()
        child.stdin.write("\n")
        child.stdin.close()
        log = child.stderr.read()
        assert child.wait(PATIENCE) == 0
        assert len(log.splitlines()) == 1, log
        assert "Too many open files" in log
