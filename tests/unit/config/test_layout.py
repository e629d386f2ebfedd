"""Test which layout is chosen, where its files lie, and that a clone cannot lead coordd elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from coordd.config.layout import Layout, check_project_directories, choose_layout
from coordd.errors import StartError

ENVIRON = {"HOME": "/home/ann", "XDG_RUNTIME_DIR": "/run/user/1000"}


def choose(cwd: Path | str, *workspaces: str, name: str | None = None) -> Layout:
    return choose_layout(name=name, workspaces=workspaces, cwd=str(cwd), environ=ENVIRON, platform="linux")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "app"
    (root / ".claude" / "coordination").mkdir(parents=True)
    (root / "src" / "deep").mkdir(parents=True)
    return root


def test_one_named_workspace_is_a_project(tmp_path: Path) -> None:
    layout = choose("/", str(tmp_path))
    claude = tmp_path / ".claude"
    assert layout == Layout(
        name="project",
        root=str(tmp_path),
        config_file=str(claude / "coordd.toml"),
        socket=str(claude / "run" / "coordd.sock"),
        metrics_dir=str(claude / "metrics"),
        log_dir=str(claude / "logs"),
        snapshot=str(claude / "run" / "snapshot.json"),
    )


def test_a_relative_workspace_is_taken_from_the_current_directory(tmp_path: Path) -> None:
    assert choose(tmp_path, "app/../lib").root == str(tmp_path / "lib")


def test_a_tilde_that_the_shell_left_alone_is_home() -> None:
    assert choose("/", "~/src/app").root == "/home/ann/src/app"


def test_inside_a_workspace_it_is_that_project(project: Path) -> None:
    assert choose(project / "src" / "deep").root == str(project)
    assert choose(project).name == "project"


def test_the_nearest_workspace_wins(project: Path) -> None:
    inner = project / "src"
    (inner / ".claude" / "coordination").mkdir(parents=True)
    assert choose(inner / "deep").root == str(inner)


@pytest.mark.parametrize("workspaces", [("a", "b"), ("src/*",)])
def test_several_workspaces_or_a_pattern_make_it_the_user_layout(
    project: Path, workspaces: Sequence[str]
) -> None:
    assert choose(project, *workspaces).name == "user"


def test_a_directory_whose_name_looks_like_a_pattern_is_a_project(tmp_path: Path) -> None:
    (tmp_path / "[old]").mkdir()
    assert choose(tmp_path, "[old]").root == str(tmp_path / "[old]")


def test_outside_of_any_workspace_it_is_the_user_layout(tmp_path: Path) -> None:
    layout = choose(tmp_path)
    assert (layout.name, layout.root) == ("user", None)
    assert layout.socket == "/run/user/1000/coordd/coordd.sock"
    assert layout.config_file == "/home/ann/.config/coordd/coordd.toml"
    assert layout.metrics_dir == "/home/ann/.local/state/coordd/metrics"


@pytest.mark.parametrize(
    ("name", "socket"), [("system", "/run/coordd/coordd.sock"), ("user", ENVIRON["XDG_RUNTIME_DIR"])]
)
def test_a_given_name_wins(project: Path, name: str, socket: str) -> None:
    layout = choose(project, str(project), name=name)
    assert layout.name == name
    assert layout.root is None
    assert layout.socket.startswith(socket)


def test_the_project_layout_without_a_workspace_uses_the_current_directory(tmp_path: Path) -> None:
    assert choose(tmp_path, name="project").root == str(tmp_path)


def test_the_project_layout_asked_for_inside_a_workspace_is_that_workspace(project: Path) -> None:
    assert choose(project / "src", name="project").root == str(project)


def test_the_project_layout_has_one_workspace(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="one workspace"):
        choose(tmp_path, "a", "b", name="project")


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(StartError, match=r"'sytem'.*project, user or system"):
        choose("/", name="sytem")


@pytest.mark.parametrize("part", [".claude", ".claude/run", ".claude/metrics", ".claude/logs"])
@pytest.mark.parametrize("kind", ["outside", "inside", "dangling", "circle"])
def test_a_link_below_the_project_is_refused_wherever_it_leads(tmp_path: Path, part: str, kind: str) -> None:
    root = tmp_path / "clone"
    link = root / part
    link.parent.mkdir(parents=True)
    targets = {"outside": tmp_path / "secrets", "inside": root / "var", "dangling": tmp_path / "none"}
    target = targets.get(kind, link)
    if kind in ("outside", "inside"):
        target.mkdir()
    link.symlink_to(target)
    with pytest.raises(StartError, match="is a symbolic link") as caught:
        check_project_directories(choose("/", str(root)))
    assert str(target) in str(caught.value)


def test_an_honest_project_passes_and_goes_by_its_canonical_path(project: Path, tmp_path: Path) -> None:
    way = tmp_path / "way"
    way.symlink_to(project)
    check_project_directories(choose("/", str(project)))
    check_project_directories(choose("/", str(way)))
    check_project_directories(choose("/", name="user"))
    assert choose("/", str(way)).root == choose(way / "src").root == str(project)
    assert choose("/", str(way)).socket == str(project / ".claude" / "run" / "coordd.sock")
    assert not os.path.lexists(project / ".claude" / "metrics")
