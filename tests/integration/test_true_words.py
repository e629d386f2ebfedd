"""Words and exit codes about what is not known: never zero, and never another reason than the real one."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from live import Coordd, Project, coordctl, running, utc_now, watching
from redisd import RedisServer
from waiting import eventually

DOWN = "redis://127.0.0.1:1/0"


def test_nothing_is_said_to_be_none_while_redis_cannot_be_read(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path, COORDD_REDIS_URL=DOWN) as coordd:
        eventually(lambda: "refuses" in str(coordd.rpc("status")["problems"]))
        for words in ("tasks", "tasks --state available", "agents --status active", "agents --activity idle"):
            said = coordd.ctl(*words.split())
            what = words.split()[0]
            assert (said.returncode, said.stdout) == (4, ""), words
            assert said.stderr.startswith(f"coordctl: the {what} in Redis are unknown: "), words
        said = coordd.ctl("agents")
        assert (said.returncode, said.stdout.splitlines()[0]) == (4, "No agents are known.")
        assert coordd.ctl("tasks", "--workspace", str(project.root)).stdout == "no such tasks\n"
        assert coordd.ctl("agents", "--workspace", str(project.root)).returncode == 0
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        assert coordd.ctl("agents").returncode == 0
    with watching(project, tmp_path, COORDD_REDIS_URL=DOWN, COORDD_MODE="file") as coordd:
        eventually(lambda: "refuses" in str(coordd.rpc("status")["problems"]))
        said = coordd.ctl("tasks")
        assert (said.returncode, said.stdout, said.stderr) == (0, "no tasks\n", ""), "it is not read at all"
        assert coordd.ctl("agents", "--status", "inactive").returncode == 0


def _told(coordd: Coordd, agent: str, in_list: str, in_why: str) -> None:
    eventually(lambda: coordd.agent(agent)["reason"] == "no-heartbeat")
    status, why = coordd.ctl("status").stdout, " ".join(coordd.ctl("why", agent).stdout.split())
    row = next(line for line in status.splitlines() if agent in line)
    assert in_list in row
    assert f"Whether it lives cannot be told: {in_why}" in why
    assert ("were ever seen" in why) == ("were ever seen" in in_why)


def test_times_that_contradict_each_other_are_said_to(project: Project, tmp_path: Path) -> None:
    hour = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    project.beat("torn", hour)
    (project.agents / "active.list").write_text("named-alone\n")
    with watching(project, tmp_path) as coordd:
        _told(coordd, "torn", "its times contradict each other", "by one of its times it beat a moment ago")
        unseen = "no beat of it that can be read and no process of it were ever seen"
        _told(coordd, "named-alone", "no sign of life can be read", unseen)


def test_a_key_without_a_time_has_not_changed(project: Project, tmp_path: Path, server: RedisServer) -> None:
    client = server.client
    client.set("heartbeat:still", "1")
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as coordd:
        unchanged = "not changed since coordd first saw it"
        _told(coordd, "still", unchanged, "what Redis holds of it has not changed since coordd first saw it")
        client.set("heartbeat:still", "2")
        eventually(lambda: coordd.statuses() == {"still": "active"})


def test_that_another_daemon_answers_is_said_once(project: Project, tmp_path: Path) -> None:
    project.beat("a")
    with watching(project, tmp_path) as coordd:
        eventually((project.claude / "run" / "snapshot.json").exists)
        coordd.stop(signal.SIGTERM)
    home = tmp_path / "home"
    sock = home / ".local/state/coordd/run/coordd.sock"
    with running(["--layout", "user", "-w", str(project.root)], sock=sock, home=home) as coordd:
        eventually(lambda: "a" in coordd.statuses())
        for command in ("agents", "tasks", "agent a", "why a", "agents --status inactive"):
            said = coordctl(*command.split(), environ=coordd.environ, cwd=project.root)
            assert said.returncode == 0
            assert said.stderr.count("coordd was stopped") == 1, (command, said.stderr)


def test_who_named_a_project_is_not_told_to_where_only_redis_is_read(
    project: Project, tmp_path: Path, server: RedisServer
) -> None:
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url, COORDD_MODE="redis") as coordd:
        eventually(lambda: coordd.rpc("status")["redis"]["connected"])
        for command in ("workspaces", "status", "agents", "doctor"):
            said = coordd.ctl(command).stdout
            assert "coordd run --workspace" not in said, command
            assert 'coordination.mode = "redis"' in said, command


def test_no_encoding_makes_another_agent_or_verdict(
    project: Project, tmp_path: Path, server: RedisServer
) -> None:
    client, encodings = server.client, ("utf-8", "utf-8-sig", "utf-16")
    local = (datetime.now(UTC) - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S")
    for encoding in encodings:
        client.set(f"heartbeat:local-{encoding}", local.encode(encoding))
        client.hset(f"heartbeat:hash-{encoding}", "last_seen", utc_now().encode(encoding))
        client.hset(f"task:claim:{encoding}", "agent_id", "holder".encode(encoding))
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url, TZ="Etc/GMT+5") as coordd:
        eventually(lambda: len(coordd.statuses()) == 6)
        expected = {f"local-{one}": "unknown" for one in encodings} | {
            f"hash-{one}": "active" for one in encodings
        }
        assert coordd.statuses() == expected
        assert {one["agent_id"] for one in coordd.rpc("tasks.list")["tasks"]} == {"holder"}
