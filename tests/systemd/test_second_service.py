"""The dashboard as a second service of the system: installed, locked, restarted, upgraded, taken away."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from box import NEXT, REPOSITORY, Box, install_wheel
from waiting import eventually

from coordd import __version__

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

UNIT = "/etc/systemd/system/coordd-dashboard.service"
TOKEN = "/etc/coordd/dashboard.token"
INSTALL = ("coordd", "service", "install", "--system")
NAME = "coordd-dashboard"
ASK = """
import http.client, json, sys
path, port, token = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
try:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    print(json.dumps([answer.status, answer.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@dataclass
class Installed:
    """The box, and what was said while it was installed."""

    box: Box
    refused: str
    said: str
    daemons: tuple[int, int]

    def ask(self, path: str, *, user: str = "carol", token: str = "", port: int = 8000) -> tuple[int, str]:
        """Status and body as a user of the box gets them; 0 and the reason where nobody listens."""
        said = self.box.run("/opt/coordd/bin/python", "-Ic", ASK, path, str(port), token, user=user)
        status, body = json.loads(said)
        return status, body

    def json(self, path: str, **options: Any) -> Any:
        status, body = self.ask(path, **options)
        assert status == 200, (status, body)
        return json.loads(body)

    def daemon(self) -> str:
        """How it calls the daemon: up or down."""
        return str(self.json("/healthz")["daemon"])


@pytest.fixture(scope="module")
def made(installed: Box) -> Iterator[Installed]:
    """Installed as it says: refused for want of its packages, those brought by the very command it names."""
    box = installed
    box.run("systemctl", "start", "coordd")
    before = box.main_pid()
    box.try_("/opt/coordd/bin/python", "-m", "pip", "uninstall", "-q", "-y", "starlette")
    refused = box.try_(*INSTALL, "--dashboard")
    assert refused.returncode == 1
    assert not box.path(UNIT).exists()
    assert not box.path(TOKEN).exists()
    mends = re.search(r"(?m)^  (.* -m pip install .*)$", refused.stderr)
    assert mends, refused.stderr
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/srv/wheels", "PIP_NO_COMPILE": "1"}
    box.run(*shlex.split(mends[1]), env=offline)
    said = box.run(*INSTALL, "--dashboard")
    yield Installed(box, refused.stderr, said, (before, box.main_pid()))
    gone = box.run("coordd", "service", "uninstall", "--system", "--dashboard", "--purge")
    assert f"removed    {TOKEN}" in gone
    box.run("systemctl", "stop", "coordd")


@pytest.fixture
def dash(made: Installed) -> Iterator[Installed]:
    """Running beside a running daemon, and left that way."""
    made.box.run("systemctl", "start", "coordd")
    yield made
    made.box.run(*INSTALL, "--dashboard", "--listen", "127.0.0.1:8000")


def test_install_says_what_it_did_and_what_to_open(dash: Installed) -> None:
    assert re.search("the dashboard needs (prometheus_client|starlette), which /opt/coordd/", dash.refused)
    assert "nothing was touched" in dash.refused
    for line in (
        f"made       {TOKEN}",
        f"written    {UNIT}",
        f"running    coordd {__version__} on /run/coordd/coordd.sock, and nothing has changed",
        f"answers    {NAME} {__version__} on http://127.0.0.1:8000/",
    ):
        assert f"\n{line}\n" in f"\n{dash.said}"
    assert re.search(rf"\n  http://127\.0\.0\.1:8000/ +the dashboard.*\n  cat {TOKEN} +the token", dash.said)
    assert dash.daemons[0] == dash.daemons[1], "the daemon was left alone"
    shown = dash.box.show(NAME, "ActiveState", "UnitFileState", "DynamicUser", "StatusText")
    assert shown == {
        **{"ActiveState": "active", "UnitFileState": "enabled"},
        **{"DynamicUser": "yes", "StatusText": "serving"},
    }


def test_it_answers_whoever_knows_the_token_and_nobody_else(dash: Installed) -> None:
    assert dash.box.shell(f"stat -c '%U:%G %a' {TOKEN}").split() == ["root:coordd", "640"]
    assert dash.box.try_("cat", TOKEN, user="carol").returncode != 0
    token = dash.box.run("cat", TOKEN, user="bob").strip()
    eventually(lambda: dash.daemon() == "up")
    for path in ("/", "/api/status", "/metrics", "/api/agents/active"):
        status, body = dash.ask(path)
        refused = 303 if path == "/" else 401  # a page: to the login form
        assert (status, "layout" in body) == (refused, False), path
        assert dash.ask(path, token="x" * 43)[0] == refused
        assert dash.ask(path, user="bob", token=token)[0] == 200
    assert dash.json("/api/status", user="bob", token=token)["daemon"]["layout"] == "system"


def test_it_is_nobody_of_the_group_without_a_right(dash: Installed) -> None:
    status = dash.box.path(f"/proc/{dash.box.main_pid(NAME)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["Uid"].split()[0]) >= 61184, "of systemd's dynamic range"
    assert dash.box.shell("getent group coordd | cut -d: -f3").strip() in fields["Groups"].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_killed_it_is_there_again(dash: Installed) -> None:
    pid = dash.box.main_pid(NAME)
    dash.box.run("kill", "-KILL", str(pid))
    eventually(lambda: dash.box.main_pid(NAME) not in (0, pid) and dash.box.active(NAME))
    eventually(lambda: dash.daemon() == "up")


def test_it_outlives_the_daemon_and_finds_it_again(dash: Installed) -> None:
    token = dash.box.path(TOKEN).read_text().strip()
    pid = dash.box.main_pid(NAME)
    dash.box.run("systemctl", "stop", "coordd")
    eventually(lambda: dash.daemon() == "down")
    assert dash.box.main_pid(NAME) == pid
    dash.box.run("systemctl", "restart", NAME)
    assert not dash.box.active("coordd"), "it starts no daemon that was stopped on purpose"

    def told() -> Any:
        status, body = dash.ask("/api/status", token=token)
        assert status == 503
        return json.loads(body)["snapshot_age"]

    assert eventually(lambda: told() is not None), "the snapshot is readable from inside"
    pid = dash.box.main_pid(NAME)
    dash.box.run("systemctl", "start", "coordd")
    eventually(lambda: dash.daemon() == "up")
    assert dash.box.main_pid(NAME) == pid


def test_without_the_option_it_is_upgraded_and_else_left_as_it_is(dash: Installed) -> None:
    box = dash.box
    token = box.path(TOKEN).read_text()
    box.run(*INSTALL, "--dashboard", "--listen", "8123")
    assert dash.ask("/healthz")[0] == 0
    assert dash.json("/healthz", port=8123)["status"] == "ok"
    pids = (box.main_pid(), box.main_pid(NAME))
    said = box.run(*INSTALL)
    assert said.count("nothing has changed") == 2
    assert "http://127.0.0.1:8123/" in said

    whole = box.path(UNIT).read_text()
    box.path(UNIT).write_text(whole.replace("RestartSec=200ms", "RestartSec=9"))
    said = box.run(*INSTALL)
    assert f"answers    {NAME} {__version__} on http://127.0.0.1:8123/" in said
    assert box.path(UNIT).read_text() == whole
    assert box.main_pid() == pids[0]
    assert box.main_pid(NAME) not in (0, pids[1])

    box.run("systemctl", "disable", "--now", NAME)
    box.path(UNIT).write_text(whole.replace("RestartSec=200ms", "RestartSec=9"))
    said = box.run(*INSTALL)
    assert f"stopped    {NAME} stays so" in said
    assert box.path(UNIT).read_text() == whole
    shown = box.show(NAME, "ActiveState", "UnitFileState", "NeedDaemonReload")
    assert shown == {"ActiveState": "inactive", "UnitFileState": "disabled", "NeedDaemonReload": "no"}
    assert box.path(TOKEN).read_text() == token


def test_a_token_that_was_removed_is_made_anew_and_the_old_one_opens_nothing(dash: Installed) -> None:
    old = dash.box.path(TOKEN).read_text().strip()
    dash.box.path(TOKEN).unlink()
    assert f"made       {TOKEN}" in dash.box.run(*INSTALL)
    assert dash.ask("/api/status", token=old)[0] == 401
    new = dash.box.path(TOKEN).read_text().strip()
    eventually(lambda: dash.json("/api/status", token=new))


def test_an_upgrade_of_the_programs_starts_it_anew(dash: Installed) -> None:
    pid = dash.box.main_pid(NAME)
    install_wheel(dash.box, f"coordd=={NEXT}")
    try:
        said = dash.box.run(*INSTALL)
        assert f"answers    {NAME} {NEXT}" in said
        assert dash.box.main_pid(NAME) not in (0, pid)
    finally:
        install_wheel(dash.box)
    assert f"answers    {NAME} {__version__}" in dash.box.run(*INSTALL)


def test_a_start_that_fails_says_why(dash: Installed) -> None:
    dash.box.run("systemctl", "stop", NAME)
    hold = "import socket, time; s = socket.create_server(('127.0.0.1', 8000)); time.sleep(600)"
    holder = ["systemd-run", "--unit=holder", "-p", "Type=exec", "/opt/coordd/bin/python", "-c", hold]
    dash.box.run(*holder)
    try:
        eventually(lambda: "8000" in dash.box.run("ss", "-Hltn", "sport", "=", ":8000"))
        done = dash.box.try_(*INSTALL, "--dashboard")
    finally:
        dash.box.run("systemctl", "stop", "holder")
    assert done.returncode == 1
    assert f"{NAME} is in place, but does not start" in done.stderr
    assert "cannot listen on 127.0.0.1:8000: Address already in use" in done.stderr
    assert "run the same command again" in done.stderr
    assert dash.box.active("coordd")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "8001"], "--listen goes with --dashboard"),
        (["--dashboard", "--listen", "0.0.0.0:8000"], "put a proxy with TLS before it"),
        (["--dashboard", "--listen", "x"], "not an address"),
    ],
)
def test_each_refusal_says_what_to_do(dash: Installed, words: list[str], said: str) -> None:
    pid = dash.box.main_pid(NAME)
    done = dash.box.try_(*INSTALL, *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert dash.box.main_pid(NAME) == pid


def test_one_whose_packages_went_away_is_refused_before_anything_is_touched(dash: Installed) -> None:
    pids = (dash.box.main_pid(), dash.box.main_pid(NAME))
    package = "/opt/coordd/lib/python*/site-packages/starlette"
    dash.box.shell(f"for f in {package}; do mv $f $f.away; done")
    try:
        done = dash.box.try_(*INSTALL)
    finally:
        dash.box.shell(f"for f in {package}.away; do mv $f ${{f%.away}}; done")
    assert done.returncode == 1
    assert "uninstall --dashboard" in done.stderr
    assert (dash.box.main_pid(), dash.box.main_pid(NAME)) == pids


def test_it_goes_alone_and_the_token_stays_for_the_next(dash: Installed) -> None:
    pid = dash.box.main_pid()
    token = dash.box.path(TOKEN).read_text()
    gone = dash.box.run("coordd", "service", "uninstall", "--system", "--dashboard")
    assert f"removed    {UNIT}" in gone
    assert f"kept       {TOKEN}" in gone
    assert "uninstall --system --dashboard --purge" in gone
    assert not dash.box.path(UNIT).exists()
    assert dash.ask("/healthz")[0] == 0
    assert dash.box.main_pid() == pid
    again = dash.box.run("coordd", "service", "uninstall", "--system", "--dashboard")
    assert "the dashboard is not installed as a service here" in again
    assert f"kept       {TOKEN}" in dash.box.run(*INSTALL, "--dashboard")
    assert dash.box.path(TOKEN).read_text() == token


def test_the_units_have_no_fault_and_little_exposure(dash: Installed) -> None:
    box = dash.box
    dry = box.run(*INSTALL, "--dashboard", "--dry-run")
    assert f"would write {UNIT}" in dry
    assert f"would make {TOKEN}" in dry
    assert box.run("coordd", "service", "print", "--system", "--dashboard") == box.path(UNIT).read_text()
    user = f"/tmp/{NAME}.service"
    box.path(user).write_text(box.run("coordd", "service", "print", "--user", "--dashboard"))
    for path, manager in ((UNIT, "--system"), (user, "--user")):
        done = box.try_(
            "systemd-analyze", "verify", "--man=no", manager, path, env={"XDG_RUNTIME_DIR": "/run"}
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = box.try_("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout
    said = box.run("systemd-analyze", "security", "--offline=true", "--json=short", UNIT)
    text = (REPOSITORY / "packaging/systemd/coordd-dashboard.service.in").read_text()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for row in json.loads(said):
        directive = (row["name"] or row["json_field"]).partition("=")[0]
        if float(row["exposure"] or 0) > 0:
            assert directive in comments, f"{row['name']} is exposed, and no comment says why"
