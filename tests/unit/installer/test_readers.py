"""Test in a child process whether the service can read a workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.cli.doctor.access import Credentials, process
from coordd.errors import InstallError
from coordd.installer.readers import check_program, check_readable


def me() -> Credentials:
    who = process(os.getpid())
    assert who is not None
    return who


def workspace(path: Path) -> Path:
    agents = path / ".claude" / "coordination" / "agents"
    agents.mkdir(parents=True)
    (agents / "a.heartbeat").touch()
    return path


def test_what_can_be_read_is_ok_and_patterns_are_expanded(tmp_path: Path) -> None:
    workspace(tmp_path / "one")
    workspace(tmp_path / "two")
    (tmp_path / "three").mkdir()
    found = check_readable([f"{tmp_path}/*"], me(), sandboxed=False)
    assert [(f.result, f.message.split()[0]) for f in found] == [
        ("ok", f"{tmp_path}/one"),
        ("ok", f"{tmp_path}/two"),
    ]
    (none,) = check_readable([f"{tmp_path}/four/*"], me(), sandboxed=False)
    assert (none.result, "nothing matches yet" in none.message) == ("warn", True)
    (awaited,) = check_readable([f"{tmp_path}/three"], me(), sandboxed=False)
    assert (awaited.result, "does not exist" in awaited.message) == ("ok", True)


def test_a_service_with_a_tmp_of_its_own_does_not_see_this_one() -> None:
    (finding,) = check_readable(["/tmp/app"], me(), sandboxed=True)
    assert finding.result == "fail"
    assert "--user" in (finding.fix or "")


def test_strange_files_hold_nothing_up(tmp_path: Path) -> None:
    agents = workspace(tmp_path / "w") / ".claude" / "coordination" / "agents"
    os.mkfifo(agents / "pipe.heartbeat")
    (agents / "gone.heartbeat").symlink_to("nowhere")
    (agents.parent / "claims").symlink_to("/etc")
    (strange, missing) = check_readable([f"{tmp_path}/w", f"{tmp_path}/x"], me(), sandboxed=False)
    assert strange.result == "ok"
    assert (missing.result, "does not exist" in missing.message) == ("warn", True)


def test_a_program_that_fails_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "coordd"
    program.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    program.chmod(0o755)
    check_program([str(program)], me(), same=True)
    with pytest.raises(InstallError, match="/opt/coordd"):
        check_program([str(program)], me(), same=False)
