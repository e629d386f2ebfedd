"""Commands for scripts and hands against a real daemon: ``wait``, ``goto``, ``status --brief``."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from live import Coordd, coordctl, environment, running
from played_claude import PlayedSession
from sessions import Home
from waiting import PATIENCE, eventually

from coordd.host.processes import glance


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    one = Home(tmp_path / "home" / ".claude")
    yield one
    one.close()


@pytest.fixture
def daemon(home: Home) -> Iterator[Coordd]:
    """The coordd of a user who has told it nothing."""
    user = home.path.parent
    sock = user / ".local/state/coordd/run/coordd.sock"
    with running([], sock=sock, home=user, cwd=user) as one:
        yield one


Waiting = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def wait(home: Home) -> Iterator[Waiting]:
    """Start ``coordctl wait`` in the background."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> subprocess.Popen[str]:
            user = home.path.parent
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "coordd.cli", "wait", *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment(user),
                    cwd=user,
                )
            )
            stack.callback(child.kill)
            return child

        yield begin


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = child.communicate(timeout=PATIENCE)
    return child.returncode, out.strip(), error.strip()


def follows(child: subprocess.Popen[str]) -> None:
    """Wait until a child has held one connection for a second: its first question takes milliseconds."""
    held: dict[str, float] = {}

    def does() -> bool:
        now = time.monotonic()
        there = {str(one.readlink()) for one in Path(f"/proc/{child.pid}/fd").iterdir() if one.is_socket()}
        for gone in held.keys() - there:
            del held[gone]
        return any(now - held.setdefault(one, now) >= 1 for one in there)

    eventually(does)


def activity(daemon: Coordd, agent: str, expected: str) -> None:
    eventually(lambda: daemon.agent(agent)["activity"] == expected, what=expected)


def test_it_returns_when_the_agent_waits(home: Home, daemon: Coordd, wait: Waiting) -> None:
    session = home.session("s-1", status="busy")
    activity(daemon, "s-1", "working")
    child = wait("s-1", "--until", "waiting", "--until", "ended")
    session.write(status="waiting", waitingFor="permission prompt", nameSource="user")
    assert ended(child) == (0, "waiting: permission prompt", "")
    # it is so already: nobody waits
    child = wait("work-1", "--json")
    code, out, error = ended(child)
    assert (code, error) == (0, "")
    told = json.loads(out)
    assert (told["agent_id"], told["activity"], told["schema"]) == ("s-1", "waiting", 1)


def test_a_killed_agent_will_not_be_idle_and_one_that_ended_has_ended(
    home: Home, daemon: Coordd, wait: Waiting
) -> None:
    killed, over = home.session("s-1", status="busy"), home.session("s-2", status="busy")
    for one in ("s-1", "s-2"):
        activity(daemon, one, "working")
    children = [
        wait("s-1", "--until", "idle"),
        wait("s-2", "--until", "ended"),
        wait("s-2", "--until", "idle"),
    ]
    killed.kill()
    over.exit()
    assert ended(children[0]) == (1, "", "coordctl: s-1 was killed: it will not be idle.")
    assert ended(children[1]) == (0, "ended", "")
    assert ended(children[2]) == (1, "", "coordctl: s-2 has ended: it will not be idle.")


def test_the_time_is_over_and_nobody_is_meant(home: Home, daemon: Coordd, wait: Waiting) -> None:
    home.session("s-1", status="busy")
    activity(daemon, "s-1", "working")
    child = wait("s-1", "--timeout", "500ms")
    assert ended(child) == (4, "", "coordctl: s-1 is working after 500ms.")
    code, _, error = ended(wait("nobody"))
    assert (code, error.splitlines()[0]) == (1, "coordctl: No agent 'nobody' is known.")
    code, _, error = ended(wait("s-1", "--timeout", "soon"))
    assert (code, "for example 90s" in error) == (2, True)
    code, _, error = ended(wait("s-1", "--until", "dead"))
    assert (code, "'dead' is not one of" in error) == (2, True)


