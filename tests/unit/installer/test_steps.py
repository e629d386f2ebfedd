"""Test that each step works, may be repeated, and says what to do when it fails."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from coordd.config.layout import choose_layout
from coordd.errors import ConfigError, InstallError
from coordd.installer.configuration import check_wanted, configured, default_text, missing_in
from coordd.installer.removing import data_directories
from coordd.installer.services import Wanted
from coordd.installer.steps import Command, MakeDirectory, Remove, Step, WriteFile, failure, output, perform

SYSTEM = choose_layout(name="system", workspaces=(), cwd="/", environ={}, platform="linux")
USER = choose_layout(name="user", workspaces=(), cwd="/", environ={"HOME": "/home/ann"}, platform="linux")


def test_a_file_is_written_once_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "unit"
    step = WriteFile(str(path), "text é\n", 0o640)
    assert (step.do(), step.do()) == ("written", "unchanged")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert WriteFile(str(path), "new\n").do() == "written"
    assert [p.name for p in path.parent.iterdir()] == ["unit"]


def test_what_is_kept_stays_whatever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.symlink_to("nowhere")
    assert WriteFile(str(path), "default\n", keep=True).do() == "kept"
    path.unlink()
    path.write_bytes(b"\xff mine")
    assert WriteFile(str(path), "default\n", keep=True).do() == "kept"
    assert path.read_bytes() == b"\xff mine"


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "unit").symlink_to("precious")
    assert WriteFile(str(tmp_path / "unit"), "text\n").do() == "written"
    assert (tmp_path / "precious").read_text() == "mine"


def test_directories_and_removal(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert (MakeDirectory(str(path), 0o750).do(), MakeDirectory(str(path)).do()) == ("made", "unchanged")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    (path / "file").touch()
    (tmp_path / "link").symlink_to(path)
    assert Remove(str(tmp_path / "link"), tree=True).do() == "removed"
    assert (path / "file").exists(), "a link is removed, not what it leads to"
    assert (Remove(str(path), tree=True).do(), Remove(str(path), tree=True).do()) == ("removed", "absent")


def test_failures_name_the_path_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for step in (WriteFile(f"{tmp_path}/file/x", ""), MakeDirectory(f"{tmp_path}/file/x/y")):
        with pytest.raises(InstallError, match=r"cannot (write|make) .*: (Not a directory|File exists)\."):
            step.do()
    with pytest.raises(InstallError, match=r"false: exit code 1\nLook at the unit"):
        Command(("false",), "Look at the unit.").do()
    with pytest.raises(InstallError, match="cannot be run: No such file"):
        Command(("no-such-command-here",), "Install it.").do()
    with pytest.raises(InstallError, match="there is no user"):
        WriteFile(f"{tmp_path}/x", "", owner=("no-such-user", "root")).do()
    assert Command(("false",), None).do() == "absent"


def test_a_command_that_hangs_has_a_deadline() -> None:
    assert failure(["sleep", "60"], seconds=0.1) == "no end within 0.1 s"
    assert failure(["sh", "-c", "echo why >&2; exit 3"]) == "why"
    assert output(["sh", "-c", "echo said; exit 3"]) is None
    assert output(["echo", "said"]) == "said\n"


def test_what_is_said_and_what_counts_as_a_change(tmp_path: Path) -> None:
    lines: list[str] = []
    steps: list[Step] = [
        WriteFile(f"{tmp_path}/unit", "x"),
        Command(("true",), "Never."),
        Command(("false",), None),
        Remove(f"{tmp_path}/none"),
    ]
    assert perform(steps, say=lines.append, dry_run=True) is False
    assert lines[0] == f"would write {tmp_path}/unit"
    assert os.listdir(tmp_path) == []
    lines.clear()
    assert perform(steps, say=lines.append) is True
    assert lines == [f"written    {tmp_path}/unit", "ran        true"]
    assert perform(steps, say=lines.append) is False


# the configuration that it begins with


def test_the_default_configuration_is_the_default() -> None:
    text = default_text(Wanted(scope="system"), SYSTEM, check="check", reload="reload")
    assert missing_in(text, Wanted(scope="system")) == []
    assert [line for line in text.splitlines() if line and line[0] not in "#["] == []
    assert "#retention_days = 30\n" in text
    assert '#metrics_dir = "/var/lib/coordd/metrics"\n' in text


def test_it_says_what_was_asked_for_and_is_read_back(tmp_path: Path) -> None:
    wanted = Wanted(scope="user", workspaces=("~/src/*", '/odd "name"\\x'), redis_url="redis://:p@h/1")
    text = default_text(wanted, USER, check="check", reload="reload")
    assert missing_in(text, wanted) == []
    path = tmp_path / "coordd.toml"
    path.write_text(text)
    home = {"HOME": "/home/ann", "XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "coordd").mkdir()
    path.rename(tmp_path / "coordd" / "coordd.toml")
    config = configured(
        choose_layout(name="user", workspaces=(), cwd="/", environ=home, platform="linux"), home
    )
    assert config.coordination.workspaces == ("/home/ann/src/*", '/odd "name"\\x')
    assert config.coordination.redis_url == "redis://:p@h/1"


def test_a_kept_file_lacks_what_it_does_not_say() -> None:
    wanted = Wanted(scope="user", workspaces=("/a", "/b"), redis_url="redis://h")
    kept = '[coordination]\nworkspaces = ["/b", "/c"]\n'
    assert missing_in(kept, wanted) == ['workspaces = ["/b", "/c", "/a"]', 'redis_url = "redis://h"']
    assert missing_in("", wanted)[0] == 'workspaces = ["/a", "/b"]'
    assert missing_in("no toml", wanted) == []


def test_workspaces_are_made_absolute_and_a_tilde_needs_a_person() -> None:
    asked = Wanted(scope="user", workspaces=("src/app", "~/x", "/a/../b", "src/app"))
    assert check_wanted(asked, "/home/ann").workspaces == ("/home/ann/src/app", "~/x", "/b")
    with pytest.raises(InstallError, match="in full"):
        check_wanted(Wanted(scope="system", workspaces=("~/x",)), "/")
    with pytest.raises(ConfigError, match="--redis-url"):
        check_wanted(Wanted(scope="user", redis_url="localhost:6379"), "/")


def test_what_a_purge_takes_is_coordds_own() -> None:
    assert data_directories(SYSTEM) == ["/etc/coordd", "/var/lib/coordd", "/var/log/coordd", "/run/coordd"]
    assert data_directories(USER) == ["/home/ann/.config/coordd", "/home/ann/.local/state/coordd"]
    mac = choose_layout(name="user", workspaces=(), cwd="/", environ={"HOME": "/Users/a"}, platform="darwin")
    assert data_directories(mac) == [
        "/Users/a/Library/Application Support/coordd",
        "/Users/a/Library/Logs/coordd",
    ]
