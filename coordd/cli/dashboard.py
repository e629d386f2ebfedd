"""Implement ``coordctl dashboard``: check who may look, then serve the dashboard in this process."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from coordd.cli.common import BadUsage, DaemonTarget, complain, flush, say
from coordd.cli.options import takes_target
from coordd.cli.staying import Daemon
from coordd.errors import CannotTell, CoorddError
from coordd.protocol.paths import system_paths
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.dashboard.tokens import Keys
    from coordd.protocol.client import Client
    from coordd.protocol.paths import DaemonLocation

GROUP = "coordd"
"""The group that may read the system's token: the one that may open the system's socket."""


class DashboardMissing(CoorddError):
    """The packages of the dashboard are not installed."""


class TokenNeeded(CoorddError):
    """A token is needed: without one, users who may not open the socket could look."""

    exit_code = 2


@click.command(
    "dashboard",
    epilog="""\b
Examples:
  coordctl dashboard                            http://127.0.0.1:8000/, for this machine
  coordctl dashboard --listen 127.0.0.1:9000    on another port
  coordctl dashboard --listen unix:/tmp/dash    on a Unix socket, for a proxy
  coordctl dashboard --make-token               once, before it listens on more
  coordctl dashboard --listen 0.0.0.0:8000      for the network, with that token
  curl -s http://127.0.0.1:8000/api/status      the same numbers for programs

\b
Needs the extra: pip install 'coordd[dashboard]'. Ctrl-C ends it. It only reads:
nothing can be changed through it. It keeps running without the daemon, says
so, and connects again by itself.""",
)
@click.option(
    "--listen",
    default="127.0.0.1:8000",
    metavar="ADDRESS",
    help="HOST:PORT, PORT or unix:PATH to answer on (default 127.0.0.1:8000).",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Require the token in this file (default: a token only where one is needed).",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Accept this host name, under which a proxy serves it; may be repeated.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    help="Serve below this path, which a proxy passes on (one that takes it away needs nothing).",
)
@click.option(
    "--log-file", metavar="FILE", help="Log into this file, which rotates itself, instead of to stderr."
)
@click.option("--make-token", is_flag=True, help="Make the token file if there is none, then exit.")
@takes_target
def command(
    target: DaemonTarget,
    *,
    listen: str,
    token_file: str | None,
    names: tuple[str, ...],
    root_path: str,
    log_file: str | None,
    make_token: bool,
) -> int:
    """Serve the dashboard: a web page, an HTTP API, and metrics for Prometheus.

    On loopback every user of this machine may look; if there are several, require a token or use a
    Unix socket. On any other address, and for the daemon of the system layout, a token is always
    required.
    """
    locations = target.sound_locations()
    system = locations[0].socket == system_paths(sys.platform)["socket"] or (
        target.layout is None and not locations[0].explicit and not _own_daemon(locations)
    )
    if make_token:
        return _make_token(token_file, system=system)
    _require_packages()
    from coordd.dashboard.listen import parse_address
    from coordd.dashboard.root_path import parse_root_path
    from coordd.dashboard.serve import Options, run

    address = parse_address(listen)
    below = parse_root_path(root_path)
    keys = _keys(token_file, needed=system or not address.loopback, system=system)

    def started(url: str) -> None:
        say(f"coordd dashboard: {escape(url)}{'  (asks for the token)' if keys else ''}")
        flush()

    if not address.loopback:
        complain("what is sent over the network can be read on its way: put a proxy with TLS before it")
    options = Options(
        address=address,
        keys=keys,
        names=tuple(name.lower() for name in names),
        group_may=system,
        log_file=log_file,
        below=below,
    )
    daemon = Daemon(target)

    def find() -> Client:
        try:
            return daemon.connect()
        except BadUsage as error:  # a directory that is gone meanwhile
            raise CannotTell(str(error)) from error

    run(options, find=find, read_snapshot=daemon.last_snapshot, started=started)
    return 0


def _own_daemon(locations: Sequence[DaemonLocation]) -> bool:
    """Return whether the daemon is the project's or the user's, or the system's has no socket.

    The system's is the last place. A clone may hold a file or a link where a socket is looked for, which must
    not let the system's daemon be shown without a token: what is not a socket, or is the system's socket
    under another name, does not count.
    """
    system = locations[-1].socket
    return not os.path.exists(system) or any(
        _is_other(location.socket, system) for location in locations[:-1]
    )


def _is_other(path: str, system: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode) and not os.path.samefile(path, system)
    except OSError:
        return False


def _keys(token_file: str | None, *, needed: bool, system: bool) -> Keys | None:
    from coordd.dashboard.tokens import Keys, read_token, token_path

    if token_file is not None:
        return Keys(read_token(token_file))
    if not needed:
        return None
    path = token_path("system" if system else "user", os.environ, sys.platform)
    if not os.path.lexists(path):
        raise TokenNeeded(
            f"a token is needed here, and {escape(path)} is not there. "
            "Make it with: coordctl dashboard --make-token"
        )
    return Keys(read_token(path))


def _make_token(token_file: str | None, *, system: bool) -> int:
    from coordd.dashboard.tokens import make_token, token_path

    path = token_file or token_path("system" if system else "user", os.environ, sys.platform)
    # the system's token is also for the group that may open its socket
    group = _group() if path == token_path("system", os.environ, sys.platform) else None
    made = make_token(path, mode=0o640 if group is not None else 0o600, gid=-1 if group is None else group)
    say(f"{escape(path)} {'made' if made else 'is there already and stays as it is'}")
    return 0


def _group() -> int | None:
    import grp

    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def missing_package() -> str | None:
    """Return the name of a package that the dashboard needs and that is not installed; None if all are."""
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        return error.name or str(error)
    return None


def _require_packages() -> None:
    missing = missing_package()
    if missing is not None:
        raise DashboardMissing(
            f"the dashboard needs {missing}, which is not installed: pip install 'coordd[dashboard]'"
        )
