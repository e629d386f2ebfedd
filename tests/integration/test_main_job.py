"""The main job, end to end: agents beat into files, coordd knows, records and answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from live import Project, RpcFailed, coordctl, environment, owners_file, read_records, running, watching
from waiting import eventually

SHORT = {"COORDD_AGENTS_TIMEOUT": "2s"}


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_silent_agent_becomes_inactive_and_the_others_stay(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path, **SHORT) as coordd:
        for agent in ("one", "two", "three"):
            project.beat(agent)
        eventually(lambda: coordd.statuses() == {"one": "active", "two": "active", "three": "active"})

        def two_is_out() -> bool:
            project.beat("one", f"{time.time():.3f}")
            project.beat("three", f"{time.time():.3f}")
            return coordd.statuses()["two"] == "inactive"

        eventually(two_is_out)
        assert coordd.agent("two")["reason"] == "silent"
        assert coordd.statuses()["one"] == coordd.statuses()["three"] == "active"

        def recorded() -> dict[str, Any]:
            (verdict,) = [r for r in project.records("agent") if r["cause"] == "verdict"]
            return verdict

        verdict = eventually(recorded)
        assert (verdict["agent_id"], verdict["status"], verdict["reason"]) == ("two", "inactive", "silent")
        assert seconds(verdict["timestamp"]) - seconds(verdict["last_heartbeat"]) >= 2.0
        assert [e["subject"] for e in project.records("event") if e["kind"] == "agent.inactive"] == ["two"]

        project.beat("two")
        eventually(lambda: coordd.statuses()["two"] == "active")


def test_a_beat_that_was_told_survives_kill_9_and_is_not_repeated(project: Project, tmp_path: Path) -> None:
    agents = [f"agent-{n}" for n in range(20)]
    told: dict[str, str] = {}
    begin = int(time.time()) - 60  # a beat's own time is shown as long as it can be true

    def stamp(turn: int, n: int) -> str:
        return time.strftime(f"%Y-%m-%dT%H:%M:%S.{n:03d}Z", time.gmtime(begin + turn))

    for turn in range(4):
        with watching(project, tmp_path) as coordd:
            for n, agent in enumerate(agents):
                if n % 4 == turn:
                    project.beat(agent, stamp(turn, n))

            def all_known(turn: int = turn) -> bool:
                known = {one["agent_id"]: one for one in coordd.rpc("agents.list")["agents"]}
                for n, agent in enumerate(agents):
                    if n % 4 == turn and known[agent]["last_heartbeat"] != stamp(turn, n):
                        return False
                told.update({name: one["last_heartbeat"] for name, one in known.items()})
                return True

            eventually(all_known)
            coordd.stop(signal.SIGKILL)
    recorded = [(r["agent_id"], r["last_heartbeat"]) for r in project.records("agent")]
    assert set(told.items()) <= set(recorded)
    assert len(recorded) == len(set(recorded)), "a beat was recorded twice"


def test_a_restart_without_snapshot_or_with_a_foreign_one_repeats_nothing(
    project: Project, tmp_path: Path
) -> None:
    project.beat("quiet", f"{time.time() - 3600:.0f}")
    project.beat("lively")
    (project.agents / "touched.heartbeat").touch()
    project.register("registered", started_at=time.time() - 3600, status="idle")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: len(coordd.statuses()) == 4)
        os.utime(project.agents / "touched.heartbeat")
        eventually(lambda: len(project.records("agent")) == 5)
        coordd.stop(signal.SIGKILL)
    before = project.records("agent")
    snapshot = project.claude / "run" / "snapshot.json"
    for content in (None, "{", '{"written_at": 7, "agents": "none"}', "[" * 100_000):
        snapshot.unlink(missing_ok=True)
        if content is not None:
            snapshot.write_text(content)
        with watching(project, tmp_path) as coordd:
            eventually(lambda: len(coordd.statuses()) == 4)
            assert coordd.rpc("status")["health"] == "ok"
            assert coordd.stop() == 0
        assert project.records("agent") == before


def test_the_second_coordd_refuses_and_names_the_first(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as first:
        with running(
            ["--workspace", str(project.root)], sock=first.socket, home=tmp_path / "home", wait=False
        ) as second:
            assert second.process.wait(30) == 1
            said = second.logged()
        assert str(first.pid) in said
        assert "already records" in said
        assert first.rpc("ping")["pid"] == first.pid
    with watching(project, tmp_path) as again:  # the dead daemon's lock and socket are no obstacle
        assert again.rpc("ping")["pid"] == again.pid


def test_status_after_a_stop_shows_the_last_snapshot_and_exits_3(project: Project, tmp_path: Path) -> None:
    project.beat("worker")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.statuses() == {"worker": "active"})
        assert coordd.ctl("status").returncode == 0
        assert coordd.stop() == 0
        assert not coordd.socket.exists()
        down = coordctl("status", environ=coordd.environ, cwd=project.root)
    assert down.returncode == 3
    assert "not running" in down.stdout + down.stderr
    assert "ago" in down.stdout
    assert "worker" in down.stdout
    document = json.loads(
        coordctl("status", "--json", environ=environment(tmp_path / "home"), cwd=project.root).stdout
    )
    assert document["daemon_running"] is False
    assert document["snapshot_age"] >= 0


def test_a_stranger_directory_has_no_daemon(tmp_path: Path) -> None:
    answer = coordctl("status", environ=environment(tmp_path / "home"), cwd=tmp_path)
    assert answer.returncode == 3
    assert "coordd run" in answer.stderr


def test_tail_f_shows_each_sample_whole(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        link = project.claude / "metrics" / "agent.jsonl"
        assert link.is_symlink()
        with subprocess.Popen(["tail", "-n", "+1", "-F", str(link)], stdout=subprocess.PIPE) as tail:
            assert tail.stdout is not None
            try:
                for n in range(50):
                    project.beat(f"agent-{n}", f"{time.time():.3f}")
                seen = [json.loads(tail.stdout.readline()) for _ in range(50)]
            finally:
                tail.kill()
        assert {one["agent_id"] for one in seen} == {f"agent-{n}" for n in range(50)}
        assert coordd.rpc("status")["agents"]["total"] == 50


def test_tasks_and_registration_are_part_of_the_agent(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.register("coder", started_at="2026-01-01T00:00:00Z", status="busy", capabilities=["python"])
        (project.agents / "coder.tasks").write_text("t-1\n\nt-2\n")
        project.beat("coder")
        eventually(lambda: coordd.agent("coder")["active_tasks"] == 2)
        agent = coordd.agent("coder")
        assert agent["declared_status"] == "busy"
        assert agent["tasks"] == ["t-1", "t-2"]
        assert agent["uptime"] > 86400
        (project.agents / "coder.tasks").unlink()
        eventually(lambda: coordd.agent("coder")["active_tasks"] == 0)
        eventually(lambda: project.records("agent")[-1]["cause"] == "tasks")
        for name in ("coder.heartbeat", "coder.active"):
            (project.agents / name).unlink()
        eventually(lambda: coordd.statuses() == {})
        eventually(lambda: project.records("agent")[-1]["cause"] == "removed")


def test_every_way_to_beat_counts(project: Project, tmp_path: Path) -> None:
    heartbeat = project.agents / "a.heartbeat"

    def truncate() -> None:
        heartbeat.write_text("2026-05-05T05:05:05Z\n")

    def touch() -> None:
        os.utime(heartbeat)

    def same_content_by_rename() -> None:
        project.beat("a", heartbeat.read_text())

    def empty() -> None:
        heartbeat.write_text("")

    project.beat("a", f"{time.time() - 3600:.0f}")
    os.utime(heartbeat, (time.time() - 3600,) * 2)
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.statuses() == {"a": "inactive"})
        for number, way in enumerate((truncate, touch, same_content_by_rename, empty, touch), start=2):
            way()
            eventually(lambda n=number: len(project.records("agent")) == n, what=way.__name__)
            assert coordd.statuses() == {"a": "active"}


def test_a_workspace_that_appears_goes_and_comes_back(tmp_path: Path) -> None:
    project = Project(tmp_path / "late", coordination=False)
    with watching(project, tmp_path, **SHORT) as coordd:
        assert [w["state"] for w in coordd.rpc("status")["workspaces"]] == ["waiting"]
        assert coordd.rpc("status")["health"] == "ok"
        project.agents.mkdir(parents=True)
        project.beat("a", f"{time.time():.3f}")
        eventually(lambda: coordd.statuses() == {"a": "active"})

        away = project.claude / "elsewhere"
        project.coordination.rename(away)
        eventually(lambda: coordd.statuses() == {"a": "unknown"})
        status = coordd.rpc("status")
        assert status["health"] == "degraded"
        assert "coordination" in status["problems"][0]
        assert coordd.ctl("status").returncode == 1
        eventually(lambda: [r["status"] for r in project.records("agent")] == ["active", "unknown"])

        away.rename(project.coordination)
        project.beat("a", f"{time.time():.3f}")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        assert coordd.rpc("status")["health"] == "ok"

        shutil.rmtree(project.agents)
        eventually(lambda: coordd.rpc("status")["health"] == "degraded" or coordd.statuses() == {})
        project.agents.mkdir()
        project.beat("b", f"{time.time():.3f}")
        eventually(lambda: coordd.statuses().get("b") == "active")


def test_several_workspaces_and_patterns_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one, two = Project(tmp_path / "src" / "one"), Project(tmp_path / "src" / "two")
    other = Project(tmp_path / "other")
    for project in (one, two, other):
        project.beat("same-name")
    sock = tmp_path / "c.sock"
    with running(
        ["-w", str(tmp_path / "src" / "*"), "-w", str(other.root), "--socket", str(sock)],
        sock=sock,
        home=home,
    ) as coordd:
        roots = {str(project.root) for project in (one, two, other)}
        assert {a["workspace"] for a in coordd.rpc("agents.list")["agents"]} == roots
        with pytest.raises(RpcFailed) as ambiguous:
            coordd.rpc("agents.get", {"agent_id": "same-name"})
        assert ambiguous.value.error["data"]["kind"] == "ambiguous"
        assert coordd.agent("same-name", str(two.root))["workspace"] == str(two.root)
        assert coordd.rpc("status")["daemon"]["layout"] == "user"
        assert str(one.root) in coordd.ctl("agents").stdout

        three = Project(tmp_path / "src" / "three")
        three.beat("newcomer")
        coordd.process.send_signal(signal.SIGHUP)  # looks for workspaces at once; a rescan would, too
        eventually(lambda: coordd.agent("newcomer")["workspace"] == str(three.root))
        shutil.rmtree(three.root)
        eventually(lambda: "newcomer" not in coordd.statuses())
        assert coordd.rpc("status")["health"] == "ok"
        eventually(
            lambda: (
                ("agent.removed", "newcomer")
                in [
                    (e["kind"], e["subject"])
                    for e in read_records(home / ".local/state/coordd/metrics", "event")
                ]
            )
        )


def test_record_directories_that_vanish_are_made_again(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.beat("a")
        eventually(lambda: project.records("agent"))
        shutil.rmtree(project.claude / "metrics")
        (project.claude / "logs").rename(project.claude / "logs-moved")
        eventually((project.claude / "metrics" / "agent.jsonl").is_symlink)
        eventually((project.claude / "logs" / "performance.log").is_symlink)
        project.beat("b")
        eventually(lambda: [r["agent_id"] for r in project.records("agent")] == ["b"])
        eventually(lambda: any(e["kind"] == "records.recreated" for e in project.records("event")))
        # The lock moved along: the directory is still this daemon's alone.
        lock = project.claude / "metrics" / ".lock"
        eventually(lambda: json.loads(lock.read_text())["pid"] == coordd.pid)
        with running(
            ["--workspace", str(project.root)], sock=coordd.socket, home=tmp_path / "home", wait=False
        ) as second:
            assert second.process.wait(30) == 1
            assert f"pid {coordd.pid}" in second.logged()


def test_reload_applies_a_good_configuration_and_refuses_a_bad_one(project: Project, tmp_path: Path) -> None:
    owners_file(tmp_path, project, agents={"timeout": "1h"})
    project.beat("a", f"{time.time() - 60:.3f}")
    with watching(project, tmp_path) as coordd:
        assert coordd.statuses() == {"a": "active"}
        owners_file(tmp_path, project, agents={"timeout": "5s"})
        answer = coordd.ctl("reload")
        assert answer.returncode == 0
        assert "agents.timeout" in answer.stdout
        eventually(lambda: coordd.statuses() == {"a": "inactive"})

        owners_file(tmp_path, project, agents={"timeuot": "1h"})
        bad = coordd.ctl("reload")
        assert bad.returncode == 1
        assert "timeuot" in bad.stderr
        assert "did you mean 'timeout'" in bad.stderr
        assert coordd.statuses() == {"a": "inactive"}
        coordd.process.send_signal(signal.SIGHUP)
        eventually(lambda: len([e for e in project.records("event") if e["kind"] == "config.rejected"]) == 2)

        owners_file(tmp_path, project, agents={"timeout": "1h"})
        coordd.process.send_signal(signal.SIGHUP)
        eventually(lambda: coordd.statuses() == {"a": "active"})
        eventually(lambda: len([e for e in project.records("event") if e["kind"] == "config.reloaded"]) == 2)


def test_a_bad_configuration_ends_with_78_and_says_where(project: Project, tmp_path: Path) -> None:
    owners_file(tmp_path, project, storage={"metrics_dir": "etc"})
    with running(
        ["--workspace", str(project.root)], sock=tmp_path / "none", home=tmp_path / "home", wait=False
    ) as coordd:
        assert coordd.process.wait(30) == 78
        said = coordd.logged()
    assert "coordd.toml" in said
    assert "storage.metrics_dir" in said


def test_sigterm_under_load_leaves_whole_records_and_no_socket(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        for n in range(300):
            project.beat(f"agent-{n}")
        assert coordd.stop() == 0
        assert not coordd.socket.exists()
    records = project.records("agent")  # every line is whole, or this raises
    assert len({(r["agent_id"], r["last_heartbeat"]) for r in records}) == len(records)
    assert [e["kind"] for e in project.records("event")][-1] == "daemon.stopped"


def test_a_stopped_daemon_does_not_declare_agents_dead_when_it_goes_on(
    project: Project, tmp_path: Path
) -> None:
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="4s") as coordd:
        project.beat("a", f"{time.time():.3f}")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        coordd.process.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + 7
        while time.monotonic() < ends:
            project.beat("a", f"{time.time():.3f}")
            time.sleep(0.05)  # the pace of the beats, not a wait
        coordd.process.send_signal(signal.SIGCONT)
        assert coordd.statuses() == {"a": "active"}
        eventually(lambda: "did not run for" in coordd.logged())
        project.beat("a", f"{time.time():.3f}")
        assert all(r["status"] == "active" for r in project.records("agent"))


def test_the_performance_table(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        log = project.claude / "logs" / "performance.log"
        eventually(lambda: log.read_text().count("\n") == 2)
        header, row = log.read_text().splitlines()
        assert header == "TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"
        timestamp, cpu, memory, *rest = row.split(",")
        assert timestamp.endswith("Z")
        assert "." not in timestamp
        sample = coordd.rpc("system.latest")
        assert (cpu, memory) == (f"{sample['cpu_percent']:.1f}", f"{sample['memory_usage']['percent']:.1f}")
        assert rest == ["N/A", "N/A", "file"]
        assert read_records(project.claude / "metrics", "system") == [sample]


def test_a_control_socket_that_is_removed_comes_back(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        coordd.socket.unlink()
        eventually(lambda: coordd.rpc("ping")["pid"] == coordd.pid)
        # what `git clean -fdX` does; coordd may be quicker than that
        eventually(lambda: shutil.rmtree(coordd.socket.parent) is None, what="the folder is removed")
        eventually(lambda: coordd.rpc("ping")["pid"] == coordd.pid)
        assert (coordd.socket.parent / ".gitignore").read_text() == "*\n"
        eventually(lambda: [e["kind"] for e in project.records("event")].count("socket.recreated") >= 2)
        assert coordd.stop() == 0
        assert not coordd.socket.exists()


def test_a_project_that_is_deleted_is_not_made_again(project: Project, tmp_path: Path) -> None:
    with watching(
        project, tmp_path, sock=tmp_path / "c.sock", COORDD_SOCKET=str(tmp_path / "c.sock")
    ) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        moved = project.root.with_name("moved")
        project.root.rename(moved)

        def said() -> bool:
            return any("the project directory is gone" in p for p in coordd.rpc("status")["problems"])

        eventually(said)
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["state"] == "failing")
        assert not project.root.exists()
        moved.rename(project.root)
        eventually(lambda: coordd.rpc("status")["health"] == "ok")
        project.beat("b")
        eventually(lambda: project.records("agent")[-1]["agent_id"] == "b")


def test_a_mistyped_project_is_an_error_and_no_directory(tmp_path: Path) -> None:
    missing = tmp_path / "mis\x1btyped"
    with running(
        ["-w", str(missing)], sock=tmp_path / "c.sock", home=tmp_path / "home", wait=False
    ) as coordd:
        assert coordd.process.wait(30) == 1
        assert r"mis\x1btyped" in coordd.logged()
        assert "\x1b" not in coordd.logged()
    assert not missing.exists()


def test_a_daemon_with_nothing_to_watch_says_so(tmp_path: Path) -> None:
    sock = tmp_path / "c.sock"
    with running(["--socket", str(sock)], sock=sock, home=tmp_path / "home", cwd=tmp_path) as coordd:
        assert "--workspace" in coordd.logged()
        assert "If an agent runs and is not here, try: coordctl doctor" in coordd.ctl("status").stdout


def test_what_fails_is_logged_at_any_level(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path, "--log-level", "error") as coordd:
        config = owners_file(tmp_path, project, agents={"timeuot": "1h"})
        coordd.process.send_signal(signal.SIGHUP)
        eventually(lambda: "timeuot" in coordd.logged())
        config.unlink()
        assert "daemon.started" not in coordd.logged()


def test_closed_standard_streams_are_no_trap(project: Project, tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with watching(project, tmp_path, prefix=closed) as coordd:
        for number in range(3):
            assert os.readlink(f"/proc/{coordd.pid}/fd/{number}") == "/dev/null"


def test_openssl_stays_out_of_the_daemon(project: Project, tmp_path: Path) -> None:
    """hashlib or ssl anywhere in its imports would load it: a sixth of the daemon's memory."""
    with watching(project, tmp_path, PYTHONPROFILEIMPORTTIME="1") as coordd:
        eventually(lambda: project.records("system"))
        eventually((project.root / ".claude" / "run" / "snapshot.json").exists)
        assert not coordd.mapped("libcrypto", "/_ssl.", "/_hashlib.")
        assert "coordd.service.daemon" in coordd.imported()
        assert not coordd.imported() & {"redis", "redis.exceptions"}  # 8 MB, for who has one
        assert not coordd.imported() & {"click", "importlib.metadata", "multiprocessing", "zoneinfo"}  # 5 MB
