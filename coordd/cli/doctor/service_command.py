"""Run commands of the service, in a process of their own, with the configuration of a daemon.

The doctor learns the configuration this way: a client never imports the service.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import coordd
from coordd.cli.doctor.access import Credentials, primary_group
from coordd.errors import CannotTell
from coordd.protocol.paths import project_paths, system_paths, user_paths

if TYPE_CHECKING:
    pass

DEADLINE = 30.0
"""Seconds for a command of the service, which reads one file or asks a Redis that may be slow."""
BAD_CONFIG = 78
_WARNING = "coordd: warning: "
_OF_ALERTS = "coordd-alert: "
_TROUBLE = "it cannot work here: "
_SOUND = ": the rules are sound"
_MAX_WARNINGS = 20


@dataclass(frozen=True, slots=True)
class RulesAnswer:
    """What ``coordd check-config`` has coordd-alert say of its rules.

    ``there``: there are rules. ``error`` is why they cannot be used, else empty; ``troubles`` are sentences
    about actions that cannot work here.
    """

    there: bool = False
    error: str = ""
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigAnswer:
    """The answer of ``coordd check-config``: exit code (None: it could not be run), message, values.

    ``warnings`` are its sentences about what it ignored; ``rules`` is what concerns coordd-alert alone.
    """

    code: int | None
    file: str | None
    error: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rules: RulesAnswer = RulesAnswer()


def check_config(daemon: Mapping[str, Any], pid: object, *, where: str | None) -> ConfigAnswer:
    """Run ``coordd check-config`` as the daemon was run, or as it would be run from here.

    ``pid`` is that of a running daemon: then its environment counts, or no environment if we may not read it.
    ``where`` is the directory to run it from otherwise, None where that no longer exists.
    """
    arguments, file = _arguments(daemon)
    own = arguments[:1] == ["--workspace"] and "--config" not in arguments  # unreadable: ignored
    if file is not None and not own and os.path.exists(file) and not os.access(file, os.R_OK):
        return ConfigAnswer(None, file, f"{file} may not be read by this user")
    try:
        done = run_coordd("check-config", daemon=daemon, pid=pid, where=where)
    except CannotTell as error:
        return ConfigAnswer(None, file, str(error))
    rules = rules_answer(done)
    if done.returncode and not rules.error:
        words = complaint(done)
        return ConfigAnswer(done.returncode, file, words[0] if done.returncode == BAD_CONFIG else words[-1])
    try:
        values = tomllib.loads(done.stdout)
    except ValueError:  # TOMLDecodeError, and an integer with too many digits
        values = {}
    heading = done.stdout.partition("\n")[0]
    warnings = [line.removeprefix(_WARNING) for line in done.stderr.splitlines() if line.startswith(_WARNING)]
    warned = tuple(warnings[:_MAX_WARNINGS])
    return ConfigAnswer(0, file or _file_in(heading), heading.removeprefix("# "), values, warned, rules)


def rules_answer(done: subprocess.CompletedProcess[str]) -> RulesAnswer:
    """Return what a run of ``coordd check-config`` says of coordd-alert's rules. Pure."""
    said = done.stderr.splitlines()
    refused = [line.removeprefix(_OF_ALERTS) for line in said if line.startswith(_OF_ALERTS)]
    error = refused[0] if done.returncode and refused else ""
    lines = [line.removeprefix("# ").strip() for line in done.stdout.splitlines() if line.startswith("# ")]
    troubles = [line.removeprefix(_TROUBLE) for line in lines if line.startswith(_TROUBLE)]
    sound = any(line.endswith(_SOUND) for line in lines)
    return RulesAnswer(bool(error) or sound, error, tuple(troubles[:_MAX_WARNINGS]))


