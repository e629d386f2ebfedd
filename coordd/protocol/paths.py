"""Compute the paths of each layout, and the order in which a client looks for a socket.

The environment, the platform (``sys.platform``) and the current directory are passed in; the file system is
only asked whether there is a workspace above a directory. The service builds its layout from the same
functions, so that daemon and client cannot disagree.

Plain classes and dicts, no dataclasses and no typing at run time: ``coordctl status`` answers in the time
that importing those two would take.
"""

from __future__ import annotations

import os.path
import stat

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS_BYTES = {"linux": 107, "darwin": 103}  # unix(7), sun_path less its final zero; BSD and macOS: 104


class DaemonLocation:
    """The paths of one daemon that may be running.

    ``layout`` is ``project``, ``user`` or ``system``, or what named the path (``--socket``,
    ``$COORDD_SOCKET``): then ``snapshot``, ``metrics_dir`` and ``log_dir`` are None, because a socket alone
    does not tell them. ``root`` is the project that the paths are in, None elsewhere: below it a client
    follows no link, because what is there may have come with a clone. With ``own``, as always in a project,
    only a process of this user or of root is asked.
    """

    __slots__ = ("layout", "log_dir", "metrics_dir", "own", "root", "snapshot", "socket")

    def __init__(
        self,
        layout: str,
        socket: str,
        snapshot: str | None,
        metrics_dir: str | None,
        log_dir: str | None,
        *,
        root: str | None = None,
        own: bool = False,
    ) -> None:
        self.root = root
        self.own = own or root is not None
        self.layout = layout
        self.socket = socket
        self.snapshot = snapshot
        self.metrics_dir = metrics_dir
        self.log_dir = log_dir

    @property
    def explicit(self) -> bool:
        """Return whether the user named this very socket; no other one is tried then."""
        return self.snapshot is None


def project_paths(root: str) -> dict[str, str]:
    """Return the project layout of a workspace: config_file, socket, metrics_dir, log_dir, snapshot."""
    base = os.path.join(root, ".claude")
    return {
        "config_file": os.path.join(base, "coordd.toml"),
        "socket": os.path.join(base, "run", "coordd.sock"),
        "metrics_dir": os.path.join(base, "metrics"),
        "log_dir": os.path.join(base, "logs"),
        "snapshot": os.path.join(base, "run", "snapshot.json"),
    }


def user_paths(environ: Mapping[str, str], platform: str) -> dict[str, str]:
    """Return the user layout (XDG Base Directory Specification 0.8; Application Support on macOS).

    A relative XDG path is ignored, as that specification demands.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    if platform == "darwin":
        base = os.path.join(home, "Library", "Application Support", "coordd")
        return {
            "config_file": os.path.join(base, "coordd.toml"),
            "socket": os.path.join(base, "coordd.sock"),
            "metrics_dir": os.path.join(base, "metrics"),
            "log_dir": os.path.join(home, "Library", "Logs", "coordd"),
            "snapshot": os.path.join(base, "snapshot.json"),
        }
    config = _xdg(environ, "XDG_CONFIG_HOME") or os.path.join(home, ".config")
    state = os.path.join(_xdg(environ, "XDG_STATE_HOME") or os.path.join(home, ".local", "state"), "coordd")
    runtime = _xdg(environ, "XDG_RUNTIME_DIR")
    socket_dir = os.path.join(runtime, "coordd") if runtime else os.path.join(state, "run")
    return {
        "config_file": os.path.join(config, "coordd", "coordd.toml"),
        "socket": os.path.join(socket_dir, "coordd.sock"),
        "metrics_dir": os.path.join(state, "metrics"),
        "log_dir": os.path.join(state, "logs"),
        "snapshot": os.path.join(state, "snapshot.json"),
    }


def system_paths(platform: str) -> dict[str, str]:
    """Return the system layout (FHS 3.0; below ``/usr/local`` on macOS)."""
    prefix = "/usr/local" if platform == "darwin" else ""
    run = "/usr/local/var/run" if platform == "darwin" else "/run"
    return {
        "config_file": f"{prefix}/etc/coordd/coordd.toml",
        "socket": f"{run}/coordd/coordd.sock",
        "metrics_dir": f"{prefix}/var/lib/coordd/metrics",
        "log_dir": f"{prefix}/var/log/coordd",
        "snapshot": f"{prefix}/var/lib/coordd/snapshot.json",
    }


ALERTS_SOCKET = "alerts.sock"
"""The control socket of coordd-alert, in its state directory."""
ALERTS_USER = "coordd-alert"
"""The user of the system's coordd-alert, where the service manager can make users; its actions run as it."""


def alerts_directory(layout: str | None, environ: Mapping[str, str], platform: str) -> str:
    """Return the state directory of coordd-alert: the system's own, or the user's for every other layout."""
    if layout == "system":
        return f"{'/usr/local' if platform == 'darwin' else ''}/var/lib/coordd-alert"
    return os.path.join(os.path.dirname(user_paths(environ, platform)["snapshot"]), "alerts")


