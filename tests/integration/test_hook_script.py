"""The hook script, run by every shell there is as Claude Code runs it: it touches files, and does no harm."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from coordd.cli.hooks.entries import ENTRIES, groups
from coordd.cli.hooks.script import SHIPPED

SESSION = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
SHELLS = [name for name in ("sh", "dash", "bash", "busybox", "ksh", "zsh") if shutil.which(name)]
FILES = {
    "heartbeat",
    *("PreToolUse", "PostToolBatch", "PermissionRequest", "Question"),
    *("Stop", "StopFailure", "SessionStart", "SessionEnd"),
}


class Place:
    """A user, and a project of that user's."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.project = directory / "a project"
        self.home.mkdir()
        self.project.mkdir()
        self.state = self.home / ".local/state/coordd/hooks"
        self.agents = self.project / ".claude/coordination/agents"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CLAUDE_CODE_SESSION_ID": SESSION,
            "CLAUDE_PROJECT_DIR": str(self.project),
        }

    def is_workspace(self) -> Path:
        self.agents.mkdir(parents=True)
        return self.agents

    def hook(self, shell: str, event: str, **environ: str | None) -> None:
        """Let one shell run the script; it has to succeed at once, and to say nothing."""
        whole: Mapping[str, str | None] = {**self.environ, **environ}
        words = [shell, "sh"] if shell == "busybox" else [shell]
        done = subprocess.run(
            [*words, SHIPPED, event],
            env={name: value for name, value in whole.items() if value is not None},
            cwd="/",
            input=b"{}",
            check=False,
            capture_output=True,
            timeout=10,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("shell", SHELLS)
def test_each_event_leaves_its_file(place: Place, shell: str) -> None:
    place.is_workspace()
    for word in {one.word for one in ENTRIES}:
        place.hook(shell, word)
    expected = {f"{SESSION}.{name}" for name in FILES}
    assert names(place.state) == names(place.agents) == expected
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
    for file in place.agents.iterdir():  # another user's coordd may read these
        assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_size) == (0o644, 0)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_second_time_is_a_new_time(place: Place, shell: str) -> None:
    place.hook(shell, "Stop")
    file = place.state / f"{SESSION}.Stop"
    os.utime(file, (1, 1))
    place.hook(shell, "Stop")
    assert time.time() - file.stat().st_mtime < 60


