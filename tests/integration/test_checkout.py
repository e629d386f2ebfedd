"""``git checkout`` under a running coordd: its folders become links, and nothing comes through them."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, RpcFailed, coordctl, environment, watching
from waiting import eventually

PARTS = (".claude/run", ".claude/metrics", ".claude/logs", ".claude")


@contextmanager
def asking(coordd: Coordd) -> Iterator[Callable[[str], Any]]:
    """A connection that was made before: its socket's name may be gone by now."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(coordd.socket))
        with sock.makefile("rwb") as stream:

            def ask(method: str) -> Any:
                stream.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
                stream.flush()
                return json.loads(stream.readline())["result"]

            yield ask


def problems(ask: Callable[[str], Any]) -> str:
    return "\n".join(ask("status")["problems"])


def put(place: Path, kind: str, outside: Path) -> None:
    """What a branch may have in the place of a folder."""
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "dangling":
        place.symlink_to(outside / "none")
    elif kind == "file":
        place.write_text("theirs")
    else:
        place.mkdir()
        (place / "theirs").write_text("theirs")


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        *((part, kind) for part in PARTS for kind in ("link", "dangling", "file")),
        (".claude/run", "directory"),
    ],
)
def test_what_took_the_place_of_a_folder_gets_nothing_and_is_told(
    project: Project, tmp_path: Path, part: str, kind: str
) -> None:
    outside, aside = tmp_path / "outside", tmp_path / "aside"
    outside.mkdir()
    place = project.root / part
    with watching(project, tmp_path) as coordd, asking(coordd) as ask:
        eventually((project.claude / "run" / "snapshot.json").exists)
        place.rename(aside)
        put(place, kind, outside)
        eventually(lambda: str(place) in problems(ask) and "that it did not make" in problems(ask))
        eventually(lambda: "mv " in coordd.logged())
        theirs = content(place) if kind == "directory" else {}
        assert theirs in ({}, {"theirs": b"theirs"}), "nothing was added"
        assert list(outside.iterdir()) == []
        logged = coordd.logged().count("that it did not make")
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
        eventually(lambda: "that it did not make" not in problems(ask))
        eventually(lambda: coordd.rpc("ping"), what="the socket is back where it was")
        assert coordd.stop() == 0
        assert logged <= 4, "each of its places once"
    assert list(outside.iterdir()) == []
    assert json.loads((project.claude / "run" / "snapshot.json").read_text())["schema"] == 1


def test_a_project_whose_folders_are_gone_gets_them_again(project: Project, tmp_path: Path) -> None:
    """A branch may have a .claude of its own, and none of coordd's folders in it."""
    with watching(project, tmp_path) as coordd:
        project.claude.rename(tmp_path / "aside")
        project.claude.mkdir()
        (project.claude / "theirs").write_text("theirs")
        said = eventually(lambda: coordd.rpc("status"), what="the socket is back")
        assert "that it did not make" not in str(said["problems"])
        eventually((project.claude / "metrics" / ".lock").exists)
        assert coordd.stop() == 0
    assert (project.claude / "theirs").read_text() == "theirs"