def workspace_above(directory: str) -> str | None:
    """Return the nearest of a directory and its parents with ``.claude/coordination`` or traces of a coordd.

    Those are a project's socket and snapshot. Where any user may make files, as in ``/tmp``, only a
    ``.claude`` of root or of this user counts.
    """
    current = os.path.abspath(directory)
    while True:
        claude = os.path.join(current, ".claude")
        found = os.path.isdir(os.path.join(claude, "coordination")) or _has_run_below(claude)
        if found and not _is_foreign(current, claude):
            return current
        parent = os.path.dirname(current)
        if parent == current:
            return None
        current = parent


def layout_locations(environ: Mapping[str, str], cwd: str | None, platform: str) -> list[DaemonLocation]:
    """Return the locations of the layouts, in the order of search: project, user, system.

    A user daemon that was started without ``XDG_RUNTIME_DIR`` (cron) has its socket below ``XDG_STATE_HOME``;
    a client that has the variable looks there too.
    """
    found = []
    root = workspace_above(cwd) if cwd is not None else None
    if root is not None:
        found.append(_location("project", project_paths(root), root))
    user = user_paths(environ, platform)
    found.append(_location("user", user))
    bare = user_paths({k: v for k, v in environ.items() if k != "XDG_RUNTIME_DIR"}, platform)
    if bare["socket"] != user["socket"]:
        found.append(_location("user", bare))
    found.append(_location("system", system_paths(platform)))
    return found


def socket_candidates(
    explicit: str | None,
    environ: Mapping[str, str],
    cwd: str | None,
    platform: str,
    *,
    directory: str | None = None,
    layout: str | None = None,
) -> list[DaemonLocation]:
    """Return where a client looks: ``--socket`` or ``$COORDD_SOCKET`` alone if given, else the layouts.

    Args:
        explicit: ``--socket``; None where it was not given, as with the next two.
        environ: HOME, COORDD_SOCKET and the XDG directories.
        cwd: the current directory; None where it no longer exists.
        platform: ``sys.platform``.
        directory: ``-w``: the project is looked for from here, and is this directory if none is found.
        layout: ``--layout``: only the locations of this layout, and none if there is no project.

    What was named on the command line goes before the environment.
    """
    if explicit is not None:
        return [DaemonLocation("--socket", explicit, None, None, None)]
    from_environment = environ.get("COORDD_SOCKET")
    if from_environment and directory is None and layout is None:
        return [DaemonLocation("$COORDD_SOCKET", from_environment, None, None, None)]
    named = None if directory is None else os.path.realpath(os.path.join(cwd or "/", directory))
    found = layout_locations(environ, named or cwd, platform)
    if named is not None and found[0].layout != "project":
        found.insert(0, _location("project", project_paths(named), named))
    return [one for one in found if layout in (None, one.layout)]


def address_problem(path: str, platform: str) -> str | None:
    """Return why no Unix socket can have this path, in words that name ``--socket``; None if one can."""
    if not path:
        return "an empty path; name a socket with --socket PATH"
    if "\0" in path:
        return "a path with a zero byte in it; name another one with --socket PATH"
    limit = _ADDRESS_BYTES.get(platform, 103)
    size = len(os.fsencode(path))
    if size <= limit:
        return None
    return (
        f"{size} bytes, and a Unix socket's path has at most {limit}: name a shorter one with --socket PATH"
    )


def is_socket(path: str) -> bool:
    """Return whether a path is a socket itself, and no link to one."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def project_of(socket: str) -> str | None:
    """Return the project whose control socket has this path; None where no project has it."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(socket)))
    return root if project_paths(root)["socket"] == socket else None


def link_in_project(path: str) -> str | None:
    """Return the link that a project has in place of ``path`` (one of its folders) or of ``.claude``."""
    claude = os.path.dirname(path)
    if os.path.basename(claude) != ".claude":
        return None
    return next((one for one in (claude, path) if os.path.islink(one)), None)


def _location(layout: str, paths: dict[str, str], root: str | None = None) -> DaemonLocation:
    return DaemonLocation(
        layout, paths["socket"], paths["snapshot"], paths["metrics_dir"], paths["log_dir"], root=root
    )


def _is_foreign(directory: str, claude: str) -> bool:
    """Return whether another user made ``claude`` in a directory that all may write to."""
    try:
        open_to_all = os.stat(directory).st_mode & stat.S_IWOTH
        return bool(open_to_all) and os.lstat(claude).st_uid not in (0, os.geteuid())
    except OSError:
        return True


def _has_run_below(claude: str) -> bool:
    """Return whether a project has its socket or a snapshot, with no link on the way to it."""
    run = os.path.join(claude, "run")
    try:
        if not all(stat.S_ISDIR(os.lstat(one).st_mode) for one in (claude, run)):
            return False
    except OSError:
        return False
    names = [os.path.join(run, name) for name in ("coordd.sock", "snapshot.json")]
    return is_socket(names[0]) or _is_file(names[1])


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _xdg(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name, "")
    return value if os.path.isabs(value) else None
