"""coordctl check, doctor and completion about a real coordd, up, wedged, killed, and kept from its files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, beating, coordctl, environment, owners_file, running, utc_now, watching
from waiting import PATIENCE, eventually

from coordd import __version__


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "app")
    project.beat("builder")
    return project


def perfdata(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split("\n", maxsplit=1)[0].partition(" | ")[2].split(" "))


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The checks of ``doctor --json``, by name; of several with one name the worst."""
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    order = ("ok", "warn", "fail")
    found: dict[str, dict[str, Any]] = {}
    for check in sorted(document["checks"], key=lambda check: order.index(check["result"])):
        assert set(check) == {"name", "result", "message", "fix"}
        found[check["name"]] = check
    return found


def doctor(daemon: Coordd, *options: str) -> dict[str, dict[str, Any]]:
    return findings(daemon.ctl("doctor", "--json", *options))


# check


def test_check_says_what_the_fleet_is_like(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.statuses() == {"builder": "active"} and daemon.rpc("system.latest"))
        quiet = ("--warning-memory", "~:", "--critical-memory", "~:")
        quiet += ("--warning-disk", "~:", "--critical-disk", "~:")  # the test's machine is not the subject
        done = daemon.ctl("check", *quiet)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(
            "COORDD OK - 1 agent active | active=1;;;0 waiting=0;;;0 inactive=0;;;0 "
        )
        data = perfdata(done.stdout)
        assert re.fullmatch(r"\d+(\.\d+)?%;~:;~:;0;100", data["memory"])
        assert re.fullmatch(r"\d+(\.\d+)?s;;;0", data["age"])
        assert int(data["daemon_rss"].partition("B")[0]) > 1_000_000

        project.beat("writer")
        eventually(lambda: len(daemon.statuses()) == 2)
        assert daemon.ctl("check", *quiet, "--critical-agents", "2").returncode == 0
        done = daemon.ctl("check", *quiet, "--warning-agents", "4", "--critical-agents", "3")
        assert done.returncode == 2
        assert done.stdout.startswith("COORDD CRITICAL - active agents 2 (critical at 3:); 2 agents active |")
        assert daemon.ctl("check", *quiet, "--warning-agents", "3").returncode == 1


def test_check_of_a_degraded_daemon_is_a_warning_unless_told_otherwise(
    project: Project, tmp_path: Path
) -> None:
    # A file where a directory should be is unreadable for every user, root too.
    (project.coordination / "agents" / "builder.heartbeat").unlink()
    project.agents.rmdir()
    project.coordination.rmdir()
    project.coordination.write_text("")
    ignore = ("--warning-disk", "~:", "--critical-disk", "~:", "--critical-memory", "~:")
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.rpc("status")["health"] == "degraded" and daemon.rpc("system.latest"))
        done = daemon.ctl("check", *ignore)
        assert done.returncode == 1, done.stdout
        assert done.stdout.startswith(f"COORDD WARNING - workspace {project.root}")
        assert daemon.ctl("check", *ignore, "--degraded", "critical").returncode == 2
        assert daemon.ctl("check", *ignore, "--degraded", "ok", "--warning-memory", "~:").returncode == 0


def test_check_counts_orphaned_claims_and_stalled_agents(project: Project, tmp_path: Path) -> None:
    owners_file(tmp_path, project, agents={"timeout": "2s", "stall_after": "2s"})
    claims = project.coordination / "claims"
    claims.mkdir()
    (claims / "t1.claim").write_text(json.dumps({"agent_id": "gone", "claimed_at": utc_now(), "ttl": 300}))
    (project.agents / "builder.tasks").write_text("t2\n")
    project.beat("gone")
    ignore = (
        "--warning-disk",
        "~:",
        "--critical-disk",
        "~:",
        "--warning-memory",
        "~:",
        "--critical-memory",
        "~:",
    )
    with watching(project, tmp_path) as daemon, beating(project, "builder"):  # without any progress

        def stalled_and_orphaned() -> bool:
            status = daemon.rpc("status")
            return bool(status["agents"]["stalled"] and status["tasks"]["orphaned"])

        eventually(stalled_and_orphaned)
        done = daemon.ctl("check", *ignore)
        assert done.returncode == 1, done.stdout
        assert " 1 agent active, 1 stalled, 1 inactive, 1 claim orphaned | " in done.stdout
        data = perfdata(done.stdout)
        assert (data["stalled"], data["orphaned"]) == ("1;;;0", "1;;;0")
        done = daemon.ctl("check", *ignore, "--degraded", "ok", "--critical-orphaned", "0")
        assert done.returncode == 2
        assert done.stdout.startswith("COORDD CRITICAL - orphaned claims 1 (critical at 0); ")
        assert daemon.ctl("check", *ignore, "--degraded", "ok", "--warning-orphaned", "1").returncode == 0
        health = doctor(daemon)["health"]
        assert (health["result"], "t1" in health["message"]) == ("warn", True)


