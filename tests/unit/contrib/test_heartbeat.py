"""Test contrib/heartbeat.sh in each shell of this machine: a beat arrives whole, and nothing else happens."""

from __future__ import annotations

import calendar
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually

SCRIPT = Path(__file__).parents[3] / "contrib" / "heartbeat.sh"
SHELLS = [
    shell
    for shell in (
        ["sh"],
        ["dash"],
        ["bash"],
        ["bash", "--posix"],
        ["busybox", "ash"],
        ["ksh"],
        ["zsh", "--emulate", "sh"],
    )
    if shutil.which(shell[0])
]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n")


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "app" / ".claude" / "coordination").mkdir(parents=True)
    return tmp_path / "app"


def beat(shell: list[str], *arguments: str, cwd: Path, stdin: str = "", **environ: str) -> None:
    """Run the script, and check that it prints nothing and succeeds."""
    run = subprocess.run(
        [*shell, str(SCRIPT), *arguments],
        cwd=cwd,
        input=stdin,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def agents(workspace: Path) -> dict[str, str]:
    directory = workspace / ".claude" / "coordination" / "agents"
    return {path.name: path.read_text() for path in directory.iterdir()} if directory.is_dir() else {}


def test_a_beat_is_the_time_in_utc(shell: list[str], workspace: Path) -> None:
    beat(shell, "--stamp", "agent-1", cwd=workspace, TZ="Asia/Tokyo")
    ((name, text),) = agents(workspace).items()
    assert name == "agent-1.heartbeat"
    assert TIMESTAMP.fullmatch(text)
    written = time.strptime(text.strip(), "%Y-%m-%dT%H:%M:%SZ")
    assert abs(calendar.timegm(written) - time.time()) < 600  # an hour off would be a zone


def test_the_workspace_is_found_above(shell: list[str], workspace: Path) -> None:
    deep = workspace / "src" / "a b" / "c"
    deep.mkdir(parents=True)
    beat(shell, "a", cwd=deep)
    assert set(agents(workspace)) == {"a.heartbeat"}


def test_the_workspace_and_the_id_can_be_named(shell: list[str], workspace: Path, tmp_path: Path) -> None:
    beat(shell, "-d", str(workspace), "by-option", cwd=tmp_path)
    beat(shell, cwd=tmp_path, COORDD_WORKSPACE=str(workspace), COORDD_AGENT_ID="by-environment")
    beat(shell, "-d", str(workspace), "--", "-dashed", cwd=tmp_path)
    assert set(agents(workspace)) == {"by-option.heartbeat", "by-environment.heartbeat", "-dashed.heartbeat"}


def test_a_named_workspace_is_made_one_but_no_directory_is_made_up(shell: list[str], tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    beat(shell, "-d", str(new), "a", cwd=tmp_path)
    assert set(agents(new)) == {"a.heartbeat"}
    beat(shell, "-d", str(tmp_path / "typo"), "a", cwd=tmp_path)
    beat(shell, "a", cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"new"}


def test_the_session_of_a_hook_is_the_id(shell: list[str], workspace: Path) -> None:
    beat(shell, "-", cwd=workspace, stdin='{"session_id": "abc-1", "tool_input": "' + "x" * 5000 + '"}')
    beat(shell, "-", cwd=workspace, stdin='{"cwd":"/x","session_id":"abc-2"}\n')
    beat(shell, "-", cwd=workspace, stdin='{"cwd": "/x"}')
    beat(shell, "-", cwd=workspace, stdin='{"session_id": "../../evil"}')
    beat(shell, "-", cwd=workspace)
    assert set(agents(workspace)) == {"abc-1.heartbeat", "abc-2.heartbeat"}


@pytest.mark.parametrize(
    "bad", ["", "a/b", "../../../evil", "/etc/x", ".hidden", "..", "a\nb", "x" * 201, "é" * 101]
)
def test_a_bad_id_is_ignored(shell: list[str], workspace: Path, bad: str) -> None:
    beat(shell, bad, cwd=workspace, LANG="C.UTF-8")  # where bash would count characters
    assert agents(workspace) == {}


@pytest.mark.parametrize("good", ["x" * 200, "é" * 100, "a b", "$(touch x)", "a;b", "*", "~", "a\\nb", "'\""])
def test_any_other_id_is_a_name(shell: list[str], workspace: Path, good: str) -> None:
    beat(shell, good, cwd=workspace)
    assert set(agents(workspace)) == {f"{good}.heartbeat"}


@pytest.mark.parametrize(
    "arguments", [(), ("--nonsense", "a"), ("-d",), ("--loop",), ("--loop", "x", "a"), ("--loop", "-1", "a")]
)
def test_a_wrong_call_does_nothing(shell: list[str], workspace: Path, arguments: tuple[str, ...]) -> None:
    beat(shell, *arguments, cwd=workspace)
    assert agents(workspace) == {}


def test_nothing_that_fails_is_heard(shell: list[str], workspace: Path) -> None:
    (workspace / ".claude" / "coordination" / "agents").write_text("a file")
    beat(shell, "a", cwd=workspace)
    assert (workspace / ".claude" / "coordination" / "agents").read_text() == "a file"


def test_a_beat_replaces_the_file_instead_of_writing_into_it(shell: list[str], workspace: Path) -> None:
    beat(shell, "--stamp", "a", cwd=workspace)
    path = workspace / ".claude" / "coordination" / "agents" / "a.heartbeat"
    with path.open() as before:
        beat(shell, "--stamp", "a", cwd=workspace)
        assert os.fstat(before.fileno()).st_nlink == 0
        assert TIMESTAMP.fullmatch(before.read())


@pytest.mark.parametrize("options", [(), ("--stamp",)])
def test_a_link_in_a_clone_is_replaced_and_its_target_kept(
    shell: list[str], workspace: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    directory = workspace / ".claude" / "coordination" / "agents"
    directory.mkdir()
    (directory / "a.heartbeat").symlink_to(precious)
    beat(shell, *options, "a", cwd=workspace)
    assert precious.read_text() == "kept"
    assert TIMESTAMP.fullmatch((directory / "a.heartbeat").read_text())


def test_a_link_under_the_hidden_name_is_not_followed(
    shell: list[str], workspace: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    directory = workspace / ".claude" / "coordination" / "agents"
    directory.mkdir()
    # the name holds the process id, which exec keeps
    prepare = f'ln -s "{precious}" "{directory}/.a.$$"; exec "$@"'
    beat(["sh", "-c", prepare, "sh", *shell], "--stamp", "a", cwd=workspace)
    assert precious.read_text() == "kept"


def test_a_beat_moves_the_mtime_of_an_empty_file(shell: list[str], workspace: Path) -> None:
    beat(shell, "a", cwd=workspace)
    path = workspace / ".claude" / "coordination" / "agents" / "a.heartbeat"
    assert path.read_text() == ""
    os.utime(path, (1, 1))
    beat(shell, "a", cwd=workspace)
    assert path.stat().st_mtime > 1
    assert set(agents(workspace)) == {"a.heartbeat"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_a_loop_beats_until_it_is_killed(shell: list[str], workspace: Path, number: signal.Signals) -> None:
    path = workspace / ".claude" / "coordination" / "agents" / "a.heartbeat"

    def inode() -> int:
        return path.stat().st_ino if path.exists() else 0

    process = subprocess.Popen(
        [*shell, str(SCRIPT), "--stamp", "--loop", "0.05", "a"], cwd=workspace, start_new_session=True
    )
    try:
        eventually(lambda: inode() != 0)
        first = inode()
        eventually(lambda: inode() != first)
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
    assert set(agents(workspace)) == {"a.heartbeat"}
    eventually(lambda: _is_gone(process.pid), what="its sleep goes with it")


def _is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_beat_takes_two_processes_at_most(workspace: Path, tmp_path: Path) -> None:
    """A spy stands before each program that the script could call."""
    spies = tmp_path / "bin"
    spies.mkdir()
    log = tmp_path / "log"
    for name in ("date", "mv", "mkdir", "rm", "head", "sleep", "touch", "dirname", "cat"):
        real = shutil.which(name)
        spy = spies / name
        spy.write_text(
            f"#!{sys.executable} -IS\nimport os, sys\nopen({str(log)!r}, 'a').write('{name}\\n')\n"
            f"os.execv({real!r}, sys.argv)\n"
        )
        spy.chmod(0o755)
    (workspace / ".claude" / "coordination" / "agents").mkdir()
    shell = [str(shutil.which("sh"))]
    beat(shell, "--stamp", "a", cwd=workspace, PATH=str(spies))
    assert log.read_text().split() in (["date", "mv"], ["mv"])  # the latter where sh is bash
    log.write_text("")
    beat(shell, "a", cwd=workspace, PATH=str(spies))
    assert log.read_text() == ""
