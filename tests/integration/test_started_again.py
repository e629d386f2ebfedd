"""What is advised for a daemon that ended brings back the same one: typed as shown, from anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live import Project, ask, coordctl, environment, running
from waiting import PATIENCE, eventually

from coordd.cli import advice
from coordd.errors import DaemonNotRunning
from coordd.protocol.starting import start_of

ENDS = [signal.SIGKILL, signal.SIGTERM]


def typed(said: str) -> str:
    """Return the one command that is advised."""
    found = re.findall(r"(coordd start .*?)(?:;|$)", said, re.MULTILINE)
    assert len(found) == 1, said
    return str(found[0])


def again(command: str, environ: dict[str, str], socket: Path, cwd: Path) -> dict[str, object]:
    """Type a command into a shell, return what its daemon says of itself, and stop it."""

    def shell(text: str) -> None:
        coordd = f'coordd() {{ {sys.executable} -m coordd "$@"; }}\n'
        subprocess.run(["bash", "-c", coordd + text], env=environ, cwd=cwd, timeout=PATIENCE, check=True)

    shell(command)
    try:
        status: dict[str, object] = ask(socket, "status")
        return status
    finally:
        shell(command.replace("coordd start ", "coordd stop ").replace(" --log-level debug", ""))


def watched(status: dict[str, object]) -> set[str]:
    workspaces = status["workspaces"]
    assert isinstance(workspaces, list)
    return {one["path"] for one in workspaces}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("named", ["usual", "socket", "config"])
def test_one_of_several_workspaces_watches_them_again(tmp_path: Path, end: int, named: str) -> None:
    """``named``: where it answered, and where its workspaces stood."""
    a, b = Project(tmp_path / "a b"), Project(tmp_path / "b\ttab")
    home = tmp_path / "home"
    unwatched = Project(tmp_path / "no\udcffutf8").root
    sock = tmp_path / "own.sock" if named == "socket" else home / ".local/state/coordd/run/coordd.sock"
    words = ["-w", a.root.name, "-w", str(b.root), "-w", str(unwatched), "--log-level", "debug"]
    if named == "config":
        file = tmp_path / "my own.toml"
        file.write_text(f"[coordination]\nworkspaces = {json.dumps([str(a.root), str(b.root)])}\n")
        words = ["--layout", "user", "--config", file.name]
    if named == "socket":
        words += ["--socket", sock.name]
    with running(words, sock=sock, home=home, cwd=tmp_path) as coordd:
        before = coordd.rpc("status")
        eventually((home / ".local/state/coordd/snapshot.json").exists)
        coordd.stop(end)
    asked = ["--socket", str(sock)] if named == "socket" else []
    said = coordctl(*asked, "status", environ=coordd.environ, cwd=home)
    assert said.returncode == 3
    status = again(typed(said.stdout), coordd.environ, sock, home)
    assert watched(status) == watched(before) == {str(a.root), str(b.root)}
    told = status["daemon"]
    assert isinstance(told, dict)
    assert {name: told[name] for name in ("start", "config_file", "socket", "layout")} == {
        name: before["daemon"][name] for name in ("start", "config_file", "socket", "layout")
    }


def test_a_project_with_a_socket_of_its_own_is_found_by_that(tmp_path: Path) -> None:
    project, sock = Project(tmp_path / "app"), tmp_path / "s"
    words = ["--workspace", str(project.root), "--socket", str(sock)]
    with running(words, sock=sock, home=tmp_path / "home", cwd=tmp_path) as coordd:
        eventually((project.claude / "run" / "snapshot.json").exists)
        coordd.stop(signal.SIGKILL)
    said = coordctl("--socket", str(sock), "status", environ=coordd.environ, cwd=tmp_path)
    assert "The project's coordd did not end in order" in said.stdout
    status = again(typed(said.stdout), coordd.environ, sock, tmp_path)
    assert watched(status) == {str(project.root)}


def test_without_a_snapshot_its_registration_tells(tmp_path: Path) -> None:
    project, sock = Project(tmp_path / "app"), tmp_path / "s"
    words = ["--layout", "user", "--workspace", str(project.root), "--socket", str(sock)]
    with running(words, sock=sock, home=tmp_path / "home", cwd=tmp_path) as coordd:
        coordd.stop(signal.SIGKILL)
    (tmp_path / "home/.local/state/coordd/snapshot.json").unlink(missing_ok=True)
    sock.unlink()
    said = coordctl("--socket", str(sock), "status", environ=coordd.environ, cwd=tmp_path)
    assert said.returncode == 3
    assert watched(again(typed(said.stderr), coordd.environ, sock, tmp_path)) == {str(project.root)}


def test_variables_that_it_had_are_named_and_their_values_never_told(tmp_path: Path) -> None:
    home, url = tmp_path / "home", "redis://:secret@127.0.0.1:1/0"
    sock = home / ".local/state/coordd/run/coordd.sock"
    with running(["--layout", "user"], sock=sock, home=home, cwd=tmp_path, COORDD_REDIS_URL=url) as coordd:
        eventually((home / ".local/state/coordd/snapshot.json").exists)
        coordd.stop(signal.SIGKILL)
    said = coordctl("status", environ=environment(home), cwd=tmp_path).stdout
    assert "with COORDD_REDIS_URL set as it was: coordd start --layout user\n" in said
    assert "secret" not in said
    with_it = coordctl("status", environ=coordd.environ, cwd=tmp_path).stdout
    assert "set as it was" not in with_it


def test_a_restart_that_doctor_advises_keeps_them(tmp_path: Path) -> None:
    a, b, home = Project(tmp_path / "a"), Project(tmp_path / "b"), tmp_path / "home"
    sock = home / ".local/state/coordd/run/coordd.sock"
    file = tmp_path / "c.toml"
    file.write_text("")
    words = ["-w", str(a.root), "-w", str(b.root), "--config", str(file)]
    with running(words, sock=sock, home=home, cwd=tmp_path) as coordd:
        file.write_text('[control]\ngroup = "root"\n')
        coordd.rpc("reload")
        said = coordctl("doctor", environ=coordd.environ, cwd=tmp_path).stdout
        command = f"coordd restart --layout user --workspace {a.root} --workspace {b.root} --config {file}"
        assert re.search(rf"warn +restart .*\n +fix: restart it: {command}\n", said), said


@pytest.mark.parametrize("broken", ["own", "project's owner"])
def test_a_configuration_that_nothing_starts_with_is_said_first(tmp_path: Path, broken: str) -> None:
    home, project = tmp_path / "home", Project(tmp_path / "app")
    sock = home / ".local/state/coordd/run/coordd.sock"
    words = ["--layout", "user"]
    if broken != "own":
        sock, words = project.claude / "run" / "coordd.sock", ["--workspace", str(project.root)]
    with running(words, sock=sock, home=home, cwd=project.root) as coordd:
        eventually(lambda: list(tmp_path.rglob("snapshot.json")))
        coordd.stop(signal.SIGKILL)
    file = home / ".config/coordd/coordd.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[agents\n")
    layout = ["--layout", "user"] if broken == "own" else []
    said = coordctl(*layout, "status", environ=coordd.environ, cwd=project.root).stdout
    lines = said.splitlines()[1:4]
    assert lines[1].startswith(f"No coordd starts with its configuration: {file}: no valid TOML: "), said
    assert "coordd start " in lines[2]
    doctor = coordctl(*layout, "doctor", environ=coordd.environ, cwd=project.root).stdout
    assert re.search(rf"fail +config +{file}: no valid TOML.*\n +fix: edit {file}, then", doctor), doctor


ME = os.geteuid()
START = {"start": ["--layout", "user", "--workspace", "/a"], "start_environment": ["REDIS_URL", "PATH", 3]}


@pytest.mark.parametrize(
    ("about", "owner", "command"),
    [
        (START, ME, "coordd start --layout user --workspace /a"),
        (START, 0, f"{'sudo ' if ME else ''}coordd start --layout user --workspace /a"),
        (START, 4_000_001, None),
        (START, -1, None),
        ({}, ME, None),
        ({"start": None}, ME, None),
        ({"start": []}, ME, None),
        ({"start": ["--workspace"]}, ME, None),
        ({"start": ["--workspace", 7]}, ME, None),
        ({"start": ["--log-file", "/etc/passwd"]}, ME, None),
        ({"start": ["--workspace", "/a; rm -rf ~"]}, ME, "coordd start --workspace '/a; rm -rf ~'"),
        ({"start": ["--layout", "user"] * 2000}, ME, None),
        ("x", ME, None),
    ],
)
def test_only_own_words_and_known_options_are_believed(
    about: object, owner: int, command: str | None
) -> None:
    start = start_of(about, owner)
    assert (None if start is None else start.command("start")) == command
    assert start is None or start.variables in ([], ["REDIS_URL"])


@pytest.mark.parametrize(("owner", "sudo"), [(0, "sudo "), (1000, ""), (1001, None)])
def test_what_ran_as_root_is_started_as_root(
    monkeypatch: pytest.MonkeyPatch, owner: int, sudo: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    start = start_of({"start": ["--layout", "system", "--workspace", "/a"]}, owner)
    expected = None if sudo is None else f"{sudo}coordd start --layout system --workspace /a"
    assert (None if start is None else start.command("start")) == expected
    if owner == 1001:
        monkeypatch.setattr(advice, "service_states", lambda *_: [])
        error = DaemonNotRunning([], layout="system", crashed=True)
        told = advice.advised(error, explicit=False, where=None).advice
        assert told[0].endswith(": sudo coordctl --layout system status")
