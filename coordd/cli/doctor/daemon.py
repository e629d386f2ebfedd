"""Check the daemon: whether it runs, lets this user ask, has this version, and reports problems."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from coordd import __version__
from coordd.cli.advice import restarting
from coordd.cli.agent_places import short_paths
from coordd.cli.doctor.access import (
    READ,
    WRITE,
    AccessObstacle,
    Credentials,
    FileRights,
    grant,
    owner_and_mode,
)
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.service_command import BAD_CONFIG, ConfigAnswer
from coordd.cli.doctor.trying import first_obstacle
from coordd.errors import DaemonNotRunning
from coordd.protocol.access import ask_as, joining, may_be_joined
from coordd.protocol.paths import is_socket, link_in_project, project_of, system_paths, user_paths
from coordd.protocol.starting import start_of
from coordd.util import fastjson
from coordd.util.flocks import flock_holders
from coordd.util.regular_files import read_file
from coordd.util.shell import shell_word
from coordd.util.text import count, duration, number, shown
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from coordd.cli.doctor.facts import DoctorFacts

_ROOM = "make room there, or lower storage.max_bytes"
_FIXES = (
    (errno.ENOSPC, _ROOM),
    (errno.EDQUOT, _ROOM),
    (errno.EACCES, "give the daemon's user its rights to that folder back"),
    (errno.EPERM, "give the daemon's user its rights to that folder back"),
    (errno.EROFS, "mount that file system writable again"),
    (errno.EIO, "look after that disk ('dmesg')"),
    (errno.EMFILE, "raise the daemon's limit of open files (LimitNOFILE=)"),
)
"""What to do about a sink that fails with an error of the system."""
_SHOWN = 3  # malformed traces and problems that are named at most
_LOCK_BYTES = 4096


def check_socket(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether the daemon answers, and if not, why this user gets no answer."""
    if facts.alive and facts.socket is not None:
        yield Finding(
            "socket",
            "ok",
            f"{facts.socket} ({_rights(facts.socket)}) answers: coordd {shown(facts.ping.get('version'))}, "
            f"pid {shown(facts.ping.get('pid'))}, up {duration(facts.ping.get('uptime'))}",
        )
    elif isinstance(facts.error, DaemonNotRunning):
        stale = next((path for path, _ in facts.error.tried if is_socket(path)), None)
        tried = "; ".join(f"{path}: {reason}" for path, reason in facts.error.tried)
        start = "; ".join(line.rstrip(".") for line in facts.error.hints)
        fix = f"{start}; a start replaces the socket that the last one left at {stale}" if stale else start
        yield Finding("socket", "fail", f"coordd is not running. Tried {tried}", fix)
    else:
        yield _refused(facts)


def check_lock(facts: DoctorFacts) -> Iterator[Finding]:
    """Check who holds the lock of the metrics directory; a holder that does not answer has gone astray."""
    metrics = facts.directory("metrics_dir")
    if metrics is None or link_in_project(metrics) is not None:
        return
    path = os.path.join(metrics, ".lock")
    try:
        inode = os.lstat(path).st_ino
        pid = as_dict(fastjson.loads(read_file(path, _LOCK_BYTES).decode())).get("pid")
    except (OSError, ValueError, RecursionError):
        return  # never started, or not readable for us; other checks cover the directories of records
    # trying to take it would keep a daemon from starting
    held = type(pid) is int and pid in (flock_holders() or {}).get(inode, ())
    if facts.alive:
        own = facts.ping.get("pid")
        if held and pid != own:
            yield Finding(
                "lock",
                "fail",
                f"{path} is held by pid {pid}, but pid {shown(own)} answers: two daemons record here",
                f"stop both, then start one: kill {pid} {shown(own)}",
            )
        return
    if held and not isinstance(facts.error, DaemonNotRunning):
        yield Finding(
            "lock",
            "ok",
            f"pid {pid} holds {path}: a coordd runs, and the socket check says why it gives no answer",
        )
    elif held:
        yield Finding(
            "lock",
            "fail",
            f"pid {pid} holds {path}, so a coordd runs, but not behind a socket that was tried",
            f"name its socket with --socket, or if it is stuck: kill {pid}",
        )


