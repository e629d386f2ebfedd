"""Traces that coordd has no right to read: whatever shows what depends on them says so, and what to do."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, running, watching
from redisd import RedisServer, redis_server
from waiting import PATIENCE, eventually

ANOTHER = 4_000_001
PLAIN_ROOT = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if shutil.which("setpriv") else ()
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "app")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


def closed(path: Path) -> Path:
    """Make a file another user's, and closed to everybody else."""
    os.chown(path, ANOTHER, ANOTHER)
    path.chmod(0o600)
    return path


def text(daemon: Coordd, *arguments: str) -> str:
    """What coordctl prints, in one line: it is wrapped to the window."""
    return " ".join(daemon.ctl(*arguments).stdout.split())


def problem_with(daemon: Coordd, *words: str) -> dict[str, Any]:
    status: dict[str, Any] = daemon.rpc("status")
    assert status["health"] == "degraded"
    assert any(all(word in problem for word in words) for problem in status["problems"]), status["problems"]
    return status


@pytest.mark.root
@pytest.mark.skipif(not PLAIN_ROOT, reason="needs setpriv")
def test_heartbeats_and_claims_that_are_closed_to_coordd(project: Project, tmp_path: Path) -> None:
    project.beat("open")
    project.beat("shut")
    claims = project.coordination / "claims"
    claims.mkdir()
    (claims / "known.claim").write_text(json.dumps({"agent_id": "open", "claimed_at": time.time()}))
    (claims / "secret.claim").write_text(json.dumps({"agent_id": "open", "claimed_at": time.time()}))
    beat, claim = closed(project.agents / "shut.heartbeat"), closed(claims / "secret.claim")
    sock = tmp_path / "home" / "d.sock"
    arguments = ["--layout", "user", "--workspace", str(project.root), "--socket", str(sock)]
    with running(arguments, sock=sock, home=tmp_path / "home", prefix=PLAIN_ROOT) as daemon:
        eventually(lambda: "shut" in daemon.statuses())
        agent = daemon.agent("shut")
        assert (agent["status"], agent["reason"]) == ("unknown", "unreachable")
        for door in ("why", "agent"):
            told = text(daemon, door, "shut")
            assert f"Permission denied: {beat}" in told, door
            assert "needs r-- on it" in told, door
            assert "coordctl doctor" in told, door
        assert "its heartbeat may not be read" in text(daemon, "why", "shut")

        tasks = {one["task_id"]: one for one in daemon.rpc("tasks.list")["tasks"]}
        assert (tasks["secret"]["state"], tasks["secret"]["agent_id"]) == ("held", None)
        assert str(claim) in tasks["secret"]["problem"]
        assert (tasks["known"]["agent_id"], tasks["known"]["problem"]) == ("open", None)
        assert "secret held may not be read" in text(daemon, "tasks")
        eventually(lambda: problem_with(daemon, str(beat), "needs r-- on it", "1 more", "coordctl doctor"))
        assert str(beat) in text(daemon, "status")

        for path in (beat, claim):
            path.chmod(0o644)
        # nothing announces that a right was given
        eventually(lambda: daemon.rpc("status")["health"] == "ok", within=2 * PATIENCE)
        assert daemon.statuses()["shut"] == "active"
        assert {one["agent_id"] for one in daemon.rpc("tasks.list")["tasks"]} == {"open"}


@pytest.mark.root
@pytest.mark.skipif(not PLAIN_ROOT, reason="needs setpriv")
def test_a_claim_that_is_closed_while_coordd_runs(project: Project, tmp_path: Path) -> None:
    project.beat("open")
    claims = project.coordination / "claims"
    claims.mkdir()
    sock = tmp_path / "home" / "d.sock"
    arguments = ["--layout", "user", "--workspace", str(project.root), "--socket", str(sock)]
    with running(arguments, sock=sock, home=tmp_path / "home", prefix=PLAIN_ROOT) as daemon:
        eventually(lambda: daemon.statuses() == {"open": "active"})
        half = claims / ".secret.tmp"
        half.write_text(json.dumps({"agent_id": "open"}))
        closed(half).rename(claims / "secret.claim")
        eventually(lambda: problem_with(daemon, str(claims / "secret.claim"), "needs r-- on it"))
        (claims / "secret.claim").chmod(0o644)
        eventually(lambda: daemon.rpc("status")["health"] == "ok", within=2 * PATIENCE)


def test_keys_that_an_acl_keeps_to_itself(server: RedisServer, project: Project, tmp_path: Path) -> None:
    server.run(
        "ACL",
        "SETUSER",
        "mon",
        "on",
        ">pw",
        "~open*",
        "~heartbeat:open",
        "~agents:*",
        "~tasks:*",
        "+@all",
        "&*",
    )
    server.run("SET", "heartbeat:open", f"{time.time():.0f}")
    server.run("SET", "heartbeat:shut", f"{time.time():.0f}")
    server.run("SET", "task:claim:t-1", json.dumps({"agent_id": "open", "claimed_at": time.time()}))
    url = server.url.replace("redis://", "redis://mon:pw@")
    with watching(project, tmp_path, COORDD_REDIS_URL=url) as daemon:
        eventually(lambda: daemon.statuses().keys() == {"open", "shut"})
        agent = daemon.agent("shut")
        assert (agent["status"], agent["reason"]) == ("unknown", "unreachable")
        for door in ("why", "agent"):
            told = text(daemon, door, "shut")
            assert "(ACL)" in told and "ACL SETUSER" in told, door
        eventually(lambda: problem_with(daemon, "redis:heartbeat:shut", "(ACL)", "ACL SETUSER"))
        server.run("ACL", "SETUSER", "mon", "~*")
        eventually(lambda: daemon.statuses()["shut"] == "active", within=3 * PATIENCE)
        eventually(lambda: not [one for one in daemon.rpc("status")["problems"] if "(ACL)" in one])
