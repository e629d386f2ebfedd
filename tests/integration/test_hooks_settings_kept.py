"""``coordctl hooks`` changes the content of settings, and nothing else about the file, whoever looks."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from settings_user import User

from coordd.cli.hooks.acting import owner_among
from coordd.cli.hooks.entries import ENTRIES
from coordd.cli.hooks.places import Settings
from coordd.cli.hooks.settings_file import HooksError, read, replace

CONTENT = b'\xef\xbb\xbf{\r\n  "model": "opus"\r\n}'
ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
WEAK = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-chown,-fowner,-fsetid")
    if shutil.which("setpriv")
    else ()
)


def acl(*, user: int) -> bytes:
    """Return an ACL that lets a further user read, as the kernel keeps it (acl(5))."""
    none = 0xFFFF_FFFF
    entries = [(0x01, 6, none), (0x02, 4, user), (0x04, 4, none), (0x10, 4, none), (0x20, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


def state(path: Path) -> dict[str, object]:
    """Return all that is to stay: what stat(2) says but times and size, and the extended attributes."""
    one = path.stat()
    return {
        "mode": one.st_mode,
        "owner": (one.st_uid, one.st_gid),
        "links": one.st_nlink,
        "attributes": {name: os.getxattr(path, name) for name in os.listxattr(path)},
    }


@pytest.fixture
def user(tmp_path: Path) -> User:
    one = User(tmp_path)
    one.settings.write_bytes(CONTENT)
    return one


def _link(path: Path) -> None:
    os.link(path, path.with_name("other name"))


def _attribute(path: Path) -> None:
    try:
        os.setxattr(path, "user.origin", b"dotfiles")
    except OSError:
        pytest.skip("this file system has no extended attributes")


def _acl(path: Path) -> None:
    _attribute(path)
    os.setxattr(path, ACL, acl(user=12345))


def _folders_acl(path: Path) -> None:
    """Files that are made in the folder get an ACL, which this one has not."""
    _attribute(path)
    path.chmod(0o600)
    os.setxattr(path.parent, DEFAULT_ACL, acl(user=12345))


def _mode(path: Path) -> None:
    path.chmod(0o4664)


@pytest.mark.skipif(sys.platform != "linux", reason="extended attributes are Linux's here")
@pytest.mark.parametrize("prepare", [_link, _attribute, _acl, _folders_acl, _mode])
def test_all_but_the_content_stays(user: User, prepare: Callable[[Path], None]) -> None:
    prepare(user.settings)
    before, names = state(user.settings), sorted(os.listdir(user.settings.parent))
    user.ctl("hooks", "install")
    assert len(user.hooks()) == len(ENTRIES)
    assert state(user.settings) == before
    user.ctl("hooks", "uninstall")
    assert state(user.settings) == before
    for name in names:
        assert (user.settings.parent / name).read_bytes() == CONTENT
    assert sorted(os.listdir(user.settings.parent)) == names


def _as_plain_root(user: User, command: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WEAK, *prefix, sys.executable, "-m", "coordd.cli", "hooks", command],
        env=user.environ,
        cwd=user.home,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.root
@pytest.mark.skipif(not WEAK, reason="needs setpriv")
@pytest.mark.parametrize("obstacle", ["folder", "owner"])
def test_a_file_that_can_be_written_is_enough(user: User, obstacle: str) -> None:
    """Its folder cannot, or it is another's, whose group may write to it."""
    if obstacle == "folder":
        user.settings.parent.chmod(0o500)
    else:
        os.chown(user.settings, 65534, 0)
        user.settings.chmod(0o664)
    before = state(user.settings)
    for command in ("install", "uninstall"):
        done = _as_plain_root(user, command)
        assert done.returncode == 0, done.stderr
        assert state(user.settings) == before
        assert (b"coordd/hook" in user.settings.read_bytes()) == (command == "install")
    assert user.settings.read_bytes() == CONTENT


@pytest.mark.root
def test_a_file_that_is_mounted_into_its_place_is_written(user: User) -> None:
    """As containers have single files of the host's."""
    ours = user.home / "ours.json"
    ours.write_bytes(CONTENT)
    text = f"""set -e
        mount --bind {ours} {user.settings}
        {sys.executable} -m coordd.cli hooks install
        cp {ours} {ours}.installed
        {sys.executable} -m coordd.cli hooks uninstall"""
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", text],
        env=user.environ,
        check=True,
        timeout=60,
    )
    assert b"coordd/hook" in Path(f"{ours}.installed").read_bytes()
    assert ours.read_bytes() == user.settings.read_bytes() == CONTENT