def check_version(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that daemon and client have the same version."""
    if not facts.alive:
        return
    theirs = shown(facts.ping.get("version"))
    if theirs == __version__:
        yield Finding("version", "ok", f"daemon and coordctl are both {__version__}")
    else:
        yield Finding(
            "version",
            "warn",
            f"the daemon is {theirs}, coordctl is {__version__}",
            f"restart the daemon after an upgrade ({_restart(facts)}), and keep one installation",
        )


def check_config(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether the configuration can be used, by the service's own code."""
    answer = facts.config
    where = answer.file or "the configuration"
    for warning in answer.warnings if answer.code == 0 else ():
        yield Finding("config", "warn", warning, "correct it there, then 'coordd check-config'")
    if answer.code == 0 and not answer.warnings:
        there = answer.file is not None and os.path.exists(answer.file)
        yield Finding(
            "config", "ok", f"{where} is sound" if there else f"{where} is not there; defaults hold"
        )
    elif answer.code is None:
        yield Finding(
            "config",
            "warn",
            f"cannot tell: {answer.error}",
            "ask as root or as the daemon's user, or run 'coordd check-config' there",
        )
    elif answer.code:
        kept = "; the running daemon keeps the one it has" if facts.alive else ""
        yield Finding(
            "config",
            "fail",
            answer.error + (kept if answer.code == BAD_CONFIG else ""),
            f"{_mend(answer)}, then 'coordd check-config'"
            if answer.code == BAD_CONFIG
            else "'coordd check-config' must run: install coordd again, with what it depends on",
        )


def _mend(answer: ConfigAnswer) -> str:
    """Return what to correct: an error begins with the place of the value that cannot be used."""
    layouts = (user_paths(os.environ, sys.platform), system_paths(sys.platform))
    files = (answer.file, *(paths["config_file"] for paths in layouts))
    for file in files:
        if file is not None and answer.error.startswith(f"{file}: "):
            return f"edit {shell_word(file)}"
    place = answer.error.partition(": ")[0]
    if os.path.isabs(place):
        return f"edit {shell_word(place)}"
    return f"correct {place}, where the daemon is started"


def check_restart(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether something of the configuration awaits a restart since a reload."""
    waiting = facts.status.get("restart_required")
    if not facts.alive or not isinstance(waiting, list):
        return
    if not waiting:
        yield Finding("restart", "ok", "coordd runs with all of its configuration")
        return
    more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
    keys = ", ".join(str(key) for key in waiting[:_SHOWN])
    yield Finding(
        "restart",
        "warn",
        f"reloaded, but as before until a restart: {keys}{more}",
        f"restart it: {_restart(facts)}",
    )


def check_health(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether the daemon reports problems."""
    if not facts.alive:
        return
    problems = facts.status.get("problems")
    told = problems if isinstance(problems, list) else []
    reported = [short_paths(problem, os.environ.get("HOME")) for problem in told]
    if facts.status.get("health") == "ok" and not reported:
        agents = facts.section("agents")
        yield Finding("health", "ok", f"coordd sees no problem; active agents: {count(agents.get('active'))}")
        return
    more = f" and {len(reported) - _SHOWN} more" if len(reported) > _SHOWN else ""
    yield Finding(
        "health",
        "warn",
        f"degraded: {'; '.join(reported[:_SHOWN])}{more}",
        "'coordctl status' shows all of it",
    )


def check_sinks(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether every sink writes its samples."""
    if not facts.alive:
        return
    bad = False
    sinks = facts.section("sinks")
    for name, value in sinks.items():
        sink = as_dict(value)
        if sink.get("state") == "failing":
            bad = True
            yield Finding(
                "sink",
                "fail",
                f"{name} fails: {shown(sink.get('error'))}; {_records(sink.get('backlog'))} waiting",
                f"{_sink_fix(name, shown(sink.get('error')))}; "
                "it tries again by itself, and then writes what waits",
            )
        elif number(sink.get("dropped")):
            bad = True
            yield Finding(
                "sink",
                "warn",
                f"{name} works, but had to drop {_records(sink.get('dropped'))} since the daemon began",
                "find what stopped it with 'coordctl tail event'; a larger storage.backlog lasts longer",
            )
    if sinks and not bad:
        yield Finding("sink", "ok", f"{', '.join(sinks)} write")


def _records(value: object) -> str:
    return f"{count(value)} {'record' if value == 1 else 'records'}"


def _sink_fix(name: str, error: str) -> str:
    """Return what to do about a failing sink, by its error: the words are the system's own, or of Redis."""
    if name == "redis":
        return "'coordd check-redis' tells what that Redis lacks, and how to give it that"
    for code, fix in _FIXES:
        if os.strerror(code) in error:
            return fix
    return "the checks of its folder here and the daemon's log say more"


def check_traces(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether some traces of agents could not be used."""
    if not facts.alive:
        return
    malformed = facts.section("traces_malformed")
    known = number(malformed.get("count"))
    if known is None:
        return
    if not known:
        yield Finding("traces", "ok", "every trace of every agent can be read")
        return
    listed = malformed.get("traces")
    traces = [as_dict(one) for one in (listed if isinstance(listed, list) else [])]
    denied = number(malformed.get("denied")) or 0
    bad = _named([one for one in traces if one.get("denied") is not True], known - denied)
    closed = _named([one for one in traces if one.get("denied") is True], denied)
    if known > denied:
        words = f"{known - denied:.0f} malformed, passed over: {bad}"
        yield Finding("traces", "warn", words, "correct what writes them, or remove them")
    if denied:
        words = f"{denied:.0f} may not be read{': ' if closed else ''}{closed}"
        yield Finding("traces", "warn", words, _right_to_read(traces, facts.daemon))


def _named(traces: Sequence[dict[str, Any]], known: float) -> str:
    named = [f"{shown(one.get('path'))}: {shown(one.get('reason'))}" for one in traces[:_SHOWN]]
    more = [f"and {known - len(named):.0f} more"] if known > len(named) else []
    return "; ".join([*named, *more])


def _right_to_read(traces: Sequence[dict[str, Any]], user: Credentials) -> str:
    """Return what gives the right; to remove what a living agent wrote would be wrong."""
    keep = "living agents may have written them, so remove none"
    for one in traces:
        path = one.get("path")
        if one.get("denied") is not True or not isinstance(path, str) or not os.path.isabs(path):
            continue
        try:
            state = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        rights = FileRights(state.st_mode, state.st_uid, state.st_gid)
        command = grant(AccessObstacle(path, READ, rights), user)
        return f"{command}   ({keep}; the check of the workspace has it for all)"
    return f"give the daemon the right to read them, as the checks of workspaces and Redis say; {keep}"


def _refused(facts: DoctorFacts) -> Finding:
    """Return the finding for a daemon that may run but gives this user no answer."""
    message = str(facts.error)
    for path in facts.tried:
        obstacle = first_obstacle(path, facts.me, WRITE)
        if obstacle is None or obstacle.missing:
            continue
        rights = obstacle.rights
        if rights is None or "denied" not in message:
            break
        fix = ask_as(rights.uid, path, "doctor")
        if rights.mode & obstacle.wanted << 3 and may_be_joined(rights.gid):
            fix = f"{joining(rights.gid)}; or {fix}"
        return Finding("socket", "fail", message, fix)
    return Finding("socket", "fail", message, f"if it is stopped or stuck, restart it: {_restart(facts)}")


def _restart(facts: DoctorFacts) -> str:
    """Return what to type to restart the daemon that runs, or whose socket was tried first."""
    socket = facts.socket or next(iter(facts.tried), "")
    layouts = {
        system_paths(sys.platform)["socket"]: "system",
        user_paths(os.environ, sys.platform)["socket"]: "user",
    }
    layout = facts.section("daemon").get("layout") or layouts.get(socket)
    root = project_of(socket)
    start = start_of(facts.config_of, facts.daemon.uid) if facts.alive else None
    return restarting("project" if root else layout, root, start)


def _rights(path: str) -> str:
    try:
        state = os.stat(path)
    except OSError as error:
        return str(error.strerror)
    return owner_and_mode(FileRights(state.st_mode, state.st_uid, state.st_gid))