def test_the_time_is_over_at_once(home: Home, daemon: Coordd, wait: Waiting) -> None:
    """A time of 0 asks once, and what the agent does is said all the same."""
    home.session("s-1", status="busy")
    home.session("s-2", status="waiting", waitingFor="permission prompt", nameSource="user")
    activity(daemon, "s-1", "working")
    for _ in range(5):
        assert ended(wait("s-1", "--timeout", "0s")) == (4, "", "coordctl: s-1 is working after 0s.")
    assert ended(wait("s-2", "--until", "idle", "--timeout", "0s"))[2] == (
        "coordctl: s-2 is waiting (permission prompt) after 0s."
    )
    assert ended(wait("s-2", "--until", "waiting")) == (0, "waiting: permission prompt", "")
    assert ended(wait("s-2", "--until", "waiting", "--timeout", "0s"))[0] == 0


def test_the_time_is_over_while_coordd_is_gone(home: Home, tmp_path: Path, wait: Waiting) -> None:
    user = home.path.parent
    sock = user / ".local/state/coordd/run/coordd.sock"
    home.session("s-1", status="busy")
    with running([], sock=sock, home=user, cwd=user) as one:
        activity(one, "s-1", "working")
        child = wait("s-1", "--until", "waiting", "--timeout", "5s")
        follows(child)
        one.stop(signal.SIGKILL)
    code, _, error = ended(child)
    assert code == 4
    assert error.startswith(
        "coordctl: s-1 is working by the last word of coordd, which has not answered for "
    )
    assert error.endswith(", after 5s.")


def test_of_whom_nobody_can_tell_it_says_so_and_goes_on(home: Home, wait: Waiting) -> None:
    """By hooks alone: since a turn was over long ago its container may have gone."""
    user = home.path.parent
    session = str(uuid.uuid4())
    hooks = user / ".local/state/coordd/hooks"
    hooks.mkdir(parents=True)
    at = time.time() - 3600
    (hooks / f"{session}.Stop").touch()
    os.utime(hooks / f"{session}.Stop", (at, at))
    sock = user / ".local/state/coordd/run/coordd.sock"
    with running([], sock=sock, home=user, cwd=user) as daemon:
        eventually(lambda: daemon.agent(session)["reason"] == "quiet")
        unknown = f"coordctl: {session} is unknown (nothing new since its last hook)"
        assert ended(wait(session, "--timeout", "0s")) == (4, "", f"{unknown} after 0s.")
        child = wait(session[:8], "--until", "idle")
        assert child.stderr is not None
        assert child.stderr.readline() == f"{unknown}: waiting until something tells more.\n"
        (hooks / f"{session}.Stop").touch()
        assert ended(child) == (0, "idle", "")


def test_it_outlives_a_restart_of_coordd(home: Home, tmp_path: Path, wait: Waiting) -> None:
    user = home.path.parent
    sock = user / ".local/state/coordd/run/coordd.sock"
    session = home.session("s-1", status="busy")
    with running([], sock=sock, home=user, cwd=user) as one:
        activity(one, "s-1", "working")
        child = wait("s-1", "--until", "waiting")
        follows(child)
        one.stop(signal.SIGKILL)
    session.write(status="waiting", waitingFor="permission prompt", nameSource="user")
    with running([], sock=sock, home=user, cwd=user):
        assert ended(child) == (0, "waiting: permission prompt", "")


def test_without_a_daemon_it_says_so_at_once(home: Home, wait: Waiting) -> None:
    code, out, error = ended(wait("s-1"))
    assert (code, out) == (3, "")
    assert "coordd is not running" in error


