"""Checks of the workspaces: readable, followed, and each within its time."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import ROOT, STRANGER, facts, only, workspace
from fake_coordd import status_document

from coordd.cli.call_deadline import within
from coordd.cli.doctor import trying
from coordd.cli.doctor import workspaces as doctor_workspaces
from coordd.cli.doctor.access import (
    Credentials,
)
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.cli.doctor.workspaces import check_workspace, check_workspaces
from coordd.errors import DaemonNotRunning


def test_a_workspace_that_can_be_read(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    found = check_workspace(str(root), "inotify", None, facts().me)
    assert (found.result, "followed by inotify" in found.message) == ("ok", True)
    polled = check_workspace(str(root), "poll", "nfs: inotify does not see it", facts().me)
    assert (polled.result, polled.fix) == ("ok", None)
    out = check_workspace(str(root), "poll", "raise fs.inotify.max_user_watches", facts().me)
    assert (out.result, "fs.inotify.max_user_watches=524288" in str(out.fix)) == ("warn", True)


def test_a_file_that_the_daemon_may_not_read_is_named_with_all_the_others(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    agents = root / ".claude" / "coordination" / "agents"
    for name in ("b.heartbeat", "c.heartbeat"):
        (agents / name).touch()
    for path in agents.iterdir():
        path.chmod(0)
    me = Credentials(os.geteuid(), frozenset())  # no capabilities, so that root is like any owner
    found = check_workspace(str(root), "inotify", None, me)
    assert found.result == "fail"
    assert "lacks r on" in found.message
    assert found.message.endswith(", and 2 more of its traces")
    assert found.fix is not None
    subprocess.run(found.fix.partition("or: ")[2], shell=True, check=True)
    assert check_workspace(str(root), "inotify", None, me).result == "ok"


NAMED = "correct --workspace or coordination.workspaces, whichever names it"


def test_a_workspace_that_waits_or_is_gone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    waiting = check_workspace(str(tmp_path / "empty"), "waiting", None, facts().me)
    assert (waiting.result, waiting.fix) == ("ok", None)
    assert "no agent has coordinated there yet; it is awaited" in waiting.message
    empty = check_workspace(str(tmp_path / "empty"), "unreadable", "x", facts().me)
    assert (empty.result, "mkdir -p" in str(empty.fix)) == ("fail", True)
    gone = check_workspace(str(tmp_path / "gone"), "unreadable", "No such file or directory", facts().me)
    assert (gone.result, gone.fix) == ("fail", f"{NAMED}; or: mkdir -p {tmp_path}/gone")


def test_what_the_daemon_cannot_read_fails_even_where_modes_allow_it(tmp_path: Path) -> None:
    found = check_workspace(str(workspace(tmp_path)), "unreadable", "Permission denied", facts().me)
    assert (found.result, "ProtectHome" in str(found.fix)) == ("fail", True)


@pytest.mark.root
@pytest.mark.parametrize(
    ("state", "result", "words"),
    [
        ("inotify", "ok", "is read; only root can try what root may do, and followed by inotify"),
        ("unreadable", "fail", "cannot be read by the daemon: EIO; only root can try"),
        ("waiting", "ok", "does not exist: no agent has coordinated there yet"),
        (None, "warn", "cannot tell whether root may read it: only root can try what root may do"),
    ],
)
def test_a_user_who_cannot_try_as_the_daemons_hears_what_the_daemon_says(
    open_directory: Path, state: str | None, result: str, words: str
) -> None:
    def asked() -> list[str]:
        found = check_workspace(str(open_directory), state, "EIO", ROOT)
        return [found.result, found.message]

    given, message = trying.as_user(STRANGER, asked)
    assert (given, words in message) == (result, True), message


def test_a_hung_mount_costs_one_workspace_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sound, hung = str(workspace(tmp_path)), str(tmp_path / "hung")
    really = doctor_workspaces.find_denied

    def look(path: str) -> Any:
        if path == hung:
            time.sleep(600)
        return really(path)

    monkeypatch.setattr(doctor_workspaces, "find_denied", look)
    monkeypatch.setattr(trying.as_user, "__kwdefaults__", {"seconds": 1.0})
    listed = [{"path": hung, "state": "unreadable"}, {"path": sound, "state": "inotify"}]
    listed.append({"path": "/nul\0byte", "state": "inotify"})
    found = list(check_workspaces(facts(status=status_document(workspaces=listed))))
    assert [finding.result for finding in found] == ["warn", "ok", "warn"]
    assert "does the file system hang?" in found[0].message


def test_what_a_check_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_no_workspace_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = only(check_workspaces(facts(status=status_document(workspaces=[]))))
    assert (found.result, "--workspace" in str(found.fix)) == ("warn", True)


@pytest.mark.parametrize(
    ("layout", "enabled", "result"),
    [("user", True, "ok"), ("user", False, "warn"), ("system", True, "warn"), (None, None, "warn")],
)
def test_before_the_first_start_nothing_has_to_be_set_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: str | None, enabled: bool | None, result: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ConfigAnswer(0, "/etc/coordd.toml", values={"claude_code": {"enabled": enabled}})
    status = {"daemon": {"layout": layout}}
    error = DaemonNotRunning([])
    found = only(check_workspaces(facts(status=status, config=config, error=error, socket=None)))
    assert found.result == result
    assert ("sessions appear by themselves" in found.message) == (result == "ok")
