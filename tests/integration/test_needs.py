"""What needs a human, end to end: who was killed or stalled, and whole groups; seen, forgotten, restarted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, RpcFailed, beating, utc_now, watching
from real_processes import sleeper
from redisd import RedisServer
from waiting import eventually

FOUR = ("a", "b", "c", "d")


@contextmanager
def agents(project: Project, *names: str, **fields: object) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Run a process for each of these agents, which registers itself and beats once."""
    with ExitStack() as stack:
        children = {}
        for name in names:
            children[name] = child = stack.enter_context(sleeper(cwd=project.root))
            started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
            project.register(name, pid=child.pid, started_at=started_at, **fields)
            project.beat(name)
        yield children


def kill(*children: subprocess.Popen[str]) -> None:
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
    for child in children:
        child.wait()


def claim(project: Project, task: str, agent: str) -> None:
    (project.coordination / "claims").mkdir(exist_ok=True)
    text = json.dumps({"agent_id": agent, "claimed_at": time.time(), "ttl": 3600})
    (project.coordination / "claims" / f"{task}.claim").write_text(text)


def reasons(coordd: Coordd) -> dict[str, str]:
    return {one["agent_id"]: one["reason"] for one in coordd.rpc("agents.list")["agents"]}


def live(coordd: Coordd, *names: str) -> None:
    """Wait until coordd knows that the processes of these agents live."""
    eventually(lambda: {reasons(coordd)[one] for one in names} == {"process"}, what="processes count")


def needs(coordd: Coordd) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = coordd.rpc("status")["attention"]
    return entries


def kinds(coordd: Coordd) -> list[tuple[str, str]]:
    return [(one["kind"], one["subject"]) for one in needs(coordd)]


def events(project: Project, kind: str) -> list[str]:
    return [one["subject"] for one in project.records("event") if one["kind"] == kind]


def refused(coordd: Coordd, method: str, **params: object) -> str:
    """Return what kind of error a request gets."""
    with pytest.raises(RpcFailed) as failed:
        coordd.rpc(method, params)
    return str(failed.value.error["data"]["kind"])


# Groups.


def test_agents_that_are_killed_together_are_one_thing_to_look_at(project: Project, tmp_path: Path) -> None:
    path = str(project.root)
    with agents(project, *FOUR, "e", "f") as children, watching(project, tmp_path) as coordd:
        live(coordd, *children)
        kill(*(children[one] for one in FOUR))
        # the four ends are not told at one moment
        eventually(
            lambda: [one["text"] for one in needs(coordd)] == ["4 of 6 agents were killed within 60 s"]
        )
        assert kinds(coordd) == [("mass", path)]
        (entry,) = needs(coordd)
        assert coordd.rpc("status")["problems"] == [f"{path}: {entry['text']}"]
        eventually(lambda: events(project, "agents.mass") == [path])
        coordd.stop()
        with watching(project, tmp_path) as again:
            assert needs(again) == [entry], "the same, after a restart"
            kill(children["e"])
            eventually(lambda: reasons(again)["e"] == "killed")
            eventually(lambda: len(events(project, "agent.inactive")) == 5)
            eventually(lambda: len(events(project, "agents.mass")) == 2)  # it is about five of them now
            with agents(project, "a"):  # somebody is there again, and with that the group is done with
                eventually(lambda: "mass" not in {kind for kind, _ in kinds(again)})
                assert {kind for kind, _ in kinds(again)} == {"killed"}


