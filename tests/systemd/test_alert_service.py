"""coordd-alert as a service of the system: it tells, outlives the daemon, refuses bad rules, goes away."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from box import NEXT, REPOSITORY, Box, install_wheel
from waiting import PATIENCE, eventually

from coordd import __version__

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

NAME = "coordd-alert"
UNIT = f"/etc/systemd/system/{NAME}.service"
USERS = "/etc/sysusers.d/coordd-alert.conf"
STATE = "/var/lib/coordd-alert"
SOCKET = f"{STATE}/alerts.sock"
CONFIG = "/etc/coordd/coordd.toml"
INSTALL = ("coordd", "service", "install", "--system")
TOLD = f"{STATE}/told.jsonl"
RULES = f"""
[[alert]]
name = "file"
on = ["daemon", "memory>0"]
for = "1s"
exec = ["tee", "-a", "{TOLD}"]
"""


@dataclass
class Installed:
    """The box, and what was said while coordd-alert was installed."""

    box: Box
    plain: str
    refused: str
    said: str

    def told(self, path: str = TOLD) -> list[dict[str, Any]]:
        """All messages that the rule's program got."""
        file = self.box.path(path)
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def kinds(self, state: str) -> list[str]:
        return [
            one["kind"] for message in self.told() if message["state"] == state for one in message["entries"]
        ]

    def status(self) -> Any:
        return json.loads(self.box.run("coordctl", "alerts", "--layout", "system", "--json"))

    def doctor(self) -> str:
        """What root's doctor says."""
        return self.box.try_("coordctl", "--layout", "system", "doctor").stdout

    def rules(self, text: str) -> None:
        """Put these rules into the configuration, in the place of all others."""
        config = self.box.path(CONFIG)
        config.write_text(config.read_text().partition("\n[[alert]]")[0] + text)


@pytest.fixture(scope="module")
def made(installed: Box) -> Iterator[Installed]:
    """Installed as it says: refused while a rule needs apprise; the command that it names brings that."""
    box = installed
    box.run("systemctl", "start", "coordd")
    before = box.path(CONFIG).read_text()
    made = Installed(box, "", "", "")
    made.rules(RULES + '\n[[alert]]\nname = "chat"\non = ["mass"]\napprise = ["json://127.0.0.1:9"]\n')
    box.try_("/opt/coordd/bin/python", "-m", "pip", "uninstall", "-q", "-y", "apprise")
    refused = box.try_(*INSTALL, "--alerts")
    assert refused.returncode == 1
    assert not box.path(UNIT).exists()
    made.refused = refused.stderr
    mends = re.search(r"(?m)^  (.* -m pip install .*)$", refused.stderr)
    assert mends, refused.stderr
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/srv/wheels", "PIP_NO_COMPILE": "1"}
    box.run(*shlex.split(mends[1]), env=offline)
    made.said = box.run(*INSTALL, "--alerts")
    yield made
    gone = box.run("coordd", "service", "uninstall", "--system", "--alerts", "--purge")
    assert f"removed    {UNIT}" in gone
    for path in (UNIT, USERS, STATE):
        assert not box.path(path).exists(), path
    assert NAME not in box.path("/etc/passwd").read_text() + box.path("/etc/group").read_text()
    assert box.active("coordd"), "coordd stays"
    box.path(CONFIG).write_text(before)
    box.run("systemctl", "stop", "coordd")


@pytest.fixture
def alert(made: Installed) -> Iterator[Installed]:
    """Running beside a running daemon with the one rule, and left that way."""
    made.box.run("systemctl", "start", "coordd")
    made.rules(RULES)
    made.box.run("systemctl", "start", NAME)
    made.box.run("systemctl", "reload", NAME)
    yield made
    made.box.try_(
        "rm", "-rf", f"/etc/systemd/system/{NAME}.service.d", "/etc/systemd/system/coordd.service.d"
    )
    made.rules(RULES)
    made.box.run(*INSTALL, "--alerts")
    made.box.run("systemctl", "restart", NAME)


