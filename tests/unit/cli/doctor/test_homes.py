"""Checks of the homes of coding agents: read, and understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doctor_facts import STRANGER, facts
from fake_coordd import status_document

from coordd.cli.doctor.findings import Finding, finding_lines
from coordd.cli.doctor.homes import check_homes
from coordd.cli.doctor.workspaces import check_workspaces
from coordd.errors import DaemonNotRunning


def found(*sources: Any, **changes: Any) -> list[Finding]:
    return list(check_homes(facts(status=status_document(sources=list(sources)), **changes)))


def home(**fields: Any) -> dict[str, Any]:
    known = {
        "kind": "claude-code",
        "path": "/home/me/.claude",
        "state": "inotify",
        "error": None,
        "agents": 3,
    }
    return {**known, **fields}


def test_a_home_that_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (one,) = found(home())
    assert (one.result, one.message) == (
        "ok",
        "claude-code ~/.claude is followed by inotify; 3 agents seen there",
    )
    (waits,) = found(home(state="waiting", agents=None))
    assert (waits.result, "does not exist yet" in waits.message) == ("ok", True)
    (polled,) = found(home(state="poll", error="nfs", agents=1))
    assert polled.message == "claude-code ~/.claude is polled: nfs; 1 agent seen there"


def test_agents_that_are_known_by_their_processes_alone() -> None:
    (one,) = found(home(kind="process", path=None, state="read"))
    assert (one.name, one.result) == ("programs", "ok")
    assert one.message == "other coding agents are seen by their processes: 3"
    (broken,) = found(home(kind="process", path=None, state="unreadable", error="it hangs"))
    assert (broken.result, "it hangs" in broken.message) == ("warn", True)


def test_a_home_that_cannot_be_read_warns_and_names_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "my claude"
    (path / "sessions").mkdir(parents=True)
    (mine,) = found(home(state="unreadable", error="Permission denied", path=str(path)))
    assert (mine.result, mine.fix) == ("warn", f"look at its rights: ls -ld '{path}' '{path}/sessions'")
    assert "cannot be read: Permission denied" in mine.message
    (theirs,) = found(home(state="unreadable", error="x"), daemon=STRANGER)
    assert "coordd service install" in str(theirs.fix)


def test_of_the_systems_coordd_the_ways_out_are_named() -> None:
    system = facts(status=status_document(sources=[], daemon={"layout": "system"}))
    (line,) = check_homes(system)
    assert (line.result, line.name) == ("ok", "home")
    assert "service install --user" in line.message
    assert "--run-as USER" in line.message
    assert "--system --read-homes" in line.message
    given = facts(status=status_document(sources=[], daemon={"layout": "system", "reads_homes": True}))
    (line,) = check_homes(given)
    assert (line.result, "CAP_SYS_PTRACE" in line.message) == ("ok", True)


def test_a_folder_of_sessions_that_is_gone_comes_back_with_claude_code(tmp_path: Path) -> None:
    error = f"{tmp_path}/sessions was there and is gone"
    (gone,) = found(home(state="unreadable", error=error, path=str(tmp_path)))
    assert gone.message.endswith(f"cannot be read: {error}")
    assert str(gone.fix).startswith("start Claude Code: it makes this folder again")


def test_a_home_that_hangs_is_not_touched_by_the_doctor_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("coordd.cli.doctor.homes._way_out", hangs)
    for error in ("its file system does not answer", "the file system does not answer (5 s)"):
        (hung,) = found(home(state="unreadable", error=error))
        assert (hung.result, "mounts" in str(hung.fix)) == ("warn", True)
        assert hung.message.endswith(f"cannot be read: {error}")


def test_what_is_not_understood_is_named_with_program_and_version() -> None:
    what = {"program": "claude-code", "version": "2.1.300", "what": 'status "napping"'}
    _, one = found(home(unrecognised=[what]))
    assert one.result == "warn"
    assert one.message.startswith('claude-code 2.1.300: status "napping" is not known to this coordd')
    many = found(home(unrecognised=[{}] * 30))
    assert len(many) == 22
    assert many[-1].message.startswith("10 more")


def test_a_daemon_that_is_down_or_old_tells_of_no_homes() -> None:
    assert list(check_homes(facts())) == []
    assert found(home(), error=DaemonNotRunning([])) == []
    assert found({"kind": "redis"}, 7, None) == []


def test_whoever_has_a_home_needs_no_workspace() -> None:
    status = status_document(workspaces=[], sources=[home()])
    assert list(check_workspaces(facts(status=status))) == []
    assert len(list(check_workspaces(facts(status=status_document(workspaces=[]))))) == 1


def test_a_stranger_cannot_reach_the_terminal_by_it() -> None:
    evil = "\x1b[2J\nok"
    said = found(
        home(kind=evil, path=evil, state=evil, error=evil, unrecognised=[{"program": evil, "what": evil}]),
        home(state="unreadable", path=evil, error=evil),
    )
    assert all(line.isprintable() for line in finding_lines(said, colour=False))
