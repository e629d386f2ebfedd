"""What ``coordctl`` says to do about a service that fails, is stopped, or may not be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from box import Box
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

CONFIG = "/etc/coordd/coordd.toml"


def break_config(box: Box, path: str) -> None:
    file = box.path(path)
    file.write_text(f"{file.read_text()}\nnonsense = 1\n")


@pytest.fixture
def failed(box: Box) -> Box:
    break_config(box, CONFIG)
    assert box.try_("systemctl", "restart", "coordd").returncode != 0
    eventually(lambda: box.show("coordd", "ActiveState")["ActiveState"] == "failed")
    return box


def test_a_failed_unit_is_named_with_its_error_and_what_to_type(failed: Box) -> None:
    said = failed.try_("coordctl", "status")
    assert said.returncode == 3
    text = "\n".join((said.stderr + said.stdout).splitlines()[:8])
    assert "The system's service coordd.service has failed: exit code 78, a configuration" in text
    assert f"; {CONFIG}: log.nonsense: no key of this section." in text, "the unit's own error"
    assert "See systemctl status coordd.service; once mended: systemctl restart coordd.service" in text
    assert "coordd run" not in said.stdout + said.stderr
    doctor = failed.try_("coordctl", "doctor").stdout
    assert "The system's service coordd.service has failed" in doctor
    assert "systemctl restart coordd.service" in doctor
    assert "coordd run" not in doctor
    # Who may not read the journal is told what the manager tells everybody.
    bob = failed.try_("coordctl", "status", user="bob")
    assert "has failed: exit code 78, a configuration" in bob.stdout + bob.stderr
    assert "sudo systemctl restart coordd.service" in bob.stdout + bob.stderr
    # And what was said to be typed works.
    failed.run("sed", "-i", "/nonsense/d", CONFIG)
    failed.run("systemctl", "restart", "coordd.service")
    assert failed.try_("coordctl", "ping").returncode == 0


def test_a_unit_that_fails_again_and_again_is_no_unit_that_starts(box: Box) -> None:
    box.drop_in("[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -9 $$$$'\nRestartSec=30s\n")
    box.try_("systemctl", "restart", "--no-block", "coordd")
    eventually(lambda: box.show("coordd", "SubState")["SubState"] == "auto-restart")
    said = box.try_("coordctl", "status")
    words = "coordd.service fails, and is started again and again: ended by signal 9."
    assert words in said.stdout + said.stderr


def test_a_stopped_unit_is_to_be_started(box: Box) -> None:
    box.run("systemctl", "stop", "coordd")
    said = box.try_("coordctl", "status")
    assert said.returncode == 3
    assert "The system's coordd was stopped in order " in said.stdout
    assert "Start it: systemctl start coordd.service\n" in said.stdout
    box.run("systemctl", "start", "coordd.service")
    assert box.try_("coordctl", "ping").returncode == 0


def test_who_has_no_rights_is_told_how_to_get_them(box: Box) -> None:
    said = box.try_("coordctl", "status", user="carol")
    assert said.returncode == 4
    assert "permission denied by /run/coordd: join the group coordd " in said.stderr
    assert "(sudo usermod -aG coordd carol, then log in again)" in said.stderr
    box.run("usermod", "-aG", "coordd", "carol")
    try:
        assert box.try_("coordctl", "ping", user="carol").returncode == 0
    finally:
        box.run("gpasswd", "-d", "carol", "coordd")
    # Root sees the system's, bob may ask it, carol may not: then it is none of hers.
    assert len(json.loads(box.run("coordctl", "daemons", "--json"))["daemons"]) == 1
    assert len(json.loads(box.run("coordctl", "daemons", "--json", user="bob"))["daemons"]) == 1
    assert json.loads(box.run("coordctl", "daemons", "--json", user="carol"))["daemons"] == []


@pytest.fixture
def ann(machine: Box) -> Iterator[dict[str, str]]:
    """Her environment as after a login; her manager runs, and her service is installed."""
    uid = machine.shell("id -u ann").strip()
    machine.try_("systemctl", "stop", "coordd")
    machine.run("systemctl", "start", "dbus", "systemd-logind")
    machine.run("systemctl", "start", f"user@{uid}.service")
    environ = {"XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    machine.run("coordd", "service", "install", "-w", "~/src/*", user="ann", env=environ)
    yield environ
    machine.run("coordd", "service", "uninstall", "--purge", user="ann", env=environ)
    machine.run("systemctl", "stop", f"user@{uid}.service")


def test_a_persons_failed_unit_is_asked_of_their_manager(machine: Box, ann: dict[str, str]) -> None:
    found = json.loads(machine.run("coordctl", "daemons", "--json", user="ann", env=ann))["daemons"]
    assert [one["command"] for one in found] == ["coordctl --layout user status"]
    assert machine.path(f"{ann['XDG_RUNTIME_DIR']}/coordd/daemons").exists()
    # Where the variable is not set (su, cron) the snapshot tells where the socket is.
    assert machine.try_("coordctl", "ping", user="ann").returncode == 0
    break_config(machine, "/home/ann/.config/coordd/coordd.toml")
    machine.try_("systemctl", "--user", "restart", "coordd", user="ann", env=ann)
    for env in (ann, {}):
        said = machine.try_("coordctl", "status", user="ann", env=env)
        text = said.stdout + said.stderr
        assert said.returncode == 3
        assert "Your service coordd.service has failed: exit code 78, a configuration" in text
        assert "See systemctl --user status coordd.service; once mended: systemctl --user restart" in text
        assert "coordd run" not in text
