"""Test that systemd accepts every word of the units, and that plists follow launchd.plist(5).

What systemd does with them is shown in tests/systemd; launchd cannot be run here.
"""

from __future__ import annotations

import configparser
import plistlib
import re
import shlex
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from coordd.alerts.service import DRAIN
from coordd.errors import InstallError
from coordd.installer import managers, templates
from coordd.installer.launchd import Launchd
from coordd.installer.managers import Setting
from coordd.installer.services import (
    ALERT,
    COORDD,
    DASHBOARD,
    SERVICES,
    Programs,
    Scope,
    Service,
    find_programs,
)
from coordd.installer.steps import Command, GiveTree, MakeDirectory, Remove, RemoveEmpty, WriteFile
from coordd.installer.systemd import Systemd, find_runtime_directory

PROGRAMS: Programs = {name: (f"/opt/coordd/bin/{name}",) for name in ("coordd", "coordctl", "coordd-alert")}
NO_NEW_PRIVILEGES = {
    *("NoNewPrivileges", "DynamicUser", "SystemCallFilter", "SystemCallArchitectures", "SystemCallLog"),
    *("RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"),
    *("LockPersonality", "MemoryDenyWriteExecute", "PrivateDevices", "ProtectClock", "ProtectHostname"),
    *("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"),
}
"""By systemd.exec(5), those that are or imply NoNewPrivileges=yes in a service with User=."""
MODULES = ("/usr/bin/python3", "-m", "coordd.cli")


def setting(
    scope: Scope = "system",
    *,
    run_as: str = "coordd",
    programs: Programs = PROGRAMS,
    environ: dict[str, str] | None = None,
    read_homes: bool | None = None,
) -> Setting:
    return Setting(
        scope=scope,
        run_as=run_as,
        programs=programs,
        environ=environ or {},
        home="/home/ann",
        uid=1000,
        read_homes=read_homes,
    )


def systemd(scope: Scope = "system", **options: Any) -> Systemd:
    return Systemd(setting=setting(scope, **options), units="/units")


def launchd(scope: Scope = "system", **options: Any) -> Launchd:
    return Launchd(setting=setting(scope, **options))


