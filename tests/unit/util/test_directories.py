import os
import stat

import pytest

from coordd.util.directories import ensure_directory, open_directory


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_missing_parents_get_the_exact_mode(tmp_path, umask):
    old = os.umask(umask)
    try:
        assert ensure_directory(str(tmp_path / "a" / "b" / "c"), mode=0o750) is True
    finally:
        os.umask(old)
    assert [mode_of(tmp_path / p) for p in ("a", "a/b", "a/b/c")] == [0o750] * 3


def test_what_exists_stays_as_it_is(tmp_path):
    target = tmp_path / "a"
    target.mkdir()
    target.chmod(0o755)
    assert ensure_directory(str(target), mode=0o700, gitignore=True) is False
    assert mode_of(target) == 0o755
    assert os.listdir(target) == []


def test_only_the_directory_itself_gets_a_gitignore(tmp_path):
    ensure_directory(str(tmp_path / ".claude" / "metrics"), gitignore=True)
    assert (tmp_path / ".claude" / "metrics" / ".gitignore").read_text() == "*\n"
    assert os.listdir(tmp_path / ".claude") == ["metrics"]


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "a").touch()
    for path in ("a", "a/b"):
        with pytest.raises(NotADirectoryError):
            ensure_directory(str(tmp_path / path))


def test_a_link_to_a_directory_is_the_owners_choice_and_a_dangling_one_an_error(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert ensure_directory(str(tmp_path / "link")) is False
    with pytest.raises(FileNotFoundError):
        ensure_directory(str(tmp_path / "dangling"))
    assert not (tmp_path / "nowhere").exists()


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ensure_directory("x/y") is True
    assert (tmp_path / "x" / "y").is_dir()


def test_no_link_is_followed_below_a_project(tmp_path):
    project, outside = tmp_path / "project", tmp_path / "outside"
    (outside / "metrics").mkdir(parents=True)
    project.mkdir()
    (project / ".claude").symlink_to(outside)
    for path in (".claude", ".claude/metrics", ".claude/run"):
        with pytest.raises(NotADirectoryError):
            open_directory(str(project / path), root=str(project), make=True)
    assert sorted(os.listdir(outside)) == ["metrics"]


@pytest.mark.parametrize("target", ["inside", "/absolute", "up/../inside", "chain"])
def test_links_of_ones_own_are_followed_elsewhere(tmp_path, target):
    (tmp_path / "inside").mkdir()
    (tmp_path / "up").mkdir()
    (tmp_path / "chain").symlink_to("inside")
    (tmp_path / "link").symlink_to(str(tmp_path / "inside") if target == "/absolute" else target)
    with open_directory(str(tmp_path / "link" / "made"), make=True) as directory:
        assert directory.made
        assert directory.in_place()
        assert (tmp_path / "inside" / "made").is_dir()


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(NotADirectoryError):
        open_directory(str(tmp_path / "a"))


@pytest.mark.root
def test_a_link_of_another_user_is_refused(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(PermissionError):
        open_directory(str(tmp_path / "link"))


@pytest.mark.parametrize("inside_project", [True, False])
def test_what_takes_the_name_is_noticed(tmp_path, inside_project):
    target = tmp_path / "p" / "metrics"
    root = str(tmp_path / "p") if inside_project else None
    (tmp_path / "p").mkdir()
    with open_directory(str(target), root=root, make=True) as directory:
        target.rename(tmp_path / "p" / "old")
        assert not directory.in_place()
        assert directory.free()
        target.symlink_to("old")
        # elsewhere a link of one's own that leads to the same directory is a choice
        assert directory.in_place() is not inside_project
        assert not directory.free()
        target.unlink()
        target.mkdir()
        assert not directory.in_place()
        os.mkdir("x", dir_fd=directory.fd)
        assert (tmp_path / "p" / "old" / "x").is_dir()
