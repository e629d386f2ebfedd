"""What a clone may bring along, and what it must not make anybody do: connect, fail to start, say nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from lineserver import LineServer
from live import Project, RpcFailed, coordctl, environment, owners_file, watching
from redisd import redis_server
from waiting import PATIENCE, eventually

COMMAND = "a%0D%0Adelete%20session%0D%0Ab:x@"
"""A user whose name is a line of its own to a server that takes lines."""


@pytest.fixture(params=["unix", "port"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LineServer]:
    server = LineServer(str(tmp_path / "memcached.sock") if request.param == "unix" else None)
    yield server
    server.close()


def url(listener: LineServer, user: str = COMMAND) -> str:
    scheme = "unix" if listener.place.startswith("/") else "redis"
    return f"{scheme}://{user}{listener.place}"


def coordd(*arguments: str, project: Project, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordd", *arguments],
        capture_output=True,
        text=True,
        env=environment(tmp_path / "home"),
        cwd=project.root,
        timeout=PATIENCE,
        check=False,
    )


def findings(done: subprocess.CompletedProcess[str], name: str) -> list[dict[str, Any]]:
    return [check for check in json.loads(done.stdout)["checks"] if check["name"] == name]


@pytest.mark.parametrize("user", [COMMAND, "flush_all:x@", ":x@", ""])
def test_a_clone_makes_nobody_connect(
    project: Project, listener: LineServer, tmp_path: Path, user: str
) -> None:
    path = project.claude / "coordd.toml"
    path.write_text(f'[coordination]\nredis_url = "{url(listener, user)}"\n')
    checked = coordd("check-redis", project=project, tmp_path=tmp_path)
    assert "no Redis is configured" in checked.stdout
    down = coordctl("doctor", "--json", environ=environment(tmp_path / "home"), cwd=project.root)
    with watching(project, tmp_path) as daemon:
        assert daemon.rpc("status")["redis"]["configured"] is False
        up = daemon.ctl("doctor", "--json", cwd=project.root)
    assert (listener.connections, listener.lines) == (0, [])
    for done in (down, up):
        (found,) = findings(done, "config")
        assert found["result"] == "warn"
        assert f"{path}: coordination.redis_url: a project's own file may not set this" in found["message"]
        assert str(tmp_path / "home" / ".config" / "coordd" / "coordd.toml") in found["message"]


@pytest.mark.parametrize("layout", ["project", "user", "system", None])
def test_a_snapshot_that_came_with_a_clone_leads_to_no_configuration(
    project: Project, listener: LineServer, tmp_path: Path, layout: str | None
) -> None:
    evil = project.root / "evil.toml"
    evil.write_text(f'[coordination]\nredis_url = "{url(listener, "")}"\n')
    places = {"socket": str(project.claude / "run" / "coordd.sock"), "config_file": str(evil)}
    status = {"schema": 1, "daemon": {"layout": layout, **places}, "redis": {"configured": True}}
    snapshot = project.claude / "run" / "snapshot.json"
    snapshot.parent.mkdir()
    snapshot.write_text(
        json.dumps({"schema": 1, "written_at": "2026-01-01T00:00:00Z", "status": status, "agents": []})
    )
    environ = environment(tmp_path / "home")
    for arguments in ([], ["--socket", places["socket"]]):
        coordctl(*arguments, "doctor", environ=environ, cwd=project.root)
    assert (listener.connections, listener.lines) == (0, [])


@pytest.mark.parametrize(
    "content",
    [
        b"[storage]\nmetrics_dir = '/etc'\n",
        b"[control]\nsocket = '/tmp/x'\n",
        b"[agents]\ntimeout = 'soon'\n",
        b"[agents]\ntimeuot = 'soon'\n",
        b"nonsense",
        b"\xff\xfe",
        b"#" * 100_000,
    ],
)
def test_no_commit_stops_a_daemon_at_start_or_at_a_reload(
    project: Project, tmp_path: Path, content: bytes
) -> None:
    path = project.claude / "coordd.toml"
    path.write_bytes(content)
    checked = coordd("check-config", project=project, tmp_path=tmp_path)
    assert checked.returncode == 0
    assert checked.stderr.startswith(f"coordd: warning: {path}: ")
    with watching(project, tmp_path) as daemon:
        status = daemon.rpc("status")
        (problem,) = status["problems"]
        assert status["health"] == "degraded"
        assert f"coordd: warning: {problem}\n" == checked.stderr
        assert problem in daemon.logged()
        path.write_text("[agents]\ntimeout = '5m'\n")
        answer = {"changed": ["agents.timeout"], "restart_required": [], "problems": []}
        assert daemon.rpc("reload") == answer
        assert daemon.rpc("status")["problems"] == []
        path.write_bytes(content)
        if content.startswith(b"["):  # the rest of the file counts
            assert daemon.rpc("reload") == {**answer, "problems": [problem]}
        else:
            problem = f"{problem.removesuffix('; it is ignored')}; what it has set stays in effect"
            with pytest.raises(RpcFailed) as failed:
                daemon.rpc("reload")
            assert failed.value.error["message"] == problem
        assert daemon.rpc("status")["problems"] == [problem]
        assert problem in daemon.logged()
        shown = daemon.ctl("status")
        assert shown.returncode == 1
        assert problem.replace(f" {tmp_path}/home/", " ~/") in shown.stdout
        kind = "config.reloaded" if content.startswith(b"[") else "config.rejected"

        def told() -> bool:
            events = [one for one in project.records("event") if one["kind"] == kind]
            return any(problem in (one["message"], *one["detail"].get("problems", ())) for one in events)

        eventually(told)
        path.unlink()
        daemon.rpc("reload")
        assert daemon.rpc("status")["problems"] == []


def test_the_owner_names_a_redis_for_one_project(project: Project, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        config = owners_file(tmp_path, project, coordination={"redis_url": server.url})
        other = Project(tmp_path / "other")
        with watching(project, tmp_path) as daemon:
            eventually(lambda: daemon.rpc("status")["redis"]["connected"])
            assert daemon.rpc("status")["redis"]["writes"] is True
            found = findings(daemon.ctl("doctor", "--json", cwd=project.root), "redis_read")
            assert [one["result"] for one in found] == ["ok"]
            config.write_text(config.read_text() + "timeout = 1\n")
            refused = daemon.ctl("reload")
            assert refused.returncode == 1
            assert f"{config}: project." in refused.stderr
            assert daemon.rpc("status")["problems"] == []
        bad = coordd("check-config", project=other, tmp_path=tmp_path)
        assert bad.returncode == 78
        owners_file(tmp_path, project, coordination={"redis_url": server.url})
        shown = coordd("check-config", project=project, tmp_path=tmp_path)
        assert f"# {config}" in next(line for line in shown.stdout.splitlines() if "redis_url" in line)
        elsewhere = coordd("check-config", project=other, tmp_path=tmp_path)
        assert "# redis_url is not set" in elsewhere.stdout


def arguments_of(kind: str, bad: str, tmp_path: Path) -> tuple[Sequence[str], dict[str, str]]:
    if kind == "file":
        path = tmp_path / "named.toml"
        path.write_text(f'[coordination]\nredis_url = "{bad}"\n')
        return ["--config", str(path)], {}
    return [], {kind: bad, "COORDD_MODE": "redis"}


@pytest.mark.parametrize("kind", ["file", "REDIS_URL", "COORDD_REDIS_URL"])
def test_no_source_gives_a_url_with_a_line_in_it(
    project: Project, listener: LineServer, tmp_path: Path, kind: str
) -> None:
    arguments, environ = arguments_of(kind, url(listener), tmp_path)
    for command in ("run", "check-redis", "check-config"):
        done = subprocess.run(
            [sys.executable, "-m", "coordd", command, *arguments],
            capture_output=True,
            text=True,
            env=environment(tmp_path / "home", **environ),
            cwd=project.root,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 78
        assert "without control characters" in done.stderr
    assert listener.connections == 0


def test_no_service_is_installed_with_such_a_url(project: Project, tmp_path: Path) -> None:
    asked = ("service", "install", "--dry-run", "--redis-url", "redis://a%0D%0Ab:x@localhost")
    done = coordd(*asked, project=project, tmp_path=tmp_path)
    assert done.returncode == 78
    assert "--redis-url: expected a URL without control characters" in done.stderr


def test_the_name_of_a_project_is_no_line_of_what_check_config_says(tmp_path: Path) -> None:
    strange = Project(tmp_path / "app\n[coordination]\nredis_url = theirs\x1b[31m\u202e")
    (strange.claude / "coordd.toml").write_text("[sampling]\ninterval = '2s'\n")
    said = coordd("check-config", project=strange, tmp_path=tmp_path)
    assert said.returncode == 0
    assert "\x1b" not in said.stdout and "\u202e" not in said.stdout
    assert said.stdout.splitlines().count("[coordination]") == 1
    assert not any(line.startswith("redis_url") for line in said.stdout.splitlines())


@pytest.mark.parametrize("broken", ["[agents\n", "x = 1 #" + "y" * 600, "\x00", "link"])
def test_a_reload_of_a_file_that_broke_keeps_what_it_had_set(
    project: Project, tmp_path: Path, broken: str
) -> None:
    path = project.claude / "coordd.toml"
    path.write_text('[agents]\ntimeout = "77s"\n')
    with watching(project, tmp_path) as daemon:
        if broken == "link":
            path.unlink()
            path.symlink_to("/etc/hostname")
        else:
            path.write_text(broken)
        said = daemon.ctl("reload")
        assert (said.returncode, said.stdout) == (1, "")
        assert str(path) in said.stderr
        assert "what it has set stays in effect" in said.stderr
        project.beat("a")
        eventually(lambda: "a" in daemon.statuses())
        (beat,) = [one for one in daemon.agent("a")["evidence"] if one["signal"] == "heartbeat"]
        assert beat["threshold"] == 77
        assert [one["kind"] for one in project.records("event")].count("config.rejected") == 1
        path.unlink()
        path.write_text('[agents]\ntimeout = "78s"\nstall_after = "nonsense"\n[redis]\nttl = "1m"\n')
        said = daemon.ctl("reload")
        assert (said.returncode, said.stdout) == (0, "changed: agents.timeout\n")
        assert "warning: " in said.stderr
        assert "agents.stall_after" in said.stderr
        assert "redis.ttl" in said.stderr


def test_a_file_that_was_broken_from_the_start_stops_no_reload(project: Project, tmp_path: Path) -> None:
    (project.claude / "coordd.toml").write_text("[agents\n")
    own = owners_file(tmp_path, project, agents={"timeout": "80s"})
    with watching(project, tmp_path) as daemon:
        own.write_text(own.read_text().replace("80s", "81s"))
        said = daemon.ctl("reload")
        assert (said.returncode, said.stdout) == (0, "changed: agents.timeout\n")
        assert "no valid TOML" in said.stderr
