"""The workspace and the project that a working directory lies in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from coordd.sources.git import MAX_DEPTH
from coordd.sources.sessions.work_tree import Place, place_of, unresolved


def git(where: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e", *words],
        cwd=where,
        check=True,
        capture_output=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def app(root: Path) -> Path:
    app = root / "app"
    (app / "src" / "deep").mkdir(parents=True)
    git(app, "init", "-q")
    git(app, "commit", "-q", "--allow-empty", "-m", "one")
    return app


def test_a_directory_without_git_is_its_own_workspace(root: Path) -> None:
    (root / "plain").mkdir()
    assert place_of(str(root / "plain")) == Place(str(root / "plain"), str(root / "plain"))


def test_the_top_level_of_a_work_tree_is_the_workspace(app: Path) -> None:
    assert place_of(str(app / "src" / "deep")) == Place(str(app), str(app))


def test_a_linked_worktree_is_a_workspace_of_the_same_project(app: Path, root: Path) -> None:
    git(app, "worktree", "add", "-q", "../other")
    (root / "other" / "src").mkdir()
    assert place_of(str(root / "other" / "src")) == Place(str(root / "other"), str(app))
    git(app, "worktree", "add", "-q", ".claude/worktrees/w")
    inner = app / ".claude" / "worktrees" / "w"
    assert place_of(str(inner)) == Place(str(inner), str(app))


def test_a_worktree_of_a_bare_repository_groups_by_that(root: Path) -> None:
    git() if False else None
    (root / "one").mkdir()
    own = root / "app.git" / "worktrees" / "one"
    own.mkdir(parents=True)
    (own / "commondir").write_text("../..\n")
    (own / "gitdir").write_text(f"{root}/one/.git\n")
    (root / "one" / ".git").write_text(f"gitdir: {own}\n")
    assert place_of(str(root / "one")) == Place(str(root / "one"), str(root / "app.git"))


def test_a_submodule_is_its_own_project(app: Path) -> None:
    sub = app / "vendor"
    sub.mkdir()
    (app / ".git" / "modules" / "vendor").mkdir(parents=True)
    (sub / ".git").write_text("gitdir: ../.git/modules/vendor\n")
    assert place_of(str(sub)) == Place(str(sub), str(sub))


def test_a_stranger_cannot_claim_to_be_of_another_project(app: Path, root: Path) -> None:
    git(app, "worktree", "add", "-q", "../other")
    (root / "evil").mkdir()
    (root / "evil" / ".git").write_text((root / "other" / ".git").read_text())
    assert place_of(str(root / "evil")) == Place(str(root / "evil"), str(root / "evil"))


@pytest.mark.parametrize("where", ["meta", "worktrees/meta", ".git-link/worktrees/meta"])
def test_what_only_a_tree_itself_says_makes_it_of_no_other_project(app: Path, root: Path, where: str) -> None:
    """As in a clone of a stranger's repository, which brings a gitdir of its own along."""
    evil = root / "evil"
    evil.mkdir()
    (evil / ".git-link").symlink_to(evil)
    meta = evil / where
    meta.mkdir(parents=True)
    (meta / "commondir").write_text(f"{app}/.git\n")
    (meta / "gitdir").write_text(f"{evil}/.git\n")
    (evil / ".git").write_text(f"gitdir: {where}\n")
    assert place_of(str(evil)) == Place(str(evil), str(evil))


def test_a_worktree_that_its_project_does_not_name_is_a_project_of_its_own(app: Path, root: Path) -> None:
    git(app, "worktree", "add", "-q", "../other")
    (app / ".git" / "worktrees" / "other" / "gitdir").write_text(f"{root}/elsewhere/.git\n")
    assert place_of(str(root / "other")) == Place(str(root / "other"), str(root / "other"))
    (app / ".git" / "worktrees" / "other" / "gitdir").unlink()
    assert place_of(str(root / "other")) == Place(str(root / "other"), str(root / "other"))


@pytest.mark.parametrize(
    "content", ["", "nonsense", "gitdir: /nowhere", "gitdir:\0", "gitdir: a\nb", "x" * 99999]
)
def test_a_git_file_may_hold_anything(root: Path, content: str) -> None:
    (root / ".git").write_text(content)
    assert place_of(str(root)) == Place(str(root), str(root))


def test_a_git_that_is_a_fifo_blocks_nobody(root: Path) -> None:
    os.mkfifo(root / ".git")
    assert place_of(str(root)) == Place(str(root), str(root))


def test_a_link_is_followed_to_where_it_leads(app: Path, root: Path) -> None:
    (root / "link").symlink_to(app / "src")
    assert place_of(str(root / "link")) == Place(str(app), str(app))


def test_a_configured_workspace_wins(app: Path, root: Path) -> None:
    inside = str(app / "src")
    assert place_of(str(app / "src" / "deep"), {inside: inside}) == Place(inside, str(app))
    assert (
        place_of(str(app / "src" / "deep"), {path: path for path in (str(root), inside, str(app))}).workspace
        == inside
    )
    assert place_of(str(app / "src"), {str(app / "sr"): str(app / "sr")}).workspace == str(app)


def test_a_directory_that_was_removed_is_placed_all_the_same(app: Path) -> None:
    assert place_of(str(app / "gone" / "deeper")) == Place(str(app), str(app))


def test_no_more_than_so_many_directories_are_looked_into(root: Path) -> None:
    (root / ".git").mkdir()
    deep = str(root) + "/d" * (MAX_DEPTH + 1)
    assert place_of(deep) == Place(deep, deep)


def test_what_does_not_answer_is_its_own_workspace() -> None:
    assert unresolved("/a/b/../c") == Place("/a/c", "/a/c")
