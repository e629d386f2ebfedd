"""Gather once all facts that the doctor's checks judge, with the daemon up or down.

With the daemon down its last snapshot tells where its files are and what it watched; without a snapshot the
configuration does. The configuration is read by the service's own code, in a process of its own: a client
knows nothing of it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import site
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import coordd
from coordd.cli.common import working_directory
from coordd.cli.doctor.access import WRITE, Credentials, first_obstacle, process, user_of
from coordd.cli.doctor.trust import believable
from coordd.errors import CannotTell, ClientError, CoorddError, DaemonNotRunning
from coordd.protocol.paths import project_paths, system_paths, user_paths
from coordd.protocol.snapshot import last_snapshot
from coordd.util import fastjson
from coordd.util.units import parse_duration

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

DEADLINE = 30.0
"""Seconds for a command of the service, which reads one file or asks a Redis that may be slow."""
BAD_CONFIG = 78
_WARNING = "coordd: warning: "
_MAX_WARNINGS = 20


@dataclass(frozen=True, slots=True)
class ConfigAnswer:
    """The answer of ``coordd check-config``: exit code (None: it could not be run), message, values.

    ``warnings`` are its sentences about what it ignored.
    """

    code: int | None
    file: str | None
    error: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """All facts about one installation.

    ``error`` is why the daemon did not answer, None if it did. ``status`` is its answer, else that of the
    last snapshot, else empty. ``daemon`` is the user it runs as, or by its files would run as; ``me`` is the
    user of this process. ``config_of`` tells whose configuration to ask for: ``status.daemon`` if that may be
    believed. ``asked_at`` is the wall clock (epoch seconds) at the moment of the answer.
    """

    tried: tuple[str, ...]
    socket: str | None
    error: CoorddError | None
    ping: Mapping[str, Any]
    status: Mapping[str, Any]
    snapshot_age: float | None
    daemon: Credentials
    me: Credentials
    asked_at: float
    config: ConfigAnswer
    config_of: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Return whether the daemon answered."""
        return self.error is None

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a part of the status that should be an object; empty if it is missing or something else."""
        return as_dict(self.status.get(name))

    def directory(self, key: str) -> str | None:
        """Return ``metrics_dir`` or ``log_dir`` by the daemon, else by the configuration."""
        for value in (self.section("daemon").get(key), as_dict(self.config.values.get("storage")).get(key)):
            if isinstance(value, str) and os.path.isabs(value):
                return value
        return None

    @property
    def interval(self) -> float:
        """Return the configured seconds between two samples of the host."""
        try:
            return parse_duration(as_dict(self.config.values.get("sampling"))["interval"])
        except (KeyError, ValueError):
            return 60.0


def gather(target: DaemonTarget) -> DoctorFacts:
    """Ask the daemon, the last snapshot, and the configuration.

    Raises:
        BadUsage: the user named a socket that cannot exist.
    """
    tried = tuple(location.socket for location in target.locations())
    ping: Mapping[str, Any] = {}
    status: Mapping[str, Any] = {}
    path, error, age, left_at = None, None, None, None
    peer: tuple[int | None, int] | None = None
    try:
        with target.connect() as client:
            path, peer = client.path, client.peer()
            answers = client.call_many([("ping", None), ("status", None)])
        ping, status = (as_dict(answer) for answer in answers)
        if not ping or not status:
            raise CannotTell(f"{path}: the answers are not coordd's.")
    except ClientError as problem:
        error = problem
    asked_at = time.time()
    if isinstance(error, DaemonNotRunning):
        snapshot = last_snapshot(target.locations(), os.environ, working_directory(), asked_at)
        if snapshot is not None:
            status, age, left_at = snapshot.status, snapshot.age, snapshot.path
    me = process(os.getpid()) or Credentials(os.geteuid(), frozenset([os.getegid(), *os.getgroups()]))
    daemon = as_dict(status.get("daemon"))
    user = (
        (path and _daemon_user(path, peer, ping.get("pid")))
        or (isinstance(error, CannotTell) and user_behind(tried, me))
        or _owner(daemon.get("metrics_dir"))
        or me
    )
    config_of = believable(daemon, left_at=left_at, by=peer[1] if peer else None, me=me.uid)
    return DoctorFacts(
        tried=tried,
        socket=path,
        error=error,
        ping=ping,
        status=status,
        snapshot_age=age,
        daemon=user,
        me=me,
        asked_at=asked_at,
        config=check_config(config_of, ping.get("pid") if error is None else None),
        config_of=config_of,
    )


def check_config(daemon: Mapping[str, Any], pid: object) -> ConfigAnswer:
    """Run ``coordd check-config`` as the daemon was run, or as it would be run from here.

    ``pid`` is that of a running daemon: then its environment counts, or no environment if we may not read it.
    """
    arguments, file = _arguments(daemon)
    own = arguments[:1] == ["--workspace"] and "--config" not in arguments  # unreadable: ignored
    if file is not None and not own and os.path.exists(file) and not os.access(file, os.R_OK):
        return ConfigAnswer(None, file, f"{file} may not be read by this user")
    try:
        done = run_coordd("check-config", daemon=daemon, pid=pid)
    except CannotTell as error:
        return ConfigAnswer(None, file, str(error))
    if done.returncode:
        words = _complaint(done)
        return ConfigAnswer(done.returncode, file, words[0] if done.returncode == BAD_CONFIG else words[-1])
    try:
        values = tomllib.loads(done.stdout)
    except tomllib.TOMLDecodeError:
        values = {}
    heading = done.stdout.partition("\n")[0]
    warnings = [line.removeprefix(_WARNING) for line in done.stderr.splitlines() if line.startswith(_WARNING)]
    return ConfigAnswer(
        0, file or _file_in(heading), heading.removeprefix("# "), values, tuple(warnings[:_MAX_WARNINGS])
    )


def check_redis(facts: DoctorFacts) -> Mapping[str, Any]:
    """Return what ``coordd check-redis`` reports, run as the daemon's user if we may become that user.

    Raises:
        CannotTell: it could not be run, or reported nothing.
    """
    pid = facts.ping.get("pid") if facts.alive else None
    other = facts.daemon if facts.me.uid == 0 and facts.daemon.uid != 0 else None
    done = run_coordd("check-redis", "--json", daemon=facts.config_of, pid=pid, user=other)
    try:
        return as_dict(fastjson.loads(done.stdout))
    except (ValueError, RecursionError):
        whose = f" as {other.name}" if other is not None else ""
        raise CannotTell(f"'coordd check-redis'{whose} fails: {_complaint(done)[-1]}") from None


def run_coordd(
    *command: str, daemon: Mapping[str, Any], pid: object, user: Credentials | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service, in a process of its own, with the configuration of a daemon.

    Args:
        command: the command and its own options.
        daemon: the part of ``status`` that leads to the daemon's configuration.
        pid: of a running daemon, whose environment counts; with None ours does.
        user: the user to run it as, which needs root; None: our own user.

    Raises:
        CannotTell: it cannot be run, or takes longer than :data:`DEADLINE`.
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
            cwd="/" if pid is not None else working_directory() or "/",
            timeout=DEADLINE,
            check=False,
            user=None if user is None else user.uid,
            group=None if user is None else _primary_group(user),
            extra_groups=None if user is None else sorted(user.gids),
        )
    except subprocess.TimeoutExpired:
        raise CannotTell(f"'coordd {command[0]}' takes more than {DEADLINE:g} s") from None
    except (OSError, subprocess.SubprocessError) as error:
        whose = f" as {user.name}" if user is not None else ""
        reason = getattr(error, "strerror", None) or error
        raise CannotTell(f"'coordd {command[0]}' cannot be run{whose}: {reason}") from None


def _complaint(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stderr.strip().removeprefix("coordd: ").splitlines() or ["no reason given"]


def _primary_group(user: Credentials) -> int:
    try:
        return pwd.getpwuid(user.uid).pw_gid
    except KeyError:
        return min(user.gids, default=user.uid)


def user_behind(sockets: Sequence[str], me: Credentials) -> Credentials | None:
    """Return the owner of the first socket, or directory on the way to it, that refuses us."""
    for path in sockets:
        try:
            obstacle = first_obstacle(path, me, WRITE)
        except ValueError:  # a path with a zero byte
            continue
        if obstacle is None:
            return _owner(path)
        if obstacle.rights is not None:
            return user_of(obstacle.rights.uid)
    return None


def run_tool(*command: str) -> str | None:
    """Return what a small tool of the system prints; None if it is missing, fails or takes over 2 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def as_dict(value: object) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


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


def _daemon_user(path: str, peer: tuple[int | None, int] | None, pid: object) -> Credentials | None:
    """Return the user behind a socket, by the kernel; with groups and capabilities from /proc if possible.

    With socket activation systemd called listen(2), so that only the pid in the daemon's own answer leads to
    the process.
    """
    if isinstance(pid, int) and (peer is None or peer[0] in (pid, 1)):
        found = process(pid)
        if found is not None:
            return found
    return user_of(peer[1]) if peer is not None else _owner(path)


def _owner(path: object) -> Credentials | None:
    if not isinstance(path, str):
        return None
    try:
        return user_of(os.stat(path).st_uid)
    except (OSError, ValueError):
        return None
