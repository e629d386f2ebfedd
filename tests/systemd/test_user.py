"""One person's service, under their own systemd."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest
from box import NEXT, Box, beat, install_wheel
from waiting import eventually

from coordd import __version__

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

SOCKET = "coordd/coordd.sock"


@pytest.fixture
def ann(machine: Box) -> Iterator[dict[str, str]]:
    """Her environment as after a login: her manager runs; no agent of another test beats in her projects."""
    machine.shell("rm -f /home/ann/src/*/.claude/coordination/agents/*")
    uid = machine.shell("id -u ann").strip()
    machine.run("systemctl", "start", "dbus", "systemd-logind")  # which her manager's directory comes from
    machine.run("systemctl", "start", f"user@{uid}.service")
    yield {"XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    machine.run("systemctl", "stop", f"user@{uid}.service")


def test_install_run_reload_uninstall(machine: Box, ann: dict[str, str]) -> None:
    # the variable is not needed: su and cron leave it away
    said = machine.run("coordd", "service", "install", "-w", "~/src/*", user="ann")
    assert "answers" in said
    assert "linger" in said
    assert "/home/ann/src/app is readable for ann" in said

    def ask(*words: str) -> str:
        return machine.run(*words, user="ann", env=ann)

    unit = machine.path("/home/ann/.config/systemd/user/coordd.service")
    assert unit.exists()
    config = machine.path("/home/ann/.config/coordd/coordd.toml")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert 'workspaces = ["~/src/*"]' in config.read_text()
    assert ask("systemctl", "--user", "is-enabled", "coordd").strip() == "enabled"

    beat(machine, "/home/ann/src/app", "mine", "ann")
    eventually(lambda: "mine" in ask("coordctl", "agents", "--status", "active"))
    assert '"layout": "user"' in ask("coordctl", "status", "--json")
    show = ("systemctl", "--user", "show", "coordd", "-p", "StatusText")

    def one_alive() -> str:
        said = ask(*show)
        assert said.startswith("StatusText=1 alive"), said
        return said

    eventually(one_alive, what="the status line has the agent")

    ask("systemctl", "--user", "reload", "coordd")
    config.write_text(config.read_text() + "\nnonsense\n")
    refused = machine.try_("systemctl", "--user", "reload", "coordd", user="ann", env=ann)
    assert refused.returncode != 0
    machine.run("sed", "-i", "/nonsense/d", "/home/ann/.config/coordd/coordd.toml")

    pid = int(ask("systemctl", "--user", "show", "coordd", "-p", "MainPID", "--value"))
    fields = machine.path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in fields
    assert "Seccomp:\t2" in fields
    machine.run("kill", "-KILL", str(pid))
    eventually(lambda: "mine" in ask("coordctl", "agents"))

    eventually(lambda: ask("systemctl", "--user", "is-active", "coordd"))  # it answers before it is ready
    again = ask("coordd", "service", "install")
    assert "nothing has changed" in again

    gone = ask("coordd", "service", "uninstall")
    assert "kept       /home/ann/.config/coordd, /home/ann/.local/state/coordd" in gone
    assert not unit.exists()
    assert machine.try_("coordctl", "ping", user="ann", env=ann).returncode == 3
    assert "nothing to do" in ask("coordd", "service", "uninstall")
    ask("coordd", "service", "uninstall", "--purge")
    assert not config.parent.exists()
    assert not machine.path("/home/ann/.local/state/coordd").exists()
    assert machine.path("/home/ann/src/app/.claude/coordination/agents/mine.heartbeat").exists()


def test_the_dashboard_of_ones_own(machine: Box, ann: dict[str, str]) -> None:
    install_wheel(machine, f"coordd[dashboard]<{NEXT}")

    def ask(*words: str) -> str:
        return machine.run(*words, user="ann", env=ann)

    try:
        said = ask("coordd", "service", "install", "--dashboard", "--listen", "8765")
        assert f"answers    coordd-dashboard {__version__} on http://127.0.0.1:8765/" in said
        assert "token" not in said
        assert ask("systemctl", "--user", "is-enabled", "coordd-dashboard").strip() == "enabled"
        pid = ask("systemctl", "--user", "show", "coordd-dashboard", "-p", "MainPID", "--value").strip()
        fields = machine.path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in fields
        assert "Seccomp:\t2" in fields

        def status() -> str:
            get = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8765/api/status').read().decode())"
            return str(json.loads(ask("/opt/coordd/bin/python", "-Ic", get))["daemon"]["layout"])

        assert eventually(status, what="the dashboard has found the daemon") == "user"
        # a daemon that is not asked for again is upgraded with it, and nothing else
        assert ask("coordd", "service", "install").count("nothing has changed") == 2
    finally:
        gone = ask("coordd", "service", "uninstall", "--purge")
    for name in ("coordd", "coordd-dashboard"):
        assert f"removed    /home/ann/.config/systemd/user/{name}.service" in gone
        assert not machine.path(f"/home/ann/.config/systemd/user/{name}.service").exists()


def test_coordd_alert_of_ones_own(machine: Box, ann: dict[str, str]) -> None:
    def ask(*words: str) -> str:
        return machine.run(*words, user="ann", env=ann)

    told = machine.path("/home/ann/told")
    config = machine.path("/home/ann/.config/coordd/coordd.toml")
    manage = ("systemctl", "--user")

    def kinds(state: str) -> list[str]:
        messages = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        return [
            one["kind"] for message in messages if message["state"] == state for one in message["entries"]
        ]

    try:
        said = ask("coordd", "service", "install", "--alerts")
        socket = "/home/ann/.local/state/coordd/alerts/alerts.sock"
        assert f"answers    coordd-alert {__version__} on {socket}" in said
        assert "/home/ann/.config/systemd/user/coordd-alert.service" in said
        assert "coordd-alert.conf" not in said, "it is ann, and nobody else"
        assert ask(*manage, "is-enabled", "coordd-alert").strip() == "enabled"
        pid = ask(*manage, "show", "coordd-alert", "-p", "MainPID", "--value").strip()
        assert "NoNewPrivs:\t0" in machine.path(f"/proc/{pid}/status").read_text()

        plain = config.read_text()
        rule = '\n[[alert]]\nname = "mine"\non = ["daemon"]\nfor = "1s"\n'
        rule += 'exec = ["tee", "-a", "/home/ann/told"]\n'
        config.write_text(plain + rule)
        ask(*manage, "reload", "coordd-alert")
        ask("coordctl", "alerts", "test", "mine")
        assert len(told.read_text().splitlines()) == 1
        config.write_text(plain + rule.replace("daemon", "demon"))
        refused = machine.try_(*manage, "reload", "coordd-alert", user="ann", env=ann)
        assert refused.returncode != 0
        assert [one["name"] for one in json.loads(ask("coordctl", "alerts", "--json"))["rules"]] == ["mine"]
        config.write_text(plain + rule)

        ask(*manage, "stop", "coordd")
        ask(*manage, "start", "coordd")
        ask("mkdir", "-p", "/home/ann/.config/systemd/user/coordd.service.d")
        machine.path("/home/ann/.config/systemd/user/coordd.service.d/t.conf").write_text(
            "[Service]\nRestart=no\n"
        )
        ask(*manage, "daemon-reload")
        ask(*manage, "kill", "-s", "KILL", "coordd")
        eventually(lambda: "daemon" in kinds("firing"), what="that coordd was killed is told")
        assert kinds("firing").count("daemon") == 1, "and that it was stopped is not"
        ask(*manage, "start", "coordd")
        eventually(lambda: "daemon" in kinds("resolved"), what="that it is back is told")
        assert pid == ask(*manage, "show", "coordd-alert", "-p", "MainPID", "--value").strip()
    finally:
        gone = ask("coordd", "service", "uninstall", "--purge")
    for name in ("coordd", "coordd-alert"):
        assert f"removed    /home/ann/.config/systemd/user/{name}.service" in gone
    for left in (".config/systemd/user/coordd-alert.service", ".config/coordd", ".local/state/coordd"):
        assert not machine.path(f"/home/ann/{left}").exists()


def test_directories_of_ones_own_choice_go_with_it(machine: Box, ann: dict[str, str]) -> None:
    own = {**ann, "XDG_CONFIG_HOME": "/home/ann/etc", "XDG_STATE_HOME": "/home/ann/My State"}
    machine.run("coordd", "service", "install", user="ann", env=own)
    try:
        assert machine.path("/home/ann/etc/coordd/coordd.toml").exists()
        # her manager does not look in /home/ann/etc
        unit = machine.path("/home/ann/.config/systemd/user/coordd.service").read_text()
        assert 'Environment="XDG_STATE_HOME=/home/ann/My State"' in unit
        eventually(lambda: machine.path("/home/ann/My State/coordd/metrics/event.jsonl").exists())
    finally:
        machine.run("coordd", "service", "uninstall", "--purge", user="ann", env=own)
    assert not machine.path("/home/ann/My State/coordd").exists()
