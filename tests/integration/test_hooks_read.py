"""The user's real coordd beside hooks that the real script leaves: in the state folder, and in a project."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_scene import users_coordd
from live import Coordd, Project, read_records, watching
from sessions import Home
from waiting import NotYet, eventually

from coordd.cli.hooks.script import SHIPPED
from coordd.host.boot import boot_time

HOUR = 3600.0


class User:
    """A user's home, in which hooks run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.folder = home / ".local/state/coordd/hooks"

    def hook(self, session: str, event: str, project: Project | None = None) -> None:
        """Run the hook script, as Claude Code has it run in a project."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CLAUDE_CODE_SESSION_ID": session,
            "CLAUDE_PROJECT_DIR": "" if project is None else str(project.root),
        }
        subprocess.run(["/bin/sh", "-c", f"{SHIPPED} {event}"], env=environ, check=True)

    def configure(self, **agents: str) -> None:
        """Write the user's configuration."""
        path = self.home / ".config/coordd/coordd.toml"
        path.parent.mkdir(parents=True)
        path.write_text("[agents]\n" + "".join(f'{name} = "{value}"\n' for name, value in agents.items()))


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "home")


@pytest.fixture
def session() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def daemon(user: User) -> Iterator[Coordd]:
    with users_coordd(user.home) as one:
        yield one


def becomes(daemon: Coordd, agent_id: str, **expected: object) -> dict[str, Any]:
    """Wait until the only agent with an id is shown like this; return it."""

    def found() -> dict[str, Any]:
        (agent,) = [one for one in daemon.rpc("agents.list")["agents"] if one["agent_id"] == agent_id]
        differing = {name: agent[name] for name, value in expected.items() if agent[name] != value}
        if differing:
            raise NotYet(f"{agent_id} has {differing}")
        whole: dict[str, Any] = agent
        return whole

    return eventually(found, what=f"{agent_id}: {expected}")


def age(folder: Path, session: str, seconds: float) -> None:
    """Make everything that hooks have told of a session older."""
    for file in folder.glob(f"{session}.*"):
        at = file.stat().st_mtime - seconds
        os.utime(file, (at, at))


def test_a_session_of_which_hooks_alone_tell(user: User, daemon: Coordd, session: str) -> None:
    user.hook(session, "SessionStart")  # the first hook of all makes the folder
    agent = becomes(daemon, session, status="active", reason="heartbeat", activity="idle")
    expected = {"workspace": None, "kind": "claude-code", "session_id": session, "sources": ["hooks"]}
    assert {name: agent[name] for name in expected} == expected
    user.hook(session, "PreToolUse")
    becomes(daemon, session, activity="working")
    user.hook(session, "Question")
    becomes(daemon, session, activity="waiting", waiting_for="question")
    eventually(lambda: [one["kind"] for one in daemon.rpc("status")["attention"]] == ["waiting"])
    age(user.folder, session, 3.0)  # what runs beside the agent counts as later only then
    user.hook(session, "PostToolBatch")
    becomes(daemon, session, activity="working", waiting_for=None)
    user.hook(session, "Stop")
    becomes(daemon, session, activity="idle")
    user.hook(session, "SessionEnd")
    becomes(daemon, session, status="inactive", reason="ended")
    user.hook(session, "SessionStart")
    becomes(daemon, session, status="active", activity="idle")


def test_all_that_shows_it_takes_it(user: User, daemon: Coordd, session: str) -> None:
    user.hook(session, "PermissionRequest")
    becomes(daemon, session, activity="waiting")
    for command in (["status"], ["agents"], ["agent", session], ["why", session], ["doctor"]):
        done = daemon.ctl(*command)
        assert done.stderr == "", done.stderr
    assert "permission prompt" in daemon.ctl("agents").stdout
    evidence = daemon.agent(session)["evidence"]
    (hooks,) = [one for one in evidence if one["signal"] == "hooks"]
    assert (hooks["source"], hooks["value"]) == ("hooks", "it asks a human")
    assert "hooks" in daemon.ctl("why", session).stdout
    records = read_records(user.home / ".local/state/coordd/metrics", "agent")
    assert [one["session_id"] for one in records] == [session] * len(records)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ("PreToolUse", ("unknown", "quiet")),
        ("PermissionRequest", ("unknown", "quiet")),
        ("Question", ("unknown", "quiet")),
        ("Stop", ("unknown", "quiet")),
        ("StopFailure", ("unknown", "quiet")),
        ("SessionStart", ("unknown", "quiet")),
        ("PostToolUse", ("inactive", "silent")),
        ("SessionEnd", ("inactive", "ended")),
    ],
)
def test_what_was_told_long_ago_is_judged_by_its_age(
    user: User, session: str, event: str, shown: tuple[str, str]
) -> None:
    """Long ago is a timeout; more of it is played in tests/unit/intake/test_hooked.py."""
    user.configure(timeout="1s")
    if event == "PostToolUse":
        user.hook(session, "SessionStart")
        age(user.folder, session, 5.0)
    user.hook(session, event)
    age(user.folder, session, 5.0)
    with users_coordd(user.home) as daemon:
        waits = event in ("PermissionRequest", "Question")
        becomes(daemon, session, status=shown[0], reason=shown[1], activity="waiting" if waits else None)
        status = daemon.rpc("status")
        assert [one for one in status["problems"] if session in one] == []
        assert [one["kind"] for one in status["attention"]] == ["waiting"] * waits


