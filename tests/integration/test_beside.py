"""coordd-alert beside a daemon in the foreground: real processes, that end as people and kernels end them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import Told, alerting, config_of
from live import Project, ask, environment, running, watching
from waiting import PATIENCE, NotYet, eventually


class Scene:
    """A project, a home with a rule that tells a program, and where coordd-alert of that home answers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / "home"
        self.home.mkdir()
        self.project = Project(path / "app")
        self.told = Told(path / "program")
        self.state = self.home / ".local" / "state" / "coordd" / "alerts"
        self.rules(self.told.rule(on=["memory>0", "daemon"]))

    def rules(self, text: str) -> None:
        config_of(self.home, text)

    def status(self) -> dict[str, Any]:
        """What coordd-alert says, once it follows a daemon."""
        status: dict[str, Any] = ask(self.state / "alerts.sock", "status")
        if not status["daemon"]["connected"]:
            raise NotYet(status["daemon"])
        return status

    def pid(self) -> int:
        return int(eventually(self.status, what="coordd-alert follows")["pid"])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    yield Scene(tmp_path)


def gone(pid: int) -> bool:
    """Whether a process is no more; one that nobody has waited for counts as gone."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_tells_of_that_daemon_and_ends_with_it_in_order(scene: Scene) -> None:
    with watching(scene.project, scene.path, "--alerts") as daemon:
        pid = scene.pid()
        assert Path(f"/proc/{pid}/stat").read_text().split()[3] == str(daemon.pid)
        assert scene.status()["daemon"]["socket"] == str(daemon.socket)
        eventually(scene.told.entries, what="its rule tells of the host")
        told = len(scene.told.messages())
        assert daemon.stop() == 0
        assert gone(pid), "the daemon ends last"
        assert "coordd-alert" in daemon.logged(), "its words are in the same log"
        assert "standard input has ended" in daemon.logged()
        assert len(scene.told.messages()) == told, "an orderly end is told to nobody"


def test_the_daemon_imports_nothing_of_it(scene: Scene) -> None:
    with watching(scene.project, scene.path, "--alerts", PYTHONPROFILEIMPORTTIME="1") as daemon:
        scene.pid()
        before = daemon.logged().partition("coordd.commands.beside")[0]
        assert "coordd.alerts" not in before
        maps = Path(f"/proc/{daemon.pid}/maps").read_text()
        assert "_ssl" not in maps


def test_killed_daemon_takes_it_along_once_that_is_told(scene: Scene) -> None:
    scene.rules(scene.told.rule(on=["daemon"], **{"for": "10m"}))
    with watching(scene.project, scene.path, "--alerts") as daemon:
        pid = scene.pid()
        daemon.process.kill()
        daemon.process.wait(PATIENCE)
        eventually(lambda: gone(pid), what="coordd-alert has ended")
    assert scene.told.entries() == [("daemon", "coordd")]
    assert "is gone, and was not stopped" in scene.told.messages()[0]["text"]
    with watching(scene.project, scene.path, "--alerts") as daemon:  # it is told once, and is no news by now
        scene.pid()
        assert daemon.stop() == 0
    assert len(scene.told.messages()) == 1


def test_what_is_being_told_is_told_before_the_daemon_has_ended(scene: Scene) -> None:
    scene.told.do(f"while [ ! -e {scene.path}/go ]; do sleep 0.05; done; touch {scene.path}/done")
    with watching(scene.project, scene.path, "--alerts") as daemon:
        pid = scene.pid()
        eventually(scene.told.messages, what="an action has begun")
        daemon.process.terminate()
        eventually(lambda: "standard input has ended" in daemon.logged())
        assert not gone(pid)
        (scene.path / "go").touch()
        assert daemon.process.wait(PATIENCE) == 0
        assert (scene.path / "done").exists()
        assert gone(pid)


def test_ctrl_c_at_a_terminal_ends_both_in_order(scene: Scene) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(scene.project.root)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "coordd", "run", "--alerts"],
            environment(scene.home),
        )
    try:
        other = scene.pid()
        os.write(terminal, b"\x03")
        said = b""
        while True:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
            said += block
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, said
    assert gone(other)
    assert b"standard input has ended" in said
    assert b"Traceback" not in said


def test_a_second_one_is_said_and_no_error(scene: Scene) -> None:
    other = Project(scene.path / "other")
    with watching(scene.project, scene.path, "--alerts") as first:
        pid = scene.pid()
        with watching(other, scene.path, "--alerts") as second:
            words = f"a coordd-alert runs already, pid {pid}, and tells of the coordd behind {first.socket}"
            eventually(lambda: words in second.logged(), what="it is said")
            assert f"coordd-alert run --socket {second.socket} --state DIR" in second.logged()
            assert second.rpc("ping")
            assert second.stop() == 0
        assert scene.pid() == pid


def test_one_that_tells_of_the_same_daemon_is_enough(scene: Scene) -> None:
    with (
        running([], sock=scene.home / ".local/state/coordd/run/coordd.sock", home=scene.home, cwd=scene.home),
        alerting(scene.home) as alerts,
    ):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "coordd.alerts.main",
                "run",
                "--until-eof",
                "--socket",
                alerts.status()["daemon"]["socket"],
            ],
            stdin=subprocess.PIPE,
            capture_output=True,
            text=True,
            env=alerts.environ,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0
        assert f"pid {alerts.pid}, and tells of this coordd" in done.stderr


def test_killed_it_is_started_again_and_with_bad_rules_it_is_not(scene: Scene) -> None:
    with watching(scene.project, scene.path, "--alerts") as daemon:
        pid = scene.pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: "coordd-alert was ended by SIGKILL" in daemon.logged())
        again = eventually(lambda: scene.pid() != pid and scene.pid(), what="it is there again")
        scene.rules('[[alert]]\nname = "x"\non = ["nonsense"]\n')
        os.kill(again, signal.SIGKILL)
        eventually(lambda: "exit code 78" in daemon.logged(), what="that nobody is told is said")
        assert "nonsense" in daemon.logged()
        assert daemon.rpc("ping")
        assert daemon.stop() == 0


def test_a_daemon_that_cannot_start_starts_none(scene: Scene) -> None:
    with (
        watching(scene.project, scene.path),
        watching(scene.project, scene.path, "--alerts", wait=False) as second,
    ):  # type: ignore[arg-type]
        assert second.process.wait(PATIENCE) == 1
        assert not scene.state.exists()


def test_a_configuration_that_is_named_has_the_rules(scene: Scene) -> None:
    named = scene.home / "other.toml"
    named.write_text(scene.told.rule("named", on=["daemon"]))
    named.chmod(0o600)
    with watching(scene.project, scene.path, "--alerts", "--config", str(named)):
        assert [rule["name"] for rule in eventually(scene.status)["rules"]] == ["named"]


def test_a_classic_daemon_has_it_too_and_stop_ends_both(scene: Scene) -> None:
    def coordd(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coordd", *words, "--workspace", str(scene.project.root)],
            capture_output=True,
            text=True,
            env=environment(scene.home),
            timeout=PATIENCE * 3,
            check=False,
        )

    done = coordd("start", "--alerts")
    assert done.returncode == 0, done.stderr
    try:
        pid = scene.pid()
        assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
        log = scene.project.claude / "logs" / "coordd-alert.log"
        assert "coordd-alert" in log.read_text()
    finally:
        assert coordd("stop").returncode == 0
    eventually(lambda: gone(pid), what="coordd-alert has ended")
