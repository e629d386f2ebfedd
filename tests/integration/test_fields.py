"""Every field that is promised of agents and in the status document: it is there, and has a value once."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, running
from played_claude import PlayedSession, home
from real_processes import process_of, python
from waiting import eventually

from coordd.model import AgentInFull, AgentSample, AgentView, AttentionEntry

IN_A_TERMINAL = """
import os, pty, signal
print("here", flush=True)
leader, follower = pty.openpty()
os.login_tty(follower)
signal.pause()
"""


@dataclasses.dataclass
class Scene:
    """A user's coordd, and one Claude Code that registered itself under a name of its choice."""

    coordd: Coordd
    project: Project
    session: PlayedSession
    answers: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)

    def look(self, **expected: object) -> None:
        """Wait until the agent is shown so; keep what each door says of it."""

        def shown() -> dict[str, Any]:
            (agent,) = self.coordd.rpc("agents.list")["agents"]
            assert {name: agent[name] for name in expected} == expected
            return dict(agent)

        self.answers.append(("agents.list", eventually(shown, what=str(expected))))
        self.answers.append(("agents.get", self.coordd.agent("builder")))
        done = self.coordd.ctl("agents", "--json")
        self.answers += [("agents --json", one) for one in json.loads(done.stdout)["agents"]]
        self.answers += [("records", one) for one in self.records()]

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.coordd.rpc("history.query", {"type": "agent"})["records"]
        return found

    def seen(self, door: str) -> dict[str, bool]:
        """Return each field of an agent that a door showed, and whether it ever had a value."""
        fields: dict[str, bool] = {}
        for where, agent in self.answers:
            if where == door:
                for name, value in agent.items():
                    fields[name] = fields.get(name, False) or value is not None
        return fields


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    user, project = tmp_path / "home", Project(tmp_path / "app")
    claude = home(user / ".claude")
    sock = user / ".local/state/coordd/run/coordd.sock"
    settings = {
        "COORDD_SAMPLING_INTERVAL": "1s",
        "COORDD_AGENTS_TIMEOUT": "2s",
        "COORDD_AGENTS_STALL_AFTER": "3s",
    }
    with (
        python(IN_A_TERMINAL, cwd=project.root) as child,
        running([], sock=sock, home=user, cwd=user, **settings) as coordd,
    ):
        session = PlayedSession(claude, process_of(child.pid), "5e55", str(project.root))
        yield Scene(coordd, project, session)


def test_every_field_of_an_agent_is_everywhere_and_has_its_value_once(scene: Scene) -> None:
    session, project = scene.session, scene.project
    session.begin()
    pid = session.process.pid
    started = {"started_at": time.time(), "status": "busy"}
    project.register("builder", pid=pid, proc_start=session.process.start, **started)
    project.beat("builder")
    session.prompt()
    shell = session.call("Bash")
    session.result(shell, backgroundTaskId="b1")
    session.call("Bash")
    eventually(lambda: scene.coordd.rpc("agents.list")["agents"][0]["cpu_percent"] is not None)
    scene.look(agent_id="builder", session_id="5e55", pid=pid, activity="working", tool="Bash", background=1)
    session.status("waiting", "permission prompt")
    scene.look(activity="waiting", waiting_for="permission prompt")
    (project.agents / "builder.tasks").write_text("t-1\n")
    claims = project.coordination / "claims"
    claims.mkdir()
    claim = {"agent_id": "builder", "claimed_at": time.time(), "ttl": 300}
    (claims / "t-2.claim").write_text(json.dumps(claim))
    scene.look(active_tasks=1)
    os.kill(pid, signal.SIGKILL)
    scene.look(status="inactive", reason="killed")

    samples = {field.name for field in dataclasses.fields(AgentSample)}
    views = {field.name for field in dataclasses.fields(AgentView)}
    full = {field.name for field in dataclasses.fields(AgentInFull)}
    for door, fields in (
        ("records", samples), ("agents.list", views), ("agents --json", views), ("agents.get", full)
    ):  # fmt: skip
        seen = scene.seen(door)
        assert seen.keys() == fields, door
        # whose process it is, is told where nothing else is known: tests/integration/test_other_agents.py
        assert [name for name, had_value in seen.items() if not had_value] == ["user"], door


def test_what_the_status_document_says_of_agents_and_their_sources(scene: Scene) -> None:
    session = scene.session
    session.begin()
    scene.project.register("builder", pid=session.process.pid, status="busy")
    scene.project.beat("builder")
    eventually(lambda: scene.coordd.rpc("agents.list")["agents"][0]["pid"] == session.process.pid)
    session.prompt()
    session.call("AskUserQuestion")
    session.status("waiting", "permission prompt")
    eventually(lambda: scene.coordd.rpc("status")["attention"])
    status = json.loads(scene.coordd.ctl("status", "--json").stdout)
    assert status["agents"] == {
        "total": 1,
        "active": 1,
        "inactive": 0,
        "unknown": 0,
        "stalled": 0,
        "ended": 0,
        "killed": 0,
        "ended_today": 0,
        "activities": {"waiting": 1, "blocked": 0, "working": 0, "stalled": 0, "idle": 0, "unknown": 0},
    }
    assert status["limits"] == []
    assert (status["health"], status["problems"]) == ("ok", []), "who waits is no problem"
    (entry,) = status["attention"]
    assert entry.keys() == {field.name for field in dataclasses.fields(AttentionEntry)}
    assert None not in entry.values()
    assert (entry["kind"], entry["subject"]) == ("waiting", "builder")
    (home_read,) = [one for one in status["sources"] if one["kind"] == "claude-code"]
    assert home_read["agents"] == 1
    assert home_read.keys() >= {"kind", "path", "state", "error", "agents", "unrecognised"}
    session.remove_record()
    os.kill(session.process.pid, signal.SIGKILL)
    eventually(lambda: scene.coordd.rpc("status")["agents"]["ended"] == 1)
    status = scene.coordd.rpc("status")
    assert status["agents"]["ended_today"] == 1
    assert (status["attention"], status["problems"]) == ([], [])