def test_install_says_what_it_did_and_it_tells(alert: Installed) -> None:
    assert "tells by apprise, which /opt/coordd/" in alert.refused
    assert "nothing was touched" in alert.refused
    for line in (
        f"written    {UNIT}",
        f"written    {USERS}",
        f"ran        systemd-sysusers {USERS}",
        f"running    coordd {__version__} on /run/coordd/coordd.sock, and nothing has changed",
        f"answers    {NAME} {__version__} on {SOCKET}",
    ):
        assert f"\n{line}\n" in f"\n{alert.said}"
    assert re.search(r"\n  coordctl alerts --layout system +what is told", alert.said)
    assert re.search(r"\n  systemctl reload coordd-alert +after a change of \[\[alert\]\]", alert.said)
    shown = alert.box.show(NAME, "ActiveState", "UnitFileState", "User", "StatusText")
    assert (shown["ActiveState"], shown["UnitFileState"], shown["User"]) == ("active", "enabled", NAME)
    assert "1 rule" in shown["StatusText"]
    said = "the program of the rule is told"
    eventually(lambda: "memory>0" in alert.kinds("firing"), what=said, within=PATIENCE * 3)  # with a sample
    assert alert.status()["daemon"] == {"socket": "/run/coordd/coordd.sock", "connected": True, "error": None}