def run_coordd(
    *command: str,
    daemon: Mapping[str, Any],
    pid: object,
    where: str | None,
    user: Credentials | None = None,
    deadline: float = DEADLINE,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service, in a process of its own, with the configuration of a daemon.

    Args:
        command: the command and its own options.
        daemon: the part of ``status`` that leads to the daemon's configuration.
        pid: of a running daemon, whose environment counts; with None ours does.
        where: the directory to run it from if no daemon runs; None stands for the root.
        user: the user to run it as, which needs root; None: our own user.
        deadline: seconds that it may take.

    Raises:
        CannotTell: it cannot be run, or takes longer than the deadline.
    """
    arguments, _ = _arguments(daemon)
    environ = _environment(pid)
    # with -P from our own package, never from the current directory, which may be a stranger's
    ours = os.path.dirname(os.path.dirname(coordd.__file__))
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ours, environ.get("PYTHONPATH")]))
    environ["PYTHONUTF8"] = "1"
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", "coordd", *command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environ,
            cwd="/" if pid is not None else where or "/",
            timeout=deadline,
            check=False,
            user=None if user is None else user.uid,
            group=None if user is None else primary_group(user),
            extra_groups=None if user is None else sorted(user.gids),
        )
    except subprocess.TimeoutExpired:
        raise CannotTell(f"'coordd {command[0]}' takes more than {deadline:g} s") from None
    except (OSError, subprocess.SubprocessError) as error:
        whose = f" as {user.name}" if user is not None else ""
        reason = getattr(error, "strerror", None) or error
        raise CannotTell(f"'coordd {command[0]}' cannot be run{whose}: {reason}") from None


def complaint(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of a failed command's error message."""
    return done.stderr.strip().removeprefix("coordd: ").splitlines() or ["no reason given"]


def _arguments(daemon: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Return the options that lead to the daemon's configuration, and its file, if known."""
    layout, file = daemon.get("layout"), daemon.get("config_file")
    named = file if isinstance(file, str) else None
    if layout == "project":
        root = _project_of(daemon)
        if root is None:
            return (["--config", named], named) if named else ([], None)
        arguments, default = ["--workspace", root], project_paths(root)["config_file"]
    elif layout == "user":
        arguments, default = ["--layout", "user"], user_paths(os.environ, sys.platform)["config_file"]
    elif layout == "system":
        arguments, default = ["--layout", "system"], system_paths(sys.platform)["config_file"]
    else:
        return [], None
    if named is not None and named != default:
        arguments += ["--config", named]
    return arguments, named or default


def _project_of(daemon: Mapping[str, Any]) -> str | None:
    """Return the workspace of a daemon in the project layout, by the paths of its files."""
    for key in ("socket", "metrics_dir", "log_dir", "config_file"):
        value = daemon.get(key)
        if not isinstance(value, str) or not os.path.isabs(value):
            continue
        root = os.path.dirname(os.path.dirname(value))
        for above in (root, os.path.dirname(root)):
            if project_paths(above)[key] == value:
                return above
    return None


def _environment(pid: object) -> dict[str, str]:
    """Return our environment with the daemon's configuration in it, or without any if we may not read it.

    Nothing else is taken from the daemon, and the interpreter's own variables stay ours: root may ask about
    the daemon of somebody who wants root to run something.
    """
    ours = dict(os.environ)
    if pid is None:
        return ours
    kept = {k: v for k, v in ours.items() if not k.startswith("COORDD_") and k != "REDIS_URL"}
    try:
        with open(f"/proc/{int(str(pid))}/environ", "rb") as file:
            pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if b"=" in entry]
    except (OSError, ValueError):
        return kept
    theirs = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    wanted = {
        k: v for k, v in theirs.items() if k.startswith(("COORDD_", "XDG_")) or k in ("REDIS_URL", "HOME")
    }
    return {**kept, "PYTHONUSERBASE": site.getuserbase(), **wanted}


def _file_in(heading: str) -> str | None:
    """Return the path in the first line of check-config: ``# layout user; file PATH (does not exist)``."""
    _, found, rest = heading.partition("; file ")
    return rest.removesuffix(" (does not exist)") if found else None
