"""Forgetting an agent or a project: with a daemon and without one, in files, snapshot and Redis."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, beating, coordctl, environment, running, watching
from record_parts import part
from redisd import redis_server
from waiting import eventually

from coordd.records import manifest_file


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "app")


@pytest.fixture
def metrics(project: Project) -> Path:
    folder = project.claude / "metrics"
    folder.mkdir()
    return folder


def everything(folder: Path) -> bytes:
    """All that is written below a folder, unpacked, but for what the manifest says of it."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != manifest_file.NAME:
            content = path.read_bytes()
            found.append(gzip.decompress(content) if path.name.endswith(".gz") else content)
    return b"\n".join(found)


def recorded(daemon: Coordd, agent_id: str) -> list[dict[str, Any]]:
    answer = daemon.rpc("history.query", {"type": "agent", "agent_id": agent_id})
    return list(answer["records"])


def removed(said: str) -> int:
    """Return how many records a purge says that it removes."""
    return int(said.split(" record", 1)[0].replace(",", ""))


def left(daemon: Coordd, project: Project, agent_id: str) -> None:
    """Let an agent be seen, and leave in order."""
    project.beat(agent_id)
    eventually(lambda: agent_id in daemon.statuses())
    (project.agents / f"{agent_id}.heartbeat").unlink()
    eventually(lambda: agent_id not in daemon.statuses())
    eventually(lambda: recorded(daemon, agent_id)[-1]["cause"] == "removed")


