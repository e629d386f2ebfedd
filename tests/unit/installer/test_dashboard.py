"""Test the dashboard as a second service: its files, and what has to exist before."""

from __future__ import annotations

import grp
import http.server
import os
import plistlib
import re
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordd.cli.dashboard import command
from coordd.dashboard.listen import Address, parse_address
from coordd.errors import InstallError
from coordd.installer.accounts import SYSUSERS
from coordd.installer.dashboard import (
    MakeToken,
    check_listen,
    check_packages,
    check_visible,
    host_and_port,
    version_at,
)
from coordd.installer.launchd import Launchd
from coordd.installer.managers import Setting
from coordd.installer.services import COORDD, DASHBOARD, SERVICES, Programs, Scope, listen_of
from coordd.installer.steps import Command, Remove
from coordd.installer.systemd import Systemd
from coordd.installer.templates import template

PROGRAMS: Programs = {"coordd": ("/opt/coordd/bin/coordd",), "coordctl": ("/opt/coordd/bin/coordctl",)}


def setting(scope: Scope = "system", *, home: str = "/home/ann", listen: str | None = None) -> Setting:
    return Setting(
        scope=scope, run_as="ann", programs=PROGRAMS, environ={}, home=home, uid=1000, listen=listen
    )


def directives(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"(?m)^(\w+)=(.*)$", unit):
        found.setdefault(name, []).append(value)
    return found


def accepted(words: list[str]) -> None:
    command.make_context("dashboard", list(words))


# files


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_unit_starts_it_with_options_that_it_takes(scope: Scope) -> None:
    text = Systemd(setting=setting(scope), units="/nowhere").rendered(DASHBOARD)
    assert re.findall(r"@[A-Z]+@", text) == []
    unit = directives(text)
    program, *words = unit["ExecStart"][0].split()
    token = ["--token-file", "/etc/coordd/dashboard.token"] if scope == "system" else []
    assert program == "/opt/coordd/bin/coordctl"
    assert words == [
        *("dashboard", "--socket", "%t/coordd/coordd.sock", "--listen", "127.0.0.1:8000"),
        *token,
    ]
    accepted(words[1:])
    assert unit["WantedBy"] == ["default.target" if scope == "user" else "multi-user.target"]
    assert unit["After"][0].split()[0] == "coordd.service"
    assert not {"Wants", "Requires", "BindsTo"} & unit.keys(), "it lives without the daemon, and starts none"
    if scope == "system":
        assert unit["SupplementaryGroups"] == ["coordd"]
        assert unit["SocketBindAllow"] == ["tcp:8000"]


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_plist_starts_it_with_options_that_it_takes(scope: Scope) -> None:
    plist = plistlib.loads(Launchd(setting=setting(scope)).rendered(DASHBOARD).encode())
    words = plist["ProgramArguments"]
    accepted(words[2:])
    assert ("--token-file" in words) == (scope == "system")
    at = words[words.index("--socket") + 1]
    assert at.startswith("/usr/local/var/run/" if scope == "system" else "/home/ann/Library/")


def test_every_unset_directive_has_its_reason_above_the_set_ones() -> None:
    lines = template("systemd/coordd-dashboard.service.in").splitlines()
    begin = next(n for n, line in enumerate(lines) if "What is not set, and why" in line)
    end = lines.index("NoNewPrivileges=yes")
    named = {match[1] for line in lines[begin + 1 : end] if (match := re.match(r"#   (\w+)=", line))}
    assert {"PrivateNetwork", "RootDirectory", "RestrictAddressFamilies", "IPAddressDeny"} <= named


def test_an_upgrade_keeps_the_address_and_an_option_changes_it(tmp_path: Path) -> None:
    def unit(listen: str | None = None) -> Systemd:
        return Systemd(setting=setting(listen=listen), units=str(tmp_path))

    (tmp_path / DASHBOARD.unit).write_text(unit("[::1]:8123").rendered(DASHBOARD))
    kept = directives(unit().rendered(DASHBOARD))
    assert "--listen [::1]:8123 " in kept["ExecStart"][0]
    assert kept["SocketBindAllow"] == ["tcp:8123"]
    assert "--listen 127.0.0.1:9 " in directives(unit("127.0.0.1:9").rendered(DASHBOARD))["ExecStart"][0]

    def plist(listen: str | None = None) -> Launchd:
        return Launchd(setting=setting("user", home=str(tmp_path), listen=listen))

    path = tmp_path / "Library/LaunchAgents/org.coordd.dashboard.plist"
    path.parent.mkdir(parents=True)
    path.write_text(plist("127.0.0.1:8124").rendered(DASHBOARD))
    assert plist().command(DASHBOARD)[1] == "dashboard"
    assert listen_of(plistlib.loads(plist().rendered(DASHBOARD).encode())["ProgramArguments"]) == (
        "127.0.0.1:8124"
    )


