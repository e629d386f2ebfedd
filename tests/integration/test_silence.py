"""What an agent that beats is taken for when its beats are not announced, or coordd itself was stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from live import Coordd, Project, watching
from waiting import eventually

TIMEOUT = {"COORDD_AGENTS_TIMEOUT": "10s"}


@contextmanager
def kept_open(path: Path) -> Iterator[Callable[[str], None]]:
    """Give a writer that does not close its file: inotify tells nothing of what it writes."""
    with path.open("r+") as file:

        def write(text: str) -> None:
            file.seek(0)
            file.write(text)
            file.truncate()
            file.flush()

        yield write


def test_a_beat_that_nobody_announced_is_found_before_any_verdict_is_shown(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.beat("a")
    claims = project.coordination / "claims"
    claims.mkdir()
    (claims / "c.claim").write_text(json.dumps({"agent_id": "a", "claimed_at": time.time(), "ttl": 3600}))
    path = project.agents / "a.heartbeat"
    with watching(project, tmp_path, **TIMEOUT) as coordd, kept_open(path) as beat:
        shown, began = set(), time.monotonic()
        while time.monotonic() < began + 13:  # beyond its first deadline
            beat(f"{time.time():.3f}")
            shown |= set(coordd.statuses().values())
            time.sleep(0.02)
        assert shown == {"active"}
        eventually(lambda: len(project.records("agent")) > 1, what="the beat is recorded")
        assert {one["status"] for one in project.records("agent")} == {"active"}
        assert "claim.orphaned" not in {one["kind"] for one in project.records("event")}


def near_its_deadline(coordd: Coordd) -> float:
    """Wait until the only agent has been silent for 8.5 of its 10 seconds; return when they will be over."""

    def age() -> float:
        (agent,) = coordd.rpc("agents.list")["agents"]
        return float(agent["last_heartbeat_age"])

    eventually(lambda: age() > 8.5)
    return time.monotonic() + 10 - age()


def test_an_agent_that_beat_while_coordd_was_stopped_is_never_called_silent(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    with watching(project, tmp_path, **TIMEOUT) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        deadline = near_its_deadline(coordd)
        os.kill(coordd.pid, signal.SIGSTOP)
        while time.monotonic() < deadline + 1.4:  # past it by less than what makes coordd read everything
            project.beat("a")
            time.sleep(0.1)
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(coordd.socket))
            early.sendall(b'{"jsonrpc":"2.0","id":1,"method":"agents.list"}\n')
            os.kill(coordd.pid, signal.SIGCONT)
            answer = json.loads(early.makefile().readline())
        assert [one["status"] for one in answer["result"]["agents"]] == ["active"]
        assert {one["status"] for one in project.records("agent")} == {"active"}


def test_an_agent_that_was_stopped_together_with_coordd_has_time_to_beat_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    with watching(project, tmp_path, **TIMEOUT) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        deadline = near_its_deadline(coordd)
        os.kill(coordd.pid, signal.SIGSTOP)
        time.sleep(max(0.0, deadline + 1.4 - time.monotonic()))
        os.kill(coordd.pid, signal.SIGCONT)
        time.sleep(0.5)  # it needs a moment to come to itself
        beats = len(project.records("agent"))
        project.beat("a")
        eventually(lambda: len(project.records("agent")) > beats)
        assert {one["status"] for one in project.records("agent")} == {"active"}
