"""The ways in which coordd uses a Redis, and what goes on around it: polls, flushes, modes, two hosts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Project, beating, running, watching
from redisd import KINDS, RedisServer
from redisscene import SECRET, USERS, Scene, admin, beat_once
from waiting import PATIENCE, eventually


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    one = RedisServer(tmp_path / "redis", kind=request.param, options=USERS)
    try:
        yield one.start()
    finally:
        one.kill()


@pytest.fixture
def scene(server: RedisServer, tmp_path: Path) -> Scene:
    with admin(server) as client:
        beat_once(client)
    return Scene(server, Project(tmp_path / "app"))


def url(server: RedisServer) -> str:
    return f"redis://coordd:{SECRET}@127.0.0.1:{server.port}/0"


def calls(server: RedisServer, command: str) -> int:
    """How often the server was asked for it."""
    with admin(server) as client:
        told = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(told["calls"])


def forbid_tracking(server: RedisServer) -> None:
    with admin(server) as client:
        client.execute_command("ACL", "SETUSER", "coordd", "-client|tracking")


def test_polling_sees_beats_silence_and_leaving_at_a_bounded_cost(scene: Scene, tmp_path: Path) -> None:
    server = scene.server
    forbid_tracking(server)
    with scene.playing(tmp_path, url(server), wait=False) as playing, admin(server) as client:
        eventually(lambda: playing.status["redis"]["feed"] == "poll")
        assert playing.status["health"] == "ok"
        eventually(lambda: playing.daemon.statuses() == {"alone": "active", "filer": "active"})
        began, before = time.monotonic(), calls(server, "scan")
        client.set("heartbeat:passing", f"{time.time():.3f}", px=2500)
        eventually(lambda: playing.daemon.statuses().get("passing") == "active")
        beats = len(playing.recorded("alone"))
        eventually(lambda: playing.daemon.statuses()["passing"] == "inactive")
        eventually(lambda: len(playing.recorded("alone")) > beats + 1)
        client.hset("agents:registry", "leaving", json.dumps({"id": "leaving", "registered_at": time.time()}))
        eventually(lambda: playing.daemon.statuses().get("leaving") == "active")
        client.hdel("agents:registry", "leaving")
        eventually(lambda: "leaving" not in playing.daemon.statuses())
        assert calls(server, "scan") - before <= (time.monotonic() - began) / 2 + 2
        assert {one["status"] for one in playing.recorded("alone")} == {"active"}


def test_polling_a_redis_that_takes_no_writes_calls_nobody_dead(scene: Scene, tmp_path: Path) -> None:
    forbid_tracking(scene.server)
    with scene.playing(tmp_path, url(scene.server), wait=False) as playing:
        eventually(lambda: playing.daemon.statuses() == {"alone": "active", "filer": "active"})
        polls = calls(scene.server, "scan")
        playing.redis("CONFIG", "SET", "maxmemory", 1)
        eventually(lambda: playing.daemon.statuses()["alone"] == "unknown")
        polls = calls(scene.server, "scan")
        eventually(lambda: calls(scene.server, "scan") > polls + 1)
        assert playing.daemon.agent("alone")["reason"] == "unreachable"
        playing.redis("CONFIG", "SET", "maxmemory", 0)
        eventually(lambda: playing.daemon.statuses()["alone"] == "active")
        assert "inactive" not in {one["status"] for one in playing.recorded("alone")}


def test_heartbeats_of_one_spelling_that_may_not_be_read(scene: Scene, tmp_path: Path) -> None:
    with scene.playing(tmp_path, url(scene.server)) as playing, admin(scene.server) as client:
        client.set("agent:heartbeat:other", f"{time.time():.3f}")
        eventually(lambda: playing.daemon.statuses().get("other") == "active")
        client.execute_command(
            "ACL", "SETUSER", "coordd", "resetkeys", "~agent*", "~metrics:*", "~task*", "~work*"
        )
        eventually(lambda: "heartbeat: in Redis cannot be read" in playing.problems)
        eventually(lambda: playing.daemon.statuses()["alone"] == "unknown")
        eventually(lambda: playing.daemon.statuses()["other"] == "inactive")  # that one is silent indeed
        client.execute_command("ACL", "SETUSER", "coordd", "~*")
        eventually(lambda: playing.daemon.statuses()["alone"] == "active")
        eventually(lambda: playing.status["health"] == "ok")
        assert "inactive" not in {one["status"] for one in playing.recorded("alone")}


def test_a_registry_that_changes_at_each_beat_is_not_read_at_each(
    server: RedisServer, tmp_path: Path
) -> None:
    project = Project(tmp_path / "app")
    with watching(project, tmp_path, COORDD_REDIS_URL=url(server)) as daemon, admin(server) as client:
        eventually(lambda: daemon.rpc("status")["redis"]["feed"] == "push")
        began, before, beats = time.monotonic(), calls(server, "hscan"), 0

        def beaten() -> bool:
            nonlocal beats
            beats += 1
            for number in range(20):
                entry = {"id": f"a{number}", "registered_at": 1764000000, "last_update": time.time()}
                client.hset("agents:registry", f"a{number}", json.dumps(entry))
            seen = [one for one in project.records("agent") if one["agent_id"] == "a19"]
            return len({one["last_heartbeat"] for one in seen}) > 5

        eventually(beaten)
        assert set(daemon.statuses().values()) == {"active"}
        assert len(daemon.statuses()) == 20
        assert calls(server, "hscan") - before <= 4 * (time.monotonic() - began) + 8
        assert beats > 20


def test_what_is_flushed_is_gone_and_samples_are_written_again(scene: Scene, tmp_path: Path) -> None:
    with scene.playing(tmp_path, url(scene.server)) as playing, admin(scene.server) as client:
        client.hset("agents:registry", "guest", json.dumps({"id": "guest", "registered_at": time.time()}))
        eventually(lambda: "guest" in playing.daemon.statuses())
        eventually(lambda: len(playing.project.records("system")) > 2)
        client.flushall()
        eventually(lambda: "guest" not in playing.daemon.statuses())
        eventually(playing.well)
        playing.still()
        eventually(playing.everything_is_there)
        assert playing.turns() == ["redis.up", "mode.changed"]


def test_an_agent_moves_between_file_and_redis_while_redis_flaps(scene: Scene, tmp_path: Path) -> None:
    project, server = scene.project, scene.server
    with scene.playing(tmp_path, url(server), wait=False) as playing, beating(project, "alone"):
        shown = {"alone": "active", "filer": "active"}
        for _ in range(3):
            eventually(lambda: playing.daemon.agent("alone")["sources"] == ["file", "redis"])
            eventually(lambda: playing.daemon.statuses() == shown)
            server.kill()
            eventually(lambda: not playing.status["redis"]["connected"])
            assert playing.daemon.statuses() == shown
            server.start()
            eventually(lambda: playing.status["redis"]["connected"])
        eventually(lambda: playing.daemon.agent("alone")["sources"] == ["file", "redis"])
        assert playing.status["agents"]["total"] == 2
        statuses = [one["status"] for one in playing.recorded("alone") if one["cause"] != "removed"]
        assert set(statuses) == {"active"}
        playing.still()
    # and out of the file alone, while Redis is away
    with scene_again(scene, tmp_path) as playing:
        server.kill()
        eventually(lambda: not playing.status["redis"]["connected"])
        (project.agents / "alone.heartbeat").unlink()
        # Redis, which may know it, cannot be asked: it is not known whether it is gone
        eventually(lambda: playing.daemon.statuses() == {"alone": "unknown", "filer": "active"})
        server.start()
        eventually(lambda: playing.daemon.statuses() == {"alone": "active", "filer": "active"})
        eventually(lambda: playing.daemon.agent("alone")["sources"] == ["redis"])


def scene_again(scene: Scene, tmp_path: Path) -> contextlib.AbstractContextManager[Scene]:
    return Scene(scene.server, scene.project).playing(tmp_path, url(scene.server), wait=False)


def test_a_reload_with_another_time_to_live(scene: Scene, tmp_path: Path) -> None:
    settings = scene.project.claude / "coordd.toml"
    home = tmp_path / "home" / ".config" / "coordd"
    home.mkdir(parents=True)
    config = home / "coordd.toml"
    config.write_text('[redis]\nttl = "1h"\n')
    assert not settings.exists()
    sock = tmp_path / "c.sock"
    with (
        running(
            ["--workspace", str(scene.project.root), "--config", str(config), "--socket", str(sock)],
            sock=sock,
            home=tmp_path / "home",
            COORDD_REDIS_URL=url(scene.server),
            COORDD_SAMPLING_INTERVAL="1s",
        ) as daemon,
        admin(scene.server) as client,
    ):

        def longest() -> int:
            return max(client.ttl(key) for key in client.scan_iter("metrics:system:*"))

        eventually(lambda: 3500 < longest() <= 3600)
        config.write_text('[redis]\nttl = "2h"\n')
        assert daemon.rpc("reload") == {"changed": ["redis.ttl"], "restart_required": [], "problems": []}
        eventually(lambda: 7100 < longest() <= 7200)
        config.write_text('[redis]\nttl = "2h"\n[coordination]\nmode = "file"\n')
        assert daemon.rpc("reload")["restart_required"] == ["coordination.mode"]
        assert daemon.rpc("status")["daemon"]["coord_mode"] == "redis"


def test_mode_file_reads_nothing_of_redis_and_writes_samples_there(scene: Scene, tmp_path: Path) -> None:
    scans = calls(scene.server, "scan"), calls(scene.server, "getrange"), calls(scene.server, "hscan")
    with scene.playing(tmp_path, url(scene.server), wait=False, COORDD_MODE="file") as playing:
        eventually(lambda: playing.daemon.statuses() == {"filer": "active"})
        told = playing.status
        assert told["daemon"]["coord_mode"] == "file"
        eventually(lambda: playing.status["redis"]["connected"])
        assert playing.status["redis"]["feed"] is None
        assert told["health"] == "ok"
        eventually(lambda: len(playing.project.records("system")) > 2)
        playing.still()
        assert (
            calls(scene.server, "scan"),
            calls(scene.server, "getrange"),
            calls(scene.server, "hscan"),
        ) == scans
        eventually(playing.everything_is_there)
        assert playing.turns() == ["redis.up"]
        scene.server.kill()
        eventually(lambda: "refuses connections" in playing.problems)
        assert playing.daemon.ctl("status").returncode == 1
        eventually(lambda: playing.turns() == ["redis.up", "redis.down"])
        assert {one["coord_mode"] for one in playing.project.records("system")} == {"file"}


def test_mode_redis_reads_no_files(scene: Scene, tmp_path: Path) -> None:
    with scene.playing(tmp_path, url(scene.server), wait=False, COORDD_MODE="redis") as playing:
        eventually(lambda: playing.daemon.statuses() == {"alone": "active"})
        scene.server.kill()
        eventually(lambda: playing.daemon.statuses() == {"alone": "unknown"})
        assert playing.status["daemon"]["coord_mode"] == "file"
        scene.server.start()
        eventually(lambda: playing.daemon.statuses() == {"alone": "active"})
        assert playing.recorded("filer") == []


@pytest.mark.parametrize("way", ["unix", "environment", "wrong"])
def test_no_password_comes_out(way: str, scene: Scene, tmp_path: Path) -> None:
    server, password = scene.server, SECRET if way != "wrong" else f"{SECRET}-wrong"
    name = "REDIS_URL" if way == "environment" else "COORDD_REDIS_URL"
    place = f"redis://coordd:{password}@127.0.0.1:{server.port}/0"
    if way == "unix":
        place = f"unix://coordd:{password}@{server.socket}?db=0"
    extra = {name: place, "COORDD_SAMPLING_INTERVAL": "1s", "COORDD_LOG_LEVEL": "debug"}
    with watching(scene.project, tmp_path, **extra) as daemon:
        if way == "wrong":
            eventually(
                lambda: "refuses the user name or the password" in str(daemon.rpc("status")["problems"])
            )
        else:
            eventually(lambda: daemon.statuses() == {"alone": "active"})
            assert ("redis" in daemon.rpc("status")["sinks"]) == (way == "unix")
        said = [json.dumps(daemon.rpc(method)) for method in ("status", "agents.list", "reload")]
        for command in (["status"], ["status", "--json"], ["doctor"], ["why", "alone"]):
            answer = daemon.ctl(*command)
            said += [answer.stdout, answer.stderr]
        answer = subprocess.run(
            [*coordd(), "check-config", "--workspace", str(scene.project.root)],
            capture_output=True, text=True, env=daemon.environ, timeout=PATIENCE, check=False,
        )  # fmt: skip
        said += [answer.stdout, answer.stderr]
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon.pid, signal.SIGHUP)
        server.kill()
        eventually(lambda: daemon.rpc("status")["problems"])
        said.append(daemon.ctl("status").stdout)
        assert daemon.stop() == 0
    said += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if is_ours(path)]
    assert "coordd:***@" in "".join(said)
    assert SECRET not in "".join(said)


def coordd() -> list[str]:
    return [sys.executable, "-m", "coordd"]


def is_ours(path: Path) -> bool:
    return path.is_file() and path.parent.name != "redis"


@pytest.mark.root
def test_two_hosts_share_a_redis_and_overwrite_nothing_of_each_other(
    server: RedisServer, tmp_path: Path
) -> None:
    scenes = []
    with contextlib.ExitStack() as stack:
        for name in ("alder", "birch"):
            scene = Scene(server, Project(tmp_path / name / "app"))
            prefix = ("unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh")
            scenes.append(stack.enter_context(scene.playing(tmp_path / name, url(server), prefix=prefix)))
        for scene in scenes:
            eventually(lambda scene=scene: len(scene.project.records("system")) > 4)
            assert scene.daemon.statuses() == {"alone": "active", "filer": "active"}
        for scene in scenes:
            scene.still()
        for scene in scenes:
            eventually(scene.everything_is_there)
            assert scene.daemon.stop() == 0
    hosts = {key.rpartition(":")[2] for key, _ in scenes[0].samples()}
    assert hosts == {"alder", "birch"}
    for scene in scenes:
        assert scene.everything_is_there()
