"""Transcripts below projects/: which is found, and where one will probably appear."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.sources.claude_code import projects as projects_module
from coordd.sources.claude_code.projects import ProjectFolders, named_after


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("-a", "-b", "-c"):
        (tmp_path / "projects" / folder).mkdir(parents=True)
    return tmp_path


def folders(home: Path) -> ProjectFolders:
    projects = ProjectFolders(str(home))
    projects.look()
    return projects


@pytest.mark.parametrize("few", [0, 8], ids=["listed", "looked for"])
def test_transcripts_are_found_in_any_folder_the_latest_of_each(
    home: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(projects_module, "_FEW", few)
    for folder, name, at in (("-a", "x.jsonl", 2), ("-b", "x.jsonl", 3), ("-c", "y.jsonl", 1)):
        path = home / "projects" / folder / name
        path.write_text("{}")
        os.utime(path, (at, at))
    found = folders(home).find_all(("x.jsonl", "y.jsonl", "z.jsonl"))
    assert found == {
        "x.jsonl": f"{home}/projects/-b/x.jsonl",
        "y.jsonl": f"{home}/projects/-c/y.jsonl",
    }
    assert folders(home).find_all(("x.jsonl", "y.jsonl"), ("-a",)).keys() == {"x.jsonl"}


def test_the_likely_folder_comes_first_then_those_that_changed_last(home: Path) -> None:
    for folder, at in (("-a", 3), ("-b", 1), ("-c", 2)):
        os.utime(home / "projects" / folder, (at, at))
    projects = folders(home)
    assert projects.by_likelihood(["/b", None, "/nowhere"], 2) == ["-b", "-a"]
    assert projects.by_likelihood([], 2) == ["-a", "-c"]
    assert set(projects.by_likelihood(["/b"], 3)) == {"-a", "-b", "-c"}


def test_a_folder_that_appears_is_taken_in_and_nothing_else(home: Path) -> None:
    projects = folders(home)
    (home / "projects" / "-d").mkdir()
    (home / "projects" / "-link").symlink_to("-d")
    (home / "projects" / "file").write_text("")
    taken = [name for name in ("-d", "-link", "file", "-gone", "../sessions", "..") if projects.add(name)]
    assert taken == ["-d"]
    assert projects.names == {"-a", "-b", "-c", "-d"}


def test_projects_that_is_a_link_has_no_folders(home: Path) -> None:
    (home / "projects").rename(home / "away")
    (home / "projects").symlink_to("away")
    assert folders(home).names == set()


def test_a_folder_is_probably_named_after_a_directory() -> None:
    assert named_after("/home/a.b/c_d-é1") == "-home-a-b-c-d--1"
    assert named_after(None) == ""
