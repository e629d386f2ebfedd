"""Test what coordd makes of each value in the table, with a real daemon and each source that can carry it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from live import Coordd, Project, utc_now, watching
from redisd import RedisServer, redis_server
from values import BEATS, CHANGED, CLAIMS, IDS, LITTER, PROGRESS, REGISTRATIONS, ages, written
from waiting import eventually

ZONES = {"IST-5:30": 19800.0, "EST5": -18000.0}
"""Zones as POSIX has them, and by how many seconds their time is ahead of UTC."""
ROUNDED = 2.0
"""Seconds: many forms are to the second, and a value is written a moment after its time was taken."""


class Writer(Protocol):
    """What every source takes."""

    def beat(self, agent: str, value: str) -> None: ...
    def register(self, agent: str, value: str) -> None: ...
    def claim(self, task: str, value: str) -> None: ...
    def progress(self, task: str, value: str) -> None: ...


class Files:
    """Write into a workspace."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def beat(self, agent: str, value: str) -> None:
        self._write(f"agents/{agent}.heartbeat", value)

    def register(self, agent: str, value: str) -> None:
        self._write(f"agents/{agent}.active", value)

    def claim(self, task: str, value: str) -> None:
        self._write(f"claims/{task}.claim", value)

    def progress(self, task: str, value: str) -> None:
        self._write(f"status/{task}.progress", value)

    def _write(self, name: str, value: str) -> None:
        path = self._project.coordination / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(value.encode())


class Keys:
    """Write into a Redis."""

    def __init__(self, server: RedisServer, claims: str) -> None:
        self._server = server
        self._claims = claims

    def beat(self, agent: str, value: str) -> None:
        self._set(f"heartbeat:{agent}", value)

    def register(self, agent: str, value: str) -> None:
        with self._server.client as client:
            client.hset("agents:registry", agent, value.encode())

    def claim(self, task: str, value: str) -> None:
        self._set(f"{self._claims}{task}", value)

    def progress(self, task: str, value: str) -> None:
        self._set(f"task:progress:{task}", value)

    def _set(self, key: str, value: str) -> None:
        with self._server.client as client:
            client.set(key, value.encode())


class Scene:
    """A daemon in some zone, and a writer that it follows."""

    def __init__(self, daemon: Coordd, writer: Writer, offset: float) -> None:
        self.daemon = daemon
        self.writer = writer
        self.offset = offset

    def text(self, raw: str, now: float) -> str:
        return written(raw, now, self.offset)

    def agents(self, prefix: str) -> dict[str, dict[str, Any]]:
        listed = self.daemon.rpc("agents.list", {"limit": 1000})["agents"]
        return {agent["agent_id"]: agent for agent in listed if agent["agent_id"].startswith(prefix)}

    def tasks(self, prefix: str) -> dict[str, dict[str, Any]]:
        listed = self.daemon.rpc("tasks.list", {"limit": 1000})["tasks"]
        return {task["task_id"]: task for task in listed if task["task_id"].startswith(prefix)}