def test_its_user_may_ask_and_read_and_write_nothing_of_coordds(alert: Installed) -> None:
    box = alert.box
    status = box.path(f"/proc/{box.main_pid(NAME)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] == box.shell(f"id -u {NAME}").strip() != "0"
    assert box.shell("getent group coordd | cut -d: -f3").strip() in fields["Groups"].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "0", "or no setuid program of a rule would work"
    assert box.shell(f"stat -c '%U %a' {STATE} {SOCKET} {STATE}/.lock").split("\n")[:3] == [
        f"{NAME} 700",
        f"{NAME} 600",
        f"{NAME} 600",
    ]
    assert box.shell(f"stat -c '%U:%G %a' {CONFIG}").strip() == "root:coordd 640"
    box.run("cat", CONFIG, user=NAME)
    for path in (CONFIG, "/etc/coordd/new", "/var/lib/coordd/snapshot.json"):
        assert box.try_("sh", "-c", f": >>{path}", user=NAME).returncode != 0, path
    assert "rules are sound" in box.run("coordd-alert", "check", "--layout", "system", user=NAME)


def test_programs_that_are_setgid_or_setuid_work_as_mail_programs_need_it(alert: Installed) -> None:
    box = alert.box
    box.shell(
        "install -d -m 2730 -o root -g mail /var/spool/dropped; install -d -m 700 /var/spool/queued;"
        "install -m 2755 -g mail /usr/bin/tee /usr/local/bin/drop;"
        "install -m 4755 /usr/bin/tee /usr/local/bin/queue"
    )
    assert box.try_("sh", "-c", ": >/var/spool/dropped/x", user=NAME).returncode != 0
    alert.rules(
        '\n[[alert]]\nname = "mail"\non = ["mass"]\nexec = ["drop", "-a", "/var/spool/dropped/told"]\n'
        '\n[[alert]]\nname = "exim"\non = ["mass"]\nexec = ["queue", "-a", "/var/spool/queued/told"]\n'
    )
    box.run("systemctl", "reload", NAME)
    for rule, path in (("mail", "/var/spool/dropped/told"), ("exim", "/var/spool/queued/told")):
        box.run("coordctl", "alerts", "--layout", "system", "test", rule)
        assert [one["state"] for one in alert.told(path)] == ["test"]


def test_killed_it_is_there_again_and_tells_nothing_twice(alert: Installed) -> None:

    def settled() -> bool:
        status = alert.status()
        return status["waiting"] == 0 and [one["phase"] for one in status["firing"]] == ["told"]

    eventually(settled, what="the rule has told what fires, and that is on disk", within=PATIENCE * 3)
    told, pid = len(alert.told()), alert.box.main_pid(NAME)
    alert.box.run("kill", "-KILL", str(pid))
    eventually(lambda: alert.box.main_pid(NAME) not in (0, pid) and alert.box.active(NAME))
    eventually(lambda: alert.status()["daemon"]["connected"])
    alert.box.run("coordctl", "alerts", "--layout", "system", "test", "file")
    eventually(lambda: alert.told()[-1]["state"] == "test")
    assert len(alert.told()) == told + 1, "what was told is not told again"


def test_a_daemon_that_was_killed_is_told_and_one_that_was_stopped_is_not(alert: Installed) -> None:
    box, pid = alert.box, alert.box.main_pid(NAME)
    box.run("systemctl", "stop", "coordd")
    eventually(lambda: not alert.status()["daemon"]["connected"])
    box.run("systemctl", "start", "coordd")
    eventually(lambda: alert.status()["daemon"]["connected"])
    assert "daemon" not in alert.kinds("firing"), "it was stopped in order"
    box.drop_in("[Service]\nRestart=no\n")
    box.run("kill", "-KILL", str(box.main_pid()))
    eventually(lambda: alert.kinds("firing").count("daemon") == 1, what="that coordd was killed is told")
    entry = next(one for message in alert.told() for one in message["entries"] if one["kind"] == "daemon")
    assert "is gone, and was not stopped" in entry["text"]
    assert entry["command"]
    assert not box.active("coordd"), "it starts no daemon"
    assert box.main_pid(NAME) == pid
    box.run("systemctl", "start", "coordd")
    eventually(lambda: "daemon" in alert.kinds("resolved"), what="that it is back is told")
    assert alert.kinds("firing").count("daemon") == 1
    assert box.main_pid(NAME) == pid


def test_bad_rules_are_refused_with_the_reason_and_the_old_ones_stay(alert: Installed) -> None:
    box = alert.box
    alert.rules('\n[[alert]]\nname = "file"\non = ["waitin"]\n')
    done = box.try_("systemctl", "reload", NAME)
    assert done.returncode != 0
    said = " ".join(str(entry["MESSAGE"]) for entry in box.journal(NAME))
    assert "waitin" in said
    assert "stay as they were" in said
    assert box.active(NAME)
    assert [rule["name"] for rule in alert.status()["rules"]] == ["file"]
    done = box.try_("systemctl", "restart", NAME)
    assert done.returncode != 0
    eventually(lambda: box.show(NAME, "ActiveState")["ActiveState"] == "failed")
    assert box.show(NAME, "ExecMainStatus", "NRestarts") == {"ExecMainStatus": "78", "NRestarts": "0"}
    said = alert.doctor()
    assert re.search(r"(?m)^fail +alerts +its rules cannot be used: .*waitin", said)
    assert re.search(r"(?m)^fail +alerts +the service coordd-alert fails: exit code 78", said)
    assert re.search(r"(?m)^ok +config ", said), "coordd's own configuration is sound"
    done = box.try_(*INSTALL, "--alerts")
    assert done.returncode == 1
    assert f"{NAME} is in place, but does not start" in done.stderr
    assert "waitin" in done.stderr
    alert.rules(RULES)
    assert f"answers    {NAME}" in box.run(*INSTALL, "--alerts")


def test_a_configuration_that_others_may_write_is_refused(alert: Installed) -> None:
    box = alert.box
    box.run("chmod", "g+w", CONFIG)
    try:
        done = box.try_("systemctl", "reload", NAME)
        assert done.returncode != 0
        assert f"chmod go-w {CONFIG}" in " ".join(str(entry["MESSAGE"]) for entry in box.journal(NAME))
    finally:
        box.run("chmod", "0640", CONFIG)


def test_a_secret_is_a_file_of_its_users_own(alert: Installed) -> None:
    box, pid = alert.box, f"pid {alert.box.main_pid(NAME)}"
    listen = (
        "import http.server as h\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        body = self.rfile.read(int(self.headers['Content-Length']))\n"
        "        open('/run/posted', 'ab').write(self.path.encode() + b' ' + body)\n"
        "        self.send_response(204); self.end_headers()\n"
        "h.HTTPServer(('127.0.0.1', 8099), A).serve_forever()\n"
    )
    box.run("systemd-run", "--unit=hook", "-p", "Type=exec", "/opt/coordd/bin/python", "-c", listen)
    secret = "/etc/coordd/hook.secret"
    rules = f'\n[[alert]]\nname = "hook"\non = ["mass"]\nwebhook = {{ file = "{secret}" }}\n'
    try:
        eventually(lambda: "8099" in box.run("ss", "-Hltn", "sport", "=", ":8099"))
        box.shell(f"umask 077; echo http://127.0.0.1:8099/quiet-token >{secret}")
        alert.rules(rules)
        assert box.try_("systemctl", "reload", NAME).returncode != 0, "it is root's alone"
        # as the README has it
        box.shell(f"install -o coordd-alert -m 0400 {secret} {secret}.new; mv {secret}.new {secret}")
        box.run("systemctl", "reload", NAME)
        box.run("coordctl", "alerts", "--layout", "system", "test", "hook")
        assert box.path("/run/posted").read_text().startswith("/quiet-token {")
        assert "rules are sound" in box.run("coordd", "check-config", "--layout", "system"), "root asks as it"
        assert f"({pid}, {NAME}.service) with rules hook; the last message was told" in alert.doctor()
        shown = box.run("coordctl", "alerts", "--layout", "system")
        shown += " ".join(str(entry["MESSAGE"]) for entry in box.journal(NAME))
        assert "quiet-token" not in shown
    finally:
        box.try_("systemctl", "stop", "hook")
        box.run("rm", "-f", secret)


def test_shut_in_by_the_drop_in_of_the_readme_it_still_posts(alert: Installed) -> None:
    box = alert.box
    readme = (REPOSITORY / "README.md").read_text()
    found = re.search(r"(?s)```ini\n(# /etc/systemd/system/coordd-alert\.service\.d/.*?)```", readme)
    assert found
    box.drop_in(found[1], NAME)
    box.run("systemctl", "restart", NAME)
    eventually(lambda: alert.status()["daemon"]["connected"])
    status = box.path(f"/proc/{box.main_pid(NAME)}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    got = "/run/posted-shut"
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 8098)); c, _ = s.accept();"
        f"d = c.recv(65536); open('{got}', 'wb').write(d);"
        "c.sendall(b'HTTP/1.1 204 No Content\\r\\n\\r\\n')"
    )
    box.run("systemd-run", "--unit=hook2", "-p", "Type=exec", "/opt/coordd/bin/python", "-c", listen)
    eventually(lambda: "8098" in box.run("ss", "-Hltn", "sport", "=", ":8098"))
    alert.rules('\n[[alert]]\nname = "hook"\non = ["mass"]\nwebhook = "http://127.0.0.1:8098/x"\n')
    box.run("systemctl", "reload", NAME)
    box.run("coordctl", "alerts", "--layout", "system", "test", "hook")
    assert box.path(got).read_text().startswith("POST /x ")
    done = box.run("systemd-analyze", "security", "--no-pager", f"{NAME}.service")
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done)
    assert exposure
    assert f"({exposure[1]} then)" in readme, exposure[1]


