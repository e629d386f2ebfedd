"""Sessions beside coordination folders: what lives in a workspace is watched, and is one agent with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, running
from sessions import Home
from waiting import NotYet, eventually


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    one = Home(tmp_path / "home" / ".claude")
    yield one
    one.close()


@pytest.fixture
def daemon(home: Home) -> Iterator[Coordd]:
    """The coordd of a user who has told it nothing."""
    user = home.path.parent
    sock = user / ".local/state/coordd/run/coordd.sock"
    with running([], sock=sock, home=user, cwd=user) as one:
        yield one


def shown(daemon: Coordd, **expected: object) -> dict[str, Any]:
    """Wait until exactly one agent is shown like this; return it."""

    def found() -> dict[str, Any]:
        agents: list[dict[str, Any]] = daemon.rpc("agents.list")["agents"]
        like = [one for one in agents if all(one[name] == value for name, value in expected.items())]
        if len(like) != 1:
            raise NotYet(agents)
        return like[0]

    return eventually(found, what=str(expected))


def workspaces(daemon: Coordd) -> list[str]:
    return [one["path"] for one in daemon.rpc("status")["workspaces"]]


def test_a_workspace_is_watched_from_its_first_session_to_its_last_agent(home: Home, daemon: Coordd) -> None:
    session = home.session("s-1")
    agent = shown(daemon, agent_id="s-1", kind="claude-code", reason="process")
    assert (agent["agent_id"], agent["project"], agent["pid"]) == ("s-1", str(home.work), session.process.pid)
    assert str(home.work) not in workspaces(daemon)

    project = Project(home.work)
    project.beat("coder")
    other = shown(daemon, agent_id="coder")
    assert (other["workspace"], other["sources"]) == (str(home.work), ["file"])
    assert str(home.work) in workspaces(daemon)

    session.record.unlink()
    session.kill()
    shown(daemon, agent_id="s-1", status="inactive", reason="ended")
    project.beat("coder")  # it lives on, and so does what it left there
    shown(daemon, agent_id="coder", status="active")
    assert str(home.work) in workspaces(daemon)

    (project.agents / "coder.heartbeat").unlink()
    daemon.rpc("agents.forget", {"agent_id": "s-1"})
    eventually(lambda: daemon.rpc("agents.list", {"workspace": str(home.work)})["agents"] == [])
    eventually(lambda: str(home.work) not in workspaces(daemon))


def test_a_registration_with_the_pid_of_a_session_is_that_session(home: Home, daemon: Coordd) -> None:
    session = home.session("s-2")
    shown(daemon, agent_id="s-2")
    project = Project(home.work)
    project.register("coder", pid=session.process.pid, proc_start=session.process.start)
    project.beat("coder")
    agent = shown(daemon, agent_id="coder", session_id="s-2")
    assert agent["sources"] == ["file", "claude-code"]
    listed = daemon.rpc("agents.list", {"workspace": str(home.work)})["agents"]
    assert [one["agent_id"] for one in listed] == ["coder"]
    assert (agent["status"], agent["reason"], agent["activity"]) == ("active", "process", "idle")

    os.kill(session.process.pid, 9)
    shown(daemon, agent_id="coder", status="inactive", reason="killed")
    needs = [one for one in daemon.rpc("status")["attention"] if one["workspace"] == str(home.work)]
    assert [one["kind"] for one in needs] == ["killed"]


def test_both_tables_say_which_source_tells(home: Home, daemon: Coordd) -> None:
    home.session("s-3", status="busy")
    shown(daemon, agent_id="s-3", activity="working")
    full = daemon.rpc("agents.get", {"agent_id": "s-3"})
    assert {one["source"] for one in full["verdict_rows"] if one["decides"]} == {"claude-code"}
    assert {one["source"] for one in full["activity_rows"] if one["decides"]} == {"claude-code"}
    signals = {one["signal"] for one in full["evidence"]}
    assert {"process", "session", "transcript"} <= signals