def test_an_agent_is_forgotten_everywhere(project: Project, metrics: Path, tmp_path: Path) -> None:
    part(metrics, "agent_2026-11-10.jsonl", 10, ["gone-1", "stays"], packed=True)
    part(metrics, "agent_2026-11-11.jsonl", 11, ["gone-1", "stays", "gone-1"])
    part(metrics, "agent_2026-11-12.jsonl", 12, ["gone-1"], packed=True)
    stranger = metrics / "agent_2026-11-09.jsonl"
    stranger.write_text('{"agent_id":"gone-1"}\n')
    with watching(project, tmp_path) as daemon, beating(project, "stays"):
        left(daemon, project, "gone-1")
        eventually(lambda: "stays" in daemon.statuses())
        before, kept = recorded(daemon, "gone-1"), recorded(daemon, "stays")
        assert len(before) >= 6

        dry = daemon.ctl("records", "purge", "--agent", "gone-1", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert "would be removed from 5 files" in dry.stdout, dry.stdout  # three, and two current ones
        assert recorded(daemon, "gone-1") == before

        done = daemon.ctl("records", "purge", "--agent", "gone-1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "removed from 5 files" in done.stdout
        assert f"left as it is: {stranger}: coordd did not make it" in done.stdout
        assert stranger.read_text() == '{"agent_id":"gone-1"}\n'
        assert recorded(daemon, "gone-1") == []
        assert recorded(daemon, "stays")[: len(kept)] == kept
        stranger.unlink()
        assert b"gone-1" not in everything(project.claude)
        assert not (metrics / "agent_2026-11-12.jsonl.gz").exists(), "nothing was left in it"

        (event,) = eventually(
            lambda: [one for one in project.records("event") if one["kind"] == "records.purged"]
        )
        assert event["detail"]["files"] == 5
        link = metrics / "agent.jsonl"
        assert link.resolve().name.endswith(".2.jsonl")
        size = link.stat().st_size
        eventually(lambda: link.stat().st_size > size, what="what is alive is recorded on")
        again = daemon.ctl("records", "purge", "--agent", "gone-1", "--json")
        assert again.returncode == 1
        assert json.loads(again.stdout) | {"looked_at": 0, "of": 0} == {
            **{"schema": 1, "done": True, "dry_run": False, "looked_at": 0, "of": 0, "lines": 0, "files": 0},
            **{"left": [], "left_unnamed": 0, "similar": []},
            **{"forgotten": 0, "alive": [], "alive_unnamed": 0, "error": None},
            "redis": {"deleted": None, "expire_by": None},
        }
        assert b"gone-1" not in everything(project.claude)
        assert daemon.rpc("status")["sinks"]["jsonl"]["state"] == "ok"


def test_an_agent_that_is_alive_is_recorded_anew(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon, beating(project, "busy", "other"):
        eventually(lambda: len(recorded(daemon, "busy")) > 2)
        first = recorded(daemon, "busy")[0]["timestamp"]
        done = daemon.ctl("records", "purge", "--agent", "busy")
        assert "alive, and recorded anew from now on: busy" in done.stdout
        later = eventually(lambda: recorded(daemon, "busy"))
        assert later[0]["timestamp"] > first
        assert recorded(daemon, "other")[0]["timestamp"] < later[0]["timestamp"]


def test_who_is_silent_leaves_the_list_with_its_records(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="1s") as daemon:
        project.beat("quiet")
        eventually(lambda: daemon.statuses() == {"quiet": "inactive"})
        eventually(lambda: recorded(daemon, "quiet")[-1]["status"] == "inactive")
        dry = daemon.ctl("records", "purge", "--agent", "quiet", "--dry-run")
        assert "1 agent would leave the list, and what is recorded of that would go as well" in dry.stdout
        done = daemon.ctl("records", "purge", "--agent", "quiet")
        assert "1 agent left the list, and what was recorded of that is gone" in done.stdout
        assert removed(done.stdout) > removed(dry.stdout), "its leaving was recorded"
        assert daemon.statuses() == {}
        assert recorded(daemon, "quiet") == []
        project.beat("quiet")
        eventually(lambda: "quiet" in daemon.statuses(), what="a new beat brings it back")


def test_who_follows_reads_nothing_twice_and_goes_on(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon, beating(project, "stays"):
        left(daemon, project, "gone-1")
        link = project.claude / "metrics" / "agent.jsonl"
        out = tmp_path / "followed"
        with out.open("wb") as file:
            tail = subprocess.Popen(["tail", "-n", "+1", "-F", link], stdout=file, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: b"gone-1" in out.read_bytes())
            assert daemon.ctl("records", "purge", "--agent", "gone-1").returncode == 0
            new = link.resolve()
            assert new.name.endswith(".2.jsonl")
            eventually(lambda: new.read_bytes() and new.read_bytes().split(b"\n")[0] in out.read_bytes())
        finally:
            tail.kill()
            tail.wait()
        lines = [line for line in out.read_bytes().split(b"\n") if line]
        assert len(lines) == len(set(lines))


def worktrees(tmp_path: Path) -> Iterator[Project]:
    main = Project(tmp_path / "src" / "shop")
    main.git("init", "-q")
    main.git("commit", "-q", "--allow-empty", "-m", "x")
    main.git("worktree", "add", "-q", str(tmp_path / "src" / "wt-shop"))
    yield main
    yield Project(tmp_path / "src" / "wt-shop")
    yield Project(tmp_path / "src" / "shop2")


def test_a_project_goes_with_its_worktrees_and_no_other(tmp_path: Path) -> None:
    main, tree, other = worktrees(tmp_path)
    home = tmp_path / "home"
    state = home / ".local" / "state" / "coordd"
    arguments = ["--layout", "user", *(w for one in (main, other) for w in ("-w", str(one.root)))]
    with running(arguments, sock=state / "run" / "coordd.sock", home=home) as daemon:
        for place, agent in ((main, "in-main"), (tree, "in-tree"), (other, "elsewhere")):
            place.beat(agent)
        eventually(lambda: len(daemon.statuses()) == 3)
        places = {one["agent_id"]: one["project"] for one in daemon.rpc("agents.list")["agents"]}
        assert places["in-tree"] == str(main.root)
        for place, agent in ((main, "in-main"), (tree, "in-tree"), (other, "elsewhere")):
            (place.agents / f"{agent}.heartbeat").unlink()
        eventually(lambda: daemon.statuses() == {})
        eventually(lambda: recorded(daemon, "in-tree")[-1]["cause"] == "removed")
        done = daemon.ctl("records", "purge", "--project", ".", cwd=main.root)
        assert done.returncode == 0, done.stderr
        text = everything(state / "metrics")
        for gone in (b"in-main", b"in-tree", f'"{tree.root}"'.encode(), f'"{main.root}"'.encode()):
            assert gone not in text, gone
        assert len(recorded(daemon, "elsewhere")) > 1
        assert b"elsewhere" in text


def test_without_a_daemon_the_same_is_done_under_its_lock(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon, beating(project, "stays"):
        left(daemon, project, "gone-1")
        project.beat("gone-2")
        eventually(lambda: daemon.statuses().keys() == {"stays", "gone-2"})
        assert daemon.ctl("forget", "gone-2").returncode != 0, "it is alive"
        assert daemon.stop() == 0
        environ = daemon.environ
    kept = [one for one in project.records("agent") if one["agent_id"] == "stays"]
    snapshot = project.claude / "run" / "snapshot.json"
    assert b"gone-2" in snapshot.read_bytes()
    for name in ("gone-1", "gone-2"):
        dry = coordctl("records", "purge", "--agent", name, "--dry-run", environ=environ, cwd=project.root)
        assert "would be removed from" in dry.stdout, dry.stderr
        assert name.encode() in everything(project.claude / "metrics")
        done = coordctl("records", "purge", "--agent", name, environ=environ, cwd=project.root)
        assert done.returncode == 0, done.stdout + done.stderr
        assert name.encode() not in everything(project.claude)
    assert [one for one in project.records("agent") if one["agent_id"] == "stays"] == kept
    assert (project.claude / "metrics" / "agent.jsonl").exists()
    shown = coordctl("status", environ=environ, cwd=project.root)
    assert "stays" in shown.stdout
    (project.agents / "gone-2.heartbeat").unlink()
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.statuses().keys() == {"stays"})
        kinds = [one["kind"] for one in project.records("event")]
        assert "daemon.crashed" not in kinds
        again = [one for one in recorded(daemon, "stays")[len(kept) :] if one["cause"] == "start"]
        assert again == [], "a restart samples nothing twice"


def test_a_kill_after_a_purge_makes_nobody_older(project: Project, tmp_path: Path) -> None:
    """The files have been replaced since the snapshot: what they hold is no news."""
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="1h") as daemon:
        left(daemon, project, "gone-1")
        project.beat("stays")
        eventually(lambda: "stays" in daemon.statuses())
        snapshot = project.claude / "run" / "snapshot.json"
        before = snapshot.read_bytes() if snapshot.exists() else b""
        assert daemon.ctl("records", "purge", "--agent", "gone-1").returncode == 0
        assert snapshot.read_bytes() != before
        count = len(recorded(daemon, "stays"))
        daemon.stop(signal.SIGKILL)
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="1h") as daemon:
        eventually(lambda: daemon.statuses() == {"stays": "active"})
        assert len(recorded(daemon, "stays")) == count
        assert recorded(daemon, "gone-1") == []


def test_samples_in_redis_go_as_well(project: Project, tmp_path: Path) -> None:
    with (
        redis_server(tmp_path) as server,
        watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon,
        beating(project, "stays"),
    ):
        left(daemon, project, "gone-1")

        def fields() -> set[str]:
            keys = list(server.client.scan_iter("metrics:agent:*"))
            return {
                (field.decode() if isinstance(field, bytes) else field).rpartition(":")[2]
                for key in keys
                for field in server.client.hkeys(key)
            }

        eventually(lambda: fields() >= {"gone-1", "stays"})
        done = daemon.ctl("records", "purge", "--agent", "gone-1")
        assert "samples deleted in Redis" in done.stdout, done.stdout
        assert fields() == {"stays"}
        server.kill()
        eventually(lambda: not daemon.rpc("status")["redis"]["connected"])
        told = daemon.ctl("records", "purge", "--agent", "stays")
        assert "samples in Redis expire by" in told.stdout


def test_the_beginning_of_an_id_is_no_id(project: Project, metrics: Path, tmp_path: Path) -> None:
    ids = [f"0000c0de-{n}" for n in range(7)]
    part(metrics, "agent_2026-11-10.jsonl", 10, ids[:3], packed=True)
    part(metrics, "agent_2026-11-11.jsonl", 11, ["c0de", *ids])
    before = everything(metrics)
    none = "nothing is recorded under this id"
    named = f"{none}; ids that begin so, of which whole ones count: {', '.join(ids[:5])}\n"
    asked: list[tuple[tuple[str, ...], str]] = [
        (("--agent", "0000c0de"), named),
        (("--agent", "0000c0de", "--dry-run"), named),
        (("--agent", "0000…"), named),
        (("--agent", "0000c0de-6", "--workspace", "/elsewhere"), f"{none} in /elsewhere\n"),
        (("--agent", "nosuch"), f"{none}\n"),
        (("--project", "/no/such"), "nothing is recorded of the project /no/such\n"),
    ]

    def ask(environ: dict[str, str]) -> None:
        for words, said in asked:
            done = coordctl("records", "purge", *words, environ=environ, cwd=project.root)
            assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
            assert done.stderr.endswith(said), done.stderr
            told = coordctl("records", "purge", *words, "--json", environ=environ, cwd=project.root)
            assert told.returncode == 1
            assert json.loads(told.stdout)["similar"] == (ids[:5] if said == named else [])

    with watching(project, tmp_path) as daemon:
        ask(daemon.environ)
        assert daemon.stop() == 0
    ask(daemon.environ)
    assert all(line in everything(metrics) for line in before.split(b"\n"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one: --agent ID or --project DIR"),
        (["--agent", "a", "--project", "."], "name one"),
        (["--project", ".", "--workspace", "."], "--workspace goes with --agent"),
        (["--agent", ""], "an empty name"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    done = coordctl("records", "purge", *words, environ=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_where_nothing_ever_ran_it_says_so(tmp_path: Path) -> None:
    done = coordctl(
        "records", "purge", "--agent", "a", "--layout", "user", environ=environment(tmp_path), cwd=tmp_path
    )
    assert done.returncode == 3
