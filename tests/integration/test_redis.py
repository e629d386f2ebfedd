"""coordd and a real Redis: agents that know nothing but redis-cli, beside one that writes files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from live import Coordd, Project, owners_file, running, utc_now, watching
from redisd import RedisServer
from waiting import eventually


def beat(server: RedisServer, agent: str, *, ttl: int = 120, when: str | None = None) -> None:
    server.run("SET", f"heartbeat:{agent}", when or utc_now(), "EX", ttl)


def register(server: RedisServer, agent: str, **fields: Any) -> None:
    entry = {"id": agent, "hostname": "h", "capabilities": ["code"], "registered_at": utc_now(), **fields}
    server.run("HSET", "agents:registry", agent, json.dumps(entry))


def claim(server: RedisServer, task: str, agent: str) -> bool:
    return bool(server.run("SET", f"tasks:claimed:{task}", agent, "NX", "EX", 300))


def samples(server: RedisServer) -> dict[tuple[str, str], dict[str, Any]]:
    """All agent samples in Redis by (key, field)."""
    found = {}
    with server.client as client:
        for key in client.scan_iter("metrics:agent:*", count=1000):
            for field, value in client.hgetall(key).items():
                found[(key.decode(), field.decode())] = json.loads(value)
    return found


def in_redis(record: dict[str, Any]) -> tuple[str, str]:
    """Where a record lies in Redis."""
    epoch = int(
        time.mktime(time.strptime(record["timestamp"][:19] + "Z", "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    )
    return (
        f"metrics:agent:{epoch}:{record['host']}",
        f"{record['workspace'] or ''}:{record['agent_id']}",
    )


def everything_is_there(server: RedisServer, project: Project) -> bool:
    """Whether of each agent and second the last record is in Redis."""
    expected = {in_redis(record): record for record in project.records("agent")}
    assert expected
    there = samples(server)
    assert {place: there.get(place) for place in expected} == expected
    return True


def status(daemon: Coordd) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.rpc("status")
    return answer


def test_five_agents_of_redis_and_one_of_files_through_an_outage(server: RedisServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("filer")
    for number in range(5):
        register(server, f"agent-{number}")
        beat(server, f"agent-{number}")
    for number in range(3):
        server.run("SADD", "tasks:available", f"task-{number}", f"free-{number}")
        assert claim(server, f"task-{number}", f"agent-{number}")
        server.run("SREM", "tasks:available", f"task-{number}")
        server.run("SADD", f"agent:tasks:agent-{number}", f"task-{number}")

    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        eventually(lambda: len(daemon.statuses()) == 6)
        assert set(daemon.statuses().values()) == {"active"}
        told = status(daemon)
        assert told["health"] == "ok"
        assert told["daemon"]["coord_mode"] == "redis"
        assert told["redis"]["connected"] and told["redis"]["feed"] == "push" and told["redis"]["writes"]
        assert told["tasks"] == {"available": 3, "claimed": 3, "expired": 0, "orphaned": 0}
        assert daemon.agent("agent-0")["workspace"] is None
        assert daemon.agent("agent-0")["sources"] == ["redis"]
        assert daemon.agent("agent-0")["active_tasks"] == 1
        assert [one["task_id"] for one in daemon.agent("agent-0")["claims"]] == ["task-0"]
        text = daemon.ctl("status").stdout
        assert "feed push" in text
        assert "agent-4" in daemon.ctl("agents").stdout
        assert "task-0" in daemon.ctl("tasks").stdout

        beat(server, "agent-4")  # a push is a record at once
        eventually(lambda: [one for one in project.records("agent") if one["agent_id"] == "agent-4"][1:])
        eventually(lambda: everything_is_there(server, project))

        server.kill()
        eventually(lambda: status(daemon)["daemon"]["coord_mode"] == "file", within=5)
        eventually(lambda: "refuses connections" in str(status(daemon)["problems"]))
        eventually(lambda: "refuses connections" in str(status(daemon)["sinks"]["redis"]["error"]))
        told = status(daemon)
        assert told["health"] == "degraded"
        assert len(told["problems"]) == 1
        assert told["tasks"]["claimed"] is None  # unknown, not none
        project.beat("filer")
        assert daemon.statuses()["filer"] == "active"
        answer = daemon.ctl("status")
        assert answer.returncode == 1
        assert "refuses connections" in answer.stdout

        server.start()  # empty: it kept nothing
        eventually(lambda: status(daemon)["daemon"]["coord_mode"] == "redis", within=5)
        eventually(lambda: status(daemon)["redis"]["feed"] == "push")
        assert len(daemon.statuses()) == 6  # nobody has left for that
        for number in range(5):
            register(server, f"agent-{number}")
            beat(server, f"agent-{number}")
        eventually(lambda: set(daemon.statuses().values()) == {"active"})
        eventually(lambda: status(daemon)["health"] == "ok")
        eventually(lambda: everything_is_there(server, project))
        kinds = [event["kind"] for event in project.records("event")]
        assert "agent.removed" not in kinds
        assert kinds.count("redis.down") == 1
        assert kinds.count("redis.up") == 2  # at the start, and again
        assert [
            event["subject"] for event in project.records("event") if event["kind"] == "mode.changed"
        ] == [
            "redis",
            "file",
            "redis",
        ]


def test_openssl_stays_out_of_a_daemon_with_redis(server: RedisServer, tmp_path: Path) -> None:
    """Both redis-py and asyncio would load it."""
    extra = {"COORDD_REDIS_URL": server.url, "PYTHONPROFILEIMPORTTIME": "1"}
    with watching(Project(tmp_path / "app"), tmp_path, **extra) as daemon:
        eventually(lambda: status(daemon)["redis"]["feed"] == "push")
        eventually((tmp_path / "app" / ".claude" / "run" / "snapshot.json").exists)
        assert "redis.asyncio.connection" in daemon.imported()
        assert not daemon.mapped("libcrypto", "/_ssl.", "/_hashlib.")


def test_an_agent_of_redis_that_one_workspace_knows_is_that_agent(
    server: RedisServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "app")
    project.beat("both")
    beat(server, "both")
    server.run("SADD", "agent:tasks:both", "t1", "t2")
    (project.agents / "both.tasks").write_text("t2\nt3\n")
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        agent = eventually(lambda: daemon.agent("both"))
        assert agent["workspace"] == str(project.root)
        assert agent["sources"] == ["file", "redis"]
        assert agent["active_tasks"] == 3
        assert status(daemon)["agents"]["total"] == 1
        (project.agents / "both.heartbeat").unlink()
        (project.agents / "both.tasks").unlink()
        eventually(lambda: daemon.agent("both")["workspace"] is None)
        project.beat("both")
        eventually(lambda: daemon.agent("both")["workspace"] == str(project.root))
        assert status(daemon)["agents"]["total"] == 1


def test_a_heartbeat_that_expires_is_silence_and_leaving_the_registry_is_leaving(
    server: RedisServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "app")
    owners_file(tmp_path, project, agents={"timeout": "10s"})
    register(server, "registered")
    beat(server, "registered")
    beat(server, "nameless")
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        eventually(lambda: daemon.statuses() == {"nameless": "active", "registered": "active"})
        server.run("PEXPIRE", "heartbeat:nameless", 1)
        eventually(lambda: daemon.statuses() == {"nameless": "inactive", "registered": "inactive"})
        assert daemon.agent("nameless")["reason"] == "silent"
        server.run("DEL", "heartbeat:registered")
        server.run("HDEL", "agents:registry", "registered")
        eventually(lambda: daemon.statuses() == {"nameless": "inactive"})
        server.run("SET", "heartbeat:nameless", utc_now())
        eventually(lambda: daemon.statuses() == {"nameless": "active"})


def test_a_restart_samples_nothing_of_redis_twice(server: RedisServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("both")
    (project.agents / "both.tasks").write_text("t1\nt2\n")
    server.run("SADD", "agent:tasks:both", "t2", "t3")
    for agent in ("both", "alone", "silent"):
        beat(server, agent)
    register(server, "registered", last_update=utc_now())
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        eventually(lambda: len(daemon.statuses()) == 4)
        assert daemon.stop() == 0
    before = project.records("agent")
    server.run("DEL", "heartbeat:silent")
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        eventually(lambda: status(daemon)["redis"]["feed"] == "push")
        assert len(daemon.statuses()) == 4
        assert daemon.stop() == 0
    assert project.records("agent") == before


def test_a_redis_that_only_redis_url_names_is_read_and_never_written_to(
    server: RedisServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "app")
    beat(server, "alone")
    with watching(project, tmp_path, REDIS_URL=server.url) as daemon:
        eventually(lambda: daemon.statuses() == {"alone": "active"})
        assert status(daemon)["redis"]["writes"] is False
        assert "redis" not in status(daemon)["sinks"]
        eventually(lambda: project.records("system"))
        assert daemon.stop() == 0
    assert server.run("KEYS", "metrics:*") == []


def test_the_performance_table_has_redis_in_numbers(server: RedisServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    (project.claude / "coordd.toml").write_text('[sampling]\ninterval = "1s"\n')
    beat(server, "alone")
    table = project.claude / "logs" / "performance.log"

    def last(mode: str) -> list[str]:
        row = table.read_text().splitlines()[-1].split(",")
        assert row[5] == mode
        return row

    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        row = eventually(lambda: last("redis"))
        assert int(row[3]) > 100_000
        assert int(row[4]) >= 1
        assert status(daemon)["system"]["coord_mode"] == "redis"
        server.kill()
        row = eventually(lambda: last("file"))
        assert row[3:5] == ["N/A", "N/A"]


def test_a_mode_that_needs_a_restart_changes_nothing_before_it(server: RedisServer, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("filer")
    beat(server, "alone")
    config = tmp_path / "coordd.toml"
    text = f'[coordination]\nworkspaces = ["{project.root}"]\nredis_url = "{server.url}"\nmode = '
    config.write_text(f'{text}"file"\n')
    home = tmp_path / "home"
    sock = tmp_path / "coordd.sock"
    arguments = ["--layout", "user", "--config", str(config), "--socket", str(sock)]
    with running(arguments, sock=sock, home=home) as daemon:
        assert daemon.statuses() == {"filer": "active"}
        config.write_text(f'{text}"redis"\n[agents]\nforget_after = "2h"\n')
        assert "coordination.mode" in daemon.rpc("reload")["restart_required"]
        project.beat("second")  # it is read after the reload has been applied
        eventually(lambda: "second" in daemon.statuses())
        daemon.rpc("reload")
        project.beat("third")
        eventually(lambda: "third" in daemon.statuses())
        assert set(daemon.statuses()) == {"filer", "second", "third"}


def test_a_redis_in_which_nothing_changes_is_asked_once_in_fifteen_seconds(
    server: RedisServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "app")
    beat(server, "quiet", ttl=3600)
    environ = {"COORDD_REDIS_URL": server.url, "COORDD_SAMPLING_INTERVAL": "1h"}
    with watching(project, tmp_path, **environ) as daemon, server.client as client:
        eventually(lambda: status(daemon)["redis"]["feed"] == "push")
        eventually(lambda: status(daemon)["sinks"]["redis"]["backlog"] == 0)
        asked: list[tuple[float, str]] = []
        with client.monitor() as monitor:
            while [name for _, name in asked].count("INFO") < 2:
                told = monitor.next_command()
                asked.append((told["time"], told["command"].split()[0].upper()))
        first, second = (at for at, name in asked if name == "INFO")
        assert second - first > 14
        between = [name for at, name in asked if first < at < second]
        assert set(between) <= {"PING"}
        assert len(between) <= 2  # the other connection, and this exchange's own
