"""Going on after a lost connection, with a real daemon: nothing lost, nothing twice, or it is said."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, RpcFailed, beating, watching
from real_processes import sleeper
from subscriber import Subscriber
from waiting import PATIENCE, eventually, until

from coordd.dashboard.upstream import Upstream
from coordd.errors import CannotTell
from coordd.protocol.client import connect
from coordd.protocol.paths import DaemonLocation

KINDS = ("event", "agent", "system")


class Cut:
    """A client whose connection breaks after any byte, and that goes on from its last whole line."""

    def __init__(self, path: Path, topics: list[str]) -> None:
        self.heard: list[dict[str, Any]] = []
        self.resumed = 0
        self._path = str(path)
        self._topics = topics
        self.run, self.at = "", 0
        self.first = 0

    def listen(self, size: int) -> bytes:
        """Connect, take at most so many bytes, hang up; return what was taken."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(self._path)
            params: dict[str, Any] = {"topics": self._topics, "snapshot": "none"}
            if self.run:
                params["since"] = f"{self.run}:{self.at}"
            request = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}
            client.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while len(data) < size and (piece := client.recv(min(4096, size - len(data)))):
                data += piece
        return data

    def take(self, data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            message = json.loads(line)
            if "id" in message:
                self._begin(message["result"])
                continue
            assert message["method"] != "lagged"
            self.heard.append(message)
            self.at = message["params"]["seq"]

    def _begin(self, answer: dict[str, Any]) -> None:
        if not self.run:
            assert (answer["resumed"], answer["reason"]) == (False, None)
            self.run, self.first = answer["run"], answer["seq"]
            self.at = self.first
            return
        assert answer["resumed"] is True, answer
        assert (answer["run"], answer["seq"]) == (self.run, self.at)
        assert "status" not in answer
        assert "agents" not in answer
        self.resumed += 1


@contextmanager
def busy(project: Project, agents: list[str]) -> Iterator[None]:
    """Let agents beat, come and go all the time."""
    ending = threading.Event()
    chance = random.Random(16)

    def work() -> None:
        while not ending.wait(0.01):
            project.beat(chance.choice(agents), f"{time.time():.3f}")
            if chance.random() < 0.1:
                (project.agents / f"{chance.choice(agents)}.heartbeat").unlink(missing_ok=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize("topics", [list(KINDS), ["event"]], ids=["all", "events"])
def test_a_connection_that_is_cut_after_any_byte_loses_nothing(
    project: Project, tmp_path: Path, topics: list[str]
) -> None:
    chance = random.Random(7)
    with watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s") as coordd:
        client = Cut(coordd.socket, topics)
        with busy(project, [f"agent-{n}" for n in range(20)]):
            while len(client.heard) < 150 or client.resumed < 30:
                client.take(client.listen(chance.choice([1, 50, 130, 200, 300, 1000, 3000, 9000])))
        last = eventually(lambda: _still(coordd), what="nothing more happens")
        data = client.listen(10**9) if coordd.stop() else b""
    told = [(one["method"], _stripped(one)) for one in client.heard]
    seqs = [one["params"]["seq"] for one in client.heard]
    assert seqs == sorted(set(seqs))
    assert data == b""
    for kind in topics:
        of_kind = [record for method, record in told if method == kind]
        records = project.records(kind)
        start = records.index(of_kind[0])
        assert of_kind == records[start : start + len(of_kind)]
    if len(topics) == 3:  # no number is missing
        assert seqs == list(range(client.first + 1, client.first + 1 + len(seqs)))
        assert seqs[-1] <= last


def _still(coordd: Coordd) -> int:
    return int(coordd.rpc("subscribe", {"snapshot": "none"})["seq"])


def _stripped(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message["params"].items() if name != "seq"}


def test_a_daemon_that_was_restarted_says_that_it_cannot_and_gives_the_snapshot(
    project: Project, tmp_path: Path
) -> None:
    project.beat("a")
    with watching(project, tmp_path) as coordd:
        before = coordd.rpc("subscribe")
    with watching(project, tmp_path) as coordd:
        answer = coordd.rpc("subscribe", {"since": f"{before['run']}:{before['seq']}"})
        assert answer["run"] != before["run"]
        assert answer["resumed"] is False
        assert answer["reason"] == "that place is of another run of coordd: this one has started since"
        assert [agent["agent_id"] for agent in answer["agents"]] == ["a"]
        assert "missed" not in answer


def test_places_that_are_none_are_refused_and_those_of_no_moment_said(
    project: Project, tmp_path: Path
) -> None:
    with watching(project, tmp_path) as coordd:
        answer = coordd.rpc("subscribe", {"topics": ["event"], "snapshot": "none"})
        run, seq = answer["run"], answer["seq"]
        assert "status" not in answer
        ahead = coordd.rpc("subscribe", {"since": f"{run}:{seq + 1000}", "snapshot": "status"})
        assert ahead["resumed"] is False
        assert "not to" in ahead["reason"]
        assert "status" in ahead
        assert "agents" not in ahead
        bad = [
            "", "x", f"{run}:", f"{run}:-1", f"{run}:{10**30}", f"{run}:1.5", f":{seq}", "\u0000:x",
            "y" * 100_000,
            7, -7, 1.5, True, [run, seq], {"run": run, "seq": seq}, {},
        ]  # fmt: skip
        for since in bad:
            with pytest.raises(RpcFailed) as failed:
                coordd.rpc("subscribe", {"since": since})
            error = failed.value.error
            assert (error["code"], error["data"]["kind"]) == (-32602, "params"), since
            assert "since" in error["message"], since
            assert len(error["message"]) < 400
        with pytest.raises(RpcFailed):
            coordd.rpc("subscribe", {"snapshot": "everything"})
        assert coordd.rpc("ping")["pid"] == coordd.pid


def test_one_who_was_away_for_too_long_is_told_what_is_kept(project: Project, tmp_path: Path) -> None:
    agents = [f"agent-{n:03}" for n in range(500)]
    with watching(project, tmp_path) as coordd:
        for agent in agents:
            project.beat(agent)
        eventually(lambda: len(coordd.statuses()) == 500)
        answer = coordd.rpc("subscribe", {"topics": ["agent", "event"], "snapshot": "none"})
        place = f"{answer['run']}:{answer['seq']}"
        for turn in range(9):
            for agent in agents:
                os.utime(project.agents / f"{agent}.heartbeat")
            eventually(lambda turn=turn: len(project.records("agent")) >= 500 * (turn + 2))
        later = coordd.rpc("subscribe", {"topics": ["agent"], "since": place, "snapshot": "none"})
        assert later["resumed"] is False
        assert "agent after" in later["reason"]
        events = coordd.rpc("subscribe", {"topics": ["event"], "since": place})
        assert (events["resumed"], events["missed"]) == (True, 0)


def test_a_lagging_subscriber_goes_on_from_where_it_was(project: Project, tmp_path: Path) -> None:
    """It never reads and loses the oldest; with its events alone it goes on all the same."""
    agents = [f"agent-{n:03}" for n in range(500)]
    with ExitStack() as ends, watching(project, tmp_path) as coordd:
        deaf = ends.enter_context(
            Subscriber(coordd.socket, {"topics": ["agent", "event"], "snapshot": "none"})
        )
        place = f"{deaf.snapshot['run']}:{deaf.snapshot['seq']}"
        for agent in agents:
            project.beat(agent)
        turns = 30
        for turn in range(turns):
            for agent in agents:
                os.utime(project.agents / f"{agent}.heartbeat")
            eventually(lambda turn=turn: len(project.records("agent")) >= 500 * (turn + 1))
        messages = []
        while not messages or messages[-1]["method"] != "lagged":
            messages.append(deaf.next())
        assert messages[-1]["params"]["dropped"] > 0
        again = ends.enter_context(Subscriber(coordd.socket, {"topics": ["event"], "since": place}))
        assert again.snapshot["resumed"] is True
        missed = [_stripped(again.next()) for _ in range(again.snapshot["missed"])]
        assert sum(one["kind"] == "agent.active" for one in missed) == 500
        assert missed == project.records("event")[-len(missed) :]


# Topics that are made for their followers.


def claim(project: Project, task: str, agent: str, *, ttl: float = 3600) -> Path:
    (project.coordination / "claims").mkdir(exist_ok=True)
    path = project.coordination / "claims" / f"{task}.claim"
    path.write_text(json.dumps({"agent_id": agent, "claimed_at": time.time(), "ttl": ttl}))
    return path


def test_a_task_is_told_of_from_its_appearance_to_its_end(project: Project, tmp_path: Path) -> None:
    tasks = project.coordination / "tasks"
    tasks.mkdir()
    resumed = False
    with ExitStack() as ends, beating(project, "a", "b"), watching(project, tmp_path) as coordd:
        eventually(lambda: len(coordd.statuses()) == 2)
        stack = ends.enter_context(ExitStack())
        subscriber = stack.enter_context(Subscriber(coordd.socket, {"topics": ["task"], "snapshot": "none"}))
        places = []

        def told() -> tuple[str, str, str | None]:
            params = subscriber.next()["params"]
            places.append(f"{subscriber.snapshot['run']}:{params['seq']}")
            assert (params["task_id"], params["workspace"]) == ("t", str(project.root))
            if params["change"] != "gone" and not resumed:
                (listed,) = coordd.rpc("tasks.list")["tasks"]
                known = {k: v for k, v in params.items() if k not in ("seq", "timestamp", "change")}
                assert known == listed
            return params["change"], params["state"], params["agent_id"]

        (tasks / "t").write_text("do it")
        assert told() == ("appeared", "available", None)
        began = time.time()
        claim(project, "t", "a", ttl=3)
        assert told() == ("changed", "held", "a")
        assert told() == ("changed", "expired", "a")
        assert time.time() - began < 3 + 1.5  # a second for it, and the time that writing took
        claim(project, "t", "b")
        assert told() == ("changed", "held", "b")
        stack.close()
        (tasks / "t").unlink()
        (project.coordination / "claims" / "t.claim").unlink()
        eventually(lambda: not coordd.rpc("tasks.list")["tasks"])
        resumed = True
        subscriber = stack.enter_context(Subscriber(coordd.socket, {"topics": ["task"], "since": places[-2]}))
        assert subscriber.snapshot["resumed"] is resumed is True
        assert told() == ("changed", "held", "b")
        assert told() == ("gone", "held", "b")


def test_a_claim_is_told_of_as_orphaned_when_its_holder_falls_silent(
    project: Project, tmp_path: Path
) -> None:
    topics = {"topics": ["task", "attention"], "snapshot": "none"}
    with (
        watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="2s") as coordd,
        Subscriber(coordd.socket, topics) as subscriber,
    ):
        project.beat("a", f"{time.time():.3f}")
        claim(project, "t", "a")
        heard: dict[str, list[dict[str, Any]]] = {"task": [], "attention": []}
        while len(heard["task"]) < 2 or not heard["attention"]:
            message = subscriber.next()
            heard[message["method"]].append(message["params"])
        assert [(one["change"], one["state"]) for one in heard["task"]] == [
            ("appeared", "held"),
            ("changed", "orphaned"),
        ]
        assert [one["kind"] for one in heard["attention"][0]["opened"]] == ["orphaned"]


class Mirror:
    """The list of what needs a human, by notifications alone."""

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.subscriber.close()

    def __init__(self, coordd: Coordd, since: str | None = None) -> None:
        params: dict[str, Any] = {"topics": ["attention"], "snapshot": "status"}
        self.subscriber = Subscriber(coordd.socket, params if since is None else {**params, "since": since})
        answer = self.subscriber.snapshot
        self.resumed, self.run, self.at = answer["resumed"], answer["run"], answer["seq"]
        status = answer.get("status", {"attention": []})
        self.entries = {one["id"]: one for one in status["attention"]}
        self.changes: list[dict[str, Any]] = []

    @property
    def place(self) -> str:
        return f"{self.run}:{self.at}"

    def hear(self) -> dict[str, Any]:
        params: dict[str, Any] = self.subscriber.next()["params"]
        assert params["seq"] > self.at
        self.at = params["seq"]
        for one in params["closed"]:
            known = self.entries.pop(one["id"])
            assert {**known, "why": one["why"]} == one
        for one in params["changed"]:
            assert self.entries[one["id"]] != one
            self.entries[one["id"]] = one
        for one in params["opened"]:
            assert one["id"] not in self.entries
            self.entries[one["id"]] = one
        assert params["total"] == len(self.entries)
        self.changes.append(params)
        return params

    def until(self, coordd: Coordd) -> None:
        """Hear until the list is that of the daemon."""
        listed = coordd.rpc("status")["attention"]
        while sorted(self.entries) != sorted(one["id"] for one in listed):
            self.hear()
        assert [self.entries[one["id"]] for one in listed] == listed


@contextmanager
def agents(project: Project, *names: str) -> Iterator[dict[str, Any]]:
    """Run a process for each of these agents, which registers itself and beats once."""
    with ExitStack() as stack:
        children = {}
        for name in names:
            children[name] = child = stack.enter_context(sleeper(cwd=project.root))
            project.register(name, pid=child.pid, started_at=time.time())
            project.beat(name)
        yield children


def kill(*children: Any) -> None:
    for child in children:
        os.kill(child.pid, 9)
    for child in children:
        child.wait()


def live(coordd: Coordd, *names: str) -> None:
    def reasons() -> dict[str, str]:
        return {one["agent_id"]: one["reason"] for one in coordd.rpc("agents.list")["agents"]}

    eventually(lambda: {reasons()[one] for one in names} == {"process"})


def test_what_needs_a_human_is_told_of_as_it_comes_and_goes(project: Project, tmp_path: Path) -> None:
    names = [f"agent-{n}" for n in range(6)]
    with ExitStack() as ends, agents(project, *names) as children, watching(project, tmp_path) as coordd:
        live(coordd, *names)
        mirror = ends.enter_context(Mirror(coordd))
        kill(children["agent-0"])
        opened = mirror.hear()["opened"]
        assert [(one["kind"], one["subject"]) for one in opened] == [("killed", "agent-0")]
        mirror.until(coordd)
        (entry,) = opened
        assert coordd.rpc("attention.ack", {"entry": entry["id"]}) == {"acknowledged": 1}
        assert mirror.hear()["closed"] == [{**entry, "why": "acknowledged"}]
        mirror.subscriber.close()
        kill(*(children[one] for one in names[1:4]))  # while nobody listens
        eventually(lambda: [one["kind"] for one in coordd.rpc("status")["attention"]] == ["mass"])
        again = ends.enter_context(Mirror(coordd, mirror.place))
        assert again.resumed
        again.entries = mirror.entries
        again.until(coordd)
        assert [one["kind"] for one in again.entries.values()] == ["mass"]
        project.beat("agent-1", f"{time.time() + 1:.3f}")  # somebody is back
        again.until(coordd)


def test_three_hundred_that_die_at_once_are_one_or_few_notifications(
    project: Project, tmp_path: Path
) -> None:
    names = [f"agent-{n:03}" for n in range(300)]
    with ExitStack() as ends, watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="4s") as coordd:
        stamp = time.time()
        for name in names:
            project.beat(name, f"{stamp:.3f}")
            claim(project, f"task-{name}", name)
        eventually(lambda: coordd.rpc("status")["tasks"]["claimed"] == 300)
        mirror = ends.enter_context(Mirror(coordd))
        while len(mirror.entries) < 301:
            mirror.hear()
        assert sum(one["kind"] == "mass" for one in mirror.entries.values()) == 1
        assert len(mirror.changes) <= 10  # a hundred entries each, and they die within a second
        assert max(len(one["opened"]) for one in mirror.changes) <= 100
        assert coordd.rpc("attention.ack") == {"acknowledged": 301}
        while mirror.entries:
            assert {one["why"] for one in mirror.hear()["closed"]} == {"acknowledged"}