def test_what_no_hook_leaves_is_nobody_and_said_at_once(user: User, daemon: Coordd, session: str) -> None:
    user.hook(session, "Stop")
    becomes(daemon, session, status="active")
    for name in ("short.Stop", "build-42.heartbeat", f"{session.replace('-', '_')}.Stop"):
        (user.folder / name).touch()
    for number, event in enumerate(("PreToolUse", "Question", "StopFailure", "SessionEnd")):
        path = user.folder / f"{uuid.UUID(int=number)}.{event}"
        match number:
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to("/etc/passwd")
            case 2:
                path.mkdir()
            case 3:
                path.write_bytes(b"")
                os.truncate(path, 1 << 40)
        eventually(lambda count=number + 1: daemon.rpc("status")["traces_malformed"]["count"] == count)
    user.hook(session, "PreToolUse")
    becomes(daemon, session, activity="working")
    assert [one["agent_id"] for one in daemon.rpc("agents.list")["agents"]] == [session]


def test_what_was_told_before_the_machine_was_started_has_ended(user: User, session: str) -> None:
    user.hook(session, "Stop")
    before = boot_time() - 60.0
    for file in user.folder.iterdir():
        os.utime(file, (before, before))
    user.configure(forget_ended_after="365d")
    with users_coordd(user.home) as daemon:
        becomes(daemon, session, status="inactive", reason="ended")


def test_a_folder_that_goes_and_comes_again(user: User, daemon: Coordd, session: str) -> None:
    for _ in range(2):
        user.hook(session, "Stop")
        becomes(daemon, session, status="active")
        assert "hooks" in [one["kind"] for one in daemon.rpc("status")["sources"]]
        shutil.rmtree(user.folder)
        eventually(lambda: daemon.rpc("agents.list")["agents"] == [])
        eventually(lambda: "hooks" not in [one["kind"] for one in daemon.rpc("status")["sources"]])
        assert daemon.rpc("status")["problems"] == []


def test_a_restart_knows_it_as_it_was(user: User, session: str) -> None:
    user.configure(timeout="1s")
    user.hook(session, "PreToolUse")
    age(user.folder, session, 5.0)
    with users_coordd(user.home) as daemon:
        becomes(daemon, session, status="unknown", reason="quiet")
        daemon.stop()
    records = len(read_records(user.home / ".local/state/coordd/metrics", "agent"))
    with users_coordd(user.home) as daemon:
        becomes(daemon, session, status="unknown", reason="quiet")
        daemon.stop()
    assert len(read_records(user.home / ".local/state/coordd/metrics", "agent")) == records


def test_hooks_of_a_session_that_is_seen_itself(user: User, daemon: Coordd, tmp_path: Path) -> None:
    """One agent: its process is what tells that it lives, however long its hooks are quiet."""
    project = Project(tmp_path / "app")
    home = Home(user.home / ".claude")
    seen = home.session(str(uuid.uuid4()), cwd=str(project.root))
    try:
        agent = becomes(daemon, seen.session_id, status="active", reason="process")
        user.hook(seen.session_id, "PreToolUse", project)
        agent = eventually(lambda: _seen_by(daemon, seen.session_id, "claude-code", "file", "hooks"))
        assert agent["workspace"] == str(project.root)
        assert agent["pid"] is not None
        age(user.folder, seen.session_id, HOUR)
        age(project.agents, seen.session_id, HOUR)
        becomes(daemon, seen.session_id, status="active", reason="process")
    finally:
        home.close()