def sections(unit: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[method-assign,assignment]
    parsed.read_string(unit)
    return parsed


# systemd


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_unit_is_filled_in_and_says_what_the_design_promises(scope: Scope) -> None:
    unit = systemd(scope).rendered(COORDD)
    assert re.findall(r"@[A-Z]+@", unit) == []
    service = sections(unit)["Service"]
    assert service["ExecStart"] == f"/opt/coordd/bin/coordd run --layout {scope}"
    assert service["ExecReload"] == "/opt/coordd/bin/coordctl --socket %t/coordd/coordd.sock reload"
    assert service["Type"] == "notify"  # notify-reload is unknown to systemd 252
    assert "78" in service["RestartPreventExitStatus"].split()
    assert float(service["TimeoutStopSec"]) > 5  # coordd drains for five
    assert sections(unit)["Install"]["WantedBy"] == (
        "default.target" if scope == "user" else "multi-user.target"
    )


@pytest.mark.parametrize("scope", ["user", "system"])
def test_programs_with_odd_names_come_through_as_they_are(scope: Scope) -> None:
    odd = {"coordd": ('/opt/My "Tools"/100%/$HOME/coordd',), "coordctl": MODULES, "coordd-alert": MODULES}
    service = sections(systemd(scope, programs=odd).rendered(COORDD))["Service"]
    assert service["ExecStart"].startswith('"/opt/My \\"Tools\\"/100%%/$$HOME/coordd" run')
    assert service["ExecReload"].startswith("/usr/bin/python3 -m coordd.cli --socket")


def test_a_persons_own_directories_go_into_their_unit() -> None:
    environ = {"XDG_STATE_HOME": "/data/my state", "XDG_CONFIG_HOME": "", "COORDD_MODE": "file"}
    unit = systemd("user", environ=environ).rendered(COORDD)
    assert sections(unit)["Service"]["Environment"] == '"XDG_STATE_HOME=/data/my state"'
    assert "COORDD_MODE" not in unit
    assert "Environment=" not in systemd("user").rendered(COORDD)


def test_every_unset_directive_has_its_reason_above_the_set_ones() -> None:
    lines = templates.template("systemd/coordd.service.in").splitlines()
    begin = next(n for n, line in enumerate(lines) if "What is not set, and why" in line)
    end = lines.index("NoNewPrivileges=yes")
    named = {match[1] for line in lines[begin + 1 : end] if (match := re.match(r"#   (\w+)=", line))}
    assert {"ProcSubset", "ProtectProc", "ProtectHome", "IPAddressDeny", "PrivateNetwork"} <= named


@pytest.mark.parametrize("unit", [f"{one.name}{end}" for one in SERVICES for end in ("", "-user")])
def test_every_unit_bounds_memory_and_tasks_and_says_why(unit: str) -> None:
    lines = templates.template(f"systemd/{unit}.service.in").splitlines()
    for directive in ("MemoryMax=", "TasksMax="):
        at = next(n for n, line in enumerate(lines) if line.startswith(directive))
        while not lines[at].startswith("#"):
            assert lines[at].startswith("Memory") or directive == "TasksMax="
            at -= 1
        assert len(lines[at]) > 30


def test_the_systems_accounts_are_made_by_systemds_own_tools() -> None:
    users, ran, tmpfiles, *_ = systemd().accounts(COORDD)
    assert isinstance(users, WriteFile)
    assert isinstance(tmpfiles, WriteFile)
    assert "u coordd - " in users.text
    assert "d /var/lib/coordd 0750 coordd coordd -" in tmpfiles.text
    assert ran == Command(
        ("systemd-sysusers", users.path), f"Make user and group yourself, as {users.path} has them."
    )
    assert systemd("user").accounts(COORDD) == []


def test_a_named_user_is_not_made_and_gets_what_another_had() -> None:
    steps = systemd(run_as="ann").accounts(COORDD)
    users = steps[0]
    assert isinstance(users, WriteFile)
    assert re.findall("^[a-z].*", users.text, re.M) == ["g coordd -"]
    assert GiveTree("/var/lib/coordd", ("ann", "coordd")) in steps
    assert "\nUser=ann\nGroup=coordd\n" in systemd(run_as="ann").rendered(COORDD)


def test_the_right_to_read_homes_is_kept_given_and_taken_back(tmp_path: Path) -> None:
    def steps(read_homes: bool | None, scope: Scope = "system") -> list[str]:
        manager = Systemd(setting=setting(scope, read_homes=read_homes), units=str(tmp_path))
        return [step.describe().replace(str(tmp_path), "") for step in manager.files(SERVICES)][
            len(SERVICES) :
        ]

    drop_in = "/coordd.service.d/read-homes.conf"
    assert steps(None) == []
    assert steps(True) == [f"write {drop_in}"]
    assert steps(True, "user") == []
    assert steps(False) == [f"remove {drop_in}", "remove /coordd.service.d/ if it is empty"]
    (tmp_path / "coordd.service.d").mkdir()
    (tmp_path / drop_in[1:]).touch()
    assert steps(None) == [f"write {drop_in}"], "an upgrade"


def test_a_drop_in_directory_with_anything_else_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "override.conf").touch()
    assert RemoveEmpty(str(tmp_path)).do() == "absent"
    assert tmp_path.is_dir()
    (tmp_path / "override.conf").unlink()
    RemoveEmpty(str(tmp_path)).do()
    assert not tmp_path.exists()
    assert RemoveEmpty(str(tmp_path)).do() == "absent"


def test_the_manager_of_a_person_is_found_without_the_variable(tmp_path: Path) -> None:
    assert find_runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}, 4_000_000) is None
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    assert find_runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}, 4_000_000) == str(tmp_path)