@pytest.fixture(scope="module", params=sorted(ZONES))
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["files", "redis, tasks:claimed", "redis, task:claim"])
def scene(
    request: pytest.FixtureRequest, zone: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    tmp_path = tmp_path_factory.mktemp("values")
    project = Project(tmp_path / "app")
    source, _, claims = str(request.param).partition(", ")
    if source == "files":
        with watching(project, tmp_path, TZ=zone) as daemon:
            yield Scene(daemon, Files(project), ZONES[zone])
        return
    with (
        redis_server(tmp_path / "redis") as server,
        watching(project, tmp_path, TZ=zone, COORDD_REDIS_URL=server.url) as daemon,
    ):
        eventually(lambda: daemon.rpc("status")["redis"]["connected"])
        yield Scene(daemon, Keys(server, f"{claims}:"), ZONES[zone])


def test_a_heartbeat_is_a_beat_whatever_is_written_in_it(scene: Scene) -> None:
    now = time.time()
    for number, (raw, _) in enumerate(BEATS):
        scene.writer.beat(f"beat-{number}", scene.text(raw, now))
    eventually(lambda: len(scene.agents("beat-")) == len(BEATS))
    shown = scene.agents("beat-")
    wrong = {}
    for number, (raw, age) in enumerate(BEATS):
        agent = shown[f"beat-{number}"]
        (found,) = ages(agent, now, "last_heartbeat")
        expected = 0.0 if age is CHANGED else age
        late = time.time() - now if age is CHANGED else 0.0
        if agent["status"] != "active" or found is None or not -late - ROUNDED < found - expected < ROUNDED:
            wrong[raw] = (agent["status"], agent["reason"], found, expected)
        if agent["uptime"] is None or agent["uptime"] > 3600:
            wrong[f"uptime of {raw}"] = agent["uptime"]
    assert not wrong


def test_a_registration_is_a_beat_under_any_name(scene: Scene) -> None:
    now = time.time()
    for number, one in enumerate(REGISTRATIONS):
        scene.writer.register(f"reg-{number}", scene.text(one.raw, now))
    eventually(lambda: len(scene.agents("reg-")) == len(REGISTRATIONS))
    shown, asked = scene.agents("reg-"), time.time()
    wrong = {}
    for number, one in enumerate(REGISTRATIONS):
        agent = shown[f"reg-{number}"]
        (found,) = ages(agent, now, "last_heartbeat")
        expected = 0.0 if one.beat is CHANGED else one.beat
        late = asked - now if one.beat is CHANGED else 0.0
        if agent["status"] != "active" or found is None or not -late - ROUNDED < found - expected < ROUNDED:
            wrong[one.raw] = (agent["status"], agent["reason"], found, expected)
        if agent["uptime"] is None or abs(agent["uptime"] - one.uptime - (asked - now)) > ROUNDED:
            wrong[f"uptime of {one.raw}"] = (agent["uptime"], one.uptime)
    assert not wrong


def test_a_registration_written_again_is_a_beat_and_one_that_says_so_an_end(scene: Scene) -> None:
    def registered(status: str) -> str:
        return scene.text(f'{{"started_at": "<iso 3600>", "status": "{status}"}}', time.time())

    scene.writer.register("again", registered("busy"))
    first = eventually(lambda: scene.agents("again")["again"])
    eventually(lambda: utc_now() > first["last_heartbeat"], what="the clock shows another second")
    scene.writer.register("again", registered("reviewing"))
    eventually(lambda: scene.agents("again")["again"]["declared_status"] == "reviewing")
    second = scene.agents("again")["again"]
    assert second["status"] == "active"
    assert second["last_heartbeat"] > first["last_heartbeat"]
    for word in ("ended", "dead", "offline", "stopped", "completed", "Deregistered"):
        scene.writer.register("again", registered(word))
        eventually(lambda word=word: scene.agents("again")["again"]["declared_status"] == word)
        ended = scene.agents("again")["again"]
        assert (ended["status"], ended["reason"]) == ("inactive", "ended"), word
        scene.writer.register("again", registered(f"busy after {word}"))
        eventually(lambda: scene.agents("again")["again"]["status"] == "active")


def test_who_beats_after_an_end_may_end_once_more_in_the_same_words(scene: Scene) -> None:
    def says(raw: str) -> None:
        scene.writer.register("twice", scene.text(raw, time.time()))

    def shown() -> tuple[str, str]:
        agent = scene.agents("twice").get("twice", {"status": "", "reason": ""})
        return agent["status"], agent["reason"]

    def beats() -> bool:
        scene.writer.beat("twice", scene.text("<iso 0>", time.time()))
        return shown()[0] == "active"

    says('{"status": "dead"}')
    eventually(lambda: shown() == ("inactive", "ended"))
    eventually(beats, what="a beat counts some seconds after the end")
    says('{"status": "dead", "n": 3}')
    eventually(lambda: shown() == ("inactive", "ended"))


def test_a_claim_names_its_holder_and_its_end(scene: Scene) -> None:
    now = time.time()
    for number, one in enumerate(CLAIMS):
        scene.writer.claim(f"claim-{number}", scene.text(one.raw, now))
    eventually(lambda: len(scene.tasks("claim-")) == len(CLAIMS))
    shown = scene.tasks("claim-")
    wrong = {}
    for number, one in enumerate(CLAIMS):
        task = shown[f"claim-{number}"]
        age, ends = ages(task, now, "claimed_at", "expires_at")
        found = (task["agent_id"], _rounded(age), _rounded(None if ends is None else -ends))
        if found != (one.holder, one.age, one.ends):
            wrong[one.raw] = (found, one[1:])
    assert not wrong


def test_progress_below_nothing_is_a_failure(scene: Scene) -> None:
    for number, (raw, _, _) in enumerate(PROGRESS):
        scene.writer.claim(f"work-{number}", "w")
        scene.writer.progress(f"work-{number}", scene.text(raw, time.time()))

    def shown() -> dict[str, tuple[float | None, bool]]:
        tasks = scene.tasks("work-")
        return {
            raw: (tasks[f"work-{number}"]["progress"], tasks[f"work-{number}"]["failed"])
            for number, (raw, _, _) in enumerate(PROGRESS)
        }

    expected = {raw: (percent, failed) for raw, percent, failed in PROGRESS}
    eventually(lambda: len(scene.tasks("work-")) == len(PROGRESS) and shown() == expected)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("lists") / "app")


def test_lists_in_files_hold_what_is_written_in_them_and_litter_is_nothing(
    project: Project, tmp_path: Path
) -> None:
    (project.coordination / "tasks").mkdir()
    (project.coordination / "tasks" / "folder").mkdir()
    for name in (*LITTER, "real.md"):
        (project.coordination / "tasks" / name).touch()
    with watching(project, tmp_path) as daemon:
        for number, (content, _) in enumerate(IDS):
            project.beat(f"a{number}")
            (project.agents / f"a{number}.tasks").write_bytes(content)
        eventually(lambda: len(daemon.rpc("agents.list")["agents"]) == len(IDS))
        for number, (content, ids) in enumerate(IDS):
            eventually(
                lambda number=number, ids=ids: (
                    daemon.rpc("agents.get", {"agent_id": f"a{number}"})["tasks"] == list(ids)
                ),
                what=str(content),
            )
        assert [task["task_id"] for task in daemon.rpc("tasks.list")["tasks"]] == ["real"]
        for content in ("t1\nt2\n".encode("utf-16-le"), b"\xff\xfe\x00", b"caf\xe9\n"):
            (project.agents / "a0.tasks").write_bytes(content)
            (project.agents / "active.list").write_bytes(content)
            eventually(lambda: daemon.rpc("agents.get", {"agent_id": "a0"})["active_tasks"] is None)
            assert len(daemon.rpc("agents.list")["agents"]) == len(IDS), "a list that is no text names nobody"
            eventually(lambda: daemon.rpc("status")["traces_malformed"]["count"] >= 2)
            (project.agents / "a0.tasks").write_bytes(b"t1\n")
            eventually(lambda: daemon.rpc("agents.get", {"agent_id": "a0"})["active_tasks"] == 1)


def _rounded(seconds: float | None) -> float | None:
    """Return seconds to the nearest ten: values are to the second, and take a moment to be written."""
    return None if seconds is None else round(seconds / 10) * 10.0