def test_without_the_option_it_is_upgraded_and_else_left_as_it_is(alert: Installed) -> None:
    box = alert.box
    assert f"running    {NAME} {__version__} on {SOCKET}, and nothing has changed" in box.run(*INSTALL)
    whole = box.path(UNIT).read_text()
    pids = (box.main_pid(), box.main_pid(NAME))
    box.path(UNIT).write_text(whole.replace("RestartSec=200ms", "RestartSec=9"))
    assert f"answers    {NAME} {__version__} on {SOCKET}" in box.run(*INSTALL)
    assert box.path(UNIT).read_text() == whole
    assert box.main_pid() == pids[0]
    assert box.main_pid(NAME) not in (0, pids[1])
    box.run("systemctl", "disable", "--now", NAME)
    assert f"stopped    {NAME} stays so; with --alerts it is started" in box.run(*INSTALL)
    assert not box.active(NAME)
    assert f"answers    {NAME} {__version__}" in box.run(*INSTALL, "--alerts")
    install_wheel(box, f"coordd=={NEXT}")
    try:
        assert f"answers    {NAME} {NEXT} on {SOCKET}" in box.run(*INSTALL)
    finally:
        install_wheel(box)
    assert f"answers    {NAME} {__version__}" in box.run(*INSTALL)


