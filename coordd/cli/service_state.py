"""Ask the service manager for a service of coordd: whether it is installed, how it does, its last error.

Only where a unit or plist exists is the manager asked, each time with a deadline; what it does not tell in
time is left out. launchd's part is written from its manual: none of it has been run on macOS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.protocol.paths import system_paths, user_paths
from coordd.util.text import escape
from coordd.util.untyped import as_dict

Scope = Literal["user", "system"]
State = Literal["failed", "restarting", "starting", "running", "stopped"]

DEADLINE = 2.0
"""Seconds for one question."""
RUNS = "/run/systemd/system"
_LINES = 30
_MOST = 300
"""Characters of the service's own error that are shown at most."""

_SYSTEM_UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER_UNITS = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
_SHOWN = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus", "InvocationID")
_KILLED = ("2", "3")  # CLD_KILLED, CLD_DUMPED of waitid(2)
_CODES = {
    "78": "a configuration that cannot be used",
    "200": "its working directory cannot be entered",
    "203": "its program cannot be run",
    "216": "its group does not exist",
    "217": "its user does not exist",
    "226": "its sandbox cannot be set up",
    "228": "its system call filter cannot be set up",
    "238": "its state directory cannot be made",
    "240": "its log directory cannot be made",
    "233": "its runtime directory cannot be made",
}
_RESULTS = {
    "timeout": "it did not start or stop in time",
    "watchdog": "it gave no sign of life",
    "oom-kill": "the kernel ended it for want of memory",
    "start-limit-hit": "it was started too often in a short time",
    "resources": "the manager could not give it what it needs",
}


@dataclass(frozen=True, slots=True)
class ServiceName:
    """What a service is called: its program, and its label with launchd."""

    program: str
    label: str

    @property
    def unit(self) -> str:
        """Return the name of its unit."""
        return f"{self.program}.service"


COORDD = ServiceName("coordd", "org.coordd.coordd")
ALERT = ServiceName("coordd-alert", "org.coordd.alert")


@dataclass(frozen=True, slots=True)
class ServiceState:
    """An installed service of coordd: how it does, why it failed (empty if unknown), and what to type.

    ``look`` shows more, ``start`` starts it, also once it has failed.
    """

    scope: Scope
    name: str
    state: State
    why: str
    look: str
    start: str


def service_states(
    scopes: Sequence[Scope], environ: Mapping[str, str], service: ServiceName = COORDD
) -> list[ServiceState]:
    """Return the installed services of that name in these scopes, in their order."""
    if sys.platform == "darwin":
        found = [_launchd(scope, environ, service) for scope in scopes]
    elif os.path.isdir(RUNS):
        found = [_systemd(scope, environ, service) for scope in scopes]
    else:
        found = []
    return [one for one in found if one is not None]


def _systemd(scope: Scope, environ: Mapping[str, str], service: ServiceName) -> ServiceState | None:
    unit = service.unit
    if not any(os.path.lexists(os.path.join(folder, unit)) for folder in _unit_folders(scope, environ)):
        return None
    manager = [] if scope == "system" else ["--user"]
    variables = _manager_environment(environ)
    words = ["systemctl", *manager, "show", unit, "-p", ",".join(_SHOWN)]
    shown = _output(words, variables)
    facts = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
    state = state_of(facts)
    why = ""
    if state in ("failed", "restarting"):
        journal = ["journalctl", *manager, "-u", unit, "-n", str(_LINES), "-o", "json", "--no-pager", "-q"]
        said = last_error(_output(journal, variables) or "", facts.get("InvocationID", ""), service)
        why = "; ".join(filter(None, [result_words(facts), said]))
    command = " ".join(["systemctl", *manager])
    sudo = "sudo " if scope == "system" and os.geteuid() != 0 else ""
    # Where it was started too often, only a reset lets it be started by hand.
    reset = f"{sudo}{command} reset-failed {unit} && " if facts.get("Result") == "start-limit-hit" else ""
    start = f"{reset}{sudo}{command} {'restart' if state in ('failed', 'restarting') else 'start'} {unit}"
    return ServiceState(scope, unit, state, why, f"{command} status {unit}", start)


def state_of(facts: Mapping[str, str]) -> State:
    """Return the state by the properties of ``systemctl show``. Pure."""
    load, active = facts.get("LoadState", ""), facts.get("ActiveState", "")
    if active == "failed" or load in ("bad-setting", "error", "masked"):
        return "failed"
    if active == "activating":
        return "restarting" if facts.get("SubState") == "auto-restart" else "starting"
    return "running" if active in ("active", "reloading") else "stopped"


