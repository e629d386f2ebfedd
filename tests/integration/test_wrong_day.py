"""A clock that stood a day ahead for a while, over midnight, and the restart after it was set back.

The files of that day are the youngest by name and by what is in them: nothing of it may be believed.
"""

from __future__ import annotations

import glob
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from faketime import set_clock
from live import Project, watching
from waiting import eventually

pytestmark = pytest.mark.root

AGENTS = ("kept", "late", "gone")


class Clock:
    """The wall clock of the daemons that have ``environ``."""

    def __init__(self, directory: Path) -> None:
        (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        self._offset = directory / "offset"
        self.set(0)
        self.environ = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "COORDD_AGENTS_TIMEOUT": "10m",
            # libfaketime moves no timer of the kernel: the daemon notices when it wakes
            "COORDD_SAMPLING_INTERVAL": "2s",
        }

    def set(self, ahead: int) -> None:
        set_clock(self._offset, f"{ahead:+}")


def steps(project: Project) -> int:
    return len([event for event in project.records("event") if event["kind"] == "clock.stepped"])


def last_beats(project: Project, since: list[dict[str, Any]]) -> dict[str, str]:
    """Of each agent the beat recorded last, of records that are not in ``since``."""
    new = [record for record in project.records("agent") if record not in since]
    return {record["agent_id"]: record["last_heartbeat"] for record in new if record["cause"] == "heartbeat"}


@pytest.mark.parametrize("snapshot", ["snapshot", "no snapshot"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_believes_nothing_of_a_day_that_never_was(
    project: Project, tmp_path: Path, end: signal.Signals, snapshot: str
) -> None:
    clock = Clock(tmp_path)
    with watching(project, tmp_path, **clock.environ) as coordd:
        for agent in AGENTS:
            project.beat(agent)
        eventually(lambda: coordd.statuses() == dict.fromkeys(AGENTS, "active"))
        clock.set(86_400)
        eventually(lambda: steps(project) == 1)
        before = project.records("agent")
        ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
        for agent in AGENTS:
            project.beat(agent, ahead)
        eventually(lambda: set(last_beats(project, before)) == set(AGENTS))
        clock.set(0)
        eventually(lambda: steps(project) == 2)
        before = project.records("agent")
        project.beat("kept")
        project.beat("late")
        (project.agents / "gone.heartbeat").unlink()
        eventually(lambda: set(last_beats(project, before)) == {"kept", "late"})
        eventually(lambda: set(coordd.statuses()) == {"kept", "late"})
        coordd.stop(end)
    if snapshot == "no snapshot":
        (project.claude / "run" / "snapshot.json").unlink()
    before = project.records("agent")
    with watching(project, tmp_path, **clock.environ) as coordd:
        assert coordd.statuses() == {"kept": "active", "late": "active"}
        project.beat("late", f"{time.time():.3f}")
        eventually(lambda: last_beats(project, before))
        assert coordd.statuses() == {"kept": "active", "late": "active"}
        assert coordd.stop() == 0
    new = [record for record in project.records("agent") if record not in before]
    assert [(record["agent_id"], record["cause"]) for record in new] == [("late", "heartbeat")]


def test_a_daemon_killed_on_the_false_day_samples_no_beat_of_it_twice(
    project: Project, tmp_path: Path
) -> None:
    clock = Clock(tmp_path)
    with watching(project, tmp_path, **clock.environ) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        clock.set(86_400)
        eventually(lambda: steps(project) == 1)
        before = project.records("agent")
        project.beat("a", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)))
        eventually(lambda: last_beats(project, before))
        # a file of a day to come counts as far as a snapshot knows of it, which follows the step
        snapshot = project.claude / "run" / "snapshot.json"
        false_day = time.strftime("agent_%Y-%m-%d.jsonl", time.gmtime(time.time() + 86_400))
        eventually(lambda: false_day in snapshot.read_text())
        coordd.stop(signal.SIGKILL)
    clock.set(0)
    before = project.records("agent")
    with watching(project, tmp_path, **clock.environ) as coordd:
        assert coordd.statuses() == {"a": "active"}
        assert [record for record in project.records("agent") if record not in before] == []
        project.beat("a", f"{time.time():.3f}")
        eventually(lambda: last_beats(project, before))
