"""Workspaces that are named and are none, and traces that may not be read: said, with a fix that helps."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import Coordd, Project, running
from waiting import eventually

ANOTHER = 4_000_001
PLAIN_ROOT = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if shutil.which("setpriv") else ()
)
SANDBOX, RIGHTS = re.compile(r"sandbox|SELinux"), re.compile(r"chmod|setfacl")


def watching_all(tmp_path: Path, *places: Path, prefix: tuple[str, ...] = ()) -> object:
    home = tmp_path / "home"
    words = [word for place in places for word in ("--workspace", str(place))]
    sock = home / ".local/state/coordd/run/coordd.sock"
    return running(["--layout", "user", *words], sock=sock, home=home, cwd=tmp_path, prefix=prefix)


def plain(path: Path) -> Path:
    path.touch()
    return path


def loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "app"


def odd_claude(path: Path) -> Path:
    path.mkdir()
    (path / ".claude").touch()
    return path


def odd_coordination(path: Path) -> Path:
    (path / ".claude").mkdir(parents=True)
    (path / ".claude" / "coordination").symlink_to("coordination")
    return path


def odd_agents(path: Path) -> Path:
    project = Project(path)
    project.agents.rmdir()
    project.agents.symlink_to("/tmp")
    return path


ODD: list[tuple[Callable[[Path], Path], str, str]] = [
    (plain, "is a file, not a directory", "ls -ld"),
    (loop, "is a symbolic link that leads to itself", "ls -ld"),
    (below_a_file, "is a file, not a directory", "ls -ld"),
    (odd_claude, "is a file, not a directory", "mv "),
    (odd_coordination, "is a symbolic link that leads to itself", "mv "),
    (odd_agents, "is a symbolic link, not a directory", "mv "),
]


@pytest.mark.parametrize(("make", "words", "fix"), ODD, ids=[make.__name__ for make, _, _ in ODD])
def test_what_is_no_directory_is_no_question_of_rights(
    tmp_path: Path, make: Callable[[Path], Path], words: str, fix: str
) -> None:
    place = make(tmp_path / "src")
    with watching_all(tmp_path, place, Project(tmp_path / "sound").root) as coordd:
        eventually(lambda: coordd.rpc("status")["health"] == "degraded")
        checks = json.loads(coordd.ctl("doctor", "--json").stdout)["checks"]
        (found,) = [one for one in checks if one["name"] == "workspace" and one["result"] == "fail"]
        assert words in found["message"]
        assert fix in found["fix"]
        assert not SANDBOX.search(found["fix"])
        assert not RIGHTS.search(found["fix"])
        assert f"{place}: one project" not in coordd.ctl("workspaces").stdout
        if fix == "mv ":
            _, _, command = found["fix"].partition(": ")
            subprocess.run(shlex.split(command), check=True)
            eventually(lambda: coordd.rpc("status")["health"] == "ok")


def _missing(coordd: Coordd, place: Path) -> None:
    said = coordd.ctl("status")
    assert said.returncode == 1
    assert f"workspace {place}: there is no such directory; it is awaited" in said.stdout
    assert f"{place}: there is no such directory (it is awaited)" in said.stdout
    listed = coordd.ctl("workspaces").stdout
    assert listed.count(f"{place}: there is no such directory (it is awaited)") == 2, "reasons, configuration"
    doctor = coordd.ctl("doctor").stdout
    assert re.search(rf"warn +workspace +{place} does not exist\n +fix: .*; or: mkdir -p {place}\n", doctor)


def test_a_directory_that_does_not_exist_is_said_and_awaited(tmp_path: Path) -> None:
    place = tmp_path / "typo"
    with watching_all(tmp_path, place) as coordd:
        _missing(coordd, place)
        place.mkdir()
        eventually(lambda: coordd.rpc("status")["health"] == "ok")
        (waiting,) = coordd.rpc("status")["workspaces"]
        assert (waiting["state"], waiting["error"]) == ("waiting", None)
        assert f"{place}: one project" in coordd.ctl("workspaces").stdout
        project = Project(place)
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})


def test_a_link_to_nothing_is_no_directory_either(tmp_path: Path) -> None:
    place = tmp_path / "link"
    place.symlink_to(tmp_path / "gone")
    with watching_all(tmp_path, place) as coordd:
        assert coordd.rpc("status")["health"] == "degraded"
        assert "there is no such directory" in coordd.ctl("status").stdout


@pytest.mark.root
@pytest.mark.skipif(not PLAIN_ROOT, reason="needs setpriv")
def test_traces_that_may_not_be_read_get_a_right_and_are_not_to_be_removed(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    claims = project.coordination / "claims"
    claims.mkdir()
    closed = [project.agents / f"a{n}.heartbeat" for n in range(4)] + [
        claims / f"t{n}.claim" for n in range(2)
    ]
    for path in closed:
        path.write_text("x")
        os.chown(path, ANOTHER, ANOTHER)
        path.chmod(0o600)
    litter = project.agents / "a.heartbeat~"
    litter.touch(0o600)
    os.chown(litter, ANOTHER, ANOTHER)
    (project.agents / "bad.active").write_text("{")
    with watching_all(tmp_path, project.root, prefix=PLAIN_ROOT) as coordd:
        eventually(lambda: coordd.rpc("status")["traces_malformed"]["count"] == 7)
        assert coordd.rpc("status")["traces_malformed"]["denied"] == 6
        status = " ".join(coordd.ctl("status").stdout.split())
        assert "1 malformed, 6 may not be read" in status
        assert ", and 5 more of its traces" in status
        ask = ["-m", "coordd.cli", "--socket", str(coordd.socket), "doctor", "--json"]
        done = subprocess.run(
            [*PLAIN_ROOT, sys.executable, *ask],
            env=coordd.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        checks = json.loads(done.stdout)["checks"]
        (workspace,) = [one for one in checks if one["name"] == "workspace"]
        assert ", and 5 more of its traces" in workspace["message"]
        malformed, denied = [one for one in checks if one["name"] == "traces"]
        assert malformed["message"].startswith("1 malformed, passed over: ")
        assert "bad.active" in malformed["message"]
        assert denied["message"].startswith("6 may not be read: ")
        assert RIGHTS.search(denied["fix"])
        assert "remove none" in denied["fix"]
