"""What agents start outlives them: real processes, re-parented as daemons, shells and nohup do it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from left_behind import Starter, parent_of, starter
from live import Coordd, running
from played_claude import PlayedSession, home
from played_programs import programs
from real_processes import process_of
from waiting import NotYet, eventually

from coordd.host.process_facts import Process
from coordd.host.processes import glance

Orphan = dict[str, Any]
T = f"test-{os.getpid()}-"
"""What the sessions of these tests begin with, and those of tests beside them do not."""

BACKGROUND = "sleep 1000 & echo $! >{0}; sleep 0.2"
"""A shell ends, and what it has put into the background is re-parented."""
NOHUP = "nohup sleep 1000 >/dev/null 2>&1 & echo $! >{0}"
SETSID = "setsid sh -c 'echo $$ >{0}; exec sleep 1000' &"
TWICE = "(setsid sh -c '(sleep 1000 & echo $! >{0}) & wait') &"
SERVES = """
import os, socket, time
listening = socket.create_server(("127.0.0.1", 0))
with open("port.new", "w") as file:
    file.write(str(listening.getsockname()[1]))
os.rename("port.new", "port")
time.sleep(1000)
"""


@contextlib.contextmanager
def users_coordd(user: Path, **environ: str) -> Iterator[Coordd]:
    sock = user / ".local/state/coordd/run/coordd.sock"
    environ = {"COORDD_SAMPLING_INTERVAL": "1s", **environ}
    with running([], sock=sock, home=user, cwd=user, **environ) as daemon:
        yield daemon


class Scene:
    """A user's home, with sessions that are played, and agents that start things."""

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self.user = root / "home"
        self.claude = home(self.user / ".claude")
        self.work = root / "app"
        self.work.mkdir()
        self._stack = stack

    def session(self, session_id: str, *, named: bool = True) -> tuple[Starter, PlayedSession]:
        """Begin a session; ``named``: what it starts says of which session it is, as Claude Code has it."""
        environ = {"CLAUDE_CODE_SESSION_ID": session_id} if named else {}
        agent = self._stack.enter_context(starter(self.work, **environ))
        played = PlayedSession(self.claude, agent.process, session_id, str(self.work))
        played.begin()
        played.prompt()
        return agent, played


# each daemon sees the processes of all tests that run beside it, and none of their homes; so does that of
# test_consumers.py
pytestmark = pytest.mark.xdist_group("consumers")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name in list(os.environ):
        if name.startswith("CLAUDE"):  # whoever runs the tests may be in a session
            monkeypatch.delenv(name)
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path, stack)


def agent_of(daemon: Coordd, agent_id: str, **expected: object) -> dict[str, Any]:
    def found() -> dict[str, Any]:
        agent = daemon.agent(agent_id)
        differing = {name: agent[name] for name, value in expected.items() if agent[name] != value}
        if differing:
            raise NotYet(differing)
        return agent

    return eventually(found, what=f"{agent_id}: {expected}")


def orphans(daemon: Coordd) -> dict[int, Orphan]:
    """Return those of the scene: whoever runs the tests may have left some too."""
    every = daemon.rpc("orphans.list")["orphans"]
    return {one["pid"]: one for one in every if one["session_id"].startswith(T)}


def listed(daemon: Coordd, *processes: Process) -> dict[int, Orphan]:
    """Wait until exactly these processes are listed."""

    def found() -> list[dict[int, Orphan]]:
        now = orphans(daemon)
        if set(now) != {one.pid for one in processes}:
            raise NotYet({pid: one["name"] for pid, one in now.items()})
        return [now]

    return eventually(found, what="orphans")[0]


def above_the_tests() -> set[int]:
    """Return the pids of all processes above this one: one of them takes in what is left behind."""
    found, pid = set(), os.getpid()
    while pid > 1:
        seen = glance(pid)
        assert seen is not None
        pid = seen.parent
        found.add(pid)
    return found


@pytest.mark.parametrize("command", [BACKGROUND, NOHUP, SETSID, TWICE])
def test_what_was_re_parented_is_part_of_its_agents_tree_and_then_outlives_it(
    scene: Scene, command: str
) -> None:
    agent, _ = scene.session(T + "1")
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "1", processes=1)
        left = agent.start("pid", command.format("pid"))
        eventually(lambda: parent_of(left) in above_the_tests())
        agent_of(daemon, T + "1", processes=2)
        assert orphans(daemon) == {}
        agent.kill()
        one = listed(daemon, left)[left.pid]
        assert (one["agent_id"], one["session_id"], one["kind"]) == (T + "1", T + "1", "claude-code")
        assert (one["workspace"], one["name"]) == (str(scene.work), "sleep")
        assert one["rss"] > 0
        assert one["age"] >= 0
        assert one["ports"] == []
        os.kill(left.pid, signal.SIGKILL)
        listed(daemon)


