"""Tasks and claims, end to end: real files in both dialects, the real daemon, the real coordctl."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, beating, coordctl, running, watching
from waiting import eventually

SHORT = {"COORDD_AGENTS_TIMEOUT": "2s"}
FLEET = Path(__file__).resolve().parents[2] / "contrib" / "fleet.py"


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


class Work(Project):
    """A project with claims, tasks and progress."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for folder in ("claims", "tasks", "status"):
            (self.coordination / folder).mkdir()

    def write(self, name: str, **fields: object) -> Path:
        """By rename, as careful agents do."""
        path = self.coordination / name
        draft = path.with_name(f".{path.name}.tmp")
        draft.write_text(json.dumps(fields))
        draft.rename(path)
        return path

    def claim(self, task: str, agent: str, *, ttl: float = 300.0) -> Path:
        """The first dialect, by truncate and write."""
        path = self.coordination / "claims" / f"{task}.claim"
        path.write_text(json.dumps({"agent_id": agent, "claimed_at": int(time.time()), "ttl": ttl}))
        return path

    def claim_json(self, task: str, agent: str, *, ttl: float = 300.0, **more: object) -> Path:
        """The second."""
        now = time.time()
        fields = {"id": task, "agent_id": agent, "claimed_at": iso(now), "expires_at": iso(now + ttl)}
        return self.write(f"claims/{task}.json", **fields, **more)

    def progress(self, task: str, percent: float, message: str = "") -> None:
        self.write(
            f"status/{task}.progress",
            task_id=task,
            progress=percent,
            message=message,
            timestamp=iso(time.time()),
        )

    def alive(self, *agents: str) -> bool:
        """Beats, for probes: always true."""
        for agent in agents:
            self.beat(agent, f"{time.time():.3f}")
        return True


@pytest.fixture
def project(tmp_path: Path) -> Work:
    return Work(tmp_path / "app")


def tasks(coordd: Coordd, **params: object) -> dict[str, dict[str, Any]]:
    return {one["task_id"]: one for one in coordd.rpc("tasks.list", params)["tasks"]}


def states(coordd: Coordd) -> dict[str, str]:
    return {task: one["state"] for task, one in tasks(coordd).items()}


def events(project: Project, *kinds: str) -> list[tuple[str, str]]:
    return [(e["kind"], e["subject"]) for e in project.records("event") if e["kind"] in kinds]


