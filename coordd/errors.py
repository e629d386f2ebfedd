"""The one error tree. An error says what went wrong, where, and what to do about it.

::

    CoorddError
    ├── ConfigError             a configuration that cannot be used               exit 78
    ├── InstanceRunning         another coordd owns this metrics directory        exit 1
    ├── StartError              lock, socket or directory cannot be had           exit 1
    ├── InstallError            a service cannot be installed or removed          exit 1
    └── ClientError
        ├── DaemonNotRunning    nothing answers on any socket that was tried      exit 3
        ├── CannotTell          something is there, but refuses or does not answer exit 4
        └── RpcError            the daemon answered with a JSON-RPC error         exit 1

``exit_code`` is what a command ends with when the error reaches its top level. This module knows nothing
of the rest of coordd; both the service and its clients raise from it.
"""

from __future__ import annotations

DEBUG = "COORDD_DEBUG"
"""An environment variable: set to anything, an error that nobody foresaw shows its traceback."""


class CoorddError(Exception):
    """The root of every error that coordd raises on purpose."""

    exit_code = 1


class ConfigError(CoorddError):
    """A configuration that cannot be used.

    Args:
        where: the file, environment variable or flag the value came from.
        key: dotted name, ``agents.timeout``; empty when the file as a whole is meant.
        value: what stood there, or None where nothing did.
        expected: what would have been right, as a phrase: "a duration such as '120s'".
    """

    exit_code = 78

    def __init__(self, where: str, key: str, value: object, expected: str) -> None:
        self.where = where
        self.key = key
        self.value = value
        self.expected = expected
        parts = [where]
        if key:
            parts.append(key if value is None else f"{key} = {_shown(value)}")
        super().__init__(": ".join([*parts, expected]))


class InstanceRunning(CoorddError):
    """Another coordd holds the lock of this metrics directory."""

    def __init__(self, lock: str, *, pid: int | None, version: str | None, started_at: str | None) -> None:
        self.lock = lock
        self.pid = pid
        self.version = version
        self.started_at = started_at
        who = f"coordd {version or '(unknown version)'} with pid {pid}" if pid else "another coordd"
        since = f", running since {started_at}," if started_at else ""
        super().__init__(
            f"{who}{since} already records into this metrics directory (lock: {lock}). "
            "Ask it with 'coordctl status', stop it first, or give this one another storage.metrics_dir."
        )


class StartError(CoorddError):
    """A lock, socket or directory that the daemon needs cannot be had."""


class InstallError(CoorddError):
    """A service cannot be installed, started or removed."""


class ClientError(CoorddError):
    """The root of what a client of the control socket can meet."""


class DaemonNotRunning(ClientError):
    """Nothing answers.

    Args:
        tried: the socket paths, in the order tried, each with the reason it did not answer.
    """

    exit_code = 3

    def __init__(self, tried: list[tuple[str, str]]) -> None:
        self.tried = tried
        lines = "\n".join(f"  {path}: {reason}" for path, reason in tried)
        super().__init__(
            f"coordd is not running: no socket answers. Tried:\n{lines}\n"
            "Start it with 'coordd run', or name another socket with --socket or $COORDD_SOCKET."
        )


class CannotTell(ClientError):
    """A socket is there but refuses this user, or does not answer in time."""

    exit_code = 4


class RpcError(ClientError):
    """The daemon answered with a JSON-RPC 2.0 error object (``code``, ``message``, ``data``)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(message)


def _shown(value: object) -> str:
    text = _as_toml(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _as_toml(value: object) -> str:
    """A value as it stands in a TOML file, with everything that is not plainly visible escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join([_in_quotes(char) for char in value]) + '"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join([_as_toml(item) for item in value])}]"
    return str(value)


def _in_quotes(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unexpected(program: str, error: BaseException) -> str:
    """Return one line for an error that nobody foresaw: what, where in the code, and what to do about it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
        where = f" in {file}, line {trace.tb_lineno}"
    text = f"{type(error).__name__}: {error}"
    said = f"{text[:200]}…" if len(text) > 200 else text
    return (
        f"this is a fault of {program} itself ({said}{where}). {DEBUG}=1 shows the whole of it for a report."
    )
