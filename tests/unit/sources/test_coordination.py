"""Test which workspace a path leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.sources.coordination import COORDINATION, Resolver


def project(path: Path) -> Path:
    (path / COORDINATION).mkdir(parents=True)
    return path


def link(path: Path, to: Path | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)
    return path


def resolved(path: Path) -> tuple[str, str]:
    found = Resolver().resolve(str(path))
    return found.name, found.folder


def test_a_project_without_links_is_itself_whether_or_not_it_exists(tmp_path: Path) -> None:
    app = project(tmp_path / "app")
    assert resolved(app) == (str(app), f"{app}/{COORDINATION}")
    found = Resolver().resolve(f"{app}/../app/./")
    assert (found.name, found.direct, found.links) == (str(app), True, ())
    missing = Resolver().resolve(str(tmp_path / "none"))
    assert (missing.name, missing.identity, missing.error) == (str(tmp_path / "none"), None, None)


@pytest.mark.parametrize("part", ["", ".claude", COORDINATION])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_another_project_names_that(
    tmp_path: Path, part: str, relative: bool, exists: bool
) -> None:
    main = tmp_path / "main"
    if exists:
        project(main)
    place, target = tmp_path / "tree" / part, main / part
    link(place, os.path.relpath(target, place.parent) if relative else target)
    found = Resolver().resolve(str(tmp_path / "tree"))
    assert (found.name, found.folder, found.direct) == (str(main), f"{main}/{COORDINATION}", True)
    assert found.links == ((str(place.parent), place.name),)
    assert (found.identity is not None) == exists


def test_links_to_links_end_where_they_end(tmp_path: Path) -> None:
    main = project(tmp_path / "disk" / "main")
    link(tmp_path / "src", tmp_path / "disk")
    link(tmp_path / "one" / ".claude", tmp_path / "src" / "main" / ".claude")
    link(tmp_path / "two" / ".claude", "../one/.claude")
    found = Resolver().resolve(str(tmp_path / "two"))
    assert found.name == str(main)
    assert {name for _, name in found.links} == {".claude", "src"}
    assert len(found.links) == 3


def test_a_folder_that_is_no_projects_leaves_the_name(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link(tmp_path / "app" / COORDINATION, tmp_path / "shared")
    found = Resolver().resolve(str(tmp_path / "app"))
    assert (found.name, found.folder, found.direct) == (
        str(tmp_path / "app"),
        str(tmp_path / "shared"),
        False,
    )


def test_circles_and_what_is_no_directory_are_no_workspace(tmp_path: Path) -> None:
    link(tmp_path / "a" / ".claude", tmp_path / "b" / ".claude")
    link(tmp_path / "b" / ".claude", tmp_path / "a" / ".claude")
    found = Resolver().resolve(str(tmp_path / "a"))
    assert (found.identity, found.name) == (None, str(tmp_path / "a"))
    assert found.error is not None
    (tmp_path / "c" / ".claude").mkdir(parents=True)
    (tmp_path / "c" / COORDINATION).touch()
    assert Resolver().resolve(str(tmp_path / "c")).identity is None
    assert Resolver().resolve(str(tmp_path / "nul\0")).identity is None


@pytest.mark.root
@pytest.mark.parametrize("part", ["", ".claude", COORDINATION])
@pytest.mark.parametrize(
    ("owner", "target", "followed"), [(0, 1001, True), (1001, 1001, True), (1002, 1001, False)]
)
def test_a_link_counts_by_its_owner(
    tmp_path: Path, part: str, owner: int, target: int, followed: bool
) -> None:
    main = project(tmp_path / "main")
    for path in (main, main / ".claude", main / COORDINATION):
        os.chown(path, target, target)
    os.chown(link(tmp_path / "tree" / part, main / part), owner, owner, follow_symlinks=False)
    found = Resolver().resolve(str(tmp_path / "tree"))
    assert (found.refusal is None) == followed
    if found.refusal is not None:
        assert f"a link of uid {owner} to what is uid {target}'s" in found.refusal


def test_what_may_not_be_touched_is_a_guess_and_not_remembered(tmp_path: Path) -> None:
    main = project(tmp_path / "main")
    link(tmp_path / "tree", main)
    closed = [str(tmp_path / "tree")]
    resolver = Resolver(lambda path: path not in closed)
    found = resolver.resolve(str(tmp_path / "tree"))
    assert (found.name, found.untouched) == (str(tmp_path / "tree"), True)
    closed.clear()
    assert resolver.resolve(str(tmp_path / "tree")).name == str(main)