def test_no_manager_points_to_the_classic_daemon(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="coordd start"):
        managers.present("linux", run=str(tmp_path / "none"))


def test_coordd_alert_is_a_user_of_its_own_in_the_group_and_only_the_systems() -> None:
    users, ran = systemd().accounts(ALERT)
    assert isinstance(users, WriteFile)
    assert re.findall("^[a-z].*", users.text, re.M) == [
        'u coordd-alert - "coordd alerts" /var/lib/coordd-alert',
        "m coordd-alert coordd",
    ]
    assert isinstance(ran, Command)
    assert ran.argv == ("systemd-sysusers", users.path)
    assert systemd("user").accounts(ALERT) == []
    unit = sections(systemd(run_as="ann").rendered(ALERT))["Service"]
    assert (unit["User"], unit["SupplementaryGroups"]) == ("coordd-alert", "coordd")


@pytest.mark.parametrize("scope", ["user", "system"])
def test_coordd_alert_outlives_the_daemon_and_lets_its_actions_do_what_they_do(scope: Scope) -> None:
    unit = sections(systemd(scope).rendered(ALERT))
    service = unit["Service"]
    assert service["ExecStart"] == f"/opt/coordd/bin/coordd-alert run --layout {scope}"
    assert service["ExecReload"] == f"/opt/coordd/bin/coordctl alerts --layout {scope} reload"
    assert not {"Requires", "BindsTo", "Wants", "PartOf", "Requisite"} & set(unit["Unit"])
    assert "coordd.service" in unit["Unit"]["After"].split()
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > DRAIN
    assert service["OOMPolicy"] == "continue"
    assert not NO_NEW_PRIVILEGES & set(service), "with these no setuid or setgid program works in it"


@pytest.mark.parametrize("services", [[COORDD], SERVICES])
def test_removing_undoes_what_installing_made(services: Sequence[Service]) -> None:
    manager = systemd(read_homes=True)
    made = {
        step.path
        for step in [*chain(*map(manager.accounts, services)), *manager.files(services)]
        if isinstance(step, WriteFile)
    }
    gone = {step.path for step in manager.removing(services) if isinstance(step, Remove)}
    assert gone == made


# launchd

STRING, BOOL, INTEGER, STRINGS, TABLE = str, bool, int, list, dict
KEYS: dict[str, type] = {
    # launchd.plist(5), of the keys that make sense for a daemon of ours
    "Label": STRING,
    "UserName": STRING,
    "GroupName": STRING,
    "InitGroups": BOOL,
    "Program": STRING,
    "ProgramArguments": STRINGS,
    "KeepAlive": TABLE,
    "RunAtLoad": BOOL,
    "WorkingDirectory": STRING,
    "EnvironmentVariables": TABLE,
    "Umask": INTEGER,
    "ExitTimeOut": INTEGER,
    "ThrottleInterval": INTEGER,
    "StandardInPath": STRING,
    "StandardOutPath": STRING,
    "StandardErrorPath": STRING,
    "ProcessType": STRING,
    "AbandonProcessGroup": BOOL,
    "SoftResourceLimits": TABLE,
    "HardResourceLimits": TABLE,
    "Nice": INTEGER,
}
KEEP_ALIVE = {"SuccessfulExit": bool, "Crashed": bool, "PathState": dict, "OtherJobEnabled": dict}


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_plist_keeps_the_rules_of_its_manual(scope: Scope, service: Service) -> None:
    plist = plistlib.loads(launchd(scope, run_as="ann").rendered(service).encode())
    for key, value in plist.items():
        assert type(value) is KEYS[key], key
    for key, value in plist["KeepAlive"].items():
        assert type(value) is KEEP_ALIVE[key], key
    assert plist["Label"] == service.label
    assert re.fullmatch(r"[a-z]+(\.[a-z-]+)+", plist["Label"]), "reverse domain notation"
    # absolute, in the foreground, no shell: launchd.plist(5) "must not" fork, daemon(3), setsid
    program, word = ("coordctl", "dashboard") if service == DASHBOARD else (service.name, "run")
    assert plist["ProgramArguments"][:2] == [f"/opt/coordd/bin/{program}", word]
    assert "start" not in plist["ProgramArguments"]
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["ExitTimeOut"] > 5
    assert ("UserName" in plist) == ("GroupName" in plist) == (scope == "system")
    assert oct(plist["Umask"]) == ("0o27" if scope == "system" else "0o77")


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
@pytest.mark.parametrize("scope", ["user", "system"])
def test_nothing_of_ours_goes_through_the_file_that_launchd_never_rotates(
    scope: Scope, service: Service
) -> None:
    plist = plistlib.loads(launchd(scope, run_as="ann").rendered(service).encode())
    arguments = plist["ProgramArguments"]
    log = arguments[arguments.index("--log-file") + 1]
    assert log != plist["StandardErrorPath"]
    assert "StandardOutPath" not in plist
    assert log.startswith("/usr/local/var/log/" if scope == "system" else "/home/ann/Library/Logs/")
    made = [step for step in launchd(scope, run_as="ann").accounts(COORDD) if isinstance(step, MakeDirectory)]
    assert str(Path(log).parent) in {step.path for step in made}, "launchd makes no directories"


