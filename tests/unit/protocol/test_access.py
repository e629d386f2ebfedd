"""What somebody is told whom a daemon's socket refuses: whom to ask as, and which group to join."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from doctor_facts import STRANGER, facts, only

from coordd.cli.doctor import daemon as doctor_daemon
from coordd.cli.doctor.access import WRITE, AccessObstacle, FileRights
from coordd.cli.doctor.daemon import check_socket
from coordd.errors import CannotTell
from coordd.protocol import access
from coordd.protocol.access import denial, may_be_joined

PRIVILEGED = ["root", "wheel", "sudo", "admin", "adm", "disk", "shadow", "docker", "lxd", "nogroup"]


def _refused(
    monkeypatch: pytest.MonkeyPatch, path: Path, group: str, gid: int, *, mode: int = 0o660
) -> tuple[str, str]:
    """Return what status and doctor say of a socket that a group may use."""
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: SimpleNamespace(gr_name=group))
    monkeypatch.setattr(os, "getgrouplist", lambda _name, _gid: [12345])
    found = SimpleNamespace(st_uid=0, st_gid=gid, st_mode=0o140000 | mode)
    monkeypatch.setattr(access.os, "stat", lambda _path: found)
    said = denial(str(path))
    monkeypatch.undo()
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: SimpleNamespace(gr_name=group))
    monkeypatch.setattr(os, "getgrouplist", lambda _name, _gid: [12345])
    obstacle = AccessObstacle(str(path), WRITE, FileRights(0o140000 | mode, 0, gid))
    monkeypatch.setattr(doctor_daemon, "first_obstacle", lambda *_: obstacle)
    refused = facts(error=CannotTell(said), socket=None, tried=(str(path),), me=STRANGER)
    fix = str(only(check_socket(refused)).fix)
    monkeypatch.undo()
    return said, fix


@pytest.mark.parametrize("group", PRIVILEGED)
def test_nobody_is_told_to_join_a_group_with_rights_over_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str
) -> None:
    for words in _refused(monkeypatch, tmp_path / "s", group, 0 if group == "root" else 4321):
        assert "join" not in words
        assert "usermod" not in words
        assert "sudo -u root coordctl --socket" in words


@pytest.mark.parametrize("gid", [0, 4, 27, 42])
def test_the_systems_own_groups_count_by_their_numbers_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gid: int
) -> None:
    for words in _refused(monkeypatch, tmp_path / "s", "renamed", gid):
        assert "usermod" not in words


def test_coordds_group_is_to_be_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for words in _refused(monkeypatch, tmp_path / "s", "coordd", 998):
        assert "sudo usermod -aG coordd " in words
        assert "; or ask as the user root: sudo -u root coordctl --socket" in words
    for words in _refused(monkeypatch, tmp_path / "s", "coordd", 998, mode=0o600):
        assert "usermod" not in words, "the group may not ask either"


def test_every_such_group_of_this_machine_is_known() -> None:
    here = {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
    assert not [name for name in PRIVILEGED if name in here and may_be_joined(here[name])]


def test_who_asks_as_another_user_asks_the_same_daemon(tmp_path: Path) -> None:
    path = tmp_path / "a b\n" / "s"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        said = denial(os.path.relpath(path))
    assert f"coordctl --socket $'{tmp_path}/a b\\n/s' status" in said
