"""What the doctor says of coordd-alert, of a real one in each state it can be in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from alerting import Told, alerting, config_of
from live import Coordd, Project, running, watching
from waiting import eventually


class Scene:
    """A user's daemon, and a home for rules."""

    def __init__(self, daemon: Coordd, path: Path) -> None:
        self.daemon = daemon
        self.home = path / "home"
        self.told = Told(path / "program")
        self.ctl = daemon.ctl

    def findings(self, name: str = "alerts") -> list[tuple[str, str, str | None]]:
        """Result, message and fix of each finding of a check."""
        checks = json.loads(self.daemon.ctl("doctor", "--json").stdout)["checks"]
        return [(one["result"], one["message"], one["fix"]) for one in checks if one["name"] == name]

    def only(self) -> tuple[str, str, str | None]:
        (one,) = self.findings()
        return one


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    home = tmp_path / "home"
    home.mkdir()
    sock = home / ".local/state/coordd/run/coordd.sock"
    with running([], sock=sock, home=home, cwd=home) as daemon:
        yield Scene(daemon, tmp_path)


def test_nothing_configured_is_one_quiet_line(scene: Scene) -> None:
    result, message, fix = scene.only()
    assert (result, fix) == ("ok", None)
    assert "nobody is told what needs them" in message
    assert "'coordd service install --alerts'" in message


def test_rules_that_nobody_follows(scene: Scene) -> None:
    config_of(scene.home, scene.told.rule())
    assert scene.only() == (
        "warn",
        "there are rules, and coordd-alert does not run: nobody is told",
        "coordd service install --alerts; beside a daemon in the foreground: coordd run --alerts",
    )
    config_of(scene.home, scene.told.rule(exec=["no-such-program"]))
    trouble, _ = scene.findings()
    assert trouble[0] == "warn"
    assert trouble[1].startswith("it could not work: rule r, exec no-such-program: ")


def test_rules_that_are_refused_are_no_fault_of_the_daemons_configuration(scene: Scene) -> None:
    path = config_of(scene.home, scene.told.rule(on=["waitin"]))
    result, message, fix = scene.only()
    assert result == "fail"
    assert message.startswith(f"its rules cannot be used: {path}: alert.r.on")
    assert "waitin" in message
    assert fix == "mend them, then coordd-alert check"
    ((result, message, _),) = scene.findings("config")
    assert (result, message) == ("ok", f"{path} is sound")
    with alerting(scene.home, "--config", str(_good(scene)), follows=True):
        result, message, fix = scene.only()
        assert message.endswith("; the running coordd-alert keeps the ones it has")
        assert fix == "mend them, then coordctl alerts reload"


def test_one_that_runs_and_does_well(scene: Scene) -> None:
    config_of(scene.home, scene.told.rule("mine"))
    with alerting(scene.home) as alerts:
        result, message, fix = scene.only()
        assert (result, fix) == ("ok", None)
        assert message == (
            f"coordd-alert runs (pid {alerts.pid}, no service) with rules mine; nothing was to be told yet"
        )
        assert alerts.ctl("test", "mine").returncode == 0
        assert "; the last message was told " in scene.only()[1]


def test_the_built_in_rule_without_a_desktop(scene: Scene) -> None:
    with alerting(scene.home, environ={"PATH": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}):
        result, message, fix = scene.only()
    assert result == "fail", "nobody is told anything"
    assert message.startswith("rule desktop, desktop: there is no ")
    assert fix == "mend that, then try: coordctl alerts test desktop"


def test_an_action_that_failed(scene: Scene) -> None:
    config_of(scene.home, scene.told.rule("mine"))
    with alerting(scene.home) as alerts:
        scene.told.do("echo no such room >&2; exit 3")
        assert alerts.ctl("test", "mine").returncode != 0
        result, message, fix = scene.only()
        assert result == "warn"
        assert "was not told by exec tell: " in message
        assert fix == "mend that, then try: coordctl alerts test mine"
        scene.told.do("exit 0")
        assert alerts.ctl("test", "mine").returncode == 0
        assert scene.only()[0] == "ok"


def test_one_that_tells_of_another_daemon(scene: Scene, tmp_path: Path) -> None:
    config_of(scene.home, scene.told.rule("mine"))
    with alerting(scene.home), watching(Project(tmp_path / "app"), tmp_path) as other:
        checks = json.loads(other.ctl("doctor", "--json").stdout)["checks"]
        (one,) = [one for one in checks if one["name"] == "alerts"]
        assert one["result"] == "warn"
        assert one["message"] == (
            f"coordd-alert tells of the coordd behind {scene.daemon.socket}, and nobody of this one"
        )
        assert one["fix"] == (f"another one beside it: coordd-alert run --socket {other.socket} --state DIR")


def test_with_the_daemon_down_it_is_still_asked(scene: Scene) -> None:
    config_of(scene.home, scene.told.rule("mine"))
    with alerting(scene.home) as alerts:
        scene.daemon.process.kill()
        scene.daemon.process.wait()
        eventually(lambda: not alerts.follows())
        done = alerts.ctl("--json")
        assert done.returncode == 0
        assert scene.only()[0] == "ok", "that the daemon is down is said by another check"


def _good(scene: Scene) -> Path:
    path = scene.home / "good.toml"
    path.write_text(scene.told.rule("good"))
    path.chmod(0o600)
    return path