def test_what_was_seen_below_an_agent_stays_its_own_whatever_it_says(scene: Scene) -> None:
    """A Codex, say: nothing in the environment names its session."""
    agent, _ = scene.session(T + "2", named=False)
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "2", processes=1)
        shell = agent.start("shell", "echo $$ >shell; sh -c 'echo $$ >inner; sleep 1000; true'; true")
        eventually(lambda: daemon.agent(T + "2")["processes"] == 4)
        inner = int((scene.work / "inner").read_text())
        os.kill(shell.pid, signal.SIGKILL)  # what it has started is re-parented
        agent_of(daemon, T + "2", processes=3)
        agent.kill()
        found = eventually(lambda: now if len(now := orphans(daemon)) == 2 else {})
        assert inner in found
        assert {one["agent_id"] for one in found.values()} == {T + "2"}
        for pid in found:
            os.kill(pid, signal.SIGKILL)


GOES = "while [ ! -e go ]; do sleep 0.05; done; sleep 1000 & echo $! >late"


def test_what_a_shell_starts_after_it_was_seen_is_known_by_the_shells_session(scene: Scene) -> None:
    """One pass sees the shell; until the next one it has started something, and has ended."""
    agent, _ = scene.session(T + "a", named=False)
    shell = agent.start("shell", f"setsid sh -c 'echo $$ >shell; {GOES}'")
    with users_coordd(scene.user, COORDD_SAMPLING_INTERVAL="1h") as daemon:
        eventually(lambda: (daemon.agent(T + "a")["processes"] or 0) >= 2)
        (scene.work / "go").touch()
        late = agent.start("late", "true")
        eventually(lambda: glance(shell.pid) is None)
        agent.kill()
        assert listed(daemon, late)[late.pid]["agent_id"] == T + "a"


def test_what_idles_is_looked_at_when_it_starts_something(scene: Scene) -> None:
    """Its tree is measured every five minutes; who is new is looked at with each sample."""
    agent, played = scene.session(T + "b", named=False)
    played.finish()
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "b", processes=1, activity="idle")
        eventually(lambda: daemon.agent(T + "b")["cpu_percent"] is not None)
        shell = agent.start("shell", f"setsid sh -c 'echo $$ >shell; {GOES}'")
        for _ in range(2):
            before = daemon.rpc("system.latest")["timestamp"]
            eventually(lambda before=before: daemon.rpc("system.latest")["timestamp"] != before)
        (scene.work / "go").touch()
        late = agent.start("late", "true")
        eventually(lambda: glance(shell.pid) is None)
        agent.kill()
        assert listed(daemon, late)[late.pid]["agent_id"] == T + "b"


def test_a_restarted_coordd_knows_by_the_environment_whose_they_were(scene: Scene) -> None:
    agent, _ = scene.session(T + "3")
    living, _ = scene.session(T + "4")
    gone = agent.start("gone", NOHUP.format("gone"))
    shell = living.start("shell", NOHUP.format("shell"))
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "3", processes=2)
        agent_of(daemon, T + "4", processes=2)
        daemon.stop()
    agent.kill()
    with users_coordd(scene.user) as daemon:
        one = listed(daemon, gone)[gone.pid]
        assert one["agent_id"] == T + "3"
        agent_of(daemon, T + "4", processes=2)
        assert shell.pid not in orphans(daemon)
        daemon.stop()
    shutil.rmtree(scene.user / ".local")
    with users_coordd(scene.user) as daemon:  # which never heard of the session
        one = listed(daemon, gone)[gone.pid]
        assert (one["agent_id"], one["session_id"], one["kind"]) == (None, T + "3", "claude-code")


def test_a_restarted_coordd_knows_what_runs_below_what_was_left(scene: Scene) -> None:
    agent, _ = scene.session(T + "7")
    below = agent.start("below", "nohup sh -c 'echo $$ >top; sleep 1000 & echo $! >below; wait' >/dev/null &")
    top = process_of(int((scene.work / "top").read_text()))
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "7", processes=3)
        agent.kill()
        listed(daemon, top, below)
        daemon.stop()
    with users_coordd(scene.user) as daemon:
        assert {one["agent_id"] for one in listed(daemon, top, below).values()} == {T + "7"}


