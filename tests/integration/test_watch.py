"""``coordctl status --watch`` and ``rpc subscribe`` as a person and a pipe meet them, with a real daemon."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, environment, watching
from waiting import PATIENCE, eventually

CTL = [sys.executable, "-m", "coordd.cli"]
RUNNING = re.compile(r"^\S+  (?:no agents|\d+ alive)[^\n]*  coordd \S+, up ", re.MULTILINE)
"""The first line of a daemon that answers."""
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """A program on a terminal of its own; what it draws is read all the time."""

    def __init__(self, command: list[str], env: dict[str, str], *, rows: int = 24) -> None:
        self.ours, self.theirs = pty.openpty()
        self.mode = termios.tcgetattr(self.theirs)
        self.size(rows)
        self.said = ""
        self.process = subprocess.Popen(
            command,
            env={**env, "TERM": "xterm", "PYTHONUTF8": "1"},
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads in it yet
        )
        self._reader = threading.Thread(target=self._read)
        self._ending = threading.Event()
        self._reader.start()

    def size(self, rows: int) -> None:
        """As a window manager does; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 120, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    @property
    def frame(self) -> list[str]:
        """What stands on the screen after the last drawing that is whole, without colours."""
        drawn = self.said.split("\x1b[H")[1:]
        whole = [one for one in drawn if "\x1b[J" in one]
        text = re.sub(r"\x1b\[[0-9;]*m", "", whole[-1].split("\x1b[J")[0]) if whole else ""
        return [line.removesuffix("\x1b[K") for line in re.split("\r+\n", text)]

    @property
    def text(self) -> str:
        return "\n".join(self.frame)

    def shows(self, words: str) -> None:
        eventually(lambda: words in self.text, what=f"{words!r} is on the screen, not {self.text!r}")

    def ended(self) -> int:
        """The exit code, once the terminal is as it was."""
        code = self.process.wait(PATIENCE)
        eventually(lambda: self.said.count(LEAVE) == self.said.count(ENTER))
        assert self.said.rindex("\x1b[?25h") > self.said.rindex("\x1b[?25l")
        assert self.said.rindex("\x1b[?7h") > self.said.rindex("\x1b[?7l")
        assert termios.tcgetattr(self.theirs) == self.mode
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._ending.set()
        self._reader.join(PATIENCE)
        os.close(self.ours)
        os.close(self.theirs)

    def _read(self) -> None:
        while not self._ending.is_set():
            if select.select([self.ours], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.said += os.read(self.ours, 65536).decode("utf-8", "replace")


@pytest.fixture
def terminal(tmp_path: Path, project: Project) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, command: list[str] | None = None, **options: Any) -> Terminal:
        sock = project.claude / "run" / "coordd.sock"
        env = environment(tmp_path / "home")
        opened.append(Terminal(command or [*CTL, "--socket", str(sock), *arguments], env, **options))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


@pytest.fixture
def piped(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(coordd: Coordd, *arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*CTL, "--socket", str(coordd.socket), *arguments],
                env=coordd.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_screen_follows_what_happens_and_q_leaves_it(
    project: Project, tmp_path: Path, terminal: Any
) -> None:
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="3s") as coordd:
        screen = terminal("status", "--watch")
        screen.shows("  no agents  ")
        assert ENTER in screen.said
        project.beat("worker\x1b[31m")
        screen.shows("worker\\x1b[31m  active")
        screen.shows("\\x1b[31m  silent  ")

        # Ages go on although nothing is heard, and far more often than anything is asked.
        def by_themselves() -> bool:
            ages = {int(age) for age in re.findall(r"silent\x1b\[0m +([0-9]+) s", screen.said)}
            return any({age, age + 1, age + 2} <= ages for age in ages)

        eventually(by_themselves)
        assert len(screen.frame) == 24
        assert screen.frame[-1] == "q quits"
        screen.press("q")
        assert screen.ended() == 0
        assert coordd.rpc("ping")


