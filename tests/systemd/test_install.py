"""Installing in a booted systemd: what it makes, what it says, and that it may be done again."""

from __future__ import annotations

import os
import re
import stat
import tomllib

import pytest
from box import SOCKET, Box, beat
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

WORKSPACE = "/home/ann/src/app"


def test_the_dry_run_tells_everything_and_does_nothing(machine: Box) -> None:
    before = machine.path("/etc/systemd/system/coordd.service").exists()
    said = machine.run("coordd", "service", "install", "--system", "--run-as", "carol", "--dry-run")
    assert "would write /etc/systemd/system/coordd.service" in said
    assert "would run systemctl restart coordd.service" in said
    assert machine.path("/etc/systemd/system/coordd.service").exists() == before
    # and needs no right to anything, nor to a configuration that is there
    assert machine.run("coordd", "service", "install", "--system", "--dry-run", user="carol")
    there = machine.path("/etc/coordd/coordd.toml").exists()
    machine.shell(
        "install -d -m 0755 /etc/coordd; cd /etc/coordd;"
        "[ -e coordd.toml ] || install -m 0600 /dev/null coordd.toml"
    )
    said = machine.run("coordd", "service", "install", "--system", "--dry-run", user="carol")
    assert "unchecked  /etc/coordd/coordd.toml, which you may not read" in said
    if not there:
        machine.shell("rm /etc/coordd/coordd.toml; rmdir --ignore-fail-on-non-empty /etc/coordd")


def test_it_runs_is_enabled_and_belongs_to_itself(box: Box) -> None:
    shown = box.show("coordd", "ActiveState", "UnitFileState", "User", "Type", "StatusText", "NRestarts")
    assert (shown["ActiveState"], shown["UnitFileState"]) == ("active", "enabled")
    assert (shown["User"], shown["Type"]) == ("coordd", "notify")
    assert re.fullmatch(r"(\d+ alive|no agents)\b.*; (no problems|degraded: .*)", shown["StatusText"])
    for path, mode in (
        ("/run/coordd", 0o750),
        ("/var/lib/coordd", 0o750),
        ("/var/log/coordd", 0o750),
        ("/etc/coordd/coordd.toml", 0o640),
        (SOCKET, 0o660),
    ):
        state = box.path(path).stat()
        assert stat.S_IMODE(state.st_mode) == mode, path
    assert box.shell("stat -c %U:%G /run/coordd/coordd.sock /etc/coordd/coordd.toml").split() == [
        "coordd:coordd",
        "root:coordd",
    ]


def test_ready_comes_after_the_first_sample_and_the_socket(box: Box) -> None:
    # what systemctl waits for is all there: nothing is waited for here
    box.run("systemctl", "restart", "coordd")
    assert box.rpc("system.latest")["cpu_percent"] is not None
    assert box.active()


def test_again_changes_nothing_and_restarts_nothing(box: Box) -> None:
    pid = box.main_pid()
    edited = "# mine\n" + box.path("/etc/coordd/coordd.toml").read_text()
    box.path("/etc/coordd/coordd.toml").write_text(edited)
    said = box.run("coordd", "service", "install", "--system", "-w", "/home/ann/src/*")
    assert "nothing has changed" in said
    assert "usermod -aG coordd NAME" in said
    as_bob = box.run("coordd", "service", "install", "--system", env={"SUDO_USER": "bob"})
    assert "usermod" not in as_bob, "bob is a member"
    assert box.main_pid() == pid
    assert box.path("/etc/coordd/coordd.toml").read_text() == edited


def test_a_kept_configuration_is_told_what_it_lacks(box: Box) -> None:
    said = box.run(
        *("coordd", "service", "install", "--system", "-w", "/srv/other"),
        *("--redis-url", "redis://localhost:7777/0"),
    )
    assert 'workspaces = ["/home/ann/src/*", "/srv/other"]' in said
    assert 'redis_url = "redis://localhost:7777/0"' in said
    assert "/srv/other" not in box.path("/etc/coordd/coordd.toml").read_text()


def test_a_repaired_unit_is_written_and_started_anew(box: Box) -> None:
    pid = box.main_pid()
    unit = box.path("/etc/systemd/system/coordd.service")
    whole = unit.read_text()
    unit.write_text(whole.replace("WatchdogSec=30", "WatchdogSec=20"))
    said = box.run("coordd", "service", "install", "--system")
    assert "written    /etc/systemd/system/coordd.service" in said
    assert unit.read_text() == whole
    assert box.main_pid() not in (0, pid)


def test_the_configuration_that_it_writes_is_whole_and_sound(box: Box) -> None:
    text = box.path("/etc/coordd/coordd.toml").read_text()
    assert tomllib.loads(text)["coordination"] == {"workspaces": ["/home/ann/src/*"]}
    every = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    box.path("/etc/coordd/coordd.toml").write_text(every)
    checked = box.run("coordd", "check-config", "--layout", "system")
    assert "default" not in checked, "a key is missing from the file"


def test_a_workspace_that_the_service_cannot_read_is_named_with_its_fix(box: Box) -> None:
    box.run("mkdir", "-p", "/home/bob/src/web/.claude/coordination/agents", user="bob")
    beat(box, "/home/bob/src/web", "worker", "bob")
    box.run("chmod", "0700", "/home/bob")
    path = box.path("/etc/coordd/coordd.toml")
    path.write_text(path.read_text().replace('["/home/ann/src/*"]', '["/home/bob/src/web"]'))
    said = box.run("coordd", "service", "install", "--system")
    assert re.search(r"fail +/home/bob/src/web: coordd lacks x on /home/bob ", said), said
    fix = re.search(r"fix: .* or: (chmod .*)", said)
    assert fix, said
    box.shell(fix[1])
    assert "/home/bob/src/web is readable for coordd" in box.run("coordd", "service", "install", "--system")
    box.run("systemctl", "reload", "coordd")
    eventually(lambda: box.rpc("agents.get", {"agent_id": "worker"})["status"] == "active")