def test_a_group_is_announced_once_whatever_happens_to_others(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    with (
        agents(project, *FOUR) as children,
        agents(other, "one", "two") as others,
        watching(
            project,
            tmp_path,
            "--workspace",
            str(other.root),
            "--layout",
            "user",
            sock=tmp_path / "s",
            XDG_STATE_HOME=str(tmp_path / "state"),
            COORDD_SOCKET=str(tmp_path / "s"),
        ) as coordd,
    ):
        live(coordd, *children, *others)
        kill(*children.values())
        eventually(lambda: kinds(coordd) == [("mass", str(project.root))])
        kill(others["one"])
        eventually(lambda: sorted(kinds(coordd)) == [("killed", "one"), ("mass", str(project.root))])


# Seen, and forgotten.


def test_an_entry_that_was_seen_stays_away_until_it_is_about_something_else(
    project: Project, tmp_path: Path
) -> None:
    with agents(project, "a", "b", "c") as children, watching(project, tmp_path) as coordd:
        live(coordd, *children)
        kill(children["a"])
        eventually(lambda: kinds(coordd) == [("killed", "a")])
        (entry,) = needs(coordd)
        assert coordd.rpc("status")["health"] == "degraded"
        assert refused(coordd, "attention.ack", entry="0" * 12) == "no-such-entry"
        assert coordd.rpc("attention.ack", {"entry": entry["id"]}) == {"acknowledged": 1}
        assert needs(coordd) == []
        assert coordd.rpc("status")["health"] == "ok"
        assert refused(coordd, "attention.ack", entry=entry["id"]) == "no-such-entry"
        coordd.stop()
        with watching(project, tmp_path) as again:
            assert needs(again) == []
            live(again, "b", "c")
            with agents(project, "a") as anew:
                live(again, "a")
                kill(anew["a"])
                eventually(lambda: kinds(again) == [("killed", "a")])
            assert again.rpc("attention.ack", {}) == {"acknowledged": 1}
            assert needs(again) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_living_are_not_forgotten_and_the_dead_come_back_with_a_beat(
    project: Project, tmp_path: Path, number: int
) -> None:
    with agents(project, "a", "b") as children, watching(project, tmp_path) as coordd:
        live(coordd, *children)
        assert refused(coordd, "agents.forget", agent_id="a") == "alive"
        assert refused(coordd, "agents.forget", agent_id="nobody") == "no-such-agent"
        kill(children["a"])
        eventually(lambda: kinds(coordd) == [("killed", "a")])
        assert coordd.rpc("agents.forget", {"agent_id": "a"}) == {"forgotten": True}
        assert reasons(coordd) == {"b": "process"}
        assert needs(coordd) == []
        eventually(lambda: events(project, "agent.removed") == ["a"])
        coordd.stop(number)
        with watching(project, tmp_path) as again:
            assert reasons(again) == {"b": "process"}, "a restart brings nobody back"
            project.beat("a")
            eventually(lambda: again.statuses() == {"a": "active", "b": "active"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_that_ended_and_left_the_list_does_not_come_back_with_a_restart(
    project: Project, tmp_path: Path, number: int
) -> None:
    soon = {"COORDD_AGENTS_FORGET_ENDED_AFTER": "1s"}
    with agents(project, "a", "b") as children:
        with watching(project, tmp_path, **soon) as coordd:
            live(coordd, *children)
            project.register("a", pid=children["a"].pid, started_at=utc_now(), status="ended")
            kill(children["a"])
            eventually(lambda: reasons(coordd) == {"b": "process"})
            assert coordd.rpc("status")["agents"]["ended_today"] == 1
            eventually(lambda: events(project, "agent.removed") == ["a"])
            recorded = len(project.records("agent"))
            coordd.stop(number)
        for _ in range(2):  # the second time, nothing but the snapshot tells of it
            with watching(project, tmp_path) as coordd:
                assert reasons(coordd) == {"b": "process"}
                coordd.stop()
        assert len(project.records("agent")) == recorded
        with watching(project, tmp_path) as coordd, beating(project, "a"):
            eventually(lambda: coordd.statuses() == {"a": "active", "b": "active"})


FOREIGN = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
client = socket.socket(socket.AF_UNIX)
client.settimeout(20)
client.connect(sys.argv[1])
for method, params in json.loads(sys.argv[2]):
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    client.sendall(json.dumps(request).encode() + b"\\n")
client.shutdown(socket.SHUT_WR)
sys.stdout.buffer.write(client.makefile("rb").read())
"""


@pytest.mark.root
def test_another_user_may_look_and_takes_nothing_off_any_list(
    project: Project, tmp_path: Path, open_directory: Path
) -> None:
    sock = open_directory / "s"
    with (
        agents(project, "a") as children,
        watching(project, tmp_path, "--socket", str(sock), sock=sock) as coordd,
    ):
        live(coordd, "a")
        kill(children["a"])
        eventually(lambda: kinds(coordd) == [("killed", "a")])
        sock.chmod(0o666)
        asked = [("agents.forget", {"agent_id": "a"}), ("attention.ack", {}), ("agents.list", {})]
        done = subprocess.run(
            [sys.executable, "-I", "-c", FOREIGN, str(sock), json.dumps(asked)],
            capture_output=True,
            check=True,
            timeout=30,
        )
        answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
        for method in ("agents.forget", "attention.ack"):
            assert answers[method]["error"]["data"]["kind"] == "forbidden"
        assert [one["agent_id"] for one in answers["agents.list"]["result"]["agents"]] == ["a"]
        assert kinds(coordd) == [("killed", "a")]


# Claims.


def test_a_claim_of_a_killed_agent_is_part_of_its_entry(project: Project, tmp_path: Path) -> None:
    with agents(project, "a", "b", "c") as children, watching(project, tmp_path) as coordd:
        claim(project, "t-1", "a")
        claim(project, "t-2", "ghost")
        live(coordd, *children)
        kill(children["a"])
        eventually(lambda: coordd.rpc("status")["tasks"]["orphaned"] == 1)
        eventually(lambda: kinds(coordd) == [("killed", "a")])
        (entry,) = needs(coordd)
        assert entry["text"] == "killed, held t-1"
        coordd.rpc("agents.forget", {"agent_id": "a"})
        assert ("killed", "a") not in kinds(coordd)


def test_a_task_that_agents_of_redis_and_of_a_project_hold_is_split(
    project: Project, tmp_path: Path, server: RedisServer
) -> None:
    with beating(project, "here"), watching(project, tmp_path, REDIS_URL=server.url) as coordd:
        claim(project, "t-1", "here")
        claim(project, "t-2", "here")
        server.run("SET", "heartbeat:there", utc_now())
        now = time.time()
        for task, holder in (("t-1", "there"), ("t-2", "here")):
            claimed = {"agent_id": holder, "claimed_at": now, "ttl": 3600}
            server.run("SET", f"task:claim:{task}", json.dumps(claimed))
        eventually(lambda: kinds(coordd) == [("split", "t-1")])
        (entry,) = needs(coordd)
        assert entry["text"] == "split: held by there and here at once"
        server.run("DEL", "task:claim:t-1")
        eventually(lambda: needs(coordd) == [])


def test_an_agent_that_is_stalled_is_told_of_until_it_moves(project: Project, tmp_path: Path) -> None:
    settings = {"COORDD_AGENTS_TIMEOUT": "3s", "COORDD_AGENTS_STALL_AFTER": "3s"}
    with watching(project, tmp_path, **settings) as coordd, beating(project, "hung", "idle"):
        claim(project, "t-1", "hung")
        eventually(lambda: coordd.agent("hung")["activity"] == "working")
        eventually(lambda: events(project, "agent.stalled") == ["hung"])
        assert kinds(coordd) == [("stalled", "hung")]
        (entry,) = needs(coordd)
        assert entry["text"] == "stalled: no progress, holds t-1"
        assert coordd.rpc("status")["problems"] == [f"agent hung in {project.root}: {entry['text']}"]
        assert coordd.rpc("status")["agents"]["stalled"] == 1
        listed = coordd.rpc("agents.list", {"activity": "stalled"})["agents"]
        assert [one["agent_id"] for one in listed] == ["hung"]
        assert listed[0]["activity_since"] is not None
        causes = [
            (one["cause"], one["activity"]) for one in project.records("agent") if one["agent_id"] == "hung"
        ]
        assert ("activity", "stalled") in causes
        claim(project, "t-1", "hung")
        eventually(lambda: needs(coordd) == [])
        assert coordd.agent("hung")["activity"] == "working"
        eventually(lambda: len(events(project, "agent.stalled")) == 2)  # it stalls again, and is told again


# What is listed.


def test_agents_are_listed_by_activity_a_page_at_a_time(project: Project, tmp_path: Path) -> None:
    workers = [f"w{n}" for n in range(7)]
    with beating(project, *workers, "x", "y"), watching(project, tmp_path) as coordd:
        for one in workers:
            claim(project, f"t-{one}", one)
        eventually(lambda: coordd.rpc("status")["agents"]["activities"]["working"] == 7)
        found, cursor = [], None
        for _ in range(4):
            page = coordd.rpc("agents.list", {"activity": "working", "limit": 2, "cursor": cursor})
            found += [one["agent_id"] for one in page["agents"]]
            assert {one["activity"] for one in page["agents"]} == {"working"}
            cursor = page["cursor"]
        assert (found, cursor) == (workers, None)
        assert len(coordd.rpc("agents.list", {"activity": "unknown"})["agents"]) == 2
        assert refused_params(coordd, activity="dancing")


def refused_params(coordd: Coordd, **params: object) -> bool:
    with pytest.raises(RpcFailed) as failed:
        coordd.rpc("agents.list", params)
    return bool(failed.value.error["code"] == -32602)
