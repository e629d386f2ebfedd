"""What is said to do about a daemon that does not run, by what its service manager tells."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from coordd.cli import service_state
from coordd.cli.advice import advice, restart_command
from coordd.cli.service_state import (
    Scope,
    ServiceState,
    State,
    last_error,
    launchd_state,
    result_words,
    service_states,
    state_of,
)

LOOK, START = "systemctl status coordd.service", "systemctl start coordd.service"


def service(state: State, scope: Scope = "system", why: str = "") -> ServiceState:
    return ServiceState(scope, "coordd.service", state, why, LOOK, START)


@pytest.mark.parametrize(
    ("layout", "root", "services", "expected"),
    [
        (None, None, [], ["Start it with 'coordd run', or as a service with 'coordd service install'."]),
        ("project", "/src/my app", [], ["Start it again: coordd start --workspace '/src/my app'"]),
        ("user", None, [service("stopped", "user")], [f"Start it: {START}"]),
        ("system", None, [], ["Start it as a service: sudo coordd service install --system"]),
        (
            "system",
            None,
            [service("failed", why="exit code 1; no room")],
            [
                "The system's service coordd.service has failed: exit code 1; no room.",
                f"See {LOOK}; once mended: {START}",
            ],
        ),
        (
            None,
            None,
            [service("restarting", "user")],
            [
                "Your service coordd.service fails, and is started again and again.",
                f"See {LOOK}; once mended: {START}",
            ],
        ),
        ("user", None, [service("starting", "user")], [f"Your service coordd.service is starting: {LOOK}"]),
    ],
)
def test_advice_fits_the_installation(
    layout: str | None, root: str | None, services: list[ServiceState], expected: list[str]
) -> None:
    assert advice(layout, root, services, explicit=False) == expected
    named = "\n".join(advice(layout, root, services, explicit=True))
    assert named.startswith("\n".join(expected).rstrip("."))
    assert named.endswith("r name another socket with --socket or $COORDD_SOCKET.")


@pytest.mark.parametrize("state", ["failed", "restarting"])
@pytest.mark.parametrize("layout", [None, "user", "system", "project"])
def test_beside_a_failed_unit_nobody_is_told_to_run_it_by_hand(layout: str | None, state: State) -> None:
    root = "/src/app" if layout == "project" else None
    assert "coordd run" not in "\n".join(advice(layout, root, [service(state)], explicit=True))


def test_a_restart_is_what_the_installation_takes() -> None:
    running = service("running", "user")
    assert restart_command("user", None, [running]) == "systemctl restart coordd.service"
    assert restart_command("system", None, [running]) == "coordd restart --layout system"
    assert restart_command("project", "/src/a b", []) == "coordd restart --workspace '/src/a b'"
    assert restart_command(None, None, []) == "coordd restart"


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({"ActiveState": "active"}, "running", ""),
        ({"ActiveState": "activating", "SubState": "start"}, "starting", ""),
        ({"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}, "stopped", ""),
        ({"ActiveState": "failed", "Result": "timeout"}, "failed", "it did not start or stop in time"),
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "203"},
            "failed",
            "exit code 203, its program cannot be run",
        ),
        (
            {
                "ActiveState": "activating",
                "SubState": "auto-restart",
                "ExecMainCode": "2",
                "ExecMainStatus": "11",
            },
            "restarting",
            "ended by signal 11",
        ),
        (
            {"LoadState": "masked", "ActiveState": "inactive"},
            "failed",
            "its unit is masked: systemctl unmask",
        ),
        ({}, "stopped", ""),
    ],
)
def test_what_systemctl_shows_is_a_state_and_words(facts: dict[str, str], state: str, words: str) -> None:
    assert (state_of(facts), result_words(facts)) == (state, words)


def entry(message: object, **fields: str) -> str:
    known = {"SYSLOG_IDENTIFIER": "coordd", "PRIORITY": "3", "_SYSTEMD_INVOCATION_ID": "now", **fields}
    return json.dumps({"MESSAGE": message, **known})


def test_the_last_error_is_the_services_own_and_of_its_last_run() -> None:
    journal = [
        entry("coordd: of another run", _SYSTEMD_INVOCATION_ID="before"),
        entry("coordd: a key\x1b[2J that is unknown"),
        entry("See the manual."),
        entry("all is well", PRIORITY="6"),
        entry("Failed to start.", SYSLOG_IDENTIFIER="systemd"),
        entry([1, 2, 255]),
        "no JSON",
        "[" * 100_000,
    ]
    assert last_error("\n".join(journal), "now") == "a key\\x1b[2J that is unknown"
    assert last_error("\n".join(journal[2:]), "now") == "See the manual."
    assert last_error("\n".join(journal[3:]), "now") == ""
    assert len(last_error(entry("coordd: " + "x" * 5000), "")) < 400


def test_launchd_is_read_by_its_manual() -> None:
    assert launchd_state(None) == ("stopped", "")
    assert launchd_state("\tstate = running\n\tlast exit code = 1\n") == ("running", "")
    assert launchd_state("\tstate = not running\n\tlast exit code = 78: EX_CONFIG\n") == ("failed", "78")
    assert launchd_state("\tstate = not running\n\tlast exit code = (never exited)\n") == ("stopped", "")


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A person's unit on a machine with systemd, whose programs are found in ``bin``."""
    unit = tmp_path / ".config/systemd/user/coordd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(service_state, "RUNS", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


def only(found: list[Any]) -> ServiceState:
    (one,) = found
    assert isinstance(one, ServiceState)
    return one


def test_a_manager_that_does_not_answer_keeps_nobody(
    tmp_path: Path, machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_state, "DEADLINE", 0.2)
    _program(tmp_path / "bin" / "systemctl", "exec sleep 60")
    found = only(service_states(("user",), machine))
    assert (found.state, found.start) == ("stopped", "systemctl --user start coordd.service")


def test_no_unit_is_no_question(tmp_path: Path, machine: dict[str, str]) -> None:
    (tmp_path / ".config/systemd/user/coordd.service").unlink()
    _program(tmp_path / "bin" / "systemctl", f"touch {tmp_path}/asked")
    assert service_states(("user",), machine) == []
    assert not (tmp_path / "asked").exists()


def test_one_that_was_started_too_often_is_reset_first(tmp_path: Path, machine: dict[str, str]) -> None:
    _program(tmp_path / "bin" / "systemctl", "echo ActiveState=failed; echo Result=start-limit-hit")
    _program(tmp_path / "bin" / "journalctl", "exit 1")
    found = only(service_states(("user",), machine))
    assert found.why == "it was started too often in a short time"
    assert found.start == (
        "systemctl --user reset-failed coordd.service && systemctl --user restart coordd.service"
    )