def test_an_action_that_cannot_work_is_said_and_hinders_nothing(alert: Installed) -> None:
    alert.rules(RULES + '\n[[alert]]\nname = "gone"\non = ["mass"]\nexec = ["no-such-program", "{title}"]\n')
    alert.box.run("systemctl", "reload", NAME)
    said = alert.box.run(*INSTALL, "--alerts")
    assert re.search(r"(?m)^warn +rule gone, exec no-such-program: .*no-such-program", said)


def test_it_goes_alone_and_what_it_told_stays_for_the_next(alert: Installed) -> None:
    box, pid = alert.box, alert.box.main_pid()
    eventually(alert.told)
    dry = box.run("coordd", "service", "uninstall", "--system", "--alerts", "--purge", "--dry-run")
    for line in (f"would remove {UNIT}", f"would remove {STATE}/", f"would run userdel {NAME}"):
        assert line in dry
    gone = box.run("coordd", "service", "uninstall", "--system", "--alerts")
    assert f"removed    {UNIT}" in gone
    assert f"kept       {STATE}" in gone
    assert "uninstall --system --alerts --purge" in gone
    assert not box.path(UNIT).exists()
    assert alert.told()
    assert box.main_pid() == pid
    again = box.run("coordd", "service", "uninstall", "--system", "--alerts")
    assert "coordd-alert is not installed as a service here" in again
    done = box.try_("coordctl", "alerts", "--layout", "system")
    assert done.returncode == 3
    assert f"answers    {NAME}" in box.run(*INSTALL, "--alerts")


def test_the_units_have_no_fault_and_each_exposure_its_reason(alert: Installed) -> None:
    box = alert.box
    dry = box.run(*INSTALL, "--alerts", "--dry-run")
    assert f"would write {UNIT}" in dry
    assert f"would wait until coordd and {NAME} answer" in dry
    assert box.run("coordd", "service", "print", "--system", "--alerts") == box.path(UNIT).read_text()
    user = f"/tmp/{NAME}.service"
    box.path(user).write_text(box.run("coordd", "service", "print", "--user", "--alerts"))
    for path, manager in ((UNIT, "--system"), (user, "--user")):
        done = box.try_(
            "systemd-analyze", "verify", "--man=no", manager, path, env={"XDG_RUNTIME_DIR": "/run"}
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    said = box.run("systemd-analyze", "security", "--offline=true", "--json=short", UNIT)
    text = (REPOSITORY / "packaging/systemd/coordd-alert.service.in").read_text()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for row in json.loads(said):
        directive = (row["name"] or row["json_field"]).partition("=")[0]
        if float(row["exposure"] or 0) > 0:
            assert directive in comments, f"{row['name']} is exposed, and no comment says why"
    shown = box.run("systemd-analyze", "security", "--no-pager", f"{NAME}.service")
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", shown)
    assert exposure
    assert f"exposure is {exposure[1]}" in (REPOSITORY / "README.md").read_text(), (
        "the README says the figure"
    )