def test_check_of_a_daemon_that_is_down_or_hangs(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            done = daemon.ctl("check", "--timeout", "0.3")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout.startswith("COORDD UNKNOWN - ")
        assert "no answer within 0.3 s" in done.stdout
        assert daemon.stop() == 0
        done = daemon.ctl("check")
    assert (done.returncode, done.stderr) == (2, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("COORDD CRITICAL - coordd is not running: no socket answers. Tried: ")
    assert str(daemon.socket) in line


@pytest.mark.parametrize(
    "arguments",
    [
        *(["check", "--critical-agents", "many"], ["check", "--no-such"], ["check", "--warning-cpu"]),
        *(["check", "--degraded", "maybe"], ["check", "x"], ["check", "two\nlines"], ["check", "\udcff"]),
        *(
            ["--timeout", "soon", "check"],
            ["--no-such", "check"],
            ["--socket=s", "--timeout=0", "check", "-x"],
        ),
        *(["check", "--timeout", "-1"], ["check", "--socket"], ["--socket", "/" + "x" * 300, "check"]),
    ],
)
def test_check_exits_3_with_one_line_for_a_command_line_that_means_nothing(
    tmp_path: Path, arguments: list[str]
) -> None:
    done = coordctl(*arguments, environ=environment(tmp_path))
    assert done.returncode == 3
    assert done.stdout.startswith("COORDD UNKNOWN - ")
    assert ("usage: " in done.stdout) == ("/" + "x" * 300 not in arguments)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


# doctor


def test_doctor_of_a_sound_daemon(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.statuses() == {"builder": "active"})
        eventually(lambda: doctor(daemon)["records"]["result"] == "ok")
        found = doctor(daemon)
        machine = {"space", "clock", "inotify"}  # the test's machine is not the subject
        assert {n for n, c in found.items() if c["result"] != "ok"} - machine == set()
        assert set(found) >= {
            "socket",
            "version",
            "config",
            "health",
            "workspace",
            "records",
            "links",
            "sink",
        }
        assert set(found) >= {*machine, "metrics_dir", "log_dir", "traces"}
        assert f"coordd {__version__}, pid {daemon.pid}" in found["socket"]["message"]
        assert str(project.root) in found["workspace"]["message"]
        text = daemon.ctl("doctor")
        assert "\x1b" not in text.stdout
        assert re.search(r"^ok    socket +/", text.stdout, re.M)


def test_doctor_names_what_is_wrong(project: Project, tmp_path: Path) -> None:
    os.mkfifo(project.agents / "pipe.heartbeat")
    with watching(project, tmp_path) as daemon:
        config = owners_file(tmp_path, project, agents={"timeout": "soon"})
        eventually(lambda: daemon.rpc("status")["traces_malformed"]["count"] == 1)
        done = daemon.ctl("doctor", "--json")
        found = findings(done)
        assert done.returncode == 1
        assert {n: found[n]["result"] for n in ("traces", "config")} == {
            "traces": "warn",
            "config": "fail",
        }
        assert "pipe.heartbeat" in found["traces"]["message"]
        assert "agents.timeout" in found["config"]["message"]
        config.unlink()
        assert doctor(daemon)["config"]["result"] == "ok"
        assert daemon.ctl("doctor", "--strict").returncode == 1


def test_doctor_after_a_kill_and_after_a_clean_stop(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        daemon.stop(signal.SIGKILL)
        done = daemon.ctl("doctor", "--json")
        found = findings(done)
        assert done.returncode == 3
        assert found["socket"]["result"] == "fail"
        assert f"left at {daemon.socket}" in found["socket"]["fix"]
        assert "lock" not in found
        assert found["config"]["result"] == "ok"
    with watching(project, tmp_path) as daemon:
        eventually(lambda: doctor(daemon)["records"]["result"] == "ok")
        daemon.stop()
        # Where the user stands tells the project; the last snapshot tells the rest.
        done = coordctl("doctor", "--json", environ=daemon.environ, cwd=project.root)
        found = findings(done)
        assert done.returncode == 3
        assert "left at" not in found["socket"]["fix"]
        assert (found["workspace"]["result"], found["records"]["result"]) == ("ok", "ok")
        assert "nothing is recorded while coordd is down" in found["records"]["message"]


def test_doctor_of_a_daemon_that_hangs(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            done = daemon.ctl("doctor", "--json", "--timeout", "0.3")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert done.returncode == 4
        assert "no answer within" in findings(done)["socket"]["message"]


def test_doctor_finds_a_daemon_that_lost_its_socket(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)  # or it would make the socket again at once
        daemon.socket.unlink()
        done = coordctl("doctor", "--json", environ=daemon.environ, cwd=project.root)
        daemon.process.send_signal(signal.SIGCONT)
        lock = findings(done)["lock"]
        assert (done.returncode, lock["result"]) == (3, "fail")
        assert f"pid {daemon.pid} holds" in lock["message"]


def test_doctor_before_anything_was_ever_started(tmp_path: Path) -> None:
    done = coordctl("doctor", environ=environment(tmp_path / "home"), cwd=tmp_path)
    assert done.returncode == 3
    assert "coordd run" in done.stdout
    assert "Traceback" not in done.stderr


# rights: root without the capabilities that make modes meaningless is a user like any other

WITHOUT = "--bounding-set=-dac_override,-dac_read_search"
PLAIN_ROOT = ("setpriv", WITHOUT, "--inh-caps=-dac_override,-dac_read_search")


@contextlib.contextmanager
def owned_by_another(path: Path, mode: int) -> Iterator[None]:
    """A path that belongs to a user who is nobody here."""
    os.chown(path, 4_000_001, 4_000_001)
    path.chmod(mode)
    yield


@pytest.mark.root
def test_doctor_names_the_component_that_keeps_the_daemon_out_and_its_fix_lets_it_in(
    project: Project, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    sock = home / "d.sock"
    closed = project.claude
    arguments = ["--layout", "user", "--workspace", str(project.root), "--socket", str(sock)]
    with (
        owned_by_another(closed, 0o700),
        running(arguments, sock=sock, home=home, prefix=PLAIN_ROOT) as daemon,
    ):
        eventually(lambda: daemon.rpc("status")["health"] == "degraded")
        done = daemon.ctl("doctor", "--json")
        found = findings(done)["workspace"]
        assert (done.returncode, found["result"]) == (1, "fail")
        assert f"root lacks x on {closed} (4000001:4000001 drwx------)" in found["message"]
        fix = found["fix"].partition("or: ")[2]
        assert fix == f"chmod o+x {shlex.quote(str(closed))}"
        subprocess.run(shlex.split(fix), check=True)
        eventually(lambda: daemon.statuses() == {"builder": "active"}, within=2 * PATIENCE)
        assert doctor(daemon)["workspace"]["result"] == "ok"


@pytest.mark.root
def test_doctor_names_files_that_agents_keep_to_themselves(project: Project, tmp_path: Path) -> None:
    home = tmp_path / "home"
    sock = home / "d.sock"
    beat = project.agents / "builder.heartbeat"
    arguments = ["--layout", "user", "--workspace", str(project.root), "--socket", str(sock)]
    with owned_by_another(beat, 0o600), running(arguments, sock=sock, home=home, prefix=PLAIN_ROOT) as daemon:
        found = doctor(daemon)["workspace"]
        assert found["result"] == "fail"
        assert f"root lacks r on {beat}" in found["message"]
        assert f"setfacl -R -m u:root:rX,d:u:root:rX {project.coordination}" in found["fix"]


@pytest.mark.root
def test_doctor_tells_a_user_who_may_not_ask_how_to_get_in(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        run = daemon.socket.parent
        with owned_by_another(run, 0o750):
            done = subprocess.run(
                [*PLAIN_ROOT, sys.executable, "-m", "coordd.cli", "--socket", str(daemon.socket), "doctor"],
                env=daemon.environ,
                text=True,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        assert done.returncode == 4
        assert f"permission denied by {run}" in done.stdout
        assert "join the group 4000001; or" in done.stdout
        assert f"sudo -u '#4000001' coordctl --socket {daemon.socket} doctor" in done.stdout
        os.chown(run, 0, 0)


# completion


def test_bash_completes_the_agents_of_a_real_daemon(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as daemon:
        eventually(lambda: daemon.statuses() == {"builder": "active"})
        answer = complete(daemon, ["coordctl", "--socket", str(daemon.socket), "agent", "bu"])
        assert answer == ["plain,builder"]


def complete(daemon: Coordd, words: Sequence[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "coordd.cli"],
        env={
            **daemon.environ,
            "_COORDCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": shlex.join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.split()


def test_a_reload_with_a_shorter_sampling_interval_samples_at_once(project: Project, tmp_path: Path) -> None:
    """Otherwise the sample counts as late by the new interval before it is due."""
    config = project.claude / "coordd.toml"
    config.write_text('[sampling]\ninterval = "30m"\n')
    with watching(project, tmp_path) as coordd:
        first = eventually(lambda: coordd.rpc("system.latest"))
        config.write_text('[sampling]\ninterval = "20m"\n')
        coordd.rpc("reload")
        eventually(lambda: coordd.rpc("system.latest") != first)