def test_a_project_says_nothing_of_a_session_of_another(user: User, tmp_path: Path) -> None:
    """Whoever may write to one project may know the ids of sessions of others."""
    theirs, project = Project(tmp_path / "theirs"), Project(tmp_path / "app")
    home = Home(user.home / ".claude")
    seen = home.session(str(uuid.uuid4()), cwd=str(project.root), status="busy")
    try:
        with users_coordd(user.home, COORDD_COORDINATION_WORKSPACES=str(theirs.root)) as daemon:
            before = becomes(daemon, seen.session_id, activity="working", workspace=str(project.root))
            for event in ("PermissionRequest", "Stop", "SessionEnd", "Question"):
                user.hook(seen.session_id, event, theirs)
                for file in user.folder.glob(f"{seen.session_id}.*"):
                    file.unlink()  # the user's own hooks would tell the same
                (theirs.agents / f"{seen.session_id}.tasks").write_text("T-1\n")
                theirs.register(seen.session_id)
                mark = f"mark-{event}"
                theirs.beat(mark)  # what was written before is read by then
                becomes(daemon, mark, status="active")
                after = becomes(daemon, seen.session_id, workspace=str(project.root))
                for name in ("status", "reason", "activity", "waiting_for", "active_tasks", "agent_id"):
                    assert after[name] == before[name], (event, name)
            assert daemon.rpc("status")["attention"] == []
            seen.exit()
            becomes(daemon, seen.session_id, status="inactive", reason="ended")
            theirs.beat(seen.session_id)
            theirs.beat("last")
            becomes(daemon, "last", status="active")
            becomes(daemon, seen.session_id, status="inactive", reason="ended")
    finally:
        home.close()


def test_what_a_session_says_itself_goes_before_its_projects_hooks(user: User, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    home = Home(user.home / ".claude")
    seen = home.session(str(uuid.uuid4()), cwd=str(project.root), status="idle")
    try:
        with users_coordd(user.home) as daemon:
            becomes(daemon, seen.session_id, activity="idle", workspace=str(project.root))
            (project.agents / f"{seen.session_id}.PermissionRequest").touch()
            project.beat("mark")
            becomes(daemon, "mark", status="active")
            eventually(lambda: _seen_by(daemon, seen.session_id, "claude-code", "file"))
            becomes(daemon, seen.session_id, activity="idle", waiting_for=None)
            user.hook(seen.session_id, "PermissionRequest")  # the user's own
            becomes(daemon, seen.session_id, activity="waiting")
    finally:
        home.close()


def _seen_by(daemon: Coordd, agent_id: str, *sources: str) -> dict[str, Any]:
    agent = becomes(daemon, agent_id)
    if set(agent["sources"]) != set(sources):
        raise NotYet(agent["sources"])
    return agent


def test_the_daemon_of_a_project_reads_hooks_there_alone(user: User, tmp_path: Path, session: str) -> None:
    project = Project(tmp_path / "app")
    with watching(project, tmp_path) as daemon:
        user.hook(session, "PreToolUse", project)
        user.hook(str(uuid.uuid4()), "PreToolUse")
        agent = becomes(daemon, session, status="active", activity="working", kind="claude-code")
        assert agent["workspace"] == str(project.root)
        assert [one["agent_id"] for one in daemon.rpc("agents.list")["agents"]] == [session]
        (project.agents / "build.Stop").touch()
        project.beat("alpha")
        becomes(daemon, "alpha", status="active")
        assert {one["agent_id"] for one in daemon.rpc("agents.list")["agents"]} == {session, "alpha"}
        status = daemon.rpc("status")
        assert status["traces_malformed"]["count"] == 0


@pytest.mark.root
def test_a_container_that_shares_the_project(user: User, tmp_path: Path, session: str) -> None:
    """Pids of its own, a home of its own, another user's rights: the project is all that is shared."""
    project = Project(tmp_path / "app")
    other = tmp_path / "container-home"
    other.mkdir()

    def inside(event: str) -> None:
        subprocess.run(
            [
                *("unshare", "--pid", "--fork", "--mount-proc", "--mount", "--net"),
                *("sh", "-c", f"[ -x {SHIPPED} ] && {SHIPPED} {event}; true"),
            ],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(other),
                "CLAUDE_CODE_SESSION_ID": session,
                "CLAUDE_PROJECT_DIR": str(project.root),
            },
            check=True,
        )

    config = user.home / ".config/coordd/coordd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[coordination]\nworkspaces = ["{project.root}"]\n[agents]\ntimeout = "3s"\n')
    with users_coordd(user.home) as daemon:
        inside("SessionStart")
        agent = becomes(daemon, session, status="active", activity="idle")
        assert (agent["workspace"], agent["pid"], agent["kind"]) == (str(project.root), None, "claude-code")
        inside("PreToolUse")
        becomes(daemon, session, activity="working")
        becomes(daemon, session, status="unknown", reason="quiet")  # a call of more than agents.timeout
        inside("PostToolUse")
        inside("PostToolBatch")
        becomes(daemon, session, status="active", activity="working")
        inside("PermissionRequest")
        becomes(daemon, session, activity="waiting", waiting_for="permission prompt")
        becomes(daemon, session, status="unknown", reason="quiet")
        inside("Stop")
        becomes(daemon, session, status="active", activity="idle")
        inside("SessionEnd")
        becomes(daemon, session, status="inactive", reason="ended")
        verdicts = [
            (one["status"], one["reason"])
            for one in read_records(user.home / ".local/state/coordd/metrics", "agent")
        ]
        assert ("inactive", "silent") not in verdicts
        assert ("inactive", "killed") not in verdicts