def test_brief_is_one_line_whatever_happens(home: Home, daemon: Coordd) -> None:
    session = home.session("s-1", status="waiting", waitingFor="permission prompt", nameSource="user")
    activity(daemon, "s-1", "waiting")

    def needs() -> bool:
        shown = daemon.ctl("status", "--brief")
        return shown.stdout.startswith("1 needs you: work-1 ") and shown.stdout.endswith(", 1 alive\n")

    eventually(needs)
    assert daemon.ctl("status", "--brief").stderr == ""
    session.kill()
    assert daemon.stop() == 0
    down = coordctl("status", "--brief", environ=daemon.environ, cwd=home.path.parent)
    assert (down.returncode, down.stdout, down.stderr) == (3, "coordd is not running\n", "")
    wrong = coordctl("status", "--brief", "--json", environ=daemon.environ, cwd=home.path.parent)
    assert wrong.returncode == 2


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Call a tmux server of the test's own, below TMUX_TMPDIR."""

    def call(*words: str) -> str:
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", *words],
            env={**environment(tmp_path / "home"), "TMUX_TMPDIR": str(tmp_path), "TERM": "xterm"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout.strip()

    yield call
    subprocess.run(
        ["tmux", "kill-server"], env={"TMUX_TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=False
    )


@pytest.mark.root  # Debian's tmux
def test_goto_leads_to_the_pane_of_the_agent(
    home: Home, daemon: Coordd, tmp_path: Path, tmux: Callable[..., str]
) -> None:
    tmux("new-session", "-d", "-s", "evil; touch /tmp/x", "-x", "100", "-y", "30", "sleep", "1000")
    tmux("new-window", "-d", "sleep", "1001")
    rows = tmux("list-panes", "-a", "-F", "#{pane_pid} #{pane_id} #{window_id} #{session_id}").splitlines()
    pid, pane, window, session = rows[-1].split()
    seen = glance(int(pid))
    assert seen is not None
    session_there = PlayedSession(str(home.path), seen.process, "s-tmux", str(home.work))
    session_there.begin()
    session_there.status("waiting", "permission prompt")
    activity(daemon, "s-tmux", "waiting")
    assert daemon.agent("s-tmux")["tty"] == seen.tty
    environ = {**daemon.environ, "TMUX_TMPDIR": str(tmp_path)}
    shown = coordctl("goto", "s-tmux", "--print", environ=environ)
    assert shown.returncode == 0, shown.stderr
    words = shlex.split(shown.stdout)
    assert words[:3] == ["tmux", "-S", words[2]]
    assert words[3:] == [
        "attach-session",
        "-t",
        session,
        ";",
        "select-window",
        "-t",
        window,
        ";",
        "select-pane",
        "-t",
        pane,
    ]

    # in a terminal of its own it attaches, and the pane is the active one
    tmux("select-window", "-t", rows[0].split()[2])
    outer = ["tmux", "-L", "outer", "-f", "/dev/null"]
    examples = coordctl("goto", "--help", environ=environ).stdout.partition("Examples:")[2].splitlines()
    first = next(index for index, line in enumerate(examples) if "who=" in line)
    typed = "\n".join(line.partition("    to the first")[0] for line in examples[first : first + 2])
    call = shlex.join([sys.executable, "-m", "coordd.cli"])
    command = shlex.join(["bash", "-c", f'coordctl() {{ {call} "$@"; }}\n{typed}'])
    subprocess.run(
        [*outer, "new-session", "-d", "-x", "90", "-y", "20", command],
        env={**environ, "TERM": "xterm"},
        check=True,
    )
    try:
        eventually(lambda: tmux("list-clients", "-F", "#{pane_id}") == pane)
        # inside of that server the client switches
        tmux("select-window", "-t", rows[0].split()[2])
        inside = coordctl("goto", "s-tmux", "--print", environ={**environ, "TMUX": f"{words[2]},1,0"})
        assert shlex.split(inside.stdout)[3] == "switch-client"
    finally:
        subprocess.run([*outer, "kill-server"], env=environ, check=False)


def test_goto_says_why_there_is_no_way(home: Home, daemon: Coordd) -> None:
    home.session("s-1")
    activity(daemon, "s-1", "idle")
    shown = daemon.ctl("goto", "s-1")
    assert shown.returncode == 1
    process = daemon.agent("s-1")
    if process["tty"] is None:
        assert f"its process {process['pid']} runs without one" in shown.stderr
    else:
        assert "no tmux of yours shows" in shown.stderr
