"""Test that every surface shows the truth, in one scene with all that was ever shown wrongly.

A project with twelve git worktrees, three of which link to its ``.claude``; a second project with a daemon of
its own; a Redis; forty writers, each with the habits of one kind of program that was met. What they do is the
truth, and every surface is compared with it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dash import dashboard
from live import Coordd, Project, coordctl, running, watching
from redisd import RedisServer, redis_server
from values import BEATS, CLAIMS, LITTER, REGISTRATIONS, written
from waiting import eventually

WORKTREES = 12
LINKED = 3
WRITERS = 40
KINDS = ("beats", "registers", "silent", "ended", "redis", "both")
"""What a writer does: beat into files, register again, fall silent, end, beat into Redis, or into both."""


class Writer(NamedTuple):
    """One agent: its id, where it writes ("" for Redis alone), what it does, and with which habit."""

    name: str
    path: str
    kind: str
    habit: int


class Truth:
    """What is so: the status of each agent by (workspace, id), each claim's holder, each available task."""

    def __init__(self) -> None:
        self.agents: dict[tuple[str | None, str], str] = {}
        self.claims: dict[tuple[str | None, str], tuple[str, str]] = {}
        self.available: set[tuple[str | None, str]] = set()


class Scene:
    """The daemons, what they have to show, and the writers, who write until the end."""

    def __init__(self, tmp_path: Path, server: RedisServer) -> None:
        self.home = tmp_path / "home"
        self.server = server
        self.truth = Truth()
        self.shop = Project(self.home / "src" / "shop")
        self.lone = Project(tmp_path / "lone")
        self.writers: list[Writer] = []
        self.ending = threading.Event()
        self.user: Coordd
        self.own: Coordd
        self._trees()
        self._cast()

    def _trees(self) -> None:
        """Make the worktrees: beside the project, in hidden folders of it, and far away."""
        self.shop.git("init", "-q")
        self.shop.git("commit", "-q", "--allow-empty", "-m", "one")
        places = (self.home / "wt", self.shop.root / ".worktrees", self.shop.claude / "worktrees")
        self.trees = []
        for number in range(WORKTREES):
            tree = places[number % len(places)] / f"wt-{number}"
            self.shop.git("worktree", "add", "-q", "--detach", str(tree))
            if number < LINKED:
                (tree / ".claude").symlink_to(self.shop.claude)
            else:
                (tree / ".claude" / "coordination" / "agents").mkdir(parents=True)
            self.trees.append(tree)

    def _cast(self) -> None:
        """Say who writes where, and what is true because of it."""
        for number in range(WRITERS):
            kind = KINDS[number % len(KINDS)]
            where = [self.shop.root, *self.trees][number % (WORKTREES + 1)]
            path = "" if kind == "redis" else str(where)
            writer = Writer(f"w-{number}", path, kind, number)
            self.writers.append(writer)
            workspace = self._workspace(path)
            status = "inactive" if kind in ("silent", "ended") else "active"
            self.truth.agents[workspace, writer.name] = status
            if kind == "ended":
                continue
            task = f"t-{number}"
            state = "orphaned" if status == "inactive" else "held"
            self.truth.claims[workspace, task] = (writer.name, state)
        for number in range(5):
            self.truth.available.add((str(self.shop.root), f"open-{number}"))

    def _workspace(self, path: str) -> str | None:
        """Return the workspace that a path stands for: a linked one is the project that it links to."""
        if not path:
            return None
        return str(self.shop.root) if Path(path) in self.trees[:LINKED] else path

    def begin(self) -> None:
        """Write what is written once, and go on beating in a thread."""
        for number in range(5):
            tasks = self.shop.coordination / "tasks"
            tasks.mkdir(exist_ok=True)
            (tasks / f"open-{number}.md").touch()
        for name in LITTER:
            (self.shop.coordination / "tasks" / name).touch()
        for writer in self.writers:
            if writer.kind != "ended":
                self._claim(writer)
        self._beat_all()
        threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        while not self.ending.wait(1.0):
            with contextlib.suppress(OSError):
                self._beat_all()

    def _beat_all(self) -> None:
        with self.server.client as client:
            for writer in self.writers:
                now = time.time() - (7200 if writer.kind == "silent" else 0)
                beat = written(BEATS[writer.habit % len(BEATS)][0], now, 0.0)
                entry = written(REGISTRATIONS[writer.habit % len(REGISTRATIONS)].raw, now, 0.0)
                if writer.kind in ("beats", "both"):
                    self._file(writer, f"agents/{writer.name}.heartbeat", beat)
                if writer.kind in ("redis", "both"):
                    client.set(f"heartbeat:{writer.name}", beat.encode(), ex=120)
                if writer.kind == "registers":
                    self._file(writer, f"agents/{writer.name}.active", entry)
                if writer.kind == "silent":
                    name = f"agents/{writer.name}.heartbeat"
                    if not (Path(writer.path) / ".claude" / "coordination" / name).exists():
                        self._file(writer, name, written("<iso 0>", now, 0.0), at=now)
                if writer.kind == "ended":
                    self._file(writer, f"agents/{writer.name}.active", '{"status": "stopped"}')

    def _claim(self, writer: Writer) -> None:
        plain = [one for one in CLAIMS if one.holder == "w" and one.ends is None]
        raw = plain[writer.habit % len(plain)].raw.replace('"w"', f'"{writer.name}"')
        raw = re.sub(r"^(\s*)w(\s*)$", rf"\g<1>{writer.name}\g<2>", raw).replace(
            '" w\\n"', f'" {writer.name}"'
        )
        raw = written(raw, time.time(), 0.0)
        if writer.kind == "redis":
            with self.server.client as client:
                client.set(f"task:claim:t-{writer.habit}", raw.encode())
        else:
            self._file(writer, f"claims/t-{writer.habit}.claim", raw)

    def _file(self, writer: Writer, name: str, content: str, at: float | None = None) -> None:
        path = Path(writer.path) / ".claude" / "coordination" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        if at is not None:
            os.utime(path, (at, at))

    def agents(self) -> dict[tuple[str | None, str], str]:
        """Return what the user's daemon lists."""
        listed = self.user.rpc("agents.list", {"limit": 1000})["agents"]
        found = {(one["workspace"], one["agent_id"]): one["status"] for one in listed}
        assert len(found) == len(listed), "an agent is listed twice"
        return found

    def tasks(self) -> tuple[dict[tuple[str | None, str], tuple[str, str]], set[tuple[str | None, str]]]:
        """Return the claims and the available tasks that the user's daemon lists."""
        return _split(self.user.rpc("tasks.list", {"limit": 1000})["tasks"])

    def ctl(self, *arguments: str) -> str:
        """Return what coordctl prints of the user's daemon."""
        return coordctl(*arguments, environ=self.user.environ, cwd=self.home).stdout


