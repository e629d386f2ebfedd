"""Agents that leave nothing but a process: real processes, found by a real coordd that was told nothing."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, read_records, running
from played_programs import Programs, programs
from real_processes import GIVES_WAY, becoming, process_of
from waiting import NotYet, eventually

# one worker runs all that starts such programs, and the scene that counts agents
pytestmark = pytest.mark.xdist_group("consumers")

Agent = dict[str, Any]


@contextlib.contextmanager
def users_coordd(home: Path, **environ: str) -> Iterator[Coordd]:
    sock = home / ".local/state/coordd/run/coordd.sock"
    given = {"COORDD_PROCESSES_ENABLED": "true", "COORDD_SAMPLING_INTERVAL": "1s"} | environ
    with running([], sock=sock, home=home, cwd=home, **given) as daemon:
        yield daemon


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Programs]:
    with programs(tmp_path / "bin") as played:
        yield played


@pytest.fixture
def work(tmp_path: Path) -> Path:
    project = Project(tmp_path / "app", coordination=False)
    project.git("init", "-q")
    (project.root / "src").mkdir()
    return project.root


def of(daemon: Coordd, root: Path) -> list[Agent]:
    """Return the agents below a directory."""
    listed = daemon.rpc("agents.list")["agents"]
    return [one for one in listed if (one["workspace"] or "").startswith(str(root))]


def the_one(daemon: Coordd, root: Path, **expected: object) -> Agent:
    def found() -> Agent:
        agents = of(daemon, root)
        if len(agents) != 1:
            raise NotYet([one["agent_id"] for one in agents])
        differing = {name: agents[0][name] for name, value in expected.items() if agents[0][name] != value}
        if differing:
            raise NotYet(differing)
        return agents[0]

    return eventually(found, what=f"one agent: {expected}")


def test_one_that_leaves_nothing_is_seen_with_where_it_works_and_what_it_uses(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    process = played.native("opencode", cwd=work / "src")
    with users_coordd(tmp_path / "home") as daemon:
        one = the_one(daemon, tmp_path, processes=1)
        told = {
            name: one[name] for name in ("agent_id", "kind", "session_id", "status", "reason", "activity")
        }
        assert told == {
            "agent_id": f"opencode-{process.pid}",
            "kind": "opencode",
            "session_id": None,
            "status": "active",
            "reason": "process",
            "activity": "unknown",
        }
        assert (one["workspace"], one["project"]) == (str(work), str(work))
        assert (one["pid"], one["proc_start"], one["user"]) == (process.pid, process.start, getpass.getuser())
        assert one["rss"] > 0
        assert one["uptime"] is not None
        assert one["sources"] == ["process"]
        words = daemon.ctl("why", one["agent_id"])
        assert words.returncode == 0, words.stderr
        assert "lives" in words.stdout


def test_one_that_starts_later_is_found_and_its_end_is_told(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    with users_coordd(tmp_path / "home") as daemon:
        eventually(lambda: daemon.rpc("status")["system"])
        assert of(daemon, tmp_path) == []
        process = played.script("aider", cwd=work)
        the_one(daemon, tmp_path, kind="aider", status="active")
        played.end(process)
        the_one(daemon, tmp_path, status="inactive", reason="ended")
        assert daemon.rpc("status")["problems"] == []


def test_one_that_another_program_becomes_is_found_and_leaves_when_it_becomes_another(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    script = played.script_of("aider", GIVES_WAY)
    with (
        becoming([sys.executable, str(script)], ["/bin/sleep", "1000"], cwd=work) as next_one,
        users_coordd(tmp_path / "home") as daemon,
    ):
        eventually(lambda: daemon.rpc("status")["system"])
        assert of(daemon, tmp_path) == []
        process = next_one()  # as by "exec aider": the pid is that of a shell, or of "uv run"
        the_one(daemon, tmp_path, agent_id=f"aider-{process.pid}", status="active")
        next_one()
        eventually(lambda: of(daemon, tmp_path) == [])


def test_a_script_and_the_program_below_it_are_one_agent(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    process = played.wrapped("opencode", "opencode", cwd=work)
    with users_coordd(tmp_path / "home") as daemon:
        the_one(daemon, tmp_path, agent_id=f"opencode-{process.pid}", processes=2)


def test_what_is_no_agent_is_not_listed(played: Programs, work: Path, tmp_path: Path) -> None:
    played.script("opencode", "--version", cwd=work)
    played.script("copilot-language-server", "--stdio", cwd=work)
    played.script("gemini", "mcp", cwd=work)
    played.script("gemini.py", cwd=work)
    played.native("claude", cwd=work)  # its own files are read
    played.native("crush", cwd=work)
    with users_coordd(tmp_path / "home") as daemon:
        the_one(daemon, tmp_path, kind="crush")


def test_its_id_outlives_a_restart_and_nothing_is_sampled_twice(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = played.native("qwen", cwd=work)
    gone = played.native("agy", cwd=work / "src")
    with users_coordd(home) as daemon:
        eventually(lambda: len(of(daemon, tmp_path)) == 2)
        daemon.stop()
    played.end(gone)
    metrics = home / ".local/state/coordd/metrics"
    before = [one for one in read_records(metrics, "agent") if one["kind"] == "qwen"]
    with users_coordd(home) as daemon:
        eventually(lambda: len(of(daemon, tmp_path)) == 2)
        agents = {one["kind"]: one for one in of(daemon, tmp_path)}
        assert agents["qwen"]["agent_id"] == f"qwen-{process.pid}"
        assert agents["qwen"]["status"] == "active"
        assert agents["qwen"]["last_heartbeat_age"] is None  # it has never beaten
        eventually(lambda: daemon.agent(f"antigravity-{gone.pid}")["reason"] == "ended")
        daemon.stop()
    after = [one for one in read_records(metrics, "agent") if one["kind"] == "qwen"]
    assert [one["cause"] for one in after] == [one["cause"] for one in before]


def test_what_a_registration_says_of_the_same_process_goes_before(played: Programs, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    process = played.native("amp", cwd=project.root)
    started = process_of(process.pid).start
    project.register("builder", pid=process.pid, proc_start=started, status="busy")
    project.beat("builder")
    with users_coordd(tmp_path / "home", COORDD_WORKSPACES=str(project.root)) as daemon:
        one = the_one(daemon, tmp_path, agent_id="builder", reason="process", kind="amp")
        assert set(one["sources"]) == {"file", "process"}
        played.end(process)
        the_one(daemon, tmp_path, status="inactive", reason="killed")


def test_one_in_a_folder_that_was_removed_is_shown_without_a_workspace(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    process = played.native("crush", cwd=work / "src")
    (work / "src").rmdir()
    with users_coordd(tmp_path / "home") as daemon:
        one = eventually(lambda: daemon.agent(f"crush-{process.pid}"))
        assert (one["workspace"], one["kind"]) == (None, "crush")
        words = daemon.ctl("agents").stdout
        assert f"crush-{process.pid}" in words
        assert "Redis" not in words


def test_they_are_looked_for_only_if_the_configuration_says_so(
    played: Programs, work: Path, tmp_path: Path
) -> None:
    played.native("opencode", cwd=work)
    with users_coordd(tmp_path / "home", COORDD_PROCESSES_ENABLED="false") as daemon:
        eventually(lambda: daemon.rpc("status")["system"])
        assert of(daemon, tmp_path) == []


def test_nothing_of_a_command_line_is_kept(played: Programs, work: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    played.script("gemini", "-p", "tell-nobody-4711", cwd=work)
    with users_coordd(home, COORDD_LOG_LEVEL="debug") as daemon:
        one = the_one(daemon, tmp_path, kind="gemini")
        assert "tell-nobody" not in json.dumps(daemon.agent(one["agent_id"]))
        assert "tell-nobody" not in json.dumps(daemon.rpc("status"))
        daemon.stop()
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"tell-nobody" in path.read_bytes()]


@pytest.mark.root
def test_the_systems_coordd_sees_those_of_other_users(played: Programs, work: Path, tmp_path: Path) -> None:
    """As a user who may not look into their folders: kind, user, CPU and memory are all that there is."""
    private = tmp_path / "private"
    private.mkdir()
    process = played.native("claude", cwd=private)
    codex = played.wrapped("codex", "codex", cwd=private)
    var = tmp_path / "var"
    var.mkdir()
    config = var / "coordd.toml"
    config.write_text(
        f'[storage]\nmetrics_dir = "{var}/metrics"\nlog_dir = "{var}/logs"\n'
        f'[control]\nsocket = "{var}/run/coordd.sock"\ngroup = "root"\n[sampling]\ninterval = "1s"\n'
    )
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    os.chown(var, 4_000_001, 4_000_001)
    private.chmod(0o700)
    user = ("--reuid", "4000001", "--regid", "4000001", "--clear-groups", "--bounding-set", "-all")
    with running(
        ["--layout", "system", "--config", str(config)],
        sock=var / "run/coordd.sock",
        home=var / "home",
        cwd=var,
        prefix=("setpriv", *user),
        COORDD_PROCESSES_ENABLED="true",
    ) as daemon:

        def seen() -> dict[str, Agent]:
            agents = {one["agent_id"]: one for one in daemon.rpc("agents.list")["agents"]}
            return agents if f"claude-code-{process.pid}" in agents else {}

        one = eventually(seen)[f"claude-code-{process.pid}"]
        assert (one["workspace"], one["user"], one["activity"]) == (None, "root", "unknown")
        eventually(lambda: seen()[f"claude-code-{process.pid}"]["rss"])
        assert f"codex-{codex.pid}" not in seen()  # the program below it is the agent
        assert [one for one in seen().values() if one["kind"] == "codex" and one["user"] == "root"]
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: daemon.agent(f"claude-code-{process.pid}")["reason"] == "ended")