@pytest.mark.parametrize(
    ("end", "code"),
    [("\x03", 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_whatever_ends_it_the_terminal_is_restored(
    project: Project, tmp_path: Path, terminal: Any, end: str | int, code: int
) -> None:
    with watching(project, tmp_path):
        screen = terminal("status", "--watch")
        screen.shows("  no agents  ")
        if isinstance(end, str):
            screen.press(end)
        else:
            screen.process.send_signal(end)
        assert screen.ended() == code
        assert "Traceback" not in screen.said


def test_a_window_that_changes_its_size_is_filled_anew(
    project: Project, tmp_path: Path, terminal: Any
) -> None:
    for n in range(15):
        project.beat(f"agent-{n:02}")
    with watching(project, tmp_path):
        screen = terminal("status", "--watch", rows=40)
        screen.shows("agent-14")
        assert len(screen.frame) == 40
        screen.size(12)
        eventually(lambda: len(screen.frame) == 12)
        # Who is hidden is counted as agents, with what they do and how to see them.
        eventually(lambda: re.search(r"… and \d+ more \(\d+ active\): coordctl agents", screen.text))
        assert "agent-14" not in screen.text
        assert "Redis" in screen.text
        screen.size(7)
        eventually(lambda: "15 agents (15 active): coordctl agents" in screen.text)
        eventually(lambda: "lines do not fit into this window; all of it: coordctl status" in screen.text)
        screen.size(1)
        eventually(lambda: len(screen.frame) == 2)
        screen.size(30)
        eventually(lambda: len(screen.frame) == 30)
        screen.shows("agent-14")


REDRAWN = """
from coordd.cli.screen import Screen
with Screen() as screen:
    for n in range(3):
        screen.draw([f"drawing {n}"], "")
        while not screen.redraw:
            if "q" in screen.wait(-1, 3600):
                raise SystemExit(7)
"""


def test_a_resize_is_noticed_at_once_and_so_is_a_key(terminal: Any) -> None:
    screen = terminal(command=[sys.executable, "-c", REDRAWN])
    screen.shows("drawing 0")
    screen.size(10)
    screen.shows("drawing 1")
    assert len(screen.frame) == 10
    screen.press("q")
    assert screen.ended() == 7


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(
    project: Project, tmp_path: Path, terminal: Any
) -> None:
    with watching(project, tmp_path):
        screen = terminal("status", "--watch")
        screen.shows("  no agents  ")
        # The one process of an orphaned group is not stopped by the terminal (POSIX), hence by us.
        screen.process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(screen.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        eventually(lambda: screen.said.endswith(LEAVE))
        assert termios.tcgetattr(screen.theirs) == screen.mode
        project.beat("meanwhile")
        screen.process.send_signal(signal.SIGCONT)
        screen.shows("meanwhile  active")
        screen.press("Q")
        assert screen.ended() == 0


def test_a_daemon_that_is_killed_is_missed_at_once_and_found_again(
    project: Project, tmp_path: Path, terminal: Any
) -> None:
    project.beat("worker")
    with watching(project, tmp_path) as coordd:
        screen = terminal("status", "--watch")
        screen.shows("worker  active")
        coordd.stop(signal.SIGKILL)
        screen.shows("connection lost")
        screen.shows("trying again")
        screen.shows("  was 1 alive  ")
        screen.shows("connection lost 3 s ago, trying again: coordd is not running.  What follows was so 3")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: RUNNING.match(screen.text))
        project.beat("newcomer")
        screen.shows("newcomer  active")
        # One that hangs without hanging up.
        coordd.process.send_signal(signal.SIGSTOP)
        project.beat("unseen")
        screen.shows("no answer for 2 s")
        screen.shows("connection lost")
        assert "no answer within 5 s" in screen.text
        coordd.process.send_signal(signal.SIGCONT)
        eventually(lambda: RUNNING.match(screen.text))
        screen.shows("unseen    active")
        screen.press("q")
        assert screen.ended() == 0


def test_it_waits_for_a_daemon_that_is_not_there_yet(project: Project, tmp_path: Path, terminal: Any) -> None:
    screen = terminal("status", "--watch")
    screen.shows("coordd is not running, trying again")
    with watching(project, tmp_path):
        eventually(lambda: RUNNING.match(screen.text))
    screen.press("q")
    assert screen.ended() == 0


def test_a_pipe_gets_a_block_for_each_change_and_no_more_than_two_a_second(
    project: Project, tmp_path: Path, piped: Any
) -> None:
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("system.latest"))
        process = piped(coordd, "status", "--watch")
        began = time.monotonic()
        first = process.stdout.readline()
        assert RUNNING.match(first)
        for n in range(300):
            project.beat(f"agent-{n % 10}", f"{time.time():.3f}")
            time.sleep(0.005)  # a stream of beats, not a wait
        eventually(lambda: coordd.rpc("status")["agents"]["total"] == 10)
        text = first
        while "10 alive" not in text:
            text += process.stdout.readline()
        elapsed = time.monotonic() - began
        blocks = len(RUNNING.findall(text))
        assert 2 <= blocks <= 2 * elapsed + 2
        assert "\x1b" not in text
        assert len(re.findall(r"\n\n" + RUNNING.pattern[1:], text)) == blocks - 1
        coordd.stop(signal.SIGKILL)
        while not (line := process.stdout.readline()).startswith("connection lost"):
            assert line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130


def test_json_is_a_line_for_each_change_and_goes_on_over_a_restart(
    project: Project, tmp_path: Path, piped: Any
) -> None:
    with watching(project, tmp_path) as coordd:
        process = piped(coordd, "status", "--json", "--watch")

        def until(wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            while not wanted(document := json.loads(process.stdout.readline())):
                assert document["schema"] == 1
            return document

        pid = until(lambda d: d["agents"]["total"] == 0)["daemon"]["pid"]
        project.beat("a")
        until(lambda d: d["agents"]["active"] == 1)
        coordd.stop(signal.SIGKILL)
        down = until(lambda d: d.get("daemon_running") is False)
        assert down["daemon"]["pid"] == pid
        assert down["snapshot_age"] >= 0
    with watching(project, tmp_path) as coordd:
        assert until(lambda d: "daemon_running" not in d)["daemon"]["pid"] == coordd.pid


def test_head_ends_it(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("system.latest"))  # from here on nothing happens for a minute
        command = f'{sys.executable} -m coordd.cli --socket "$1" status --watch | head -1'
        done = subprocess.run(
            ["sh", "-c", command, "sh", str(coordd.socket)],
            env=coordd.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert RUNNING.match(done.stdout)
        assert done.stderr == ""


def test_rpc_subscribe_streams_lines(project: Project, tmp_path: Path, piped: Any) -> None:
    with watching(project, tmp_path) as coordd:
        eventually(lambda: project.records("event"))
        process = piped(coordd, "rpc", "subscribe", '{"topics": ["agent"]}')
        snapshot = json.loads(process.stdout.readline())
        assert snapshot["topics"] == ["agent"]
        for n in range(5):
            project.beat(f"agent-{n}")
            message = json.loads(process.stdout.readline())
            assert message["method"] == "agent"
            assert message["params"]["agent_id"] == f"agent-{n}"
        coordd.stop(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 4
        assert "closed the connection" in errors


def test_a_daemon_that_refuses_is_no_daemon_to_wait_for(tmp_path: Path, terminal: Any) -> None:
    from fake_coordd import fake_coordd

    (tmp_path / "app" / ".claude" / "run").mkdir(parents=True)
    with fake_coordd(str(tmp_path / "app" / ".claude" / "run" / "coordd.sock"), {}):
        screen = terminal("status", "--watch")
        assert screen.ended() == 4
        assert "knows no subscriptions" in screen.said