def test_a_plist_takes_odd_names_and_several_words() -> None:
    odd = {**PROGRAMS, "coordd": ("/opt/<a> & b/python", "-m", "coordd")}
    plist = plistlib.loads(launchd("user", programs=odd).rendered(COORDD).encode())
    assert plist["ProgramArguments"][:4] == ["/opt/<a> & b/python", "-m", "coordd", "run"]


def test_where_plists_go_and_who_owns_them() -> None:
    (agent,) = launchd("user").files([COORDD])
    (daemon,) = launchd(run_as="ann").files([COORDD])
    assert isinstance(agent, WriteFile)
    assert isinstance(daemon, WriteFile)
    assert agent.path == "/home/ann/Library/LaunchAgents/org.coordd.coordd.plist"
    assert daemon.path == "/Library/LaunchDaemons/org.coordd.coordd.plist"
    assert (daemon.mode, daemon.owner) == (0o644, ("root", "wheel"))


def test_launchctl_is_told_the_right_domain() -> None:
    told = [shlex.join(s.argv) for s in launchd("user").starting(COORDD) if isinstance(s, Command)]
    assert told == [
        "launchctl bootout gui/1000/org.coordd.coordd",
        "launchctl enable gui/1000/org.coordd.coordd",
        "launchctl bootstrap gui/1000 /home/ann/Library/LaunchAgents/org.coordd.coordd.plist",
    ]
    assert "system/org.coordd.coordd" in str(launchd(run_as="ann").removing([COORDD])[0])


def test_a_launch_daemon_needs_a_user_that_is_there() -> None:
    with pytest.raises(InstallError, match="--read-homes is for systemd"):
        launchd(run_as="ann", read_homes=True).accounts(COORDD)
    with pytest.raises(InstallError, match="--run-as USER"):
        launchd().accounts(COORDD)


# programs


def test_the_commands_beside_the_one_that_was_called(tmp_path: Path) -> None:
    for name in PROGRAMS:
        (tmp_path / name).touch(mode=0o755)
    found = find_programs("/usr/bin/python3", str(tmp_path / "coordd"))
    assert found == {name: (str(tmp_path / name),) for name in PROGRAMS}
    (tmp_path / "coordctl").unlink()
    assert find_programs("/nowhere/python3", str(tmp_path / "coordd")) == {
        "coordd": ("/nowhere/python3", "-m", "coordd"),
        "coordctl": ("/nowhere/python3", "-m", "coordd.cli"),
        "coordd-alert": ("/nowhere/python3", "-m", "coordd.alerts.main"),
    }
