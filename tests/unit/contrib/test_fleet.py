"""Test contrib/fleet.py: its files match its truth, and a seed plays the same events twice."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from waiting import eventually

SCRIPT = Path(__file__).parents[3] / "contrib" / "fleet.py"
START = 1_800_000_000.0


@pytest.fixture(scope="module")
def fleet() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fleet", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fleet"] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["fleet"]
    return module


class Game:
    """A fleet whose clock the test sets."""

    def __init__(self, fleet: ModuleType, workspace: Path, **options: Any) -> None:
        self.elapsed = 0.0
        self.fleet = fleet.Fleet(fleet.Options(str(workspace), **options), wall=lambda: START + self.elapsed)
        self.root = workspace / ".claude" / "coordination"
        self.fleet.start()

    def play(self, until: float) -> dict[str, Any]:
        while self.elapsed < until:
            self.elapsed += 1
            self.fleet.advance(self.elapsed)
        truth: dict[str, Any] = self.fleet.truth()
        return truth

    def names(self, folder: str) -> set[str]:
        return {path.name for path in (self.root / folder).iterdir()}

    def read(self, name: str) -> str:
        return (self.root / name).read_text()


def test_the_files_tell_what_the_truth_tells(fleet: ModuleType, tmp_path: Path) -> None:
    game = Game(fleet, tmp_path, agents=20, beat=5.0, work=20.0, duration=200.0, tasks=15)
    truth = game.play(200)
    states = [agent["state"] for agent in truth["agents"].values()]
    assert {state: states.count(state) for state in set(states)} == {
        "active": 14,
        "dead": 2,
        "hung": 2,
        "ended": 2,
    }
    claims = {}
    for name in game.names("claims"):
        claim = json.loads(game.read(f"claims/{name}"))
        claims[claim["agent_id"]] = name.rpartition(".")[0]
    for agent_id, agent in truth["agents"].items():
        present = agent["state"] != "ended"
        assert (f"{agent_id}.active" in game.names("agents")) is present
        assert (f"{agent_id}.heartbeat" in game.names("agents")) is present
        assert (agent_id in game.read("agents/active.list").split()) is present
        assert ([claims[agent_id]] if agent_id in claims else []) == agent["tasks"]
        if present:
            assert game.read(f"agents/{agent_id}.heartbeat").strip() == agent["last_beat"]
            registered = json.loads(game.read(f"agents/{agent_id}.active"))
            assert registered["id"] == agent_id
        tasks = f"{agent_id}.tasks"
        held = game.read(f"agents/{tasks}").split() if tasks in game.names("agents") else []
        assert held == agent["tasks"]
    tasks = {name.removesuffix(".json") for name in game.names("tasks")}
    assert tasks == set(truth["available"]) | set(claims.values())
    assert len(tasks) == 15 and max(tasks) > "task-0015"  # what was finished was replaced
    assert {name.rpartition(".")[0] for name in game.names("status")} <= set(claims.values())
    assert not list(game.root.rglob(".*"))


def test_the_living_beat_on_time_and_the_dead_do_not(fleet: ModuleType, tmp_path: Path) -> None:
    game = Game(fleet, tmp_path, agents=20, beat=5.0, work=20.0, duration=100.0)
    game.play(80)
    dead = {i for i, a in game.fleet.truth()["agents"].items() if a["state"] == "dead"}
    before = {i: a["last_beat"] for i, a in game.fleet.truth()["agents"].items()}
    truth = game.play(90)
    assert len(dead) == 2
    for agent_id, agent in truth["agents"].items():
        beaten = agent["last_beat"] != before[agent_id]
        assert beaten is (agent["state"] in ("active", "hung"))
        assert (agent_id in dead) <= (not beaten)


def test_the_hung_make_no_progress(fleet: ModuleType, tmp_path: Path) -> None:
    game = Game(fleet, tmp_path, agents=10, beat=5.0, work=20.0, duration=100.0, hang=1.0, die=0.0, end=0.0)
    game.play(75)
    reports = {name: game.read(f"status/{name}") for name in game.names("status")}
    assert reports
    truth = game.play(100)
    assert {a["state"] for a in truth["agents"].values()} == {"hung"}
    assert {name: game.read(f"status/{name}") for name in game.names("status")} == reports


def test_both_dialects_are_played(fleet: ModuleType, tmp_path: Path) -> None:
    game = Game(fleet, tmp_path, agents=8, beat=5.0, work=20.0, duration=100.0)
    beats = game.root / "agents"
    inode = {path.name: path.stat().st_ino for path in beats.glob("*.heartbeat")}
    handles = [
        path.open() for path in sorted(beats.glob("*.heartbeat"))
    ]  # keeps the inodes from being reused
    try:
        game.play(6)
        renamed = {name for name, number in inode.items() if (beats / name).stat().st_ino != number}
    finally:
        for handle in handles:
            handle.close()
    assert len(renamed) == 4
    claims = [json.loads(game.read(f"claims/{name}")) for name in game.names("claims")]
    assert {frozenset(claim) for claim in claims} == {
        frozenset({"agent_id", "claimed_at", "ttl"}),
        frozenset({"id", "agent_id", "description", "claimed_at", "expires_at", "status"}),
    }


def test_a_seed_tells_the_same_story_however_the_clock_is_cut(fleet: ModuleType, tmp_path: Path) -> None:
    def story(name: str, seed: int, step: float) -> dict[str, Any]:
        made = fleet.Fleet(
            fleet.Options(str(tmp_path / name), agents=10, beat=3.0, work=20.0, duration=60.0, seed=seed),
            wall=lambda: START,
        )
        made.start()
        elapsed = 0.0
        while elapsed < 60:
            elapsed += step
            made.advance(elapsed)
        truth: dict[str, Any] = made.truth()
        return {key: truth[key] for key in ("beats", "available", "agents")}

    assert story("a", 1, 0.5) == story("b", 1, 20.0)
    assert story("c", 1, 20.0) != story("d", 2, 20.0)


def test_clean_leaves_nothing_of_the_game_and_all_of_the_rest(fleet: ModuleType, tmp_path: Path) -> None:
    game = Game(fleet, tmp_path, agents=8, beat=5.0, work=20.0, duration=50.0)
    (game.root / "tasks" / "mine").write_text("kept")
    game.play(50)
    game.fleet.clean()
    assert [path for path in game.root.rglob("*") if path.is_file()] == [game.root / "tasks" / "mine"]
    assert {path.name for path in game.root.iterdir()} == {"tasks"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_whole_game_from_the_command_line(tmp_path: Path) -> None:
    options = ["--agents", "4", "--rate", "100", "--duration", "500ms", "--work", "200ms", "--clean"]
    done = run("--workspace", str(tmp_path), *options, "--truth", str(tmp_path / "truth.json"))
    assert (done.returncode, done.stderr) == (0, "")
    truth = json.loads(done.stdout)
    assert truth == json.loads((tmp_path / "truth.json").read_text())
    assert set(truth["agents"]) == {f"agent-{n}" for n in range(1, 5)}
    assert truth["beats"] > 4
    assert not (tmp_path / ".claude" / "coordination").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_ends_the_game_and_leaves_its_files(tmp_path: Path, number: signal.Signals) -> None:
    truth_file = tmp_path / "truth.json"
    command = [sys.executable, str(SCRIPT), "-d", str(tmp_path), "--agents", "3", "--truth", str(truth_file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        eventually(truth_file.exists)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(60)
    assert process.returncode == 0
    assert len(json.loads(out)["agents"]) == 3
    assert len(list((tmp_path / ".claude" / "coordination" / "agents").glob("*.heartbeat"))) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--beat", "soon"),
        ("--die", "200%"),
        ("--die", "60%", "--hang", "60%"),
        ("--agents", "0"),
        ("--rate", "0"),
        ("--beat", "0s"),
        ("--tasks", "-1"),
    ],
)
def test_a_wrong_call_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run("--workspace", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="sessions are real processes, found in /proc")
def test_sessions_are_played_with_their_fates(tmp_path: Path) -> None:
    home = tmp_path / "home"
    options = ["--agents", "0", "--duration", "3s", "--pace", "20ms", "--home", str(home), "--seed", "3"]
    options += ["--project", str(tmp_path / "shop"), "--project", str(tmp_path / "api")]
    fates = ["--sessions", "8", "--codex", "1", "--waits", "1", "--stalls", "1", "--ends", "1", "--mass"]
    done = run("--workspace", str(tmp_path / "shop"), *options, *fates)
    assert (done.returncode, done.stderr) == (0, "")
    told = list(json.loads(done.stdout)["sessions"].values())
    assert {one["state"] for one in told if one["project"].endswith("api")} == {"killed"}
    states = [one["state"] for one in told if one["project"].endswith("shop")]
    assert [states.count(one) for one in ("waiting", "stalled", "ended", "killed")] == [1, 1, 1, 0]
    assert sorted(one["kind"] for one in told) == ["claude-code"] * 8 + ["codex"]
    assert {one["name"] for one in told} == {f"shop-{n}" for n in range(1, 6)} | {
        f"api-{n}" for n in range(1, 5)
    }
    killed = [json.loads(path.read_text()) for path in (home / ".claude" / "sessions").iterdir()]
    assert len(killed) == 4, "of those who ended in order, and of the game's end, no record stays"
    (rollout,) = (home / ".codex" / "sessions").rglob("rollout-*.jsonl")
    assert json.loads(rollout.read_text().splitlines()[0])["type"] == "session_meta"


def test_sessions_need_a_home(tmp_path: Path) -> None:
    done = run("--workspace", str(tmp_path), "--sessions", "1")
    assert (done.returncode, "--home" in done.stderr) == (2, True)
