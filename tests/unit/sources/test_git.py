"""Test which work trees belong together, by what git itself writes and by what strangers write."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from coordd.sources.git import linked_work_tree, main_work_tree, repository_of, top_level

if shutil.which("git") is None:
    raise RuntimeError("these tests need git: .ci/run installs it")


def git(where: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=where, check=True, capture_output=True, timeout=30)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "-q")
    git(path, "commit", "-q", "--allow-empty", "-m", "one")
    return path


@pytest.fixture
def tree(app: Path, tmp_path: Path) -> Path:
    git(app, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    return tmp_path / "tree"


def entry(app: Path) -> str:
    return str(app / ".git" / "worktrees" / "tree")


def test_each_names_the_other(app: Path, tree: Path) -> None:
    assert repository_of(str(app)) == str(app / ".git")
    assert linked_work_tree(entry(app)) == str(tree)
    assert main_work_tree(str(tree)) == str(app)
    (tree / "a").mkdir()
    assert top_level(str(tree / "a")) == str(tree)
    assert repository_of(str(tree)) is None


def test_relative_pointers_count_as_newer_gits_write_them(app: Path, tree: Path) -> None:
    (Path(entry(app)) / "gitdir").write_text(os.path.relpath(tree / ".git", entry(app)) + "\n")
    (tree / ".git").write_text("gitdir: " + os.path.relpath(entry(app), tree) + "\n")
    assert linked_work_tree(entry(app)) == str(tree)


@pytest.mark.parametrize(
    "back", ["", "gitdir: /nowhere\n", "gitdir:", "x\n", "gitdir: a\nb\n", "gitdir: \0\n", None]
)
def test_a_tree_that_does_not_say_so_is_not_linked(app: Path, tree: Path, back: str | None) -> None:
    (tree / ".git").unlink()
    if back is not None:
        (tree / ".git").write_text(back)
    assert linked_work_tree(entry(app)) is None


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "large", "bytes", "gone", "elsewhere"])
def test_strange_entries_lead_nowhere(app: Path, tree: Path, tmp_path: Path, kind: str) -> None:
    pointer = Path(entry(app)) / "gitdir"
    pointer.unlink()
    if kind == "fifo":
        os.mkfifo(pointer)
    elif kind == "link":
        pointer.symlink_to("/dev/zero")
    elif kind == "directory":
        pointer.mkdir()
    elif kind == "large":
        pointer.write_text("x" * 100_000)
    elif kind == "bytes":
        pointer.write_bytes(b"\xff\xfe/.git\n")
    elif kind == "elsewhere":
        pointer.write_text(f"{tree}/other\n")
    assert linked_work_tree(entry(app)) is None


def test_a_repository_that_a_file_names_counts_in_the_project_alone(app: Path, tmp_path: Path) -> None:
    bare = tmp_path / "work"
    bare.mkdir()
    git(bare, "clone", "-q", "--bare", str(app), str(bare / ".bare"))
    (bare / ".git").write_text("gitdir: ./.bare\n")
    assert repository_of(str(bare)) == str(bare / ".bare")
    for words in (
        f"gitdir: {app}/.git\n",
        "gitdir: ../app/.git\n",
        "gitdir: .bare/none\n",
        "gitdir: .\n",
        "x",
    ):
        (bare / ".git").write_text(words)
        assert repository_of(str(bare)) is None
    (bare / ".git").unlink()
    (bare / ".git").symlink_to(app / ".git")
    assert repository_of(str(bare)) is None


def test_an_empty_git_directory_is_no_repository(app: Path) -> None:
    inner = app / "inner"
    (inner / ".git").mkdir(parents=True)
    assert top_level(str(inner)) == str(app)
    git(inner, "init", "-q")
    assert top_level(str(inner)) == str(inner)
