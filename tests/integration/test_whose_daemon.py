"""Whose daemon answers: the first place where one has run decides; no other takes its place unsaid."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dash import dashboard
from live import Coordd, Project, coordctl, environment, running, watching
from waiting import eventually

IN_ORDER, KILLED = signal.SIGTERM, signal.SIGKILL


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def other(tmp_path: Path) -> Project:
    return Project(tmp_path / "other")


def of_the_user(home: Path, *projects: Project, **extra: str) -> Any:
    """Run the user's daemon on some projects."""
    named = [word for project in projects for word in ("--workspace", str(project.root))]
    state = Path(extra["XDG_RUNTIME_DIR"]) / "coordd" if extra else home / ".local/state/coordd/run"
    return running(["--layout", "user", *named], sock=state / "coordd.sock", home=home, **extra)


def ended(project: Project, tmp_path: Path, how: int) -> None:
    """Have had a daemon in a project, which knew an agent."""
    project.beat("ours")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: "ours" in coordd.statuses())
        eventually((project.claude / "run" / "snapshot.json").exists)
        coordd.stop(how)


def ask(
    home: Path, cwd: Path, *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return coordctl(*words, environ=environ or environment(home), cwd=cwd)


def test_a_daemon_that_crashed_is_not_replaced_by_another_one(
    project: Project, tmp_path: Path, home: Path
) -> None:
    ended(project, tmp_path, KILLED)
    with of_the_user(home, project) as theirs:
        project.beat("theirs-too")
        eventually(lambda: "theirs-too" in theirs.statuses())
        said = ask(home, project.root, "status")
        assert said.returncode == 3, said
        lines = said.stdout.splitlines()
        assert lines[0].startswith("coordd is not running. Last snapshot ")
        assert lines[1].startswith("The project's coordd did not end in order: ")
        assert lines[2] == f"Start it again: coordd start --workspace {project.root}"
        assert lines[3] == "The user's coordd answers. Ask it: coordctl --layout user status"
        assert "ours" in said.stdout
        assert "theirs-too" not in said.stdout
        # What is named works, and nothing else of coordctl asks the other one either.
        assert ask(home, project.root, "--layout", "user", "status").returncode == 0
        for command in ("agents", "tasks", "ping", "why ours", "ack", "reload", "rpc status", "doctor"):
            said = ask(home, project.root, *command.split())
            assert said.returncode == 3, (command, said)
            assert "theirs-too" not in said.stdout
            assert "coordctl --layout user status" in said.stdout + said.stderr, command
        assert ask(home, project.root, "check").returncode == 2
        document = json.loads(ask(home, project.root, "status", "--json").stdout)
        assert document["daemon_running"] is False
        assert document["daemon"]["layout"] == "project"


def test_its_records_are_not_those_of_another_one(project: Project, tmp_path: Path, home: Path) -> None:
    ended(project, tmp_path, KILLED)
    shutil.rmtree(project.claude / "logs")
    with of_the_user(home, project):
        eventually(lambda: list((home / ".local/state/coordd/logs").glob("performance_*.csv")))
        assert ask(home, project.root, "tail", "performance").returncode == 3
        assert '"host"' in ask(home, project.root, "tail", "event").stdout


def test_in_place_of_one_that_was_stopped_one_is_asked_that_watches_the_workspace(
    project: Project, other: Project, tmp_path: Path, home: Path
) -> None:
    ended(project, tmp_path, IN_ORDER)
    with of_the_user(home, other):
        said = ask(home, project.root, "status")
        assert said.returncode == 3
        assert said.stdout.splitlines()[1].startswith("The project's coordd was stopped in order ")
        assert "The user's coordd answers. Ask it: coordctl --layout user status\n" in said.stdout
    with of_the_user(home, other, project):
        said = ask(home, project.root, "status")
        first = said.stdout.splitlines()[0]
        assert said.returncode == 0
        assert first.startswith("The project's coordd was stopped ")
        assert first.endswith(f"This is the user's, which watches {project.root}.")
        for words in (["ping"], ["status", "--json"], ["agents"]):
            said = ask(home, project.root, *words)
            assert said.returncode == 0
            assert "This is the user's, which watches" in said.stderr, words
        assert ask(home, project.root, "check").stderr == "", "one line, on stdout"


def test_where_none_has_run_the_next_one_answers_and_nothing_is_said(
    project: Project, other: Project, tmp_path: Path, home: Path
) -> None:
    with of_the_user(home, other):
        said = ask(home, project.root, "status")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines()[0].endswith(" s")


def test_a_copy_of_a_project_is_no_place_where_one_has_run(
    project: Project, tmp_path: Path, home: Path
) -> None:
    ended(project, tmp_path, KILLED)
    copy = tmp_path / "copy"
    shutil.copytree(project.claude, copy / ".claude", ignore=lambda *_: ["coordd.sock"])
    with socket.socket(socket.AF_UNIX) as sock:  # as cp -a makes one
        sock.bind(str(copy / ".claude/run/coordd.sock"))
    with of_the_user(home, project):
        assert ask(home, copy, "status").returncode == 0
    said = ask(home, copy, "status")
    assert said.returncode == 3
    assert "The user's coordd did not end in order" in said.stdout
    assert "written in another folder" in said.stderr


@pytest.mark.parametrize("planted", ["socket", "snapshot", "both", "link"])
def test_what_a_clone_brings_never_makes_a_stranger_answer(
    project: Project, tmp_path: Path, home: Path, planted: str
) -> None:
    run = project.claude / "run"
    if planted == "link":
        run.symlink_to(home / ".local/state/coordd/run")
    else:
        run.mkdir()
    if planted in ("socket", "both"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(run / "coordd.sock"))
    if planted in ("snapshot", "both"):
        status = {"health": "ok", "agents": {"total": 7, "active": 7}, "daemon": {"socket": "/tmp/evil.sock"}}
        document = {"schema": 1, "ended_at": None, "status": status, "agents": []}
        (run / "snapshot.json").write_text(json.dumps(document))
    with of_the_user(home, project):
        said = ask(home, project.root, "status")
    assert "7 alive" not in said.stdout
    # A socket alone is what a killed daemon leaves: then nobody answers in its place.
    assert said.returncode == (3 if planted == "socket" else 0)


def test_one_with_a_socket_of_its_own_choice_is_found_by_its_snapshot(
    project: Project, tmp_path: Path, home: Path
) -> None:
    project.beat("ours")
    sock = tmp_path / "chosen.sock"
    with watching(project, tmp_path, "--socket", str(sock), sock=sock) as coordd, of_the_user(home, project):
        eventually((project.claude / "run" / "snapshot.json").exists)
        said = ask(home, project.root, "ping")
        assert f"pid {coordd.pid}," in said.stdout
        assert said.stderr == ""
        coordd.stop(KILLED)
        assert ask(home, project.root, "ping").returncode == 3


def test_options_name_a_daemon_before_the_environment_does(
    project: Project, other: Project, tmp_path: Path, home: Path
) -> None:
    environ = environment(home)
    with watching(project, tmp_path) as ours, of_the_user(home, other) as theirs:
        environ["COORDD_SOCKET"] = str(theirs.socket)

        def pid(*words: str, cwd: Path = tmp_path) -> int:
            said = ask(home, cwd, "rpc", "ping", *words, environ=environ)
            assert said.returncode == 0, said
            return int(json.loads(said.stdout)["pid"])

        assert pid(cwd=project.root) == theirs.pid
        assert pid("-w", str(project.root)) == ours.pid
        assert pid("-w", "app") == ours.pid
        assert pid("-w", "app", "--layout", "user") == theirs.pid
        assert pid("--layout", "project", cwd=project.root) == ours.pid
        assert pid("--socket", str(ours.socket), "--layout", "user") == ours.pid
        plain = ask(home, tmp_path, "status", "-w", "app", environ=environ)
        clicked = ask(home, tmp_path, "--", "status", "-w", "app", environ=environ)
        assert (plain.returncode, clicked.returncode) == (0, 0)
    no_project = ask(home, tmp_path, "--layout", "project", "ping", environ=environ)
    assert (no_project.returncode, "name one with -w DIR" in no_project.stderr) == (2, True)
    nowhere = ask(home, tmp_path, "ping", "-w", "nowhere", environ=environ)
    assert (nowhere.returncode, "there is no such directory" in nowhere.stderr) == (2, True)


def test_a_path_that_is_too_long_names_the_option(tmp_path: Path, home: Path) -> None:
    deep = Project(tmp_path / ("d" * 100))
    said = ask(home, deep.root, "status")
    assert said.returncode == 3
    assert "a Unix socket's path has at most" in said.stderr
    assert "name a shorter one with --socket PATH" in said.stderr
    daemon = subprocess.run(
        [sys.executable, "-m", "coordd", "run", "--workspace", str(deep.root)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert daemon.returncode == 1
    assert "name a shorter one with --socket PATH" in daemon.stderr


def waits(pid: int) -> int:
    """Return how often a process has waited so far."""
    found = re.search(r"(?m)^voluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def lines_of(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def until(lines: Iterator[dict[str, Any]], wanted: Any, seen: list[object]) -> dict[str, Any]:
    for line in lines:
        seen.append(line.get("daemon", {}).get("pid"))
        if wanted(line):
            return line
    raise AssertionError("it ended")


@pytest.mark.parametrize("how", [IN_ORDER, KILLED])
def test_who_watches_stays_with_one_daemon_for_life(
    project: Project, tmp_path: Path, home: Path, how: int
) -> None:
    with of_the_user(home, project) as theirs, watching(project, tmp_path) as ours:
        process = subprocess.Popen(
            [sys.executable, "-m", "coordd.cli", "status", "--watch", "--json"],
            cwd=project.root,
            env=environment(home),
            stdout=subprocess.PIPE,
        )
        try:
            lines, seen = lines_of(process), []  # type: tuple[Any, list[object]]
            until(lines, lambda one: one["daemon"]["pid"] == ours.pid, seen)
            ours.stop(how)
            until(lines, lambda one: one.get("daemon_running") is False, seen)
            woken = waits(process.pid)
            eventually(lambda: waits(process.pid) > woken + 10, what="it has looked for a daemon again")
            with watching(project, tmp_path) as again:
                until(lines, lambda one: one["daemon"]["pid"] == again.pid, seen)
            assert theirs.pid not in seen
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("how", [IN_ORDER, KILLED])
def test_the_dashboard_stays_with_one_daemon_for_life(
    project: Project, tmp_path: Path, home: Path, how: int
) -> None:
    project.beat("ours")
    with (
        of_the_user(home, project),
        watching(project, tmp_path) as ours,
        dashboard(sock=None, home=home, cwd=project.root) as page,
    ):
        eventually(lambda: page.json("/api/status")["daemon"]["pid"] == ours.pid)
        stream = page.events()
        stream.until("link", up=True)
        ours.stop(how)
        down = stream.until("link", up=False)
        assert down.data["kind"] == "daemon-down"
        # It goes on looking for its own alone; that one comes back.
        retried = stream.until("link", up=False) if "Ask it" not in down.data["message"] else down
        assert "Ask it: coordctl --layout user status" in retried.data["message"]
        with watching(project, tmp_path) as again:
            stream.until("link", up=True)
            assert page.json("/api/status")["daemon"]["pid"] == again.pid
        stream.close()


def daemons(home: Path, cwd: Path, *words: str, **extra: str) -> list[dict[str, Any]]:
    said = coordctl("daemons", "--json", *words, environ=environment(home, **extra), cwd=cwd)
    assert said.returncode == 0, said
    found: list[dict[str, Any]] = json.loads(said.stdout)["daemons"]
    return found


@pytest.mark.parametrize("runtime", [True, False], ids=["runtime", "state"])
def test_daemons_lists_those_that_run_and_how_to_ask_each(
    project: Project, other: Project, tmp_path: Path, home: Path, *, runtime: bool
) -> None:
    extra = {"XDG_RUNTIME_DIR": str(tmp_path / "r")} if runtime else {}
    folder = (tmp_path / "r" / "coordd" if runtime else home / ".local/state/coordd/run") / "daemons"
    sock = tmp_path / "third.sock"
    third = Project(tmp_path / "third")
    with (
        watching(project, tmp_path, **extra) as ours,
        of_the_user(home, other, **extra) as theirs,
        watching(third, tmp_path, "--socket", str(sock), sock=sock, **extra) as chosen,
    ):
        everyone: list[Coordd] = [ours, theirs, chosen]
        found = daemons(home, tmp_path, **extra)
        assert {one["pid"] for one in found} == {one.pid for one in everyone}
        by_pid = {one["pid"]: one for one in found}
        assert by_pid[ours.pid]["command"] == f"coordctl -w {project.root} status"
        assert by_pid[theirs.pid]["command"] == "coordctl --layout user status"
        assert by_pid[chosen.pid]["command"] == f"coordctl --socket {sock} status"
        for one in found:
            words = one["command"].split()[1:-1]
            said = coordctl(*words, "rpc", "ping", environ=environment(home, **extra), cwd=tmp_path)
            assert json.loads(said.stdout)["pid"] == one["pid"]
        assert [one["layout"] for one in daemons(home, tmp_path, "--layout", "user", **extra)] == ["user"]
        table = coordctl("daemons", environ=environment(home, **extra), cwd=tmp_path).stdout.splitlines()
        assert table[0].split() == ["DAEMON", "PID", "UP", "STATE", "ALIVE", "VERSION", "ASK"]
        assert len(table) == 4

        # One that was killed leaves its file, which is recognised; one that ended in order takes it away.
        assert len(list(folder.iterdir())) == 3
        ours.stop(KILLED)
        theirs.stop(IN_ORDER)
        assert len(list(folder.iterdir())) == 2
        assert [one["pid"] for one in daemons(home, tmp_path, **extra)] == [chosen.pid]

        # What lies there beside is nobody's word, and a daemon that hangs is one that runs.
        (folder / "a.json").write_text("{")
        (folder / "b.json").write_text(json.dumps({"socket": "x", "layout": "user"}))
        (folder / "c.json").symlink_to(folder / "a.json")
        os.mkfifo(folder / "d.json")
        chosen.process.send_signal(signal.SIGSTOP)
        (hanging,) = daemons(home, tmp_path, **extra)
        assert (hanging["pid"], hanging["state"], hanging["agents"]) == (chosen.pid, "silent", None)
        chosen.process.send_signal(signal.SIGCONT)


def test_no_daemon_is_said_in_words(tmp_path: Path, home: Path) -> None:
    said = ask(home, tmp_path, "daemons")
    assert (said.returncode, said.stdout) == (
        0,
        "No coordd of yours runs. 'coordctl status' says what to do.\n",
    )


def test_a_removed_file_is_written_again(project: Project, tmp_path: Path, home: Path) -> None:
    folder = home / ".local/state/coordd/run/daemons"
    with watching(project, tmp_path) as ours:
        shutil.rmtree(folder)
        ours.socket.unlink()
        eventually(ours.socket.exists)
        eventually(lambda: list(folder.glob("*.json")))


def test_a_daemon_that_may_not_leave_word_runs_all_the_same(
    project: Project, tmp_path: Path, home: Path
) -> None:
    (home / ".local/state/coordd").mkdir(parents=True)
    (home / ".local/state/coordd/run").write_text("in the way")
    with watching(project, tmp_path) as ours:
        assert ours.rpc("status")["health"] == "ok"
        assert "will not list this coordd" in ours.logged()


def test_a_daemon_whose_project_was_renamed_is_listed_where_it_is(
    project: Project, other: Project, tmp_path: Path, home: Path
) -> None:
    moved = tmp_path / "moved"
    with watching(project, tmp_path) as ours:
        project.root.rename(moved)
        (found,) = daemons(home, tmp_path)
        assert (found["pid"], found["project"]) == (ours.pid, str(moved))
        assert found["command"] == f"coordctl -w {moved} status"
        assert ask(home, tmp_path, "-w", str(moved), "status").returncode == 1
        # A file of somebody else's in its old place does not make that one the daemon.
        folder = home / ".local/state/coordd/run/daemons"
        (file,) = folder.glob("*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": os.getpid()}))
        assert daemons(home, tmp_path) == []


def test_a_command_that_asks_a_daemon_can_be_typed_whatever_its_path_holds(
    tmp_path: Path, home: Path
) -> None:
    project = Project(tmp_path / "new\nline\x1b[31m it's")
    with watching(project, tmp_path) as ours:
        (found,) = daemons(home, tmp_path)
        table = ask(home, tmp_path, "daemons").stdout.splitlines()[1]
        shown = table[table.index("coordctl ") :]
        assert shown == found["command"]
        coordctl_here = f'coordctl() {{ {sys.executable} -m coordd.cli "$@"; }}\n'
        said = subprocess.run(
            ["bash", "-c", coordctl_here + shown + " --json"],
            env=environment(home),
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert json.loads(said.stdout)["daemon"]["pid"] == ours.pid