@pytest.mark.parametrize("event", ["", "Gone", "../x", "heartbeat"])
def test_an_unknown_event_leaves_nothing(place: Place, event: str) -> None:
    place.hook("sh", event)
    assert names(place.state) == set()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "session",
    [
        *(None, "", ".", "..", "x", "../../../../../../../../../../../x", "/" * 36, "-" * 35, "*" * 36),
        *("????????-????-????-????-????????????", "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1\n"),
        *("321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1/x", "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5cg"),
        *("$(touch x)7-0b1c-4a57-9a38-0f6b0de0a5c1", "321e2ec7/0b1c/4a57/9a38/0f6b0de0a5c1"),
        *("\u0663" * 8 + "-0b1c-4a57-9a38-0f6b0de0a5c1", "a" * 100_000),
    ],
    ids=lambda one: repr(one)[:20],
)
def test_what_is_no_session_id_names_no_file(place: Place, shell: str, session: str | None) -> None:
    place.is_workspace()
    place.hook(shell, "PreToolUse", CLAUDE_CODE_SESSION_ID=session, LC_ALL="C.UTF-8")
    assert names(place.state) == names(place.agents) == set()
    assert names(place.home) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_where_the_state_goes(place: Place, shell: str, tmp_path: Path) -> None:
    place.hook(shell, "Stop", XDG_STATE_HOME=str(tmp_path / "state home"))
    assert names(tmp_path / "state home/coordd/hooks") == {f"{SESSION}.Stop"}
    assert names(place.home) == set()
    place.hook(shell, "Stop", XDG_STATE_HOME="relative")
    assert names(place.state) == {f"{SESSION}.Stop"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("home", [None, "", "relative", "/nonexistent/home", "/dev/null"])
def test_without_a_home_the_project_is_told_all_the_same(place: Place, shell: str, home: str | None) -> None:
    place.is_workspace()
    place.hook(shell, "Stop", HOME=home)
    assert names(place.agents) == {f"{SESSION}.Stop"}
    assert names(place.project) == {".claude"}
    assert not Path("/.local").exists()
    assert not Path("/nonexistent").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("made", ["", ".claude", ".claude/coordination", ".claude/coordination/agents/"])
def test_a_hook_makes_no_workspace(place: Place, shell: str, made: str) -> None:
    (place.project / made).mkdir(parents=True, exist_ok=True)
    before = sorted(place.project.rglob("*"))
    if not made.endswith("/"):
        place.hook(shell, "Stop")
        assert sorted(place.project.rglob("*")) == before
    place.hook(shell, "Stop", CLAUDE_PROJECT_DIR="relative")
    place.hook(shell, "Stop", CLAUDE_PROJECT_DIR="")
    assert sorted(place.project.rglob("*")) == before


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("link", [".claude", ".claude/coordination", ".claude/coordination/agents"])
def test_no_link_is_followed_into_another_folder(place: Place, shell: str, link: str, tmp_path: Path) -> None:
    place.is_workspace()
    (place.project / link).rename(tmp_path / "elsewhere")
    (place.project / link).symlink_to(tmp_path / "elsewhere")
    place.hook(shell, "Stop")
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_lies_in_the_files_place_stays(place: Place, shell: str, tmp_path: Path) -> None:
    agents = place.is_workspace()
    target = tmp_path / "target"
    target.write_text("precious")
    os.utime(target, (1, 1))
    (agents / f"{SESSION}.Stop").symlink_to(target)
    (agents / f"{SESSION}.StopFailure").symlink_to(tmp_path / "new")
    os.mkfifo(agents / f"{SESSION}.PreToolUse")
    (agents / f"{SESSION}.Question").mkdir()
    (agents / f"{SESSION}.heartbeat").write_text("2026-11-22T06:05:00Z\n")
    os.utime(agents / f"{SESSION}.heartbeat", (1, 1))
    for event in ("Stop", "StopFailure", "PreToolUse", "Question", "PostToolUse"):
        place.hook(shell, event)
    assert (target.read_text(), target.stat().st_mtime) == ("precious", 1)
    assert not (tmp_path / "new").exists()
    assert names(agents / f"{SESSION}.Question") == set()
    beat = agents / f"{SESSION}.heartbeat"  # a script's own: it is touched, and says what it said
    assert beat.read_text() == "2026-11-22T06:05:00Z\n"
    assert beat.stat().st_mtime > 1


@pytest.mark.parametrize("shell", SHELLS)
def test_a_session_start_removes_what_is_a_week_old_and_a_hooks(place: Place, shell: str) -> None:
    agents = place.is_workspace()
    other = "00000000-0b1c-4a57-9a38-0f6b0de0a5c1"
    place.state.mkdir(parents=True)
    day = 86400.0
    now = time.time()
    gone, kept = set(), set()
    for folder in (agents, place.state):
        for name, age in [(f"{other}.{one}", 7.1) for one in FILES] + [
            (f"{other}.{one}x", 7.1) for one in FILES
        ]:
            (folder / name).touch()
            os.utime(folder / name, (now - age * day, now - age * day))
            (kept if name.endswith("x") else gone).add(name)
        for name, age, content in [
            ("alpha.heartbeat", 30, ""),
            (f"{other}.active", 30, "{}"),
            ("11111111-0b1c-4a57-9a38-0f6b0de0a5c1.heartbeat", 30, "mine"),
            ("22222222-0b1c-4a57-9a38-0f6b0de0a5c1.Stop", 6.9, ""),
        ]:
            (folder / name).write_text(content)
            os.utime(folder / name, (now - age * day, now - age * day))
            kept.add(name)
        (folder / "33333333-0b1c-4a57-9a38-0f6b0de0a5c1.Stop").symlink_to("/nonexistent")
        (folder / "deeper").mkdir()
        (folder / "deeper" / f"{other}.Stop").touch()
        os.utime(folder / "deeper" / f"{other}.Stop", (1, 1))
        kept |= {"33333333-0b1c-4a57-9a38-0f6b0de0a5c1.Stop", "deeper"}
    place.hook(shell, "Stop")
    assert gone <= names(agents)
    place.hook(shell, "SessionStart")
    for folder in (agents, place.state):
        assert names(folder) == kept | {f"{SESSION}.Stop", f"{SESSION}.SessionStart"}
        assert names(folder / "deeper") == {f"{other}.Stop"}


def test_as_settings_call_it(place: Place, tmp_path: Path) -> None:
    script = tmp_path / "with a space" / "coordd" / "hook"
    script.parent.mkdir(parents=True)
    shutil.copy(SHIPPED, script)
    script.chmod(0o755)
    for _, group in groups(str(script)):
        call = group["hooks"][0]["command"]
        done = subprocess.run(
            ["/bin/sh", "-c", call], env=place.environ, check=False, capture_output=True, timeout=10
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert names(place.state) == {f"{SESSION}.{name}" for name in FILES}


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
@pytest.mark.parametrize("gone", ["missing", "not to be run", "a folder", "broken"])
def test_a_call_of_a_script_that_is_gone_does_nothing(
    place: Place, shell: str, gone: str, tmp_path: Path
) -> None:
    script = tmp_path / "coordd" / "hook"
    script.parent.mkdir()
    if gone == "not to be run":
        script.write_text("exit 2")
    elif gone == "a folder":
        script.mkdir()
    elif gone == "broken":
        script.write_text("#!/bin/sh\nexit 2\n")
        script.chmod(0o755)
    call = groups(str(script))[0][1]["hooks"][0]["command"]
    done = subprocess.run(
        [shell, "-c", call], env=place.environ, check=False, capture_output=True, timeout=10
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"" or gone == "a folder"  # -x of a folder is true, and no event blocks on stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_whatever_it_is_given_for_input_and_output(place: Place, shell: str) -> None:
    words = "busybox sh" if shell == "busybox" else shell
    run = f"{words} {shlex.quote(SHIPPED)} Stop"
    for redirected in ("<&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full", "</dev/zero"):
        shutil.rmtree(place.home / ".local", ignore_errors=True)
        done = subprocess.run(
            ["/bin/sh", "-c", f"{run} {redirected}"], env=place.environ, check=False, timeout=10
        )
        assert done.returncode == 0
        assert names(place.state) == {f"{SESSION}.Stop"}


_FULL = """
set -e
mount -t tmpfs -o {options} tmpfs {where}
{before}
set +e
for shell in {shells}; do
    for event in SessionStart PreToolUse PostToolUse Stop; do
        said=$($shell {script} $event 2>&1 </dev/null) || exit 3
        [ -z "$said" ] || exit 4
    done
done
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "before"),
    [
        ("size=4k,mode=777", "head -c 4096 /dev/zero >{where}/full"),
        ("nr_inodes=2,mode=777", "touch {where}/full"),
        ("size=1m", "mount -o remount,ro {where}"),
        ("size=1m", "mkdir -p {where}/.local/state/coordd/hooks; mount -o remount,ro {where}"),
        ("size=1m,mode=000", "true"),
    ],
)
def test_a_disk_that_is_full_or_read_only_is_no_error(place: Place, options: str, before: str) -> None:
    shells = " ".join(name for name in SHELLS if name != "busybox")
    where, script = shlex.quote(str(place.home)), shlex.quote(SHIPPED)
    text = _FULL.format(
        options=options, where=where, before=before.format(where=where), shells=shells, script=script
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", text],
        env=place.environ,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.root
def test_a_folder_that_belongs_to_another_user_is_no_error(place: Place, tmp_path: Path) -> None:
    agents = place.is_workspace()
    tmp_path.chmod(0o755)
    for path in (tmp_path.parent, tmp_path.parent.parent):
        path.chmod(path.stat().st_mode | 0o055)
    shell = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    for name in (one for one in SHELLS if one != "busybox"):
        done = subprocess.run(
            [*shell, name, "-c", Path(SHIPPED).read_text(), "hook", "SessionStart"],
            env=place.environ,
            check=False,
            capture_output=True,
            timeout=10,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert names(agents) == names(place.state) == set()


SWAPS = """
import os, sys
victim, name = sys.argv[1:]
print("ready", flush=True)
while True:
    for make in (lambda: os.symlink(victim, name), lambda: os.link(victim, name + ".x")):
        try:
            make()
        except OSError:
            pass
        for one in (name, name + ".x"):
            try:
                os.unlink(one)
            except OSError:
                pass
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_link_that_appears_meanwhile_costs_nobody_a_file(place: Place, shell: str, tmp_path: Path) -> None:
    """Who shares the project, a container for example, may put anything in the file's place at any moment."""
    place.is_workspace()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = place.agents / f"{SESSION}.heartbeat"
    command = [sys.executable, "-c", SWAPS, str(victim), str(name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swaps:
        try:
            assert swaps.stdout is not None
            swaps.stdout.readline()
            for _ in range(60):
                place.hook(shell, "PostToolUse")
                assert victim.read_text() == "precious"
        finally:
            swaps.kill()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_options_of_a_shell_that_give_up_early_do_not_count(place: Place, shell: str) -> None:
    place.is_workspace()
    done = subprocess.run(
        [shell, "-eu", str(SHIPPED), "Stop"], env=place.environ, capture_output=True, timeout=10, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert names(place.agents) == {f"{SESSION}.Stop"}