@pytest.mark.root
def test_a_full_disk_leaves_what_is_written_in_place_whole(user: User) -> None:
    folder = user.settings.parent
    text = f"""set -e
        mount -t tmpfs -o size=12k tmpfs {folder}.new
        cp {user.settings} {folder}.new/
        ln {folder}.new/settings.json {folder}.new/other
        head -c 100000 /dev/zero >{folder}.new/full || true
        mount --move {folder}.new {folder}
        ! {sys.executable} -m coordd.cli hooks install
        cat {user.settings}"""
    (user.home / ".claude.new").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", text],
        env=user.environ,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert b"No space left on device; it is as it was" in done.stderr
    assert done.stdout.endswith(CONTENT)


@pytest.mark.parametrize("command", ["install", "uninstall", "print"])
def test_a_relative_home_is_refused(user: User, command: str) -> None:
    before = user.files()
    said = user.ctl("hooks", command, code=1, HOME="home", cwd=user.home.parent)
    assert "HOME is home, no absolute path" in said
    assert user.files() == before
    assert os.listdir(user.home.parent) == ["home"]


def test_a_relative_config_dir_is_where_the_command_is_typed(user: User, tmp_path: Path) -> None:
    """As it is for a Claude Code that is started there; relative XDG directories count nowhere."""
    relative = {"CLAUDE_CONFIG_DIR": "mine", "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state"}
    said = user.ctl("hooks", "install", cwd=tmp_path, **relative)
    assert "the hook is ~/.local/share/coordd/hook" in said
    assert len(user.hooks(tmp_path / "mine/settings.json")) == len(ENTRIES)
    assert sorted(os.listdir(tmp_path)) == ["home", "mine"]
    user.ctl("hooks", "uninstall")  # from elsewhere: it is known by its whole path
    assert not (tmp_path / "mine/settings.json").exists()


@pytest.mark.root
def test_root_is_sent_to_whose_home_it_is(user: User) -> None:
    os.chown(user.home, 65534, 65534)
    before = user.files()
    for command in ("install", "uninstall"):
        said = user.ctl("hooks", command, code=1)
        assert f"to have it done by nobody: sudo -H -u nobody coordctl hooks {command}" in said
    assert "PreToolUse" in user.ctl("hooks", "print")
    assert user.files() == before


@pytest.fixture
def theirs(open_directory: Path) -> Path:
    """A project of another user's, as a container has it whose root works in a project of the host's user."""
    project = open_directory / "app"
    project.mkdir()
    os.chown(project, 65534, 65534)
    return project


@pytest.mark.root
def test_what_root_makes_in_a_project_is_its_owners(user: User, theirs: Path) -> None:
    user.ctl("-w", str(theirs), "hooks", "install", "--project")
    for path in (theirs / ".claude", theirs / ".claude/settings.local.json"):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)
    assert stat.S_IMODE((theirs / ".claude/settings.local.json").stat().st_mode) & 0o600 == 0o600
    user.ctl("-w", str(theirs), "hooks", "uninstall", "--project")
    assert not (theirs / ".claude/settings.local.json").exists()


@pytest.mark.root
@pytest.mark.parametrize("there", [None, b"{}"])
def test_root_follows_no_link_that_the_owner_of_a_project_puts_there_meanwhile(
    theirs: Path, open_directory: Path, there: bytes | None
) -> None:
    """Between reading and writing the folder becomes a link to what root alone may write to."""
    roots = open_directory / "roots"
    roots.mkdir()
    if there is not None:
        for folder in (theirs / ".claude", roots):
            folder.mkdir(exist_ok=True)
            (folder / "settings.local.json").write_bytes(there)
        for path in (theirs / ".claude", theirs / ".claude/settings.local.json"):
            os.chown(path, 65534, 65534)
    one = Settings(
        f"{theirs}/.claude/settings.local.json", str(theirs), owner_among((str(theirs), f"{theirs}/.claude"))
    )
    file = read(one.path, within=one.within, owner=one.owner)
    if there is not None:
        (theirs / ".claude").rename(theirs / "was")
    (theirs / ".claude").symlink_to(roots)
    with pytest.raises(HooksError, match="cannot be written as uid 65534, whose it is: Permission denied"):
        replace(file, b'{"hooks": {}}')
    assert os.geteuid() == 0
    assert {path.name: path.read_bytes() for path in roots.iterdir()} == (
        {} if there is None else {"settings.local.json": there}
    )


@pytest.mark.root
def test_root_reads_no_file_of_its_own_for_the_owner_of_a_project(user: User, theirs: Path) -> None:
    (theirs / ".claude").mkdir()
    secret = theirs / "secret.json"
    secret.write_bytes(b"{}")
    secret.chmod(0o600)
    (theirs / ".claude/settings.local.json").symlink_to(secret)
    said = user.ctl("-w", str(theirs), "hooks", "install", "--project", code=1)
    assert "cannot be read as uid 65534, whose it is: Permission denied" in said
    assert secret.read_bytes() == b"{}"
