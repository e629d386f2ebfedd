"""Subscribing to a real daemon: what is recorded is told, once and in order, and nobody can slow it down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from live import Coordd, Project, watching
from msgspec import Raw
from subscriber import Subscriber
from waiting import PATIENCE, eventually, until

from coordd.control.connection import ConnectionLimits
from coordd.control.hub import Hub, SubscriberBounds
from coordd.control.rpc import Dispatcher, Method, NoParams, Opened
from coordd.control.server import ControlServer
from coordd.control.socket_file import listen
from coordd.model import RECORD_TOPICS

SHORT = 0.3
KINDS = ("event", "agent", "system")


@pytest.fixture
def subscribed() -> Iterator[Callable[..., Subscriber]]:
    subscribers: list[Subscriber] = []

    def subscribe(coordd: Coordd, *arguments: Any, **options: Any) -> Subscriber:
        subscribers.append(Subscriber(coordd.socket, *arguments, **options))
        return subscribers[-1]

    yield subscribe
    for subscriber in subscribers:
        subscriber.close()


def seqs(messages: list[dict[str, Any]]) -> list[int]:
    return [message["params"]["seq"] for message in messages]


def stripped(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message["params"].items() if name != "seq"}


def test_a_snapshot_then_what_happens(project: Project, tmp_path: Path, subscribed: Any) -> None:
    project.beat("before")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("system.latest"))
        subscriber = subscribed(coordd)
        snapshot = subscriber.snapshot
        assert set(snapshot) == {
            "run", "seq", "timestamp", "topics", "resumed", "reason", "status", "agents",
        }  # fmt: skip
        assert (snapshot["resumed"], snapshot["reason"]) == (False, None)
        assert snapshot["topics"] == ["event", "agent", "system", "task", "attention"]
        assert [agent["agent_id"] for agent in snapshot["agents"]] == ["before"]
        assert "last_heartbeat_age" in snapshot["agents"][0]
        assert snapshot["status"]["agents"]["active"] == 1
        project.beat("after")
        messages = [subscriber.next(), subscriber.next()]
        assert seqs(messages) == [snapshot["seq"] + 1, snapshot["seq"] + 2]
        assert [message["method"] for message in messages] == ["agent", "event"]
        assert messages[0]["params"]["agent_id"] == "after"
        assert messages[1]["params"]["kind"] == "agent.active"
        assert "id" not in messages[0]
        assert coordd.rpc("describe")["methods"]["subscribe"]["params"] == [
            {"name": "topics", "type": "array|null", "required": False},
            {"name": "since", "type": "string|null", "required": False},
            {"name": "snapshot", "type": '"all"|"none"|"status"', "required": False},
        ]


def test_topics_can_be_chosen_changed_and_given_up_on_one_connection(
    project: Project, tmp_path: Path, subscribed: Any
) -> None:
    with watching(project, tmp_path) as coordd:
        eventually(lambda: project.records("event"))
        subscriber = subscribed(coordd, {"topics": ["event"]})
        assert subscriber.snapshot["topics"] == ["event"]
        project.beat("a")
        first = subscriber.next()
        assert first["method"] == "event"
        assert subscriber.ask("ping")["pid"] == coordd.pid
        project.beat("a")
        eventually(lambda: len(project.records("agent")) == 2)

        def later() -> Any:  # a record is on disk a little before it has a number
            again = subscriber.ask("subscribe", [["agent"]])
            return again["seq"] > first["params"]["seq"] and again

        again = eventually(later)
        project.beat("b")
        notified = subscriber.next()
        assert (notified["method"], notified["params"]["agent_id"]) == ("agent", "b")
        assert notified["params"]["seq"] > again["seq"]
        assert subscriber.ask("subscribe", {"topics": []})["topics"] == []
        project.beat("c")
        eventually(lambda: coordd.agent("c"))
        subscriber.socket.sendall(b'{"jsonrpc":"2.0","id":7,"method":"ping"}\n')
        assert subscriber.next()["id"] == 7
        for bad in ({"topics": ["everything"]}, {"topics": "event"}, {"topic": ["event"]}):
            subscriber.socket.sendall(
                json.dumps({"jsonrpc": "2.0", "id": 8, "method": "subscribe", "params": bad}).encode() + b"\n"
            )
            assert subscriber.next()["error"]["code"] == -32602


def test_every_record_written_is_told_once_and_in_order(
    project: Project, tmp_path: Path, subscribed: Any
) -> None:
    """Beats, tasks, verdicts, removals, an unreadable workspace, reloads, the end: as the files have them."""
    settings = {"COORDD_AGENTS_TIMEOUT": "2s", "COORDD_SAMPLING_INTERVAL": "1s"}
    with watching(project, tmp_path, **settings) as coordd:
        all_topics, agents_only = subscribed(coordd, [list(KINDS)]), subscribed(coordd, {"topics": ["agent"]})
        hear, hear_agents = all_topics.listen(), agents_only.listen()
        agents = [f"agent-{n}" for n in range(100)]
        for turn in range(5):
            for agent in agents:
                project.beat(agent, f"{time.time():.3f}")
            eventually(lambda turn=turn: len(project.records("agent")) >= 100 * (turn + 1))
        for agent in agents[:20]:
            (project.agents / f"{agent}.tasks").write_text("t-1\n")
        for agent in agents[20:40]:
            (project.agents / f"{agent}.heartbeat").unlink()
        coordd.rpc("reload")
        eventually(lambda: set(coordd.statuses().values()) == {"inactive"})
        away = project.claude / "elsewhere"
        project.coordination.rename(away)
        eventually(lambda: coordd.rpc("status")["workspaces"][0]["state"] == "unreadable")
        away.rename(project.coordination)
        eventually(lambda: coordd.rpc("status")["workspaces"][0]["error"] is None)
        assert coordd.stop() == 0
        told, told_agents = hear(), hear_agents()

    assert seqs(told) == list(range(all_topics.snapshot["seq"] + 1, told[-1]["params"]["seq"] + 1))
    for kind in KINDS:
        of_kind = [stripped(message) for message in told if message["method"] == kind]
        records = project.records(kind)
        assert of_kind == records[len(records) - len(of_kind) :]
    assert told[-1]["params"]["seq"] == sum(len(project.records(kind)) for kind in KINDS)
    assert told_agents == [
        message
        for message in told
        if message["method"] == "agent" and message["params"]["seq"] > agents_only.snapshot["seq"]
    ]
    assert {record["cause"] for record in project.records("agent")} >= {
        "appeared", "heartbeat", "tasks", "verdict", "removed",
    }  # fmt: skip
    assert told[-1]["params"]["kind"] == "daemon.stopped"


def test_what_is_told_is_on_disk_already(project: Project, tmp_path: Path, subscribed: Any) -> None:
    with watching(project, tmp_path) as coordd:
        subscriber = subscribed(coordd)
        for n in range(50):
            project.beat(f"agent-{n}")
            message = subscriber.next()
            assert stripped(message) in project.records(message["method"])


def test_one_who_never_reads_costs_a_bounded_buffer_and_nobody_else_anything(
    project: Project, tmp_path: Path, subscribed: Any
) -> None:
    agents = [f"agent-{n:03}" for n in range(500)]
    turns = 40
    with watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s") as coordd:
        for agent in agents:
            project.beat(agent)
        eventually(lambda: len(coordd.statuses()) == 500)
        eventually(lambda: coordd.rpc("system.latest"))
        deaf = [subscribed(coordd) for _ in range(10)]
        listener = subscribed(coordd, {"topics": ["agent"]})
        before = psutil.Process(coordd.pid).memory_info().rss
        sampled = coordd.rpc("system.latest")["timestamp"]
        for turn in range(turns):
            for agent in agents:
                os.utime(project.agents / f"{agent}.heartbeat")
            beats = 0
            while beats < 500:  # one who reads hears of everything
                message = listener.next()
                assert message["method"] == "agent"
                beats += message["params"]["cause"] == "heartbeat"
            assert coordd.rpc("ping")["pid"] == coordd.pid, turn
        grown = psutil.Process(coordd.pid).memory_info().rss - before
        eventually(lambda: coordd.rpc("system.latest")["timestamp"] > sampled)
        last = subscribed(coordd).snapshot["seq"]
        for subscriber in deaf:
            messages = subscriber.until(last)
            lagged = [message for message in messages if message["method"] == "lagged"]
            assert len(lagged) == 1
            dropped = lagged[0]["params"]["dropped"]
            assert dropped + len(messages) - 1 == messages[-1]["params"]["seq"] - subscriber.snapshot["seq"]
            assert dropped > 500 * turns - SubscriberBounds().notifications - 3000
            expected = subscriber.snapshot["seq"]
            for message in messages:
                if message["method"] == "lagged":
                    expected += message["params"]["dropped"]
                    assert message["params"]["seq"] == expected
                else:
                    expected += 1
                    assert message["params"]["seq"] == expected
    # Ten queues of 4 MiB that share what they hold, and what a busy daemon takes anyway.
    assert grown < 30 * 1024 * 1024


def test_sixty_subscribers_hear_the_same(project: Project, tmp_path: Path, subscribed: Any) -> None:
    with watching(project, tmp_path) as coordd:
        subscribers = [subscribed(coordd) for _ in range(60)]
        hear = [subscriber.listen() for subscriber in subscribers]
        for n in range(1000):
            project.beat(f"agent-{n % 250}", f"{time.time() + n / 1000:.3f}")
        eventually(lambda: len(coordd.statuses()) == 250)
        assert coordd.stop() == 0
        heard = [one() for one in hear]
    last = subscribers[-1].snapshot["seq"]
    stories = [[message for message in story if message["params"]["seq"] > last] for story in heard]
    assert len(stories[0]) > 250
    assert all(story == stories[0] for story in stories)
    assert stories[0][-1]["params"]["kind"] == "daemon.stopped"


def test_a_client_that_leaves_is_forgotten_and_kill_9_leaves_no_seq_twice(
    project: Project, tmp_path: Path, subscribed: Any
) -> None:
    with watching(project, tmp_path) as coordd:
        for _ in range(200):  # more than there are connections
            Subscriber(coordd.socket).close()
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        subscriber = subscribed(coordd)
        coordd.stop(signal.SIGKILL)
        assert subscriber.rest() == []
    with watching(project, tmp_path) as coordd:
        subscriber = subscribed(coordd)
        assert [agent["agent_id"] for agent in subscriber.snapshot["agents"]] == ["a"]
        shutil.rmtree(project.agents)
        assert subscriber.next()["params"]["seq"] == subscriber.snapshot["seq"] + 1


# The connection by itself, with deadlines that a test can wait for.


@contextlib.asynccontextmanager
async def serving(path: str, limits: ConnectionLimits) -> AsyncIterator[tuple[Hub, ControlServer]]:
    hub = Hub(run="r")
    rows = (
        Method("ping", "", lambda _params, _peer: "pong", NoParams),
        Method("big", "", lambda _params, _peer: Raw(b'"' + b"x" * 8_000_000 + b'"'), NoParams),
        Method(
            "subscribe",
            "",
            lambda _params, _peer: Opened(Raw(b"{}"), hub.subscribe(RECORD_TOPICS)),
            NoParams,
        ),
    )
    dispatcher = Dispatcher(methods={row.name: row for row in rows}, own_uid=os.geteuid())
    listener = listen(path, mode=0o600)
    server = ControlServer(dispatch=dispatcher, refusal=dispatcher.refusal, limits=limits)
    server.start(listener.socket)
    try:
        yield hub, server
    finally:
        await server.stop(grace=0.1)
        listener.close()


async def open_subscription(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, path)
    await loop.sock_sendall(client, b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    assert b'"result":{}' in await loop.sock_recv(client, 1000)
    return client


def flood(hub: Hub) -> None:
    """More than a socket takes."""
    for _ in range(20):
        hub.publish("agent", [b'{"x":"' + b"y" * 1000 + b'"}' for _ in range(100)])


async def test_a_subscriber_may_leave_notifications_unread_but_not_for_ever(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with serving(path, ConnectionLimits(write_deadline=SHORT, silence=4 * SHORT)) as (hub, server):
        client = await open_subscription(path)
        flood(hub)
        began = time.monotonic()
        await until(lambda: len(server) == 0)
        assert time.monotonic() - began >= 4 * SHORT
        assert len(hub) == 0
        client.close()


async def test_a_subscriber_that_reads_a_little_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with serving(path, ConnectionLimits(write_deadline=0.01, silence=1.0)) as (hub, server):
        client = await open_subscription(path)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        flood(hub)
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            assert await loop.sock_recv(client, 32 * 1024)
            await asyncio.sleep(0.05)
            flood(hub)
        assert len(server) == 1
        client.close()


async def test_a_subscriber_that_asks_has_to_read_the_answer(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with serving(path, ConnectionLimits(write_deadline=SHORT, silence=PATIENCE * 2)) as (
        hub,
        server,
    ):
        client = await open_subscription(path)
        hub.publish("agent", [b'{"x":1}'])
        assert b'"x":1' in await loop.sock_recv(client, 1000)
        await loop.sock_sendall(client, b'{"jsonrpc":"2.0","id":2,"method":"big"}\n')
        await until(lambda: len(server) == 0)
        assert len(hub) == 0
        client.close()


async def test_one_that_closes_its_side_is_let_go(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with serving(path, ConnectionLimits()) as (hub, server):
        client = await open_subscription(path)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: len(server) == 0)
        assert await loop.sock_recv(client, 10) == b""
        assert len(hub) == 0
        client.close()


async def test_stopping_tells_what_is_queued(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with serving(path, ConnectionLimits()) as (hub, server):
        client = await open_subscription(path)
        hub.publish("event", [b'{"kind":"daemon.stopped"}'])
        await server.stop(grace=1.0)
        assert b"daemon.stopped" in await loop.sock_recv(client, 1000)
        client.close()