def test_a_task_from_laid_out_to_finished_in_both_dialects(project: Work, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        assert coordd.rpc("status")["tasks"] == {"available": 0, "claimed": 0, "expired": 0, "orphaned": 0}
        project.alive("coder", "tester")
        for name in ("t-1.md", "t-2", "t-3.json"):
            (project.coordination / "tasks" / name).write_text("do it")
        eventually(lambda: states(coordd) == dict.fromkeys(("t-1", "t-2", "t-3"), "available"))
        project.claim("t-1", "coder")
        project.claim_json("t-2", "tester", description="the second\x1b[2J", status="claimed")
        eventually(lambda: states(coordd) == {"t-1": "held", "t-2": "held", "t-3": "available"})
        project.progress("t-2", 40, "half way")
        eventually(lambda: tasks(coordd)["t-2"]["progress"] == 40)
        second = tasks(coordd)["t-2"]
        assert second["agent_id"] == "tester"
        assert second["holder_status"] == "active"
        assert (second["description"], second["message"]) == ("the second\x1b[2J", "half way")
        assert second["workspace"] == str(project.root)
        assert second["sources"] == ["file"]
        claimed, expires = (datetime.fromisoformat(second[k]) for k in ("claimed_at", "expires_at"))
        assert (expires - claimed).total_seconds() == pytest.approx(300, abs=0.002)

        status = coordd.rpc("status")
        assert status["tasks"] == {"available": 1, "claimed": 2, "expired": 0, "orphaned": 0}
        assert status["health"] == "ok"
        assert [c["task_id"] for c in coordd.agent("tester")["claims"]] == ["t-2"]
        assert coordd.agent("tester")["stalled"] is False
        table = coordd.ctl("tasks").stdout
        assert "t-2   held       tester  " in table
        assert "\x1b" not in table
        assert "40 % half way" in table
        assert "Tasks      1 available, 2 claimed\n" in coordd.ctl("status").stdout

        (project.coordination / "tasks" / "t-1.md").unlink()
        (project.coordination / "claims" / "t-1.claim").unlink()
        project.claim_json("t-2", "tester", status="completed")  # it stays in tasks/, and is done
        eventually(lambda: states(coordd) == {"t-3": "available"})
        assert coordd.agent("tester")["claims"] == []
        assert coordd.rpc("status")["tasks"]["claimed"] == 0
        project.claim_json("t-2", "tester", status="released")
        eventually(lambda: states(coordd) == {"t-2": "available", "t-3": "available"})

        def told() -> bool:
            # What comes in one batch comes in no order.
            return sorted(events(project, "task.claimed", "task.released")) == [
                ("task.claimed", "t-1"),
                ("task.claimed", "t-2"),
                ("task.released", "t-1"),
                ("task.released", "t-2"),
            ]

        eventually(told)


def test_one_task_claimed_in_both_dialects_is_one_claim(project: Work, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.alive("a", "b")
        project.claim("t", "a")
        eventually(lambda: states(coordd) == {"t": "held"})
        later = time.time() + 2
        project.write("claims/t.json", agent_id="b", claimed_at=iso(later), expires_at=iso(later + 60))
        eventually(lambda: tasks(coordd)["t"]["agent_id"] == "b")
        assert coordd.rpc("status")["tasks"]["claimed"] == 1
        assert coordd.agent("a")["claims"] == []
        (project.coordination / "claims" / "t.json").unlink()
        eventually(lambda: tasks(coordd)["t"]["agent_id"] == "a")


def test_a_holder_that_dies_leaves_orphans_that_are_a_problem(project: Work, tmp_path: Path) -> None:
    with beating(project, "survivor"):
        with watching(project, tmp_path, **SHORT) as coordd:
            project.alive("victim")
            project.claim("t-17", "victim")
            project.claim_json("t-18", "survivor")
            project.claim("t-19", "ghost")
            expected = {"t-17": "orphaned", "t-18": "held", "t-19": "orphaned"}
            eventually(lambda: states(coordd) == expected)
            status = coordd.rpc("status")
            assert status["tasks"] == {"available": 0, "claimed": 3, "expired": 0, "orphaned": 2}
            assert status["health"] == "degraded"
            assert sorted(status["problems"]) == [
                f"task t-17 in {project.root} is orphaned, its holder victim is inactive (silent)",
                f"task t-19 in {project.root} is orphaned, its holder ghost has left no trace",
            ]
            assert {(one["kind"], one["subject"]) for one in status["attention"]} == {
                ("orphaned", "t-17"),
                ("orphaned", "t-19"),
            }
            assert coordd.ctl("status").returncode == 1
            rows = coordd.ctl("tasks").stdout.splitlines()
            assert [row.split()[:2] for row in rows[1:3]] == [["t-17", "orphaned"], ["t-19", "orphaned"]]
            assert "victim (inactive)" in rows[1]
            assert list(tasks(coordd, state="orphaned")) == ["t-17", "t-19"]
            eventually(lambda: sorted(events(project, "claim.orphaned")) == [
                ("claim.orphaned", "t-17"), ("claim.orphaned", "t-19")
            ])  # fmt: skip
            coordd.stop(signal.SIGKILL)
        with watching(project, tmp_path, **SHORT) as coordd:  # the next one knows, and does not say so again
            assert states(coordd)["t-17"] == "orphaned"
            with beating(project, "victim", "ghost"):
                eventually(lambda: states(coordd)["t-17"] == "held")
                assert coordd.stop() == 0
    assert len(events(project, "claim.orphaned")) == 2


def test_a_claim_outlives_its_time_under_a_living_holder(project: Work, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.alive("slow")
        project.claim_json("t", "slow", ttl=1.5)
        project.write("claims/no-times.json", agent_id="slow", claimed_at="yesterday", expires_at=[])
        eventually(lambda: states(coordd) == {"t": "held", "no-times": "held"})
        eventually(lambda: states(coordd) == {"t": "expired", "no-times": "held"})
        assert tasks(coordd)["no-times"]["expires_at"] is None
        status = coordd.rpc("status")
        assert status["tasks"] == {"available": 0, "claimed": 2, "expired": 1, "orphaned": 0}
        assert status["health"] == "ok"
        assert "ago" in coordd.ctl("tasks", "--state", "expired").stdout
        project.claim_json("t", "slow", ttl=300)
        eventually(lambda: states(coordd)["t"] == "held")


def test_what_cannot_be_read_is_unknown_and_never_zero(project: Work, tmp_path: Path) -> None:
    project.alive("a")
    project.claim("t", "a")
    (project.coordination / "tasks" / "u").touch()
    with watching(project, tmp_path) as coordd:
        assert states(coordd) == {"t": "held", "u": "available"}
        claims = project.coordination / "claims"
        claims.rename(claims.with_name("away"))
        claims.symlink_to(claims.with_name("away"))  # never followed
        unknown = {"available": None, "claimed": None, "expired": None, "orphaned": None}
        eventually(lambda: coordd.rpc("status")["tasks"] == unknown)
        assert coordd.rpc("tasks.list")["unknown"] == [str(project.root)]
        assert coordd.agent("a")["claims"] is None
        assert coordd.agent("a")["stalled"] is None
        shown = coordd.ctl("tasks")
        assert f"the tasks of {project.root} are unknown" in shown.stderr
        claims.unlink()
        claims.with_name("away").rename(claims)
        eventually(lambda: states(coordd) == {"t": "held", "u": "available"})

        project.coordination.rename(project.claude / "elsewhere")
        eventually(lambda: coordd.rpc("status")["tasks"] == unknown)
        (project.claude / "elsewhere").rename(project.coordination)
        eventually(lambda: coordd.rpc("status")["tasks"]["claimed"] == 1)
        assert events(project, "task.released") == []


def test_an_agent_that_beats_without_progress_is_stalled_until_it_moves(
    project: Work, tmp_path: Path
) -> None:
    everybody = ("hung", "busy", "idle")
    with (
        watching(project, tmp_path, **SHORT, COORDD_AGENTS_STALL_AFTER="3s") as coordd,
        beating(project, *everybody),
    ):
        project.claim("t-1", "hung")
        (project.agents / "busy.tasks").write_text("t-2\n")
        percent = 0

        def hung_alone() -> bool:
            nonlocal percent
            percent += 1
            project.progress("t-2", percent % 100)
            return {name: coordd.agent(name)["stalled"] for name in everybody} == {
                "hung": True,
                "busy": False,
                "idle": False,
            }

        eventually(hung_alone)
        assert coordd.agent("hung")["status"] == "active"
        assert coordd.rpc("status")["agents"]["stalled"] == 1
        problems = [f"agent hung in {project.root}: stalled: no progress, holds t-1"]
        eventually(lambda: coordd.rpc("status")["problems"] == problems)  # once it has held
        why = coordd.ctl("why", "hung").stdout
        assert why.startswith("hung is stalled, for ")
        deciding = [line for line in why.splitlines() if line.startswith(">")]
        assert [line.split()[1] for line in deciding] == ["4", "7"]
        assert "stalled:" in coordd.ctl("agent", "hung").stdout
        eventually(lambda: events(project, "agent.stalled") == [("agent.stalled", "hung")])
        project.progress("t-1", 5)
        eventually(lambda: coordd.agent("hung")["stalled"] is False)


def test_folders_that_come_go_and_come_again(project: Work, tmp_path: Path) -> None:
    for folder in ("claims", "tasks", "status"):
        (project.coordination / folder).rmdir()
    with watching(project, tmp_path) as coordd:
        project.alive("a")
        for turn in range(3):
            claims = project.coordination / "claims"
            claims.mkdir()
            project.claim(f"t-{turn}", "a")
            eventually(lambda t=turn: states(coordd) == {f"t-{t}": "held"})
            (claims / f"t-{turn}.claim").unlink()
            claims.rmdir()
            eventually(lambda: states(coordd) == {})


def test_folders_that_are_touched_all_the_time_hide_nothing(project: Work, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        done = threading.Event()

        def touch() -> None:
            mode = 0o700
            while not done.wait(0.001):
                mode ^= 0o055
                project.agents.chmod(mode)

        toucher = threading.Thread(target=touch)
        toucher.start()
        try:
            project.alive("newcomer")
            project.claim("t", "newcomer")
            eventually(lambda: states(coordd) == {"t": "held"})
            eventually(lambda: coordd.statuses() == {"newcomer": "active"})
            (project.agents / "newcomer.heartbeat").unlink()
            eventually(lambda: coordd.statuses() == {})
        finally:
            done.set()
            toucher.join()


def test_pages_filters_and_the_document_for_programs(tmp_path: Path) -> None:
    one, two = Work(tmp_path / "one"), Work(tmp_path / "two")
    sock = tmp_path / "c.sock"
    for work in (one, two):
        work.alive("a")
        for n in range(5):
            (work.coordination / "tasks" / f"t{n}").touch()
        work.claim("t1", "a")
        work.claim_json("t2", "a", ttl=0.001)
    arguments = ["-w", str(one.root), "-w", str(two.root), "--socket", str(sock)]
    with running(arguments, sock=sock, home=tmp_path / "home") as coordd:
        whole = coordd.rpc("tasks.list")["tasks"]
        assert [t["state"] for t in whole] == ["expired"] * 2 + ["held"] * 2 + ["available"] * 6
        pages, cursor = [], None
        while True:
            page = coordd.rpc("tasks.list", {"limit": 3} | ({"cursor": cursor} if cursor else {}))
            pages += page["tasks"]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert pages == whole
        mine = coordd.rpc("tasks.list", {"workspace": str(two.root), "state": "available"})["tasks"]
        assert [t["task_id"] for t in mine] == ["t0", "t3", "t4"]
        document = json.loads(coordd.ctl("tasks", "--json").stdout)
        assert document["schema"] == 1
        assert document["tasks"] == whole
        assert str(two.root) in coordd.ctl("tasks").stdout
        assert coordd.ctl("tasks", "--state", "orphaned").stdout == "no such tasks\n"
        for bad in ("x", "W10=", "WzEsMl0="):
            with pytest.raises(Exception, match="cursor"):
                coordd.rpc("tasks.list", {"cursor": bad})
        assert coordd.ctl("why", "nobody").returncode == 1


@contextlib.contextmanager
def fleet(project: Project, truth: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        str(FLEET),
        "--workspace",
        str(project.root),
        "--truth",
        str(truth),
        *arguments,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_every_number_agrees_with_what_a_fleet_did(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    truth_file = tmp_path / "truth.json"
    game = "--agents 40 --beat 500ms --duration 12s --work 1s --die 20% --hang 10% --end 10% --tasks 30"
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="3s", COORDD_AGENTS_STALL_AFTER="3s") as coordd:
        with fleet(project, truth_file, *game.split()) as played:
            assert played.wait(60) == 0
        truth = json.loads(truth_file.read_text())

        def everybody_silent() -> bool:
            return set(coordd.statuses().values()) == {"inactive"}

        eventually(everybody_silent)  # the game is over
        left = {name: one for name, one in truth["agents"].items() if one["state"] != "ended"}
        agents = json.loads(coordctl_json(coordd, "agents"))["agents"]
        assert {a["agent_id"]: a["last_heartbeat"] for a in agents} == {
            n: a["last_beat"] for n, a in left.items()
        }
        assert {a["agent_id"]: a["active_tasks"] for a in agents} == {
            n: len(a["tasks"]) for n, a in left.items()
        }
        shown = json.loads(coordctl_json(coordd, "tasks"))["tasks"]
        held = {task: name for name, one in left.items() for task in one["tasks"]}
        assert {t["task_id"]: t["agent_id"] for t in shown if t["state"] == "orphaned"} == held
        assert sorted(t["task_id"] for t in shown if t["state"] == "available") == truth["available"]
        assert len(shown) == len(held) + len(truth["available"])
        counts = coordd.rpc("status")["tasks"]
        assert counts == {
            "available": len(truth["available"]),
            "claimed": len(held),
            "expired": 0,
            "orphaned": len(held),
        }
        hung = {name for name, one in truth["agents"].items() if one["state"] == "hung" and one["tasks"]}
        assert hung
        assert hung <= {subject for _, subject in events(project, "agent.stalled")}


def coordctl_json(coordd: Coordd, command: str) -> str:
    done = coordctl("--socket", str(coordd.socket), command, "--json", environ=coordd.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout
