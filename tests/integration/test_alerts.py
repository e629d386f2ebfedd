"""coordd-alert as a person meets it: the real process, a real coordd, agents whose processes are real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import Told, alerting, config_of
from live import Coordd, Project, environment, running, watching
from played_claude import PlayedSession, Processes, home, processes
from waiting import eventually, until

from coordd.alerts.conditions import Slot
from coordd.alerts.engine import Engine
from coordd.alerts.feed import Feed
from coordd.alerts.memory import Memory
from coordd.alerts.rules import built_in
from coordd.alerts.target import Named, Target


class Scene:
    """A home with a user's coordd to come, and sessions of Claude Code."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.claude = home(self.home / ".claude")
        self.work = folder / "work"
        self.told = Told(folder)
        self.sock = self.home / ".local" / "state" / "coordd" / "run" / "coordd.sock"
        self._count = 0

    def coordd(self) -> contextlib.AbstractContextManager[Coordd]:
        return running(["--layout", "user"], sock=self.sock, home=self.home, cwd=self.home)

    def session(self, has: Processes, place: str | None = None) -> PlayedSession:
        """Begin a session in a project; each in one of its own unless ``place`` names it."""
        number = self._count
        self._count += 1
        cwd = self.work / (place or f"p{number}")
        cwd.mkdir(parents=True, exist_ok=True)
        one = PlayedSession(
            self.claude, has.all[number], f"{number:08x}-0000-4000-8000-000000000000", str(cwd)
        )
        one.begin()
        one.prompt()
        return one

    def rule(self, **keys: object) -> None:
        config_of(self.home, self.told.rule(**keys))

    def told_of(self, kind: str, session: PlayedSession, state: str | None = None) -> int:
        """How often it was told of something of a session."""
        return self.told.entries(state).count((kind, session.session_id))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def has() -> Iterator[Processes]:
    with processes(8) as found:
        yield found


def test_who_waits_is_told_once_with_the_project_and_what_to_type(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting"])
    with scene.coordd() as daemon, alerting(scene.home) as alerts:
        one = scene.session(has, "shop")
        eventually(lambda: one.session_id in daemon.statuses())
        one.status("waiting", "permission prompt")
        eventually(scene.told.messages)
        (message,) = scene.told.messages()
        assert message["title"].endswith("waits for you: permission prompt")
        assert "work/shop" in message["text"]
        assert f"coordctl agent {one.session_id[:8]}" in message["text"]
        (entry,) = message["entries"]
        assert entry["project"] == one.cwd
        assert message["again"] is False
        one.status("busy")
        eventually(lambda: len(scene.told.messages()) == 2)
        assert scene.told.messages()[1]["state"] == "resolved"
        listed = alerts.status()["told"]
        assert [told["state"] for told in listed] == ["resolved", "firing"]
        assert all(outcome["error"] is None for told in listed for outcome in told["outcomes"])


def test_a_kill_is_told_with_the_next_command(scene: Scene, has: Processes) -> None:
    scene.rule(on=["killed"])
    with scene.coordd() as daemon, alerting(scene.home):
        one, two = scene.session(has, "a"), scene.session(has, "a")
        eventually(lambda: len(daemon.statuses()) == 2)
        Processes.kill(one.process)
        eventually(scene.told.messages)
        (entry,) = scene.told.messages()[0]["entries"]
        assert entry["command"] == f"coordctl why {one.session_id[:8]}"
        assert scene.told_of("killed", two) == 0


def test_a_group_that_was_killed_is_told_once_although_one_comes_back(scene: Scene, has: Processes) -> None:
    scene.rule(on=["killed"])
    with scene.coordd() as daemon, alerting(scene.home) as alerts:
        sessions = [scene.session(has, "shop") for _ in range(4)]
        eventually(lambda: len(daemon.statuses()) == 4)
        for one in sessions:
            Processes.kill(one.process)
        eventually(lambda: [kind for kind, _ in scene.told.entries("firing")] == ["mass"])
        scene.session(has, "shop")
        eventually(lambda: [kind for kind, _ in scene.told.entries("resolved")] == ["mass"])
        assert [one["phase"] for one in alerts.status()["firing"]] == ["told"] * 4
        assert len(scene.told.messages()) == 2


def test_a_rule_of_a_project_tells_of_its_worktrees_wherever_they_lie(scene: Scene, has: Processes) -> None:
    shop, worktree = scene.work / "shop", scene.work.parent / "elsewhere" / "wt"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(shop)]
    shop.mkdir(parents=True)
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(worktree)], check=True)
    scene.rule(on=["waiting", "mass"], workspaces=[str(shop)])
    with scene.coordd() as daemon, alerting(scene.home):
        sessions = [scene.session(has, str(worktree)) for _ in range(4)]
        eventually(lambda: len(daemon.statuses()) == 4)
        sessions[0].status("waiting", "permission prompt")
        eventually(lambda: scene.told_of("waiting", sessions[0]) == 1)
        for one in sessions:
            Processes.kill(one.process)
        eventually(lambda: ("mass", str(worktree)) in scene.told.entries())
        told = [entry for message in scene.told.messages() for entry in message["entries"]]
        assert {entry["project"] for entry in told} == {str(shop)}


def test_the_end_of_a_long_turn_is_told_where_it_is_wanted(scene: Scene, has: Processes) -> None:
    scene.rule(on=["finished"], finished_after="0s")
    with scene.coordd() as daemon, alerting(scene.home):
        one = scene.session(has, "a")
        eventually(lambda: daemon.agent(one.session_id)["activity"] == "working")
        one.finish()
        eventually(lambda: scene.told_of("finished", one, "happened") == 1)
        assert "has finished" in scene.told.messages()[0]["title"]


def test_many_deaths_at_once_are_one_message(scene: Scene, has: Processes) -> None:
    scene.rule(on=["killed", "mass"])
    with scene.coordd() as daemon, alerting(scene.home):
        sessions = [scene.session(has) for _ in range(8)]
        eventually(lambda: len(daemon.statuses()) == 8)
        for one in sessions:
            Processes.kill(one.process)
        eventually(lambda: len(scene.told.entries()) == 8)
        assert len(scene.told.messages()) == 1


# it is ended, and the daemon is


def test_what_happens_while_it_is_down_is_told_once_it_is_back(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting", "killed"])
    with scene.coordd() as daemon:
        with alerting(scene.home) as alerts:
            one, two, three = (scene.session(has) for _ in range(3))
            eventually(lambda: len(daemon.statuses()) == 3)
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
            eventually(lambda: "told by rule" in alerts.logged())  # its outcome is on disk
            alerts.kill()
        one.status("busy")
        two.status("waiting", "permission prompt")
        eventually(lambda: _attention(daemon, two))
        two.status("busy")
        eventually(lambda: not _attention(daemon, two))
        Processes.kill(three.process)
        eventually(lambda: _attention(daemon, three))
        with alerting(scene.home):
            eventually(lambda: scene.told_of("killed", three) == 1)
            assert scene.told_of("waiting", one, "resolved") == 1
            assert scene.told_of("waiting", two) == 1  # began and ended meanwhile: told as over
            assert scene.told_of("waiting", two, "resolved") == 1
            assert len(scene.told.messages()) == 2  # all of that is one message
            assert not any(one["again"] for one in scene.told.messages())


def test_a_daemon_that_is_restarted_is_followed_and_nothing_told_twice(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting", "killed", "daemon"])
    with contextlib.ExitStack() as stack:
        with scene.coordd() as daemon:
            alerts = stack.enter_context(alerting(scene.home))
            one, two = scene.session(has), scene.session(has)
            eventually(lambda: len(daemon.statuses()) == 2)
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
            assert daemon.stop() == 0
        two.status("waiting", "permission prompt")
        eventually(lambda: not alerts.follows())
        with scene.coordd():
            eventually(lambda: scene.told_of("waiting", two) == 1)
            one.status("busy")
            two.status("busy")
            eventually(lambda: len(scene.told.entries("resolved")) == 2)
        assert scene.told_of("waiting", one, "firing") == 1
        assert ("daemon", "coordd") not in scene.told.entries()  # it was stopped in order


def test_another_daemon_says_nothing_of_the_agents_of_the_first(
    scene: Scene, has: Processes, tmp_path: Path
) -> None:
    scene.rule(on=["waiting"])
    with scene.coordd() as daemon, watching(Project(tmp_path / "other"), tmp_path) as other:
        one = scene.session(has, "a")
        eventually(lambda: one.session_id in daemon.statuses())
        with alerting(scene.home) as alerts:
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
            assert alerts.stop() == 0
        with alerting(scene.home, "--socket", str(other.socket)) as alerts:
            assert alerts.ctl("test", "r").returncode == 0
            eventually(lambda: alerts.status()["firing"] == [])
            assert "another coordd than before" in alerts.logged()
            assert alerts.stop() == 0
        assert scene.told.entries("resolved") == []
        with alerting(scene.home):
            eventually(lambda: scene.told_of("waiting", one) == 2)


def test_a_daemon_that_is_killed_is_told_of_and_what_it_told_is_not_over(
    scene: Scene, has: Processes
) -> None:
    scene.rule(on=["waiting", "daemon"])
    with contextlib.ExitStack() as stack:
        with scene.coordd() as daemon:
            alerts = stack.enter_context(alerting(scene.home))
            one = scene.session(has)
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
            daemon.process.kill()
            daemon.process.wait()
        eventually(lambda: ("daemon", "coordd") in scene.told.entries("firing"))
        assert scene.told_of("waiting", one, "resolved") == 0
        with scene.coordd():
            eventually(lambda: ("daemon", "coordd") in scene.told.entries("resolved"))
            eventually(alerts.follows)
            one.status("busy")
            # ends come a minute apart
            eventually(lambda: scene.told_of("waiting", one, "resolved") == 1, within=90)
        assert scene.told_of("waiting", one, "firing") == 1


def test_what_came_and_went_before_the_daemon_was_restarted_is_told_as_over(
    scene: Scene, has: Processes
) -> None:
    scene.rule(on=["waiting", "killed", "finished"], finished_after="0s")
    with scene.coordd() as daemon:
        with alerting(scene.home) as alerts:
            one, two, three, four = (scene.session(has) for _ in range(4))
            eventually(lambda: len(daemon.statuses()) == 4)
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
            eventually(lambda: alerts.status()["told"][0]["outcomes"])
            assert alerts.stop() == 0
        two.status("waiting", "permission prompt")
        eventually(lambda: _attention(daemon, two))
        eventually(
            lambda: any(
                e["kind"] == "agent.waiting" and e["subject"] == two.session_id for e in _events(daemon)
            )
        )
        two.status("busy")
        one.status("busy")
        eventually(lambda: not _attention(daemon, two))
        three.finish()
        Processes.kill(four.process)
        eventually(lambda: _attention(daemon, four))
        assert daemon.stop() == 0
    with scene.coordd(), alerting(scene.home):
        eventually(lambda: scene.told_of("killed", four) == 1)
        assert scene.told_of("waiting", one, "resolved") == 1
        assert scene.told_of("waiting", two, "resolved") == 1
        assert scene.told_of("waiting", two) == 1
        assert scene.told_of("finished", three, "happened") == 1
    assert scene.told_of("waiting", one, "firing") == 1
    assert len(scene.told.messages()) == 2


async def test_a_daemon_that_is_silent_is_a_condition_until_it_answers(scene: Scene) -> None:
    engine = Engine([built_in()])
    with scene.coordd() as daemon:
        target = Target(Named(socket=str(scene.sock)), environ=environment(scene.home), cwd=None)
        feed = Feed(
            memory=Memory(engine=engine), find=target.find, changed=lambda: None, silence=0.5, patience=0.5
        )
        task = asyncio.create_task(feed.run())
        await until(lambda: feed.connected)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: Slot("daemon", "", "coordd") in engine.fires)
            assert not feed.connected
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        await until(lambda: feed.connected)
        assert not engine.fires
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _events(daemon: Coordd) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.rpc("history.query", {"type": "event"})["records"]
    return found


def test_both_killed_lose_nothing(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting", "killed"])
    with scene.coordd() as daemon, alerting(scene.home) as alerts:
        one, two = scene.session(has), scene.session(has)
        eventually(lambda: len(daemon.statuses()) == 2)
        one.status("waiting", "permission prompt")
        eventually(lambda: scene.told_of("waiting", one) == 1)
        eventually(lambda: "told by rule" in alerts.logged())  # its outcome is on disk
        alerts.kill()
        Processes.kill(two.process)
        eventually(lambda: _attention(daemon, two))
        daemon.process.kill()
        daemon.process.wait()
    with scene.coordd() as daemon, alerting(scene.home):
        eventually(lambda: scene.told_of("killed", two) == 1)
        one.status("busy")
        eventually(lambda: scene.told_of("waiting", one, "resolved") == 1)
    assert scene.told_of("waiting", one, "firing") == 1
    assert scene.told_of("killed", two) == 1


def test_killed_while_it_tells_it_tells_again_and_says_so(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting"])
    scene.told.do("exec sleep 60")
    with scene.coordd() as daemon:
        with alerting(scene.home) as alerts:
            one = scene.session(has)
            eventually(lambda: one.session_id in daemon.statuses())
            one.status("waiting", "permission prompt")
            eventually(scene.told.messages)
            alerts.kill()
        scene.told.do("exit 0")
        with alerting(scene.home) as alerts:
            eventually(lambda: len(scene.told.messages()) == 2)
            first, second = scene.told.messages()
            assert first["id"] == second["id"]
            assert (first["again"], second["again"]) == (False, True)
            assert "may have been told before" in second["text"]
            eventually(lambda: "told by rule" in alerts.logged())  # its outcome is on disk
            assert alerts.status()["told"][0]["outcomes"][0]["again"] is True
        with alerting(scene.home):
            assert len(scene.told.messages()) == 2


@pytest.mark.timeout(300)
def test_killed_again_and_again_each_transition_is_told(scene: Scene, has: Processes) -> None:
    """A flood of kills at any moment: once each, or at least once and marked where it was being told."""
    scene.rule(on=["waiting"])
    ending = threading.Event()
    with scene.coordd() as daemon:
        sessions = [scene.session(has) for _ in range(6)]
        eventually(lambda: len(daemon.statuses()) == 6)

        def go_on() -> None:
            for one in sessions:
                one.status("waiting", "permission prompt")
                ending.wait(0.7)

        going = threading.Thread(target=go_on)
        going.start()
        for pause in (0.9, 1.3, 1.7, 2.1, 0.5, 3.1, 1.1, 2.6):
            with alerting(scene.home, wait=False) as alerts:
                ending.wait(pause)
                alerts.kill()
        going.join()
        with alerting(scene.home):
            eventually(
                lambda: {subject for _, subject in scene.told.entries()} == {s.session_id for s in sessions}
            )
    for one in sessions:
        heard = [
            message["again"]
            for message in scene.told.messages()
            for entry in message["entries"]
            if entry["subject"] == one.session_id
        ]
        assert heard.count(False) <= 1, heard
        assert len(heard) == 1 or all(heard[1:])


def _attention(daemon: Coordd, session: PlayedSession) -> bool:
    return any(one["subject"] == session.session_id for one in daemon.rpc("status")["attention"])


# its rules


def test_with_nothing_configured_the_desktop_is_told(scene: Scene, has: Processes, tmp_path: Path) -> None:
    told = tmp_path / "desktop"
    program = tmp_path / "bin" / "notify-send"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {told}\n')
    program.chmod(0o755)
    environ = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}",
    }
    with scene.coordd() as daemon, alerting(scene.home, environ=environ) as alerts:
        assert alerts.status()["built_in"] is True
        one = scene.session(has, "shop")
        eventually(lambda: one.session_id in daemon.statuses())
        one.status("waiting", "permission prompt")
        text = eventually(lambda: told.exists() and told.read_text(), within=60)
    assert "waits for you: permission prompt" in str(text)
    assert "work/shop" in str(text)


def test_bad_rules_stop_it_at_the_start_and_say_where(scene: Scene) -> None:
    path = config_of(scene.home, scene.told.rule(on=["wating"]))
    done = _alert(scene, "run")
    assert done.returncode == 78
    assert f'{path}: alert.r.on = "wating": expected' in done.stderr
    assert _alert(scene, "check").returncode == 78


def test_a_file_that_others_can_write_is_refused(scene: Scene) -> None:
    path = config_of(scene.home, scene.told.rule())
    path.chmod(0o666)
    done = _alert(scene, "run")
    assert done.returncode == 78
    assert f"chmod go-w {path}" in done.stderr


def test_check_says_what_is_told_by_what(scene: Scene) -> None:
    scene.rule(on=["waiting", "cpu>90"])
    done = _alert(scene, "check")
    assert done.returncode == 0
    assert "r: cpu>90, waiting → exec tell" in done.stdout
    config_of(scene.home, '[[alert]]\nname = "a"\nexec = ["/nowhere/tell"]\n')
    done = _alert(scene, "check")
    assert done.returncode == 1
    assert "/nowhere/tell" in done.stdout


@pytest.mark.parametrize("by", ["signal", "command"])
def test_a_reload_takes_good_rules_and_keeps_the_old_ones_for_bad(scene: Scene, by: str) -> None:
    scene.rule(name="old")
    with scene.coordd(), alerting(scene.home) as alerts:

        def rules() -> list[str]:
            return [rule["name"] for rule in alerts.status()["rules"]]

        config_of(scene.home, scene.told.rule(name="new"))
        if by == "signal":
            alerts.process.send_signal(signal.SIGHUP)
        else:
            assert alerts.ctl("reload").returncode == 0
        eventually(lambda: rules() == ["new"])
        config_of(scene.home, scene.told.rule(name="bad name"))
        if by == "signal":
            alerts.process.send_signal(signal.SIGHUP)
            eventually(lambda: alerts.status()["problems"])
        else:
            done = alerts.ctl("reload")
            assert done.returncode != 0
            assert "bad name" in done.stderr
        assert rules() == ["new"]


# one of them


def test_a_second_one_is_refused_and_names_the_first(scene: Scene) -> None:
    scene.rule()
    with scene.coordd(), alerting(scene.home) as alerts:
        done = _alert(scene, "run")
        assert done.returncode == 1
        assert f"with pid {alerts.pid} runs already" in done.stderr
    with scene.coordd(), alerting(scene.home) as alerts:  # after a kill the lock is free
        assert alerts.stop() == 0
        assert not (alerts.state / "alerts.sock").exists() or not _answers(alerts.state)


def test_what_it_keeps_is_its_users_alone(scene: Scene) -> None:
    scene.rule()
    with scene.coordd(), alerting(scene.home) as alerts:
        assert stat.S_IMODE(alerts.state.stat().st_mode) == 0o700
        for path in alerts.state.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_without_a_daemon_it_waits_for_one(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting", "daemon"])
    with alerting(scene.home, follows=False) as alerts:
        assert alerts.status()["daemon"]["connected"] is False
        eventually(lambda: "no socket answers" in str(alerts.status()["daemon"]["error"]))
        assert alerts.ctl().stdout.splitlines()[0].endswith("no socket answers.")
        with scene.coordd():
            eventually(alerts.follows)
            one = scene.session(has)
            one.status("waiting", "permission prompt")
            eventually(lambda: scene.told_of("waiting", one) == 1)
    assert ("daemon", "coordd") not in scene.told.entries()  # none has run before


# coordctl


def test_a_mute_names_its_agent_as_every_command_does(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting"])
    with scene.coordd() as daemon, alerting(scene.home) as alerts:
        one, two = scene.session(has), scene.session(has)
        eventually(lambda: len(daemon.statuses()) == 2)

        def muted(agent: str) -> list[str]:
            done = alerts.ctl("mute", "2h", "--agent", agent)
            assert done.returncode == 0, done.stderr
            assert ("is known" in done.stderr) == (agent == "nobody")
            found = [mute["agent"] for mute in alerts.status()["mutes"]]
            assert alerts.ctl("unmute", "--agent", agent).stdout == "1 mute has ended.\n"
            return found

        assert muted(one.session_id[:8]) == [one.session_id]
        assert muted(f"{two.session_id[:8]}…") == [two.session_id]
        assert muted("work-12") == ["work-12"]  # the name of both
        assert muted("nobody") == ["nobody"]
        several = alerts.ctl("mute", "2h", "--agent", one.session_id[:6])
        assert (several.returncode, alerts.status()["mutes"]) == (1, [])
        assert "may mean 2 agents" in several.stderr


def test_coordctl_shows_tries_and_mutes(scene: Scene, has: Processes) -> None:
    scene.rule(on=["waiting"])
    with scene.coordd() as daemon, alerting(scene.home) as alerts:
        done = alerts.ctl("test", "r")
        assert (done.returncode, done.stdout) == (0, "exec tell: told\n")
        assert scene.told.messages()[0]["state"] == "test"
        done = alerts.ctl("test", "nonsense")
        assert done.returncode == 1
        assert "the rules are: r" in done.stderr
        one = scene.session(has)
        eventually(lambda: one.session_id in daemon.statuses())
        assert alerts.ctl("mute", "2h", "--agent", one.session_id).returncode == 0
        one.status("waiting", "permission prompt")
        eventually(lambda: alerts.status()["firing"])
        shown = alerts.ctl().stdout
        assert "muted until" in shown
        assert "Muted until" in shown
        assert alerts.ctl("unmute").stdout == "1 mute has ended.\n"
        eventually(lambda: scene.told_of("waiting", one) == 1)
        eventually(lambda: alerts.status()["told"][0]["outcomes"])
        done = alerts.ctl()
        assert done.returncode == 0
        for words in ("exec tell: told", "waiting", "permission prompt", "coordd-alert follows"):
            assert words in done.stdout
        assert json.loads(alerts.ctl("--json").stdout)["schema"] == 1


def test_an_action_that_fails_shows(scene: Scene) -> None:
    scene.rule()
    scene.told.do("echo no luck >&2; exit 3")
    with scene.coordd(), alerting(scene.home) as alerts:
        done = alerts.ctl("test", "r")
        assert done.returncode == 1
        assert "no luck" in done.stdout
        done = alerts.ctl()
        assert done.returncode == 1
        assert "failed: " in done.stdout


def test_where_none_runs_coordctl_says_how_to_start_it(scene: Scene) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coordd.cli", "alerts"],
        env=environment(scene.home),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert "coordd-alert run" in done.stderr


def _alert(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordd.alerts.main", *arguments],
        env=environment(scene.home),
        cwd=scene.home,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _answers(state: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(state / "alerts.sock"))
    except OSError:
        return False
    return True


def test_coordd_passes_over_the_rules_and_check_config_has_them_checked(scene: Scene) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coordd", "check-config", "--layout", "user"],
            env=environment(scene.home),
            cwd=scene.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    scene.rule(on=["waiting"])
    done = check()
    assert done.returncode == 0
    assert "# " in done.stdout
    assert "r: waiting → exec tell" in done.stdout
    scene.rule(on=["wating"])
    done = check()
    assert done.returncode == 78
    assert "alert.r.on" in done.stderr


def test_the_service_manager_is_told(scene: Scene, tmp_path: Path) -> None:
    scene.rule()
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        environ = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"}
        with scene.coordd(), alerting(scene.home, environ=environ) as alerts:
            heard = [manager.recv(4096).decode() for _ in range(4)]
            assert heard[0].startswith("READY=1\nSTATUS=1 rule, 0 things fire")
            assert "WATCHDOG=1" in heard
            alerts.process.send_signal(signal.SIGHUP)
            while not heard[-1].startswith("RELOADING=1\nMONOTONIC_USEC="):
                heard.append(manager.recv(4096).decode())
            while not heard[-1].startswith("READY=1"):
                heard.append(manager.recv(4096).decode())
            assert alerts.stop() == 0
            while not heard[-1].startswith("STOPPING=1"):
                heard.append(manager.recv(4096).decode())