def test_a_real_checkout_of_a_branch_with_links_writes_nothing_through_them(
    project: Project, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    project.git("init", "-q", "-b", "main")
    project.git("commit", "-q", "--allow-empty", "-m", "empty")
    project.git("checkout", "-q", "-b", "evil")
    for part in ("run", "metrics", "logs"):
        (project.claude / part).symlink_to(outside)
    project.git("add", "-f", ".claude/run", ".claude/metrics", ".claude/logs")
    project.git("commit", "-q", "-m", "links")
    project.git("checkout", "-q", "main")
    with watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s") as coordd, asking(coordd) as ask:
        eventually((project.claude / "run" / "snapshot.json").exists)
        project.git("checkout", "-q", "-f", "evil")
        assert (project.claude / "run").is_symlink()
        eventually(
            lambda: all(str(project.claude / part) in problems(ask) for part in ("run", "metrics", "logs"))
        )
        project.git("checkout", "-q", "main")
        eventually(lambda: coordd.rpc("status")["health"] == "ok")
        assert coordd.stop() == 0
    assert list(outside.iterdir()) == []


@pytest.mark.root
def test_a_link_that_another_user_puts_there_leads_root_nowhere(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = project.claude / "run"
    with watching(project, tmp_path) as coordd, asking(coordd) as ask:
        eventually((place / "snapshot.json").exists)
        place.rename(tmp_path / "aside")
        place.symlink_to(outside)
        os.chown(place, 65534, 65534, follow_symlinks=False)
        eventually(lambda: str(place) in problems(ask))
        assert coordd.stop() == 0
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("command", ["run", "start", "stop", "restart"])
def test_no_command_goes_by_way_of_a_link(project: Project, tmp_path: Path, part: str, command: str) -> None:
    import subprocess
    import sys

    outside = tmp_path / "outside"
    outside.mkdir()
    place = project.root / part
    if part == ".claude":
        shutil.move(place, outside / "claude")
        place.symlink_to(outside / "claude")
    else:
        place.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "coordd", command, "-w", str(project.root)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"{place} is a symbolic link" in done.stderr
    assert sorted(outside.rglob("*")) == before


def test_records_of_a_place_that_a_link_leads_to_are_shown_to_nobody(
    project: Project, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for kind in ("agent", "event", "system"):
        line = {"timestamp": "2026-11-22T06:05:00.123Z", "host": "h", "kind": "secret", "agent_id": "secret"}
        (outside / f"{kind}_2026-11-22.jsonl").write_text(json.dumps(line) + "\n")
    place = project.claude / "metrics"
    with watching(project, tmp_path) as coordd:
        place.rename(tmp_path / "aside")
        place.symlink_to(outside)
        for kind in ("agent", "event", "system"):
            with pytest.raises(RpcFailed, match="directory"):
                coordd.rpc("history.query", {"type": kind})
            for command in (["history", kind], ["tail", kind]):
                said = coordctl(*command, environ=coordd.environ, cwd=project.root)
                assert "secret" not in said.stdout
                assert "none is followed" in said.stderr
        coordd.stop()
        for command in (["history", "agent"], ["tail", "agent"]):
            said = coordctl(*command, environ=coordd.environ, cwd=project.root)
            assert "secret" not in said.stdout
            assert "none is followed" in said.stderr
        doctor = coordctl("doctor", environ=coordd.environ, cwd=project.root)
        assert f"{place} is a symbolic link" in doctor.stdout


# clients in a clone


@contextmanager
def impostor(path: Path) -> Iterator[Callable[[], bytes]]:
    """Somebody else's socket; what was sent to it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)

        def heard() -> bytes:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return b""
            with connection:
                connection.settimeout(5)
                return connection.recv(1000) or b"a connection"

        yield heard


@pytest.mark.parametrize(
    "command", [["status"], ["ping"], ["agents"], ["doctor"], ["rpc", "reload"], ["tail", "event"]]
)
@pytest.mark.parametrize("part", [".claude", ".claude/run", ".claude/run/coordd.sock"])
def test_a_clones_link_leads_no_client_to_another_socket(
    project: Project, tmp_path: Path, part: str, command: list[str]
) -> None:
    outside = tmp_path / "o"
    place = project.root / part
    if part == ".claude":
        shutil.move(place, outside)
        (outside / "run").mkdir()
        place.symlink_to(outside)
        sock = outside / "run" / "coordd.sock"
    elif part == ".claude/run":
        outside.mkdir()
        place.symlink_to(outside)
        sock = outside / "coordd.sock"
    else:
        outside.mkdir()
        place.parent.mkdir()
        sock = outside / "s"
        place.symlink_to(sock)
    with impostor(sock) as heard:
        done = coordctl("--timeout", "5", *command, environ=environment(tmp_path / "home"), cwd=project.root)
        assert heard() == b""
    assert done.returncode in (1, 3, 4), (done.stdout, done.stderr)
    assert any(words in done.stdout + done.stderr for words in ("no link is followed", "none is followed"))
    assert "Traceback" not in done.stderr


def test_a_named_socket_may_be_reached_by_any_path(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        way = tmp_path / "way"
        way.symlink_to(project.root)
        found = coordctl("ping", environ=coordd.environ, cwd=way)
        assert found.returncode == 0, found.stderr
        link = tmp_path / "s"
        link.symlink_to(coordd.socket)
        assert coordctl("--socket", str(link), "ping", environ=coordd.environ).returncode == 0


@pytest.mark.root
def test_another_users_process_is_not_spoken_to_in_a_project(project: Project, tmp_path: Path) -> None:
    run = project.claude / "run"
    run.mkdir()
    read, write = os.pipe()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(run / "coordd.sock"))
            os.chmod(run / "coordd.sock", 0o777)
            os.setuid(65534)
            listener.listen()
            os.write(told, b"x")
            os.close(write)
            os.read(read, 1)
        finally:
            os._exit(0)
    try:
        os.read(ready, 1)
        done = coordctl("status", environ=environment(tmp_path / "home"), cwd=project.root)
        assert done.returncode == 4
        assert "a process of uid 65534 listens there" in done.stderr
    finally:
        os.close(write)
        os.waitpid(pid, 0)


def test_a_snapshot_that_a_clone_brought_is_not_believed(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        assert coordd.stop() == 0
        environ = coordd.environ
    path = project.claude / "run" / "snapshot.json"
    own = coordctl("status", "--json", environ=environ, cwd=project.root)
    assert json.loads(own.stdout)["agents"]["total"] == 1, "its own is"
    clone = Project(tmp_path / "clone")
    (clone.claude / "run").mkdir()
    shutil.copy(path, clone.claude / "run")
    document = json.loads(path.read_text())
    for without in ({}, {"origin": None}, {"origin": {**document["origin"], "host": "other"}}):
        (clone.claude / "run" / "snapshot.json").write_text(json.dumps({**document, **without}))
        for command in (["status"], ["status", "--json"]):
            said = coordctl(*command, environ=environ, cwd=clone.root)
            assert said.returncode == 3
            assert "is passed over" in said.stderr
            assert '"agents"' not in said.stdout and "alive" not in said.stdout
    with watching(clone, tmp_path) as coordd:
        assert coordd.statuses() == {}
        eventually(lambda: "is passed over" in coordd.logged())
