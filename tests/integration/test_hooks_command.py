"""``coordctl hooks`` as a user types it: settings of many shapes get hooks, and are then what they were."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from settings_user import User

from coordd.cli.hooks.entries import ENTRIES, is_ours
from coordd.cli.hooks.script import SHIPPED

SHAPES = {
    "usual": b'{\n  "model": "opus",\n  "permissions": {\n    "allow": ["Bash(ls:*)"]\n  }\n}\n',
    "empty": b"",
    "blank": b"\n\n",
    "an empty object": b"{}",
    "empty hooks": b'{\n  "hooks": {}\n}\n',
    "an empty list": b'{"hooks": {"Stop": [], "PreToolUse": [ ]}}',
    "one line, no end": b'{"model":"opus","hooks":{"Stop":[{"hooks":[{"type":"command","command":"x"}]}]}}',
    "tabs": b'{\n\t"model": "opus"\n}\n',
    "windows": b'\xef\xbb\xbf{\r\n     "model": "opus"\r\n}\r\n',
    "huge": json.dumps({"permissions": {"allow": [f"Bash({n})" for n in range(200_000)]}}, indent=2).encode(),
}
REFUSED = {
    "comments": (b'{\n  // mine\n  "model": "opus"\n}\n', "is no JSON: line 2, column 3"),
    "half": (b'{"model": "op', "is no JSON: line 1"),
    "a list": (b"[]\n", "holds a list where an object is expected"),
    "hooks a list": (b'{"hooks": []}', "holds a list under 'hooks'"),
    "an event an object": (b'{"hooks": {"Stop": {}}}', "holds an object under 'hooks.Stop'"),
    "latin-1": (b'{"model": "\xe9"}', "is no UTF-8 text (byte 11)"),
    "utf-16": ('{"model": "opus"}'.encode("utf-16"), "is no UTF-8 text"),
    "too large": (b" " * (16 * 1024 * 1024) + b"{}", "is larger than 16 MiB"),
}


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_installed_and_removed_leaves_the_settings_as_they_were(user: User, content: bytes) -> None:
    user.settings.write_bytes(content)
    user.settings.chmod(0o640)
    before = user.files()

    said = user.ctl("hooks", "install")
    assert "~/.claude/settings.json: the hooks are in it; its backup is ~/.local/state/" in said
    assert sum(map(is_ours, user.hooks())) == len(ENTRIES)
    assert stat.S_IMODE(user.settings.stat().st_mode) == 0o640
    assert [path.read_bytes() for path in user.kept.glob("*.backup")] == [content]
    assert stat.S_IMODE(user.kept.stat().st_mode) == 0o700
    assert os.access(user.script, os.X_OK)
    assert user.script.read_bytes() == Path(SHIPPED).read_bytes()

    installed = user.files()
    assert "the hooks are there already" in user.ctl("hooks", "install")
    assert user.files() == installed

    assert "is what it was before" in user.ctl("hooks", "uninstall")
    assert user.files() == before
    assert stat.S_IMODE(user.settings.stat().st_mode) == 0o640
    assert "no hook of coordd's is in it" in user.ctl("hooks", "uninstall")
    assert user.files() == before


def test_settings_that_keep_hooks_from_being_called_are_said(user: User) -> None:
    user.settings.write_text('{"disableAllHooks": true}')
    for _ in range(2):
        assert "; disableAllHooks is set there" in user.ctl("hooks", "install")
    user.settings.write_text(user.settings.read_text().replace("true", "false"))
    assert "disableAllHooks" not in user.ctl("hooks", "install")


def test_settings_that_were_not_there_are_gone_again(user: User) -> None:
    assert "it is new" in user.ctl("hooks", "install")
    assert len(user.hooks()) == len(ENTRIES)
    assert "is gone, as it was before" in user.ctl("hooks", "uninstall")
    assert user.files() == {}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_take_hooks_is_said_and_stays(user: User, content: bytes, words: str) -> None:
    user.settings.write_bytes(content)
    for command in ("install", "uninstall"):
        code = 0 if command == "uninstall" and "holds" in words else 1
        said = user.ctl("hooks", command, code=code)
        assert code == 0 or (words in said and str(user.settings) in said)
        assert user.settings.read_bytes() == content
    assert os.listdir(user.settings.parent) == ["settings.json"]


def test_others_may_write_in_between(user: User) -> None:
    user.settings.write_text('{\n    "model": "opus"\n}\n')
    user.ctl("hooks", "install")
    changed = user.settings.read_text().replace("opus", "sonnet")
    user.settings.write_text(changed)
    assert "the hooks are there already" in user.ctl("hooks", "install")
    assert "the hooks are out of it; all else is as it was" in user.ctl("hooks", "uninstall")
    assert user.settings.read_text() == '{\n    "model": "sonnet"\n}\n'
    assert list(user.files()) == [".claude/settings.json"]


def test_a_moved_script_takes_the_place_of_the_old_one(user: User) -> None:
    content = '{\n    "hooks": { }\n}\n'
    user.settings.write_text(content)
    user.ctl("hooks", "install")
    data = str(user.home / "data")
    user.ctl("hooks", "install", XDG_DATA_HOME=data)
    assert all(f"{data}/coordd/hook" in hook["command"] for hook in user.hooks())
    assert len(user.hooks()) == len(ENTRIES)
    user.ctl("hooks", "uninstall", XDG_DATA_HOME=data)
    assert user.settings.read_text() == content


def test_a_link_stays_and_leads_to_what_is_written(user: User) -> None:
    dotfiles = user.home / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "claude.json").write_text('{"model": "opus"}')
    user.settings.symlink_to("../dotfiles/claude.json")
    user.ctl("hooks", "install")
    assert user.settings.is_symlink()
    assert len(user.hooks(dotfiles / "claude.json")) == len(ENTRIES)
    user.ctl("hooks", "uninstall")
    assert user.settings.is_symlink()
    assert (dotfiles / "claude.json").read_text() == '{"model": "opus"}'
    assert os.listdir(dotfiles) == ["claude.json"]


def test_what_is_read_only_stays(user: User) -> None:
    user.settings.write_text("{}")
    user.settings.chmod(0o444)
    said = user.ctl("hooks", "install", code=1)
    assert f"{user.settings} is read-only; to have it changed: chmod u+w {user.settings}" in said
    assert user.settings.read_text() == "{}"


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_not_opened(user: User, kind: str) -> None:
    os.mkfifo(user.settings) if kind == "fifo" else user.settings.mkdir()
    assert f"{user.settings} is no file; it stays as it is" in user.ctl("hooks", "install", code=1)


@pytest.mark.root
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_disk_that_is_full_or_read_only_leaves_the_settings_whole(user: User, command: str) -> None:
    user.settings.write_text('{"model": "opus"}')
    if command == "uninstall":
        user.ctl("hooks", "install")
        user.settings.write_text(user.settings.read_text() + " " * 3000)  # undoing has to write
    content = user.settings.read_bytes()
    text = f"""set -e
        mount -t tmpfs -o size=12k tmpfs {user.settings.parent}.new
        cp {user.settings} {user.settings.parent}.new/
        head -c 100000 /dev/zero >{user.settings.parent}.new/full || true
        mount --move {user.settings.parent}.new {user.settings.parent}
        ! {sys.executable} -m coordd.cli hooks {command}
        mount -o remount,ro {user.settings.parent}
        ! {sys.executable} -m coordd.cli hooks {command}
        ls -a {user.settings.parent}; cat {user.settings}"""
    (user.home / ".claude.new").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", text],
        env=user.environ,
        cwd=user.home,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b".\n..\nfull\nsettings.json\n" + content), done.stdout
    assert b"No space left on device; it is as it was" in done.stderr
    assert b"Read-only file system; it is as it was" in done.stderr


def test_every_home_of_the_user(user: User, tmp_path: Path) -> None:
    for name in ("sessions", "projects"):
        (user.home / ".claude-work" / name).mkdir(parents=True)
    (user.home / ".claude.json").write_text("{}")
    (user.home / ".claude-notes").mkdir()
    (user.home / ".claude-same").symlink_to(".claude-work")
    elsewhere = tmp_path / "elsewhere"
    before = user.files()
    user.ctl("hooks", "install", CLAUDE_CONFIG_DIR=str(elsewhere))
    for home in (user.home / ".claude", user.home / ".claude-work", elsewhere):
        assert len(user.hooks(home / "settings.json")) == len(ENTRIES)
    user.ctl("hooks", "uninstall", CLAUDE_CONFIG_DIR=str(elsewhere))
    assert user.files() == before
    assert not (elsewhere / "settings.json").exists()


def test_settings_that_nothing_names_any_more_are_found_again(user: User, tmp_path: Path) -> None:
    elsewhere, moved, gone = (tmp_path / name for name in ("elsewhere", "moved", "gone"))
    for home in (elsewhere, moved, gone):
        home.mkdir()
        (home / "settings.json").write_text('{"model": "opus"}\n')
        user.ctl("hooks", "install", CLAUDE_CONFIG_DIR=str(home))
    project = tmp_path / "app"
    (project / ".git").mkdir(parents=True)
    (project / ".claude").mkdir()
    (project / "shared.json").write_text("{}")
    (project / ".claude/settings.local.json").symlink_to("../shared.json")
    user.ctl("hooks", "install", "--project", cwd=project)
    shutil.rmtree(gone)
    shutil.move(moved / "settings.json", tmp_path / "dotfiles.json")
    (moved / "settings.json").symlink_to("../dotfiles.json")

    said = user.ctl("hooks", "uninstall")
    assert f"{elsewhere}/settings.json: is what it was before" in said
    assert f"{gone}/settings.json: there is no such file" in said
    assert (elsewhere / "settings.json").read_text() == '{"model": "opus"}\n'
    assert (moved / "settings.json").is_symlink()
    assert "hook" not in (tmp_path / "dotfiles.json").read_text()
    assert len(user.hooks(project / "shared.json")) == len(ENTRIES), (
        "those of a project are meant by --project"
    )
    assert user.script.exists()
    assert [path.suffix for path in sorted(user.kept.iterdir())] == [".backup", ".json"]
    user.ctl("hooks", "uninstall", "--project", cwd=project)
    assert (project / "shared.json").read_text() == "{}"
    assert not list(user.kept.iterdir())
    user.ctl("hooks", "uninstall")
    assert not user.script.exists()


def test_what_an_older_coordd_kept_tells_a_project_by_the_name(user: User, tmp_path: Path) -> None:
    elsewhere, project = tmp_path / "elsewhere", tmp_path / "app"
    (project / ".git").mkdir(parents=True)
    user.ctl("hooks", "install", CLAUDE_CONFIG_DIR=str(elsewhere))
    user.ctl("hooks", "install", "--project", cwd=project)
    for path in user.kept.glob("*.json"):
        said = json.loads(path.read_bytes())
        del said["of_project"]
        path.write_text(json.dumps(said))
    user.ctl("hooks", "uninstall")
    assert not (elsewhere / "settings.json").exists()
    assert len(user.hooks(project / ".claude/settings.local.json")) == len(ENTRIES)


GARBAGE = {
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "no path": b'{"path": 7}',
    "a relative path": b'{"path": "settings.json"}',
    "no such name": b'{"path": "/a\\u0000b"}',
    "no such text": b'{"path": "/a\\ud800b"}',
    "of other settings": b'{"path": "/etc/passwd", "existed": false, "written": ""}',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_what_tells_of_no_settings_is_said_and_keeps_nothing_else(
    user: User, tmp_path: Path, content: bytes
) -> None:
    elsewhere = tmp_path / "elsewhere"
    user.ctl("hooks", "install", CLAUDE_CONFIG_DIR=str(elsewhere))
    garbage = user.kept / "a b.json"
    garbage.write_bytes(content)
    said = user.ctl("hooks", "uninstall", code=1)
    assert f"{garbage} does not tell which settings have hooks (" in said
    assert f"remove it: rm '{garbage}'" in said
    assert "Traceback" not in said
    assert not (elsewhere / "settings.json").exists()
    garbage.unlink()
    user.ctl("hooks", "uninstall")
    assert not user.script.exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_kept_is_a_file(user: User, tmp_path: Path, kind: str) -> None:
    user.ctl("hooks", "install", CLAUDE_CONFIG_DIR=str(tmp_path / "elsewhere"))
    record = next(path for path in user.kept.glob("*.json") if b"elsewhere" in path.read_bytes())
    record.rename(tmp_path / "record")
    if kind == "link":
        record.symlink_to(tmp_path / "record")
    else:
        os.mkfifo(record) if kind == "fifo" else record.mkdir()
    said = user.ctl("hooks", "uninstall", code=1)
    assert f"{record} does not tell which settings have hooks (" in said
    assert len(user.hooks(tmp_path / "elsewhere/settings.json")) == len(ENTRIES)


def test_one_home_that_fails_keeps_no_other_from_its_hooks(user: User) -> None:
    for name in ("sessions", "projects"):
        (user.home / ".claude-work" / name).mkdir(parents=True)
    user.settings.write_text("{")
    assert f"{user.settings} is no JSON" in user.ctl("hooks", "install", code=1)
    assert len(user.hooks(user.home / ".claude-work/settings.json")) == len(ENTRIES)


def test_a_project(user: User, tmp_path: Path) -> None:
    project = tmp_path / "app"
    (project / ".git").mkdir(parents=True)
    (project / "src").mkdir()
    said = user.ctl("hooks", "install", "--project", cwd=project / "src")
    settings = project / ".claude/settings.local.json"
    assert f"{settings}: the hooks are in it; it is new" in said
    assert len(user.hooks(settings)) == len(ENTRIES)
    assert os.listdir(project / ".claude") == ["settings.local.json"]  # no workspace, and no litter
    assert not user.settings.exists()
    user.ctl("hooks", "install")
    user.ctl("-w", str(project), "hooks", "uninstall", "--project", cwd=tmp_path)
    assert not settings.exists()
    assert user.script.exists()  # the user's own settings still call it
    user.ctl("hooks", "uninstall", "--user")
    assert not user.script.exists()


@pytest.mark.parametrize("link", [".claude", ".claude/settings.local.json"])
def test_a_clone_leads_nowhere_else(user: User, tmp_path: Path, link: str) -> None:
    project = tmp_path / "app"
    (project / ".git").mkdir(parents=True)
    (user.home / "target").mkdir()
    (user.home / "target/settings.local.json").write_text("{}")
    target = user.home / "target" if link == ".claude" else user.home / "target/settings.local.json"
    (project / link).parent.mkdir(exist_ok=True)
    (project / link).symlink_to(target)
    said = user.ctl("hooks", "install", "--project", cwd=project, code=1)
    assert "is a link out of its project" in said
    assert (user.home / "target/settings.local.json").read_text() == "{}"


def test_print_changes_nothing(user: User) -> None:
    printed = json.loads(user.ctl("hooks", "print"))
    assert user.files() == {}
    user.ctl("hooks", "install")
    assert json.loads(user.settings.read_text()) == printed
    assert json.loads(user.ctl("hooks", "print", "--project")) == printed


def test_a_removed_package_leaves_hooks_that_work(user: User, tmp_path: Path) -> None:
    user.ctl("hooks", "install")
    call = user.hooks()[0]["command"]
    session = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
    environ = {**user.environ, "CLAUDE_CODE_SESSION_ID": session, "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", call], env=environ, check=True)
    assert (user.home / f".local/state/coordd/hooks/{session}.SessionStart").exists()
    shutil.rmtree(user.script.parent)
    done = subprocess.run(["sh", "-c", call], env=environ, check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_installing_at_the_same_time_as_somebody_writes(user: User) -> None:
    """What was written since the settings were read is not overwritten."""
    from coordd.cli.hooks.settings_file import HooksError, read, replace

    user.settings.write_text("{}")
    file = read(str(user.settings))
    user.settings.write_text('{"model": "opus"}')
    with pytest.raises(HooksError, match="was changed by somebody just now; try again"):
        replace(file, b"{}")
    with pytest.raises(HooksError, match="was changed"):
        replace(file, None)
    assert user.settings.read_text() == '{"model": "opus"}'
    assert os.listdir(user.settings.parent) == ["settings.json"]


def test_without_a_command_the_help_is_shown(user: User) -> None:
    assert user.ctl("hooks", code=2).startswith("Usage: coordctl hooks ")
    assert user.files() == {}
