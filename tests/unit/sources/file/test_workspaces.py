"""Test how configured entries become workspaces, on real directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.sources.file import search
from coordd.sources.file.workspaces import expand


def workspace(path: Path) -> str:
    (path / ".claude" / "coordination").mkdir(parents=True)
    return str(path)


def test_an_entry_without_a_pattern_is_kept_whether_or_not_it_exists(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    bare = tmp_path / "bare"
    bare.mkdir()
    found = expand([missing, f"{bare}/../bare/."])
    assert found.paths == (missing, str(bare))
    assert found.explicit == {missing, str(bare)}


def test_a_pattern_finds_the_directories_that_hold_a_coordination_folder(tmp_path: Path) -> None:
    app = workspace(tmp_path / "app")
    workspace(tmp_path / ".hidden")
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "half" / ".claude").mkdir(parents=True)
    found = expand([f"{tmp_path}/*"])
    assert found.paths == (app,)
    assert found.explicit == frozenset()
    assert expand([f"{tmp_path}/.h*"]).paths == (f"{tmp_path}/.hidden",)


def test_a_pattern_is_looked_at_anew_each_time(tmp_path: Path) -> None:
    assert expand([f"{tmp_path}/*"]).paths == ()
    app = workspace(tmp_path / "app")
    assert expand([f"{tmp_path}/*"]).paths == (app,)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    app = workspace(tmp_path / "src" / "app")
    assert expand(["~/src/*", "~/other"]).paths == (f"{tmp_path}/other", app)


def test_one_directory_is_one_workspace_by_whatever_name(tmp_path: Path) -> None:
    app = workspace(tmp_path / "app")
    (tmp_path / "link").symlink_to(app)
    link = str(tmp_path / "link")
    (found,) = expand([f"{tmp_path}/*", link, app]).found
    assert (found.path, found.aliases) == (app, (link,))
    assert expand([app, app]).paths == (app,)


def test_a_directory_that_is_called_like_a_pattern_is_meant_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "a[1]"
    odd.mkdir()
    found = expand([str(odd)])
    assert found.paths == (str(odd),)
    assert found.explicit == {str(odd)}


def test_a_pattern_is_bounded(tmp_path: Path) -> None:
    for number in range(5):
        workspace(tmp_path / str(number))
    found = expand([f"{tmp_path}/*"], max_matches=3)
    assert len(found.paths) == 3
    assert len(found.problems) == 1


def test_a_name_that_no_record_can_carry_is_left_out_and_said(tmp_path: Path) -> None:
    os.makedirs(os.fsencode(tmp_path) + b"/\xff/.claude/coordination")
    app = workspace(tmp_path / "app")
    found = expand([f"{tmp_path}/*"])
    assert found.paths == (app,)
    assert r"\xff" in found.problems[0]


def test_any_depth_is_bounded_follows_no_link_and_passes_over_what_is_no_project(tmp_path: Path) -> None:
    src = tmp_path / "src"
    found = {workspace(src), workspace(src / "a"), workspace(src / "a" / "b" / "c")}
    found.add(workspace(src / "1" / "2" / "3" / "4" / "5" / "6"))
    workspace(src / "1" / "2" / "3" / "4" / "5" / "6" / "7")
    for name in (".git", "node_modules", ".hidden"):
        workspace(src / name / "x")
    (src / "loop").symlink_to(src)
    workspace(tmp_path / "outside")
    (src / "away").symlink_to(tmp_path / "outside")
    assert set(expand([f"{src}/**"]).paths) == found
    assert set(expand([f"{src}/**/c"]).paths) == {str(src / "a" / "b" / "c")}
    assert set(expand([f"{src}/**/*"]).paths) == found | {
        str(src / "1" / "2" / "3" / "4" / "5" / "6" / "7"),
        str(tmp_path / "outside"),
    }


def test_names_that_are_passed_over_can_be_spelled_out(tmp_path: Path) -> None:
    apps = [workspace(tmp_path / "one" / name) for name in ("node_modules", ".git", ".hidden")]
    assert expand([f"{tmp_path}/one/*"]).paths == ()
    assert expand([f"{tmp_path}/one/.*"]).paths == (apps[2],)
    assert [expand([f"{tmp_path}/*/{name}"]).paths for name in ("node_modules", ".git")] == [
        (apps[0],),
        (apps[1],),
    ]


def test_a_directory_that_cannot_be_listed_hides_only_what_is_in_it(tmp_path: Path) -> None:
    app = workspace(tmp_path / "a" / "app")
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert expand([f"{tmp_path}/*/*"]).paths == (app,)


def test_a_search_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_LISTED", 3)
    near = workspace(tmp_path / "z")
    workspace(tmp_path / "a" / "b" / "c" / "d")
    found = expand([f"{tmp_path}/**"])
    assert found.paths == (near,)  # what is near comes first
    assert "directories" in found.problems[0]


def test_a_folder_that_comes_while_it_is_looked_for_is_found(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()

    def watch(
        path: str, names: frozenset[str] = frozenset(), pattern: object = None, *, any_change: bool = False
    ) -> bool:
        if path == str(tmp_path / "app"):
            workspace(tmp_path / "app")
        return True

    assert expand([f"{tmp_path}/*"], watch=watch).paths == (str(tmp_path / "app"),)
