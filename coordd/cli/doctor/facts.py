"""Gather once all facts that the doctor's checks judge, with the daemon up or down.

With the daemon down its last snapshot tells where its files are and what it watched; without a snapshot the
configuration does. The configuration is read by the service's own code, in a process of its own: a client
knows nothing of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coordd.cli.common import working_directory
from coordd.cli.doctor.access import WRITE, Credentials, process, user_of
from coordd.cli.doctor.trust import believable
from coordd.cli.doctor.trying import first_obstacle
from coordd.errors import CannotTell, ClientError, CoorddError, DaemonNotRunning
from coordd.protocol.left_behind import last_snapshot
from coordd.util import fastjson
from coordd.util.shell import shell_word
from coordd.util.units import parse_duration

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
from coordd.cli.doctor.service_command import ConfigAnswer, check_config, complaint, run_coordd
from coordd.util.untyped import as_dict


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """All facts about one installation.

    ``error`` is why the daemon did not answer, None if it did. ``status`` is its answer, else that of the
    last snapshot, else empty. ``daemon`` is the user it runs as, or by its files would run as; ``me`` is the
    user of this process. ``config_of`` tells whose configuration to ask for: ``status.daemon`` if that may be
    believed. ``where`` is the directory that is meant. ``asked_at`` is the wall clock (epoch seconds) at the
    moment of the answer.
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
    where: str | None = field(default_factory=working_directory)

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
    def ask(self) -> str:
        """Return the command that asks the same daemon again, whoever types it."""
        socket = self.socket or next(iter(self.tried), None)
        named = "" if socket is None else f"--socket {shell_word(os.path.abspath(socket))} "
        return f"coordctl {named}doctor"

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
        snapshot = last_snapshot(target.locations(), os.environ, target.where(), asked_at)
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
        config=check_config(config_of, ping.get("pid") if error is None else None, where=target.where()),
        config_of=config_of,
        where=target.where(),
    )


def check_redis(facts: DoctorFacts) -> Mapping[str, Any]:
    """Return what ``coordd check-redis`` reports, run as the daemon's user if we may become that user.

    Raises:
        CannotTell: it could not be run, or reported nothing.
    """
    pid = facts.ping.get("pid") if facts.alive else None
    other = facts.daemon if facts.me.uid == 0 and facts.daemon.uid != 0 else None
    done = run_coordd("check-redis", "--json", daemon=facts.config_of, pid=pid, where=facts.where, user=other)
    try:
        return as_dict(fastjson.loads(done.stdout))
    except (ValueError, RecursionError):
        whose = f" as {other.name}" if other is not None else ""
        raise CannotTell(f"'coordd check-redis'{whose} fails: {complaint(done)[-1]}") from None


def user_behind(sockets: Sequence[str], me: Credentials) -> Credentials | None:
    """Return the owner of the first socket, or directory on the way to it, that refuses us."""
    for path in sockets:
        try:
            obstacle = first_obstacle(path, me, WRITE)
        except (CannotTell, OSError):
            continue
        if obstacle is None:
            return _owner(path)
        if obstacle.rights is not None:
            return user_of(obstacle.rights.uid)
    return None


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
