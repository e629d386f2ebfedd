"""How old a last beat is: real time, also where the silence that decides the verdict stood still."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from live import Coordd, Project, watching
from waiting import eventually

BLIND = 6.0
"""Seconds out of sight: more than a late tick of coordd is allowed, less than the timeout."""


def heartbeat(agent: dict[str, Any]) -> dict[str, Any]:
    (one,) = [entry for entry in agent["evidence"] if entry["signal"] == "heartbeat"]
    found: dict[str, Any] = one
    return found


class Beat:
    """One beat of agent ``a``: between which monotonic times it was made and seen."""

    def __init__(self, project: Project, coordd: Coordd) -> None:
        self.earliest = time.monotonic()
        project.beat("a", f"{time.time():.3f}")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        self.latest = time.monotonic()

    def agent(self, coordd: Coordd) -> dict[str, Any]:
        """The agent as it is shown now, with an age that can be true."""
        asked = time.monotonic()
        agent = coordd.agent("a")
        answered = time.monotonic()
        rounding = 0.01
        assert asked - self.latest - rounding <= agent["last_heartbeat_age"]
        assert agent["last_heartbeat_age"] <= answered - self.earliest + rounding
        assert heartbeat(agent)["age"] == agent["last_heartbeat_age"]
        assert agent["status"] == "active"
        return agent


def test_a_coordd_that_did_not_run_knows_how_old_the_beat_is(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        beat = Beat(project, coordd)
        coordd.process.send_signal(signal.SIGSTOP)
        resume = time.monotonic() + BLIND
        eventually(lambda: time.monotonic() > resume)
        coordd.process.send_signal(signal.SIGCONT)
        eventually(lambda: "did not run for" in coordd.logged())
        agent = beat.agent(coordd)
        assert heartbeat(agent)["silence"] <= agent["last_heartbeat_age"] - (BLIND - 3.0)
        for command in ("why", "agent"):
            assert "of observed time (" in coordd.ctl(command, "a").stdout


def test_a_folder_that_was_away_makes_no_beat_younger(project: Project, tmp_path: Path) -> None:
    away = project.claude / "elsewhere"
    with watching(project, tmp_path) as coordd:
        beat = Beat(project, coordd)
        project.coordination.rename(away)
        eventually(lambda: coordd.rpc("status")["health"] == "degraded")
        back = time.monotonic() + BLIND
        eventually(lambda: time.monotonic() > back)
        away.rename(project.coordination)
        eventually(lambda: coordd.rpc("status")["health"] == "ok")
        agent = beat.agent(coordd)
        assert heartbeat(agent)["silence"] <= agent["last_heartbeat_age"] - (BLIND - 1.0)
        assert coordd.stop() == 0
    with watching(project, tmp_path) as coordd:
        beat.agent(coordd)
    assert len(project.records("agent")) == 1
