"""Test the paths of the layouts, and the order in which sockets are tried."""

import os
import socket
from pathlib import Path

import pytest

from coordd.protocol.paths import (
    address_problem,
    layout_locations,
    project_paths,
    socket_candidates,
    system_paths,
    user_paths,
    workspace_above,
)

HOME = {"HOME": "/home/ann"}


def test_the_user_layout_by_default() -> None:
    assert user_paths(HOME, "linux") == {
        "config_file": "/home/ann/.config/coordd/coordd.toml",
        "socket": "/home/ann/.local/state/coordd/run/coordd.sock",
        "metrics_dir": "/home/ann/.local/state/coordd/metrics",
        "log_dir": "/home/ann/.local/state/coordd/logs",
        "snapshot": "/home/ann/.local/state/coordd/snapshot.json",
    }


def test_the_user_layout_by_xdg() -> None:
    environ = {**HOME, "XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    assert user_paths(environ, "linux") == {
        "config_file": "/c/coordd/coordd.toml",
        "socket": "/run/user/7/coordd/coordd.sock",
        "metrics_dir": "/s/coordd/metrics",
        "log_dir": "/s/coordd/logs",
        "snapshot": "/s/coordd/snapshot.json",
    }


@pytest.mark.parametrize("value", ["", "relative/dir"])
def test_an_xdg_path_that_is_not_absolute_is_ignored(value: str) -> None:
    names = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
    assert user_paths({**HOME, **dict.fromkeys(names, value)}, "linux") == user_paths(HOME, "linux")


def test_macos_has_its_own_places() -> None:
    user, system = user_paths(HOME, "darwin"), system_paths("darwin")
    assert user["socket"] == "/home/ann/Library/Application Support/coordd/coordd.sock"
    assert user["log_dir"] == "/home/ann/Library/Logs/coordd"
    assert system["socket"] == "/usr/local/var/run/coordd/coordd.sock"
    assert system["metrics_dir"] == "/usr/local/var/lib/coordd/metrics"


def test_the_system_layout() -> None:
    assert system_paths("linux") == {
        "config_file": "/etc/coordd/coordd.toml",
        "socket": "/run/coordd/coordd.sock",
        "metrics_dir": "/var/lib/coordd/metrics",
        "log_dir": "/var/log/coordd",
        "snapshot": "/var/lib/coordd/snapshot.json",
    }


def test_the_order_of_search(tmp_path: Path) -> None:
    (tmp_path / ".claude" / "coordination").mkdir(parents=True)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    environ = {**HOME, "XDG_RUNTIME_DIR": "/run/user/7"}
    places = socket_candidates(None, environ, str(deep), "linux")
    assert [(p.layout, p.socket) for p in places] == [
        ("project", f"{tmp_path}/.claude/run/coordd.sock"),
        ("user", "/run/user/7/coordd/coordd.sock"),
        ("user", "/home/ann/.local/state/coordd/run/coordd.sock"),
        ("system", "/run/coordd/coordd.sock"),
    ]
    assert places[0].snapshot == f"{tmp_path}/.claude/run/snapshot.json"
    assert places[0].metrics_dir == f"{tmp_path}/.claude/metrics"


def test_a_named_socket_alone_decides(tmp_path: Path) -> None:
    environ = {**HOME, "COORDD_SOCKET": "/env.sock"}
    assert [p.socket for p in socket_candidates("/flag.sock", environ, str(tmp_path), "linux")] == [
        "/flag.sock"
    ]
    (place,) = socket_candidates(None, environ, str(tmp_path), "linux")
    assert (place.layout, place.socket, place.explicit) == ("$COORDD_SOCKET", "/env.sock", True)
    assert len(socket_candidates(None, {**environ, "COORDD_SOCKET": ""}, None, "linux")) > 1


def test_without_a_current_directory_the_rest_is_searched() -> None:
    assert [p.layout for p in layout_locations(HOME, None, "linux")] == ["user", "system"]


def test_the_nearest_workspace_counts_and_one_with_a_socket_alone_too(tmp_path: Path) -> None:
    (tmp_path / ".claude" / "coordination").mkdir(parents=True)
    inner = tmp_path / "inner"
    run = inner / ".claude" / "run"
    run.mkdir(parents=True)
    assert workspace_above(str(inner)) == str(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run / "coordd.sock"))
    assert workspace_above(str(inner)) == str(inner)
    assert workspace_above("/") is None


def test_project_paths_lie_below_the_workspace() -> None:
    assert set(map(os.path.dirname, project_paths("/w").values())) == {"/w/.claude", "/w/.claude/run"}


@pytest.mark.parametrize(("platform", "limit"), [("linux", 107), ("darwin", 103)])
def test_the_longest_address(platform: str, limit: int) -> None:
    assert address_problem("/" * limit, platform) is None
    assert "--socket" in str(address_problem("/" * (limit + 1), platform))
    assert address_problem("/" + "ü" * (limit // 2), platform) is None
    assert address_problem("/" + "ü" * (limit // 2 + 1), platform) is not None


def test_the_linux_limit_is_that_of_the_kernel(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + "x" * 107)  # abstract: the same 108 bytes, and nothing left behind
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError, match="too long"):
        listener.bind("/" * 109)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_is_none(path: str) -> None:
    assert "--socket" in str(address_problem(path, "linux"))


def test_where_anybody_may_write_only_ones_own_makes_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all, own = tmp_path / "tmp", tmp_path / "own"
    for directory in (open_to_all, own):
        (directory / ".claude" / "coordination").mkdir(parents=True)
        (directory / "mine").mkdir()
    open_to_all.chmod(0o1777)
    assert workspace_above(str(open_to_all / "mine")) == str(open_to_all), "it is this user's"
    lstat = os.lstat

    def another(path: str) -> os.stat_result:
        found = list(lstat(path))
        found[4] = 1234
        return os.stat_result(found)

    monkeypatch.setattr(os, "lstat", another)
    assert workspace_above(str(open_to_all / "mine")) is None
    assert workspace_above(str(open_to_all)) is None
    assert workspace_above(str(own / "mine")) == str(own), "nobody else can have put it there"