def test_as_another_user(box: Box) -> None:
    try:
        said = box.run("coordd", "service", "install", "--system", "--run-as", "ann")
        assert "readable for ann" in said
        assert "given" in said
        assert box.shell("stat -c %U:%G /var/lib/coordd/metrics /run/coordd/coordd.sock").split() == [
            "ann:coordd",
            "ann:coordd",
        ]
        again = box.run("coordd", "service", "install", "--system")
        assert "nothing has changed" in again, "an upgrade keeps the user"
        beat(box, WORKSPACE, "hers", "ann")
        eventually(lambda: box.rpc("agents.get", {"agent_id": "hers"})["status"] == "active")
    finally:
        box.run("coordd", "service", "install", "--system", "--run-as", "coordd")
    assert box.shell("stat -c %U:%G /var/lib/coordd/metrics").strip() == "coordd:coordd"


@pytest.mark.parametrize(
    ("user", "words", "said"),
    [
        ("carol", ["--system"], "root's to install"),
        ("root", ["--system", "--run-as", "nobody-here"], "there is no such user"),
        ("root", ["--system", "-w", "~/src/*"], "in full"),
        ("root", ["--system", "--redis-url", "http://x"], "expected redis://"),
        ("carol", [], "enable-linger carol"),
        ("carol", ["--run-as", "ann"], "--run-as goes with --system"),
    ],
)
def test_each_refusal_says_what_to_do(box: Box, user: str, words: list[str], said: str) -> None:
    done = box.try_("coordd", "service", "install", *words, user=user)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_configuration_is_said_before_anything_is_touched(box: Box) -> None:
    pid = box.main_pid()
    box.path("/etc/coordd/coordd.toml").write_text("[agents]\ntimeout = 'soon'\n")
    done = box.try_("coordd", "service", "install", "--system")
    assert done.returncode == 78
    assert "/etc/coordd/coordd.toml: agents.timeout" in done.stderr
    assert box.main_pid() == pid


def test_programs_that_the_service_could_not_run_are_refused(box: Box) -> None:
    box.shell("cp -r /opt/coordd /root/coordd; sed -i s,/opt/coordd,/root/coordd, /root/coordd/bin/coord*")
    unit = box.path("/etc/systemd/system/coordd.service").read_text()
    done = box.try_("/root/coordd/bin/coordd", "service", "install", "--system")
    assert done.returncode == 1
    assert "coordd may not enter /root" in done.stderr
    assert "/opt/coordd" in done.stderr
    assert box.path("/etc/systemd/system/coordd.service").read_text() == unit


def test_programs_that_another_could_replace_are_pointed_out(box: Box) -> None:
    assert "not root alone decides" not in box.run("coordd", "service", "install", "--system")
    box.run("chown", "carol", "/opt/coordd/bin")
    try:
        said = box.run("coordd", "service", "install", "--system")
    finally:
        box.run("chown", "root", "/opt/coordd/bin")
    assert "warn       /opt/coordd/bin is carol's: not root alone decides" in said


def test_a_start_that_fails_says_why(box: Box) -> None:
    box.run("systemctl", "stop", "coordd")
    box.drop_in("[Service]\nExecStart=\nExecStart=/opt/coordd/bin/coordd run --layout nowhere\n")
    done = box.try_("coordd", "service", "install", "--system")
    assert done.returncode == 1
    assert "does not start" in done.stderr
    assert "Invalid value for '--layout'" in done.stderr
    assert "run the same command again" in done.stderr


def test_everybody_finds_the_programs_and_their_pages(box: Box) -> None:
    assert box.shell("readlink /usr/local/bin/coordctl").strip() == "/opt/coordd/bin/coordctl"
    assert box.run("coordctl", "--version", user="carol").startswith("coordctl ")
    page = box.run("man", "-P", "cat", "coordctl", user="carol")
    assert "coordctl status" in page
    assert "coordd.toml" in box.run("man", "-w", "coordd.toml", user="carol")


def test_a_strangers_program_stays_and_the_links_go_with_the_service(box: Box) -> None:
    box.shell("rm /usr/local/bin/coordctl; echo mine >/usr/local/bin/coordctl")
    said = box.run("/opt/coordd/bin/coordd", "service", "install", "--system")
    assert "kept       /usr/local/bin/coordctl, which is not coordd's" in said
    try:
        said = box.run("/opt/coordd/bin/coordd", "service", "uninstall", "--system")
        assert "removed    /usr/local/bin/coordd" in said
        assert not os.path.lexists(box.path("/usr/local/bin/coordd"))
        assert not os.path.lexists(box.path("/usr/local/share/man/man1/coordctl.1"))
        assert box.path("/usr/local/bin/coordctl").read_text() == "mine\n"
    finally:
        box.shell("rm /usr/local/bin/coordctl")
        said = box.run("/opt/coordd/bin/coordd", "service", "install", "--system", "-w", "/home/ann/src/*")
    assert "linked     /usr/local/bin/coordctl to /opt/coordd/bin/coordctl" in said
