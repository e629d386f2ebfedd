"""What the processes that registrations name prove of agents: real processes, watched by a real coordd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, beating, utc_now, watching
from real_processes import process_of, sleeper
from redisd import RedisServer
from waiting import eventually

SHORT = {"COORDD_AGENTS_TIMEOUT": "4s"}
OVER = 6.0
"""Seconds after which silence is longer than that timeout, with some to spare."""
NOBODY = 65534


@contextmanager
def agent(project: Project, agent_id: str, **fields: object) -> Iterator[subprocess.Popen[str]]:
    """Run a process in the project that registers itself as an agent, and beats once."""
    with sleeper(cwd=project.root) as child:
        project.register(agent_id, pid=child.pid, started_at=utc_now(), **fields)
        project.beat(agent_id)
        yield child


def kill(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def reasons(coordd: Coordd) -> dict[str, str]:
    return {one["agent_id"]: one["reason"] for one in coordd.rpc("agents.list")["agents"]}


def lives(coordd: Coordd, *agents: str) -> None:
    """Wait until coordd knows that the processes of these agents live."""
    eventually(lambda: {reasons(coordd)[one] for one in agents} == {"process"}, what="processes count")


def said(project: Project, agent_id: str) -> list[tuple[str, str]]:
    """Return the status and reason of each record of an agent, repetitions left out."""
    every = [
        (one["status"], one["reason"]) for one in project.records("agent") if one["agent_id"] == agent_id
    ]
    return [one for at, one in enumerate(every) if at == 0 or every[at - 1] != one]


def events(project: Project, kind: str) -> list[str]:
    return [one["subject"] for one in project.records("event") if one["kind"] == kind]


# Its life and its end.


def test_an_agent_that_is_killed_is_known_at_once(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd, agent(project, "a") as child:
        lives(coordd, "a")
        one = coordd.agent("a")
        assert (one["status"], one["pid"]) == ("active", child.pid)
        assert one["proc_start"] == process_of(child.pid).start
        kill(child)
        eventually(lambda: reasons(coordd) == {"a": "killed"})
        assert coordd.statuses() == {"a": "inactive"}
        eventually(lambda: said(project, "a")[-1] == ("inactive", "killed"))
        assert events(project, "agent.inactive") == ["a"]


@pytest.mark.parametrize("way", ["says so", "takes its file away"])
def test_an_agent_that_deregistered_and_then_exits_has_ended(
    project: Project, tmp_path: Path, way: str
) -> None:
    with watching(project, tmp_path) as coordd, agent(project, "a", status="working") as child:
        lives(coordd, "a")
        if way == "says so":
            project.register("a", pid=child.pid, started_at=utc_now(), status="ended")
            eventually(lambda: coordd.agent("a")["declared_status"] == "ended")
        else:
            (project.agents / "a.active").unlink()
            eventually(lambda: coordd.agent("a")["declared_status"] is None)
        assert reasons(coordd) == {"a": "process"}, "it deregistered, and lives still"
        kill(child)
        eventually(lambda: reasons(coordd) == {"a": "ended"})
        assert coordd.rpc("status")["agents"]["ended_today"] == 1
        assert coordd.rpc("status")["attention"] == []
        assert ("inactive", "killed") not in said(project, "a")


def test_a_process_keeps_its_agent_alive_while_it_is_silent_or_stopped(
    project: Project, tmp_path: Path
) -> None:
    with (
        watching(project, tmp_path, **SHORT) as coordd,
        agent(project, "in a long call"),
        agent(project, "stopped") as child,
    ):
        lives(coordd, "in a long call", "stopped")
        os.kill(child.pid, signal.SIGSTOP)
        shown, began = set(), time.monotonic()
        while time.monotonic() < began + OVER:
            shown |= set(reasons(coordd).values())
            time.sleep(0.1)
        assert shown == {"process"}
        assert {one["status"] for one in project.records("agent")} == {"active"}
        kill(child)
        eventually(lambda: reasons(coordd) == {"in a long call": "process", "stopped": "killed"})


def test_coordd_stopped_for_longer_than_the_timeout_calls_nobody_silent(
    project: Project, tmp_path: Path
) -> None:
    with (
        watching(project, tmp_path, **SHORT) as coordd,
        agent(project, "alive"),
        agent(project, "gone meanwhile") as child,
        beating(project, "without a process"),
    ):
        lives(coordd, "alive", "gone meanwhile")
        os.kill(coordd.pid, signal.SIGSTOP)
        kill(child)
        time.sleep(OVER)
        os.kill(coordd.pid, signal.SIGCONT)
        eventually(lambda: reasons(coordd)["gone meanwhile"] == "killed")
        time.sleep(1)  # what it would say wrongly, it would say now
        assert reasons(coordd) == {
            "alive": "process",
            "gone meanwhile": "killed",
            "without a process": "heartbeat",
        }
        for one in ("alive", "without a process"):
            assert {status for status, _ in said(project, one)} == {"active"}


# What does not count.


def started(pid: int) -> int:
    return process_of(pid).start


def test_what_a_registration_names_wrongly_says_nothing(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    here = socket.gethostname()
    with watching(project, tmp_path) as coordd, ExitStack() as stack:
        children = {
            name: stack.enter_context(sleeper(cwd=elsewhere if name == "works elsewhere" else project.root))
            for name in ("used again", "works elsewhere", "of another host", "gone at once", "no number")
        }
        wrong: dict[str, Mapping[str, object]] = {
            "used again": {"proc_start": started(children["used again"].pid) - 1},
            "no number": {"proc_start": started(children["no number"].pid) + 0.5},
            "of another host": {"hostname": "another.example.org"},
            "init": {"pid": 1},
            "coordd": {"pid": coordd.pid},
            "nobody's": {"pid": 2**31 - 2},
        }
        for name in (*children, "init", "coordd", "nobody's"):
            pid = {"pid": children[name].pid} if name in children else {}
            project.register(name, **pid, **wrong.get(name, {}), started_at=utc_now())
            project.beat(name)
        kill(children["gone at once"])
        right = stack.enter_context(sleeper(cwd=project.root))
        project.register("right", pid=right.pid, hostname=here, started_at=utc_now())
        exact = stack.enter_context(sleeper(cwd=elsewhere))
        project.register("exact", pid=exact.pid, proc_start=started(exact.pid), started_at=utc_now())
        lives(coordd, "right", "exact")  # what came before was looked at by then
        others = {name for name in reasons(coordd) if name not in ("right", "exact")}
        assert len(others) == 8
        assert {reasons(coordd)[name] for name in others} == {"heartbeat"}
        assert {coordd.agent(name)["pid"] for name in others} == {None}
        for name in others:
            signals = {
                one["signal"]: one["value"]
                for one in coordd.rpc("agents.get", {"agent_id": name})["evidence"]
            }
            assert signals["process"].startswith("the one that is named does not count: "), name
        for name in children.keys() - {"gone at once"}:
            kill(children[name])
        kill(right)
        eventually(lambda: reasons(coordd)["right"] == "killed")
        assert {reasons(coordd)[name] for name in others} == {"heartbeat"}


@pytest.mark.root
def test_a_process_of_another_user_than_the_files_owner_says_nothing(
    project: Project, tmp_path: Path
) -> None:
    with (
        watching(project, tmp_path) as coordd,
        agent(project, "own"),
        subprocess.Popen(["sleep", "1000"], cwd=project.root, user=NOBODY, group=NOBODY) as child,
    ):
        try:
            for name in ("foreign", "its own file"):
                project.register(name, pid=child.pid, started_at=utc_now())
                project.beat(name)
            os.chown(project.agents / "its own file.active", NOBODY, NOBODY)
            lives(coordd, "own")
            lives(coordd, "its own file")
            assert reasons(coordd)["foreign"] == "heartbeat"
        finally:
            child.kill()
        eventually(lambda: reasons(coordd)["its own file"] == "killed")
        assert reasons(coordd)["foreign"] == "heartbeat"


IDS = [f"a{number}" for number in range(20)]


def register_all(project: Project, pid: int) -> None:
    for one in IDS:
        project.register(one, pid=pid, started_at=utc_now())
        project.beat(one)


def test_the_end_of_a_process_that_many_ids_name_is_the_end_of_all(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd, sleeper(cwd=project.root) as child:
        register_all(project, child.pid)
        eventually(lambda: {coordd.agent(one)["pid"] for one in IDS} == {child.pid})
        assert set(reasons(coordd).values()) == {"heartbeat"}, "its life proves nothing of each"
        kill(child)
        eventually(lambda: reasons(coordd) == dict.fromkeys(IDS, "killed"))


def test_the_life_of_a_process_that_many_ids_name_keeps_none_of_them_alive(
    project: Project, tmp_path: Path
) -> None:
    with watching(project, tmp_path, **SHORT) as coordd, sleeper(cwd=project.root) as child:
        register_all(project, child.pid)
        with beating(project, "a0"):
            silent = {one: "heartbeat" if one == "a0" else "silent" for one in IDS}
            eventually(lambda: reasons(coordd) == silent)
            for one in IDS[1:]:
                project.register(one, started_at=utc_now())  # that names no process
            eventually(lambda: reasons(coordd)["a0"] == "process")  # it has the process alone now


# Shells that register themselves and go.


def shell(project: Project, agent_id: str, seconds: float) -> subprocess.Popen[bytes]:
    """Run a script that registers the pid of its shell, which is gone some seconds later."""
    path = project.agents / f"{agent_id}.active"
    script = f"""printf '{{"id":"{agent_id}","pid":%d}}' $$ >{path}; exec sleep {seconds}"""
    return subprocess.Popen(["sh", "-c", script], cwd=project.root)


def test_a_shell_that_registered_itself_and_is_gone_was_not_the_agent(
    project: Project, tmp_path: Path
) -> None:
    with watching(project, tmp_path) as coordd, beating(project, "a", "b"):
        shell(project, "a", 2.5).wait()
        eventually(
            lambda: (
                coordd.agent("a")["reason"] == "heartbeat" and ("inactive", "killed") in said(project, "a")
            )
        )
        with agent(project, "b") as child:
            eventually(lambda: reasons(coordd)["b"] == "process")  # after three beats of its own
            kill(child)
            eventually(lambda: ("inactive", "killed") in said(project, "b"))


def test_no_process_of_a_workspace_counts_while_its_registrations_are_distrusted(
    project: Project, tmp_path: Path
) -> None:
    with watching(project, tmp_path) as coordd, agent(project, "b") as child:
        with beating(project, "a"):
            shell(project, "a", 2.5).wait()
            eventually(lambda: ("inactive", "killed") in said(project, "a"))
            eventually(lambda: reasons(coordd)["a"] == "heartbeat")
            for number in range(3):  # pids of shells that are gone by their third beat restore nothing
                with shell(project, f"s{number}", 1.5):
                    project.beat(f"s{number}")
                for _ in range(4):
                    time.sleep(0.1)
                    project.beat(f"s{number}", f"{time.time():.3f}")
            with agent(project, "c") as other:
                time.sleep(2.5)
                assert reasons(coordd)["c"] == "heartbeat"
                kill(other)
                time.sleep(1)
                assert reasons(coordd)["c"] == "heartbeat"
        kill(child)


# Restarts of coordd.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_outlives_coordd_is_followed_by_the_next_one(
    project: Project, tmp_path: Path, number: int
) -> None:
    with agent(project, "a") as child, agent(project, "b", status="working") as other:
        with watching(project, tmp_path) as coordd:
            lives(coordd, "a", "b")
            eventually(lambda: len(said(project, "a")) == len(said(project, "b")) == 2)
            coordd.stop(number)
        before = project.records("agent")
        with watching(project, tmp_path) as coordd:
            assert reasons(coordd) == {"a": "process", "b": "process"}, "from the first answer on"
            eventually(lambda: project.records("system"))
            assert project.records("agent") == before
            kill(child)
            eventually(lambda: reasons(coordd) == {"a": "killed", "b": "process"})
            coordd.stop(number)
        kill(other)
        with watching(project, tmp_path) as coordd:
            assert reasons(coordd) == {"a": "killed", "b": "ended"}
            eventually(lambda: said(project, "b")[-1] == ("inactive", "ended"))
            assert [one["kind"] for one in coordd.rpc("status")["attention"]] == ["killed"]
            recorded = project.records("agent")
            coordd.stop(number)
        with watching(project, tmp_path) as coordd:
            assert reasons(coordd) == {"a": "killed", "b": "ended"}
            assert project.records("agent") == recorded


def test_a_pid_that_is_used_again_after_a_restart_is_another_process(
    project: Project, tmp_path: Path
) -> None:
    with agent(project, "a") as child, watching(project, tmp_path) as coordd:
        lives(coordd, "a")
        eventually(lambda: said(project, "a")[-1] == ("active", "process"))
        coordd.stop()
    records = project.claude / "metrics" / "agent.jsonl"
    snapshot = project.claude / "run" / "snapshot.json"
    start = project.records("agent")[-1]["proc_start"]
    for path in (records, snapshot):
        path.write_text(path.read_text().replace(f'"proc_start":{start}', f'"proc_start":{start - 1}'))
    del child
    with agent(project, "b"), watching(project, tmp_path) as coordd:
        lives(coordd, "b")
        assert reasons(coordd)["a"] == "ended"


def test_beats_after_an_end_disprove_the_process_though_the_last_run_saw_that_end(
    project: Project, tmp_path: Path
) -> None:
    with agent(project, "a") as child:
        with watching(project, tmp_path) as coordd:
            lives(coordd, "a")
            kill(child)
            eventually(lambda: reasons(coordd) == {"a": "killed"})
            coordd.stop()
        with watching(project, tmp_path) as coordd:
            assert reasons(coordd) == {"a": "killed"}
            with beating(project, "a"):
                eventually(lambda: reasons(coordd) == {"a": "heartbeat"})
                with agent(project, "b"):
                    time.sleep(2)
                    assert reasons(coordd)["b"] == "heartbeat", "no process of the workspace is believed in"


# Redis.


def test_an_entry_of_redis_names_a_process_with_start_and_host_only(
    project: Project, tmp_path: Path, server: RedisServer
) -> None:
    here = socket.gethostname()
    with ExitStack() as stack:
        names = ("complete", "no start", "no host", "other host")
        children = {name: stack.enter_context(sleeper(cwd=project.root)) for name in names}
        for name, child in children.items():
            entry: dict[str, Any] = {
                "id": name,
                "hostname": here,
                "pid": child.pid,
                "proc_start": started(child.pid),
                "registered_at": utc_now(),
            }
            entry |= {"hostname": "another.example.org"} if name == "other host" else {}
            entry.pop({"no start": "proc_start", "no host": "hostname"}.get(name, ""), None)
            server.run("HSET", "agents:registry", name, json.dumps(entry))
            server.run("SET", f"heartbeat:{name}", utc_now())
        with watching(project, tmp_path, REDIS_URL=server.url) as coordd:
            lives(coordd, "complete")
            assert reasons(coordd) == dict.fromkeys(names, "heartbeat") | {"complete": "process"}
            for child in children.values():
                kill(child)
            eventually(lambda: reasons(coordd)["complete"] == "killed")
            assert reasons(coordd) == dict.fromkeys(names, "heartbeat") | {"complete": "killed"}