def test_agents_that_may_not_have_started_it_do_not_hide_what_was_left_before_a_restart(
    scene: Scene, tmp_path: Path
) -> None:
    with programs(tmp_path / "bin") as played:
        played.native("opencode", cwd=scene.work)  # which nobody knows a session of
        _, cleared = scene.session(T + "8")
        agent, _ = scene.session(T + "9")
        gone = agent.start("gone", NOHUP.format("gone"))
        switches = {"COORDD_PROCESSES_ENABLED": "true"}
        with users_coordd(scene.user, **switches) as daemon:
            agent_of(daemon, T + "9", processes=2)
            cleared.clear(T + "8b")
            agent_of(daemon, T + "8", session_id=T + "8b")
            agent.kill()
            assert listed(daemon, gone)[gone.pid]["agent_id"] == T + "9"
            daemon.stop()
        with users_coordd(scene.user, **switches) as daemon:
            assert listed(daemon, gone)[gone.pid]["agent_id"] == T + "9"


def test_the_background_of_a_session_that_goes_on_is_none(scene: Scene) -> None:
    agent, played = scene.session(T + "5")
    with users_coordd(scene.user) as daemon:
        left = agent.start("pid", NOHUP.format("pid"))
        agent_of(daemon, T + "5", processes=2)
        played.clear(T + "6")  # what it started says that it is of another one
        agent_of(daemon, T + "5", session_id=T + "6")
        assert orphans(daemon) == {}
        daemon.stop()
    with users_coordd(scene.user) as daemon:
        agent_of(daemon, T + "5", session_id=T + "6", processes=2)
        assert orphans(daemon) == {}
        assert left


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is missing")
def test_a_tmux_server_that_a_session_started_is_neither_its_child_nor_left_behind(scene: Scene) -> None:
    agent, _ = scene.session(T + "7")
    socket_ = scene.work / "tmux.sock"
    with users_coordd(scene.user) as daemon:
        pane = agent.start(
            "pane", f"tmux -S {socket_} -f /dev/null new-session -d 'echo $$ >pane; exec sleep 1000'"
        )
        try:
            other = agent.start("pid", NOHUP.format("pid"))
            agent_of(daemon, T + "7", processes=2)
            agent.kill()
            assert pane.pid not in listed(daemon, other)
        finally:
            subprocess.run(["tmux", "-S", str(socket_), "kill-server"], check=False)


def test_a_nested_agent_has_a_tree_of_its_own_and_its_own_orphans(scene: Scene) -> None:
    outer, _ = scene.session(T + "outer")
    with users_coordd(scene.user) as daemon:
        inner, _ = scene.session(T + "inner")
        left = inner.start("inner.pid", NOHUP.format("inner.pid"))
        mine = outer.start("outer.pid", NOHUP.format("outer.pid"))
        agent_of(daemon, T + "outer", processes=2)
        agent_of(daemon, T + "inner", processes=2)
        inner.kill()
        assert listed(daemon, left)[left.pid]["agent_id"] == T + "inner"
        agent_of(daemon, T + "outer", processes=2)
        assert mine.pid not in orphans(daemon)


def test_the_command_says_whose_they_are_where_they_listen_and_what_to_type(scene: Scene) -> None:
    agent, _ = scene.session(T + "8")
    script = scene.work / "server.py"
    script.write_text(SERVES)
    port_file = scene.work / "port"
    with users_coordd(scene.user) as daemon:
        server = agent.start("pid", "nohup python3 server.py >/dev/null 2>&1 & echo $! >pid")
        port = int(eventually(lambda: port_file.exists() and port_file.read_text()))
        agent_of(daemon, T + "8", processes=2)
        agent.kill()
        assert listed(daemon, server)[server.pid]["ports"] == [port]
        said = daemon.ctl("orphans")
        assert said.returncode == 0, said.stderr
        for word in (str(server.pid), "python3", "work-12 (claude-code)", str(port), f"kill {server.pid}"):
            assert word in said.stdout
        document = json.loads(daemon.ctl("orphans", "--json").stdout)
        assert document["schema"] == 1
        assert document["orphans"][0]["pid"] == server.pid
        with socket.create_connection(("127.0.0.1", port)):
            pass  # nobody ended it


def test_the_session_of_a_foreign_project_is_not_called_dead(scene: Scene, tmp_path: Path) -> None:
    """A project's daemon does not know the sessions of others."""
    agent, _ = scene.session(T + "9")
    left = agent.start("pid", NOHUP.format("pid"))
    other = tmp_path / "other"
    (other / ".claude" / "coordination").mkdir(parents=True)
    with running(
        ["--workspace", str(other)], sock=other / ".claude/run/coordd.sock", home=scene.user, cwd=other
    ) as daemon:
        assert daemon.rpc("orphans.list")["orphans"] == []
        nothing = daemon.ctl("orphans")
        assert nothing.returncode == 0
        assert "No process outlived its agent" in nothing.stdout
        assert left