def result_words(facts: Mapping[str, str]) -> str:
    """Return in words how its last run ended, by the properties of ``systemctl show``. Pure."""
    load, result, status = (facts.get(name, "") for name in ("LoadState", "Result", "ExecMainStatus"))
    if load == "masked":
        return "its unit is masked: systemctl unmask"
    if load in ("bad-setting", "error"):
        return "its unit file cannot be used"
    if result in _RESULTS:
        return _RESULTS[result]
    if facts.get("ExecMainCode") in _KILLED:
        return f"ended by signal {escape(status)}"
    return exit_words(status) if status not in ("", "0") else ""


def exit_words(status: str) -> str:
    """Return in words what an exit code means, by systemd.exec(5) and coordd(1). Pure."""
    meaning = _CODES.get(status)
    return f"exit code {escape(status)}" + (f", {meaning}" if meaning else "")


def last_error(journal: str, invocation: str, service: ServiceName = COORDD) -> str:
    """Return the last error that the service itself wrote in its last run, by lines of JSON. Pure.

    Lines of another run, as ``invocation`` tells, and the manager's own are passed over.
    """
    errors: list[str] = []
    for line in journal.splitlines():
        try:
            entry = as_dict(json.loads(line))
        except (ValueError, RecursionError):
            continue
        run, message = entry.get("_SYSTEMD_INVOCATION_ID"), entry.get("MESSAGE")
        if entry.get("SYSLOG_IDENTIFIER") == "systemd" or (run and invocation and run != invocation):
            continue
        if isinstance(message, str) and str(entry.get("PRIORITY")) in ("0", "1", "2", "3"):
            errors.append(message)
    begin = f"{service.program}: "
    own = [message for message in errors if message.startswith(begin)] or errors
    return cut(escape(own[-1].removeprefix(begin))) if own else ""


def cut(text: str) -> str:
    """Return a text that is not too long to be read. Pure."""
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _unit_folders(scope: Scope, environ: Mapping[str, str]) -> list[str]:
    if scope == "system":
        return list(_SYSTEM_UNITS)
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    data = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return [*(os.path.join(one, "systemd", "user") for one in (config, data)), *_USER_UNITS]


def _manager_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a person's manager is found: su and cron leave out where it is."""
    made = {**environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    usual = f"/run/user/{os.geteuid()}"
    if not environ.get("XDG_RUNTIME_DIR") and os.path.isdir(usual):
        made["XDG_RUNTIME_DIR"] = usual
    return made


def _launchd(scope: Scope, environ: Mapping[str, str], service: ServiceName) -> ServiceState | None:
    home = environ.get("HOME") or os.path.expanduser("~")
    folder = "/Library/LaunchDaemons" if scope == "system" else f"{home}/Library/LaunchAgents"
    plist = os.path.join(folder, f"{service.label}.plist")
    if not os.path.lexists(plist):
        return None
    domain = "system" if scope == "system" else f"gui/{os.getuid()}"
    printed = _output(["launchctl", "print", f"{domain}/{service.label}"], environ)
    state, code = launchd_state(printed)
    why = ""
    if state == "failed":
        paths = system_paths("darwin") if scope == "system" else user_paths(environ, "darwin")
        tail = (
            _output(["tail", "-n", "1", os.path.join(paths["log_dir"], f"{service.program}.err")], environ)
            or ""
        )
        why = "; ".join(filter(None, [exit_words(code), cut(escape(tail.strip()))]))
    sudo = "sudo " if scope == "system" and os.geteuid() != 0 else ""
    start = (
        f"{sudo}launchctl bootstrap {domain} '{plist}'"
        if printed is None
        else f"{sudo}launchctl kickstart -k {domain}/{service.label}"
    )
    return ServiceState(scope, plist, state, why, f"launchctl print {domain}/{service.label}", start)


def launchd_state(printed: str | None) -> tuple[State, str]:
    """Return state and last exit code by ``launchctl print``; None where it is not loaded. Pure."""
    if printed is None:
        return "stopped", ""
    running = re.search(r"(?m)^\s*state = (\w+)", printed)
    code = re.search(r"(?m)^\s*last exit code = (\d+)", printed)
    if running is not None and running[1] == "running":
        return "running", ""
    return ("failed", code[1]) if code is not None and code[1] != "0" else ("stopped", "")


def _output(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return what a command prints; None if it fails, is missing, or takes too long."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=dict(environ),
            timeout=DEADLINE,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