def test_time_alone_is_told_in_time(project: Project, tmp_path: Path) -> None:
    """A rival's claim ends: the task is split no longer, and nothing is written."""
    with ExitStack() as ends, beating(project, "x", "y"), watching(project, tmp_path) as coordd:
        eventually(lambda: len(coordd.statuses()) == 2)
        mirror = ends.enter_context(Mirror(coordd))
        claim(project, "t", "x")
        until = time.time() + 4
        (project.coordination / "claims" / "t.json").write_text(
            json.dumps({"id": "t", "agent_id": "y", "claimed_at": time.time(), "expires_at": until})
        )
        assert [one["kind"] for one in mirror.hear()["opened"]] == ["split"]
        assert [(one["kind"], one["why"]) for one in mirror.hear()["closed"]] == [("split", "over")]
        assert -0.1 < time.time() - until < 1.5


async def test_streams_of_the_dashboard_miss_no_record_when_its_connection_is_lost(
    project: Project, tmp_path: Path
) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []
    with watching(project, tmp_path) as coordd:
        upstream = Upstream(
            find=lambda: connect([DaemonLocation("--socket", str(coordd.socket), None, None, None)], 5.0),
            on_record=lambda method, params: heard.append((method, json.loads(params))),
            on_change=lambda: None,
            layouts=frozenset({"project"}),
        )
        keeping = asyncio.create_task(upstream.run())
        await until(lambda: upstream.down is None)
        with busy(project, ["a", "b", "c"]):
            for lost in range(3):
                seen = len(heard)
                await until(lambda seen=seen: len(heard) >= seen + 10)
                upstream.silent(CannotTell("its connection is lost"))
                await until(lambda lost=lost: upstream.reconnections > lost and upstream.down is None)
        await asyncio.to_thread(coordd.stop)
        await until(lambda: upstream.down is not None)
        with watching(project, tmp_path):  # another run: its numbers begin anew
            await until(lambda: upstream.down is None)
            before = len(heard)
            await asyncio.to_thread(project.beat, "later")
            await until(lambda: any(params.get("agent_id") == "later" for _, params in heard[before:]))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    seqs = [params["seq"] for _, params in heard[:before]]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    told = [_stripped({"params": params}) for kind, params in heard if kind == "event"]
    assert any(one["kind"] == "daemon.stopped" for one in told)
