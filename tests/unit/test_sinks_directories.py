import os
import stat

import pytest

from coordd.directories import ensure_directory


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
    with pytest.raises(NotADirectoryError):
        ensure_directory(str(tmp_path / "dangling"))


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ensure_directory("x/y") is True
    assert (tmp_path / "x" / "y").is_dir()
