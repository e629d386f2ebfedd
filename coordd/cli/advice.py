"""Say what to do about a daemon that does not run, as it is installed on this machine.

::

    coordd's service                what is said
    has failed, or fails again      its error, the command that shows more, and the one that starts it
    is starting, or runs            the command that shows how it does
    is stopped                      the command that starts it
    is not installed                what to type in its place

One that ran by hand is started again as it was: with its workspaces, configuration and socket. A
configuration that cannot be used is told first, for nothing starts with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coordd.cli.service_state import Scope, ServiceState, service_states
from coordd.errors import CannotTell
from coordd.protocol.starting import Start
from coordd.util.shell import shell_word
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.errors import DaemonNotRunning

_SCOPES: dict[str | None, tuple[Scope, ...]] = {"user": ("user",), "system": ("system",)}
_BOTH: tuple[Scope, ...] = ("user", "system")
_WHOSE = {"user": "Your service", "system": "The system's service"}
_CHECK = 5.0
"""Seconds for a look at the configuration."""
_ROOT_KNOWS = "How it ran last only root may read: sudo coordctl --layout system status"
_NAME_ANOTHER = "name another socket with --socket or $COORDD_SOCKET."


def advised(error: DaemonNotRunning, *, explicit: bool, where: str | None) -> DaemonNotRunning:
    """Return the error with what to do.

    Args:
        error: what was found where a daemon should be.
        explicit: the user named the socket.
        where: the directory that is meant, None where it no longer exists.
    """
    services = service_states(_SCOPES.get(error.layout, _BOTH), os.environ)
    start = _start(error.start, error.root)
    missing = start.missing(os.environ) if start is not None else []
    lines = advice(error.layout, error.root, services, start=start, missing=missing, explicit=explicit)
    closed = error.layout == "system" and os.geteuid() != 0
    if closed and start is None and error.crashed is not None and not services:
        lines.insert(0, _ROOT_KNOWS)
    told = closed or any(one.why for one in services)
    trouble = None if told else config_trouble(error.layout, start, where)
    return error.advised([*([] if trouble is None else [trouble]), *lines])


def advice(
    layout: str | None,
    root: str | None,
    services: Sequence[ServiceState],
    *,
    start: Start | None = None,
    missing: Sequence[str] = (),
    explicit: bool,
) -> list[str]:
    """Return what to do, a sentence each. Pure.

    Args:
        layout: of the daemon that is meant; None where it is not known.
        root: its project, None elsewhere.
        services: those that are installed and may be meant.
        start: how the last one was started by hand, as far as it is known.
        missing: variables that it had, and whoever starts it now has not.
        explicit: the user named its socket.
    """
    failed = [one for one in services if one.state in ("failed", "restarting")]
    start = _start(start, root)
    lines: list[str] = []
    for one in failed:
        verb = "has failed" if one.state == "failed" else "fails, and is started again and again"
        why = f": {one.why.rstrip('.')}." if one.why else "."
        lines += [f"{_WHOSE[one.scope]} {one.name} {verb}{why}", f"See {one.look}; once mended: {one.start}"]
    plain = start is None or start.arguments[::2] == ["--layout"]
    if not failed and root is None and (plain or services):
        lines.append(_started(layout, services))
    if start is not None and (missing or not plain):
        words = "Or start it as it ran last" if lines else "Start it again"
        had = f", with {', '.join(missing)} set as it was" if missing else ""
        lines.append(f"{words}{had}: {start.command('start')}")
    if not explicit:
        return lines
    if lines[-1].endswith("."):  # a sentence goes on; a command stands alone, to be copied
        return [*lines[:-1], f"{lines[-1][:-1]}; or {_NAME_ANOTHER}"]
    return [*lines, f"Or {_NAME_ANOTHER}"]


def _start(told: object, root: str | None) -> Start | None:
    if isinstance(told, Start):
        return told
    return None if root is None else Start(["--workspace", root], [], as_root=False)


def restart_command(
    layout: object, root: str | None, services: Sequence[ServiceState], start: Start | None = None
) -> str:
    """Return what to type to restart a running daemon; ``start`` says how it was started by hand. Pure."""
    if start is not None:
        return start.command("restart")
    if root is not None:
        return f"coordd restart --workspace {shell_word(root)}"
    for one in services:
        if one.scope == layout and one.state == "running":
            return one.start.replace(" start ", " restart ")
    return f"coordd restart --layout {layout}" if layout in _WHOSE else "coordd restart"


def restarting(layout: object, root: str | None, start: Start | None = None) -> str:
    """Return what to type on this machine to restart a running daemon."""
    scopes = _SCOPES.get(layout if isinstance(layout, str) else None, ())
    return restart_command(layout, root, service_states(scopes, os.environ), start)


def config_trouble(layout: str | None, start: Start | None, where: str | None) -> str | None:
    """Return why the daemon's configuration cannot be used, by the service's own code; None if it can."""
    from coordd.cli.doctor.service_command import BAD_CONFIG, complaint, rules_answer, run_coordd

    named = start.where if start is not None else ["--layout", layout] if layout in _WHOSE else []
    try:
        done = run_coordd("check-config", *named, daemon={}, pid=None, where=where, deadline=_CHECK)
    except CannotTell:
        return None
    if done.returncode != BAD_CONFIG or rules_answer(done).error:  # the daemon passes rules over
        return None
    return f"No coordd starts with its configuration: {escape(complaint(done)[0])}"


def _started(layout: str | None, services: Sequence[ServiceState]) -> str:
    if services:
        one = services[0]
        if one.state == "starting":
            return f"{_WHOSE[one.scope]} {one.name} is starting: {one.look}"
        if one.state == "running":
            return (
                f"{_WHOSE[one.scope]} {one.name} runs, but answers nowhere here: {one.look}; "
                "'coordctl daemons' lists those that answer."
            )
        return f"Start it: {one.start}"
    if layout == "system":
        return "Start it as a service: sudo coordd service install --system"
    if layout == "user":
        return "Start it again: coordd start --layout user; or as a service: coordd service install"
    return "Start it with 'coordd run', or as a service with 'coordd service install'."
