"""What a start tells of the run before it, and what a reload leaves to the next start."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, environment, running, watching
from waiting import eventually


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "app")


def events(daemon: Coordd) -> list[dict[str, Any]]:
    """The events about coordd's own life, once the last start is recorded and the last run was read."""
    found: list[dict[str, Any]] = daemon.rpc("history.query", {"type": "event"})["records"]
    return [one for one in found if one["kind"].startswith(("daemon.", "machine."))]


def kinds(daemon: Coordd) -> list[str]:
    return [one["kind"] for one in events(daemon)]


def killed(project: Project, tmp_path: Path) -> int:
    """Run coordd until it has written a snapshot, and kill it; return its pid."""
    with watching(project, tmp_path) as daemon:
        eventually((project.claude / "run" / "snapshot.json").exists)
        daemon.stop(signal.SIGKILL)
        return daemon.pid


def test_a_crash_is_an_event_after_the_next_start_and_only_then(project: Project, tmp_path: Path) -> None:
    pid = killed(project, tmp_path)
    with watching(project, tmp_path) as daemon:
        written = eventually(lambda: [one for one in events(daemon) if one["kind"] == "daemon.crashed"])
        (crash,) = written
        assert crash["detail"]["pid"] == pid
        assert crash["detail"]["last_seen"] is not None
        assert crash["detail"]["started_at"] <= crash["detail"]["last_seen"] <= crash["timestamp"]
        assert f"pid {pid}" in crash["message"]
        assert crash["detail"]["last_seen"] in crash["message"]
        starts = kinds(daemon).count("daemon.started")  # the run that was killed may not have written its own
        assert daemon.stop() == 0
    with watching(project, tmp_path) as daemon:
        eventually(lambda: kinds(daemon).count("daemon.started") == starts + 1)
        assert kinds(daemon).count("daemon.crashed") == 1, "it ended in order after that"


def test_a_crash_before_the_first_snapshot_is_told_as_well(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path)
    (project.claude / "run" / "snapshot.json").unlink()
    with watching(project, tmp_path) as daemon:
        eventually(lambda: "daemon.crashed" in kinds(daemon))


def test_a_machine_that_was_restarted_is_told_apart(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path)
    lock = project.claude / "metrics" / ".lock"
    about = json.loads(lock.read_text())
    lock.write_text(json.dumps({**about, "boot": "00000000-0000-4000-8000-000000000000"}))
    with watching(project, tmp_path) as daemon:
        eventually(lambda: "machine.restarted" in kinds(daemon))
        assert "daemon.crashed" not in kinds(daemon)


def test_what_came_with_a_clone_is_no_crash_of_ours(project: Project, tmp_path: Path) -> None:
    killed(project, tmp_path)
    clone = Project(tmp_path / "clone")
    shutil.copytree(project.claude, clone.claude, dirs_exist_ok=True, symlinks=True, ignore=_no_sockets)
    with watching(clone, tmp_path) as daemon:
        eventually(lambda: daemon.rpc("system.latest"))
        assert "daemon.crashed" not in kinds(daemon)


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def test_a_start_that_fails_for_a_reason_is_no_crash(project: Project, tmp_path: Path) -> None:
    sock = project.claude / "run" / "coordd.sock"
    sock.mkdir(parents=True)  # no socket can be made there
    done = subprocess.run(
        [sys.executable, "-m", "coordd", "run", "--workspace", str(project.root)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert (project.claude / "metrics" / ".lock").exists()
    sock.rmdir()
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.rpc("system.latest"))
        assert kinds(daemon) == ["daemon.started"]


def test_what_a_reload_leaves_to_a_restart_stays_in_sight_until_then(
    project: Project, tmp_path: Path
) -> None:
    config, sock = tmp_path / "coordd.toml", tmp_path / "coordd.sock"
    text = f'[coordination]\nworkspaces = ["{project.root}"]\n'
    config.write_text(text)
    arguments = ["--layout", "user", "--config", str(config), "--socket", str(sock)]

    def sights(daemon: Coordd) -> tuple[list[str], bool, str]:
        """What status, as JSON and text, and the doctor say of it."""
        document = json.loads(daemon.ctl("status", "--json").stdout)
        checks = json.loads(daemon.ctl("doctor", "--json").stdout)["checks"]
        (restart,) = [check for check in checks if check["name"] == "restart"]
        return (
            document["restart_required"],
            "Restart    needed for storage.backlog\n" in daemon.ctl("status").stdout,
            restart["result"],
        )

    with running(arguments, sock=sock, home=tmp_path / "home") as daemon:
        assert sights(daemon) == ([], False, "ok")
        config.write_text(f"{text}[storage]\nbacklog = 200000\n")
        assert daemon.rpc("reload")["restart_required"] == ["storage.backlog"]
        assert sights(daemon) == (["storage.backlog"], True, "warn")
        config.write_text(f"{text}[storage]\nbacklog = 200000\n[agents]\ntimeout = '90s'\n")
        assert daemon.rpc("reload") == {
            "changed": ["agents.timeout"],
            "restart_required": ["storage.backlog"],
            "problems": [],
        }
        assert sights(daemon) == (["storage.backlog"], True, "warn")
        config.write_text(text)  # taken back: there is nothing to wait for
        assert daemon.rpc("reload")["restart_required"] == []
        assert sights(daemon) == ([], False, "ok")
        config.write_text(f"{text}[storage]\nbacklog = 200000\n")
        daemon.rpc("reload")
        assert daemon.stop() == 0
    with running(arguments, sock=sock, home=tmp_path / "home") as daemon:
        assert sights(daemon) == ([], False, "ok")


def test_the_doctor_offers_to_keep_the_traces_out_of_git_and_writes_nothing(
    project: Project, tmp_path: Path
) -> None:
    def offered(daemon: Coordd) -> list[dict[str, Any]]:
        checks = json.loads(daemon.ctl("doctor", "--json").stdout)["checks"]
        return [check for check in checks if check["name"] == "git"]

    with watching(project, tmp_path) as daemon:
        assert offered(daemon) == [], "it is no git work tree"
        project.git("init", "-q")
        (offer,) = offered(daemon)
        assert offer["result"] == "ok", "some want them in git"
        assert not (project.agents / ".gitignore").exists()
        command = offer["fix"].partition(": ")[2]
        assert command == f"echo '*' >{project.agents}/.gitignore"
        (project.agents / ".gitignore").write_text("*\n")
        assert offered(daemon) == []
