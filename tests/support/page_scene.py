"""Play a fleet for the page: three projects; one agent waits, one stalls, one was killed, and many ended."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from dash import Dashboard, dashboard
from live import Coordd, Project, running
from played_claude import PlayedSession, Processes, home
from real_processes import process_of, python
from waiting import eventually

SLEEPS = "import sys; print('here', flush=True); sys.stdin.read()"
SCRIPTS = {
    "latin": "Zoë <b>x</b>",
    "arabic": "وكيل",
    "hebrew": "סוכן",
    "chinese": "代理人一号",
    "devanagari": "एजेंट",
    "emoji": "🤖 robot",
    "turned": "evil\u202egnp.exe",
    "html": "<img src=x onerror=alert(1)>",
}
"""Names of strangers, in scripts that run in both directions, and as HTML."""


class PlayedFleet:
    """Twelve living agents in three projects, their daemon and their dashboard."""

    def __init__(
        self, coordd: Coordd, dash: Dashboard, shop: Project, sessions: dict[str, PlayedSession]
    ) -> None:
        self.coordd = coordd
        self.dash = dash
        self.shop = shop
        self.sessions = sessions

    def agent(self, name: str) -> dict[str, object]:
        """Return an agent by its name, as the daemon lists it."""
        listed = self.coordd.rpc("agents.list")["agents"]
        return next(one for one in listed if name in (one["name"], one["agent_id"]))


def ended_ids(count: int) -> list[str]:
    """Return the ids of those that have ended."""
    return [f"old-{n:02d}" for n in range(count)]


@contextlib.contextmanager
def played_fleet(
    root: Path, *, ended: int = 30, names: dict[str, str] | None = None
) -> Iterator[PlayedFleet]:
    """Play until everything is as the scene says; ``names`` are further agents of the last project."""
    user = root / "home"
    user.mkdir(parents=True)
    projects = {name: Project(root / name) for name in ("shop", "api", "docs")}
    claude = home(user / ".claude")
    with contextlib.ExitStack() as stack:
        sessions = {}
        for place, count in (("shop", 4), ("api", 3), ("docs", 3)):
            for n in range(1, count + 1):
                child = stack.enter_context(python(SLEEPS, cwd=projects[place].root))
                name = f"{place}-{n}"
                one = PlayedSession(
                    *(claude, process_of(child.pid), f"{n:08x}-{place}", str(projects[place].root)),
                    wall=(lambda: time.time() - 3600) if name == "api-2" else time.time,
                    name=name,
                )
                one.begin()
                one.prompt()
                sessions[name] = one
        for n, (_, name) in enumerate((names or {}).items()):
            child = stack.enter_context(python(SLEEPS, cwd=projects["docs"].root))
            one = PlayedSession(
                claude, process_of(child.pid), f"{n:08x}-named", str(projects["docs"].root), name=name
            )
            one.begin()
            one.prompt()
            sessions[name] = one
        shop = projects["shop"]
        for name in ended_ids(ended):
            shop.register(name, started_at=time.time() - 60, status="active")
            shop.beat(name)
        for name in ("reviewer", "tester"):
            shop.beat(name)
        _tasks(shop)
        sessions["shop-3"].call("Bash")
        sessions["shop-4"].finish()
        sessions["api-2"].say()
        sock = root / "d.sock"
        arguments = [f"--workspace={project.root}" for project in projects.values()]
        coordd = stack.enter_context(
            running(
                ["--layout", "user", *arguments, "--socket", str(sock)],
                sock=sock,
                home=user,
                COORDD_SAMPLING_INTERVAL="1s",
                COORDD_PROCESSES_ENABLED="false",
                COORDD_AGENTS_TIMEOUT="1h",
            )
        )
        fleet = PlayedFleet(coordd, stack.enter_context(dashboard(sock=sock, home=user)), shop, sessions)
        eventually(lambda: fleet.agent("docs-2")["activity"] == "working")
        eventually(lambda: len(coordd.rpc("agents.list")["agents"]) == len(sessions) + 2 + ended)
        sessions["shop-2"].status("waiting", "permission prompt")
        Processes.kill(sessions["docs-2"].process)
        for name in ended_ids(ended):
            shop.register(name, started_at=time.time() - 60, status="ended")
            (shop.agents / f"{name}.heartbeat").unlink()
        eventually(lambda: coordd.rpc("status")["agents"]["ended"] == ended)
        needs = {"waiting", "killed", "stalled", "orphaned"}
        eventually(lambda: {one["kind"] for one in coordd.rpc("status")["attention"]} == needs)
        yield fleet


def _tasks(shop: Project) -> None:
    now = int(time.time())
    for folder in ("claims", "tasks", "status"):
        (shop.coordination / folder).mkdir()
    for task, agent in (("checkout", "reviewer"), ("cart", "tester"), ("lost", "old-00")):
        said = {"agent_id": agent, "claimed_at": now - 60, "ttl": 36000}
        (shop.coordination / "claims" / f"{task}.claim").write_text(json.dumps(said))
    (shop.coordination / "tasks" / "free").touch()
    told = {"task_id": "checkout", "progress": 60, "message": "half of it", "timestamp": now}
    (shop.coordination / "status" / "checkout.progress").write_text(json.dumps(told))