def test_removing_the_dashboard_alone_leaves_the_daemon_its_user() -> None:
    manager = Systemd(setting=setting(), units="/units")
    gone = [step.path for step in manager.removing([DASHBOARD]) if isinstance(step, Remove)]
    assert gone == ["/units/coordd-dashboard.service"]
    assert manager.purging([DASHBOARD]) == [Remove("/units/coordd-dashboard.service.d", tree=True)]
    both = [step.path for step in manager.removing(SERVICES) if isinstance(step, Remove)]
    assert {"/units/coordd.service", SYSUSERS, *gone} <= set(both)
    assert Launchd(setting=setting()).purging([DASHBOARD]) == []
    assert Launchd(setting=setting()).purging([COORDD]) != []


def test_one_that_is_upgraded_only_is_not_enabled() -> None:
    for manager in (Systemd(setting=setting(), units="/units"), Launchd(setting=setting())):
        words = [step.argv for step in manager.starting(DASHBOARD, enable=False) if isinstance(step, Command)]
        assert words
        assert not [argv for argv in words if "enable" in argv]


# what has to be there before


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "prometheus_client"])
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_packages(asked=True)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InstallError) as caught:
        check_packages(asked=True)
    assert f"needs {missing}," in str(caught.value)
    assert f"{sys.executable} -m pip install 'coordd[dashboard]'" in str(caught.value)
    with pytest.raises(InstallError, match="uninstall --dashboard"):
        check_packages(asked=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8001", "127.0.0.1:8001"),
        ("localhost:8001", "localhost:8001"),
        ("[::1]:8001", "[::1]:8001"),
        ("127.0.0.2:1", "127.0.0.2:1"),
    ],
)
def test_an_address_of_this_machine(text: str, meant: str) -> None:
    assert check_listen(text) == meant
    assert host_and_port(parse_address(meant)) == meant


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8000", "unix:/run/x", "127.0.0.1:0", "nowhere", "[::1%x y]:80", ""]
)
def test_any_other_address_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(InstallError, match=r"--listen .*such as 127\.0\.0\.1:8"):
        check_listen(text)


def test_programs_in_a_home_are_out_of_its_sight() -> None:
    check = {**PROGRAMS, "coordctl": ("/home/ann/venv/bin/coordctl",)}
    with pytest.raises(InstallError, match="/opt/coordd"):
        check_visible(check)


def test_a_token_is_made_once_for_the_group(tmp_path: Path) -> None:
    path = tmp_path / "dashboard.token"
    group = grp.getgrgid(os.getgid()).gr_name
    step = MakeToken(str(path), group)
    assert step.do() == "made"
    token = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_gid == os.getgid()
    assert step.do() == "kept"
    assert path.read_text() == token
    with pytest.raises(InstallError, match="there is no group"):
        MakeToken(str(tmp_path / "other"), "no-such-group").do()
    (tmp_path / "file").touch()
    with pytest.raises(InstallError, match=r"the token cannot be made: .*file"):
        MakeToken(str(tmp_path / "file" / "token"), group).do()


# whether it answers


class Another(http.server.BaseHTTPRequestHandler):
    """Somebody else's service on the port that was meant for the dashboard."""

    body = b'{"status": "ok", "version": "1"}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *words: object) -> None:
        """Quiet."""


@pytest.fixture
def another() -> Iterator[Address]:
    with http.server.HTTPServer(("127.0.0.1", 0), Another) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Address("127.0.0.1", server.server_port)
        server.shutdown()


def test_only_the_dashboard_counts_as_its_answer(another: Address) -> None:
    assert version_at(another) is None
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and never listening: refused
        assert version_at(Address("127.0.0.1", nobody.getsockname()[1])) is None
