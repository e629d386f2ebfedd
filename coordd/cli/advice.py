"""Say what to do about a daemon that does not run, as it is installed on this machine.

::

    coordd's service                what is said
    has failed, or fails again      its error, the command that shows more, and the one that starts it
    is starting, or runs            the command that shows how it does
    is stopped                      the command that starts it
    is not installed                what to type in its place

A project's daemon has no service: it is started again by its project.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coordd.cli.service_state import Scope, ServiceState, service_states
from coordd.util.shell import shell_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.errors import DaemonNotRunning

_SCOPES: dict[str | None, tuple[Scope, ...]] = {"user": ("user",), "system": ("system",)}
_BOTH: tuple[Scope, ...] = ("user", "system")
_WHOSE = {"user": "Your service", "system": "The system's service"}
_NAME_ANOTHER = "name another socket with --socket or $COORDD_SOCKET."


def advised(error: DaemonNotRunning, *, explicit: bool) -> DaemonNotRunning:
    """Return the error with what to do; ``explicit`` says that the user named the socket."""
    services = service_states(_SCOPES.get(error.layout, _BOTH), os.environ)
    return error.advised(advice(error.layout, error.root, services, explicit=explicit))


def advice(
    layout: str | None, root: str | None, services: Sequence[ServiceState], *, explicit: bool
) -> list[str]:
    """Return what to do, a sentence each. Pure.

    Args:
        layout: of the daemon that is meant; None where it is not known.
        root: its project, None elsewhere.
        services: those that are installed and may be meant.
        explicit: the user named its socket.
    """
    failed = [one for one in services if one.state in ("failed", "restarting")]
    lines: list[str] = []
    for one in failed:
        verb = "has failed" if one.state == "failed" else "fails, and is started again and again"
        why = f": {one.why.rstrip('.')}." if one.why else "."
        lines += [f"{_WHOSE[one.scope]} {one.name} {verb}{why}", f"See {one.look}; once mended: {one.start}"]
    if root is not None:
        lines.append(f"Start it again: coordd start --workspace {shell_word(root)}")
    elif not failed:
        lines.append(_started(layout, services))
    if not explicit:
        return lines
    if lines[-1].endswith("."):  # a sentence goes on; a command stands alone, to be copied
        return [*lines[:-1], f"{lines[-1][:-1]}; or {_NAME_ANOTHER}"]
    return [*lines, f"Or {_NAME_ANOTHER}"]


def restart_command(layout: object, root: str | None, services: Sequence[ServiceState]) -> str:
    """Return what to type to restart a running daemon. Pure."""
    if root is not None:
        return f"coordd restart --workspace {shell_word(root)}"
    for one in services:
        if one.scope == layout and one.state == "running":
            return one.start.replace(" start ", " restart ")
    return f"coordd restart --layout {layout}" if layout in _WHOSE else "coordd restart"


def restarting(layout: object, root: str | None) -> str:
    """Return what to type on this machine to restart a running daemon."""
    scopes = _SCOPES.get(layout if isinstance(layout, str) else None, ())
    return restart_command(layout, root, service_states(scopes, os.environ))


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