def _split(
    tasks: list[dict[str, Any]],
) -> tuple[dict[tuple[str | None, str], tuple[str, str]], set[tuple[str | None, str]]]:
    claims, available = {}, set()
    for one in tasks:
        where = (one["workspace"], one["task_id"])
        if one["state"] == "available":
            available.add(where)
        else:
            claims[where] = (one["agent_id"], one["state"])
    assert len(claims) + len(available) == len(tasks), "a task is listed twice"
    return claims, available


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    tmp_path = tmp_path_factory.mktemp("truth")
    with redis_server(tmp_path / "redis") as server:
        scene = Scene(tmp_path, server)
        runtime = tmp_path / "runtime"
        runtime.mkdir(mode=0o700)
        config = scene.home / ".config" / "coordd" / "coordd.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[coordination]\nworkspaces = ["~/src/*"]\nredis_url = "{server.url}"\n')
        environ = {"XDG_RUNTIME_DIR": str(runtime), "TZ": "UTC0"}
        scene.lone.beat("lonely")
        scene.begin()
        socket = runtime / "coordd" / "coordd.sock"
        with (
            running([], sock=socket, home=scene.home, cwd=scene.home, **environ) as scene.user,
            watching(scene.lone, tmp_path, **environ) as scene.own,
        ):
            try:
                yield scene
            finally:
                scene.ending.set()


def test_the_socket_shows_the_truth(scene: Scene) -> None:
    eventually(lambda: scene.agents() == scene.truth.agents)
    eventually(lambda: scene.tasks() == (scene.truth.claims, scene.truth.available))
    status = scene.user.rpc("status")
    counts = Counter(scene.truth.agents.values())
    shown = {name: status["agents"][name] for name in ("total", "active", "inactive", "unknown")}
    assert shown == {
        "total": WRITERS,
        "active": counts["active"],
        "inactive": counts["inactive"],
        "unknown": 0,
    }
    states = Counter(state for _, state in scene.truth.claims.values())
    assert status["tasks"] == {
        "available": 5,
        "claimed": len(scene.truth.claims),
        "expired": 0,
        "orphaned": states["orphaned"],
    }
    watched = {
        one["path"]: one.get("aliases", []) for one in status["workspaces"] if one["state"] != "waiting"
    }
    assert set(watched) == {str(scene.shop.root), *map(str, scene.trees[LINKED:])}
    assert sorted(watched[str(scene.shop.root)]) == sorted(map(str, scene.trees[:LINKED]))


def test_a_restart_changes_nothing_of_it(scene: Scene) -> None:
    eventually(lambda: scene.agents() == scene.truth.agents)
    before = len(_records(scene, "event"))
    assert scene.user.stop() == 0
    with running(
        [], sock=scene.user.socket, home=scene.home, cwd=scene.home, **_only_own(scene.user.environ)
    ) as scene.user:
        eventually(lambda: scene.agents() == scene.truth.agents)
        eventually(lambda: scene.tasks() == (scene.truth.claims, scene.truth.available))
        kinds = {one["kind"] for one in _records(scene, "event")[before:]}
        assert not {kind for kind in kinds if kind.startswith(("agent.", "claim."))}, kinds
        _compare_all(scene)


def _compare_all(scene: Scene) -> None:
    _text_and_json(scene)
    _page_and_prometheus(scene)
    _records_say_the_same(scene)
    _each_daemon_shows_its_own(scene)


def _text_and_json(scene: Scene) -> None:
    listed = json.loads(scene.ctl("agents", "--json"))["agents"]
    assert {(one["workspace"], one["agent_id"]): one["status"] for one in listed} == scene.truth.agents
    tasks = json.loads(scene.ctl("tasks", "--json"))["tasks"]
    assert _split(tasks) == (scene.truth.claims, scene.truth.available)
    ended = sum(1 for writer in scene.writers if writer.kind == "ended")
    text = scene.ctl("agents")
    for writer in scene.writers:
        assert len(re.findall(rf"\b{writer.name}\b", text)) == 1, (writer, text)
    living = Counter(scene.truth.agents.values())
    headline = scene.ctl("status").splitlines()[0]
    assert f"{living['active']} alive" in headline
    assert f"{living['inactive'] - ended} dead" in headline, headline
    table = scene.ctl("tasks")
    for _, task in (*scene.truth.claims, *scene.truth.available):
        assert len(re.findall(rf"\b{task}\b", table)) == 1, (task, table)


def _page_and_prometheus(scene: Scene) -> None:
    living = Counter(scene.truth.agents.values())
    with dashboard(sock=scene.user.socket, home=scene.home) as page:
        found = page.json("/api/agents/active")
        assert {(one["workspace"], one["id"]): one["status"] for one in found} == scene.truth.agents
        for status, number in (
            ("active", living["active"]),
            ("inactive", living["inactive"]),
            ("unknown", 0),
        ):
            assert page.metric(f'coordd_agents{{status="{status}"}}') == number
        orphaned = sum(1 for _, state in scene.truth.claims.values() if state == "orphaned")
        assert page.metric('coordd_claims{state="orphaned"}') == orphaned
        assert page.metric("coordd_tasks_available") == len(scene.truth.available)


def _records_say_the_same(scene: Scene) -> None:
    text = scene.ctl("history", "agent", "--since", "1h", "--format", "csv")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    for records in (_records(scene, "agent"), rows):
        last: dict[tuple[str | None, str], str] = {}
        for one in records:
            key = (one["workspace"] or None, one["agent_id"])
            last[key] = one["status"]
            if one["cause"] == "removed":  # Redis may be read before the files of an agent that is in both
                del last[key]
        assert last == scene.truth.agents


def _each_daemon_shows_its_own(scene: Scene) -> None:
    environ = scene.user.environ
    for options, cwd in ((("-w", str(scene.lone.root)), scene.home), ((), scene.lone.root)):
        said = json.loads(coordctl(*options, "status", "--json", environ=environ, cwd=cwd).stdout)
        assert said["daemon"]["pid"] == scene.own.pid
        assert said["agents"]["total"] == 1
    said = json.loads(coordctl("status", "--json", environ=environ, cwd=scene.home).stdout)
    assert said["daemon"]["pid"] == scene.user.pid
    assert "lonely" not in scene.ctl("agents")


def _records(scene: Scene, kind: str) -> list[dict[str, Any]]:
    metrics = Path(scene.user.rpc("status")["daemon"]["metrics_dir"])
    return [
        json.loads(line)
        for path in sorted(metrics.glob(f"{kind}_*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def _only_own(environ: dict[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in ("XDG_RUNTIME_DIR", "TZ")}
