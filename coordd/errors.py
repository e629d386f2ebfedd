"""Define the error tree of coordd. An error says what went wrong, where, and what to do about it.

The tree holds every error that is meant for people. Most are defined here; one that belongs to a single part
of coordd is defined there (in parentheses). ``exit_code`` is what a command ends with when the error reaches
its top level::

    CoorddError
    ├── ConfigError           a configuration that cannot be used                              exit 78
    ├── InstanceRunning       another coordd owns this metrics directory                       exit 1
    ├── StartError            a lock, socket or directory cannot be had                        exit 1
    ├── InstallError          a service cannot be installed or removed                         exit 1
    ├── AlertsRunning         another coordd-alert has this state directory (alerts.lock)      exit 1
    ├── StateError            a state directory that cannot be had or trusted (alerts.lock)    exit 1
    ├── BadOptions            a command line of coordd-alert that means nothing (alerts.main)  exit 2
    ├── AlertsDown            no coordd-alert answers (cli.alerts)                             exit 3
    ├── NotTold               a trial of a rule failed (cli.alerts)                            exit 1
    ├── BadUsage              a command line that is invalid after parsing (cli.common)        exit 2
    ├── WrongUsage            a command line of coordd that means nothing (commands.app)       exit 2
    ├── NoSuchAgent           no single agent is meant by what was typed (cli.find_agent)      exit 1
    ├── HooksError            hooks cannot be installed or removed (cli.hooks.settings_file)    exit 1
    ├── NoSuchEntry           nothing that needs a human is meant by it (cli.ack)              exit 1
    ├── WillNotCome           an agent that cannot come into a state any more (cli.wait)       exit 1
    ├── NotAllPurged          records are left that should have gone (cli.purge)               exit 1
    ├── NoPane                an agent whose terminal no tmux shows (cli.goto)                 exit 1
    ├── NotAllPurged          records of which lines about somebody are left (cli.purge)       exit 1
    ├── DashboardMissing      packages of the dashboard are not installed (cli.dashboard)      exit 1
    ├── TokenNeeded           the dashboard would be open to everybody (cli.dashboard)         exit 2
    ├── TokenError            a token file cannot be made or trusted (dashboard.tokens)        exit 1
    ├── ListenError           an address cannot be listened on (dashboard.listen)              exit 1
    ├── BadAddress            a text that is no address (dashboard.listen)                     exit 2
    ├── BadRootPath           a path that the page cannot lie below (dashboard.root_path)      exit 2
    ├── LogFileError          a log file cannot be written (dashboard.serve)                   exit 1
    └── ClientError           the daemon cannot be asked                                       exit 1
        ├── DaemonNotRunning  nothing answers on any socket that was tried                     exit 3
        ├── CannotTell        something is there, but refuses or does not answer               exit 4
        │   ├── ChannelLost   the connection ended under a request (dashboard.channel)         exit 4
        │   └── Overloaded    too many requests wait for the daemon (dashboard.channel)        exit 4
        ├── RpcError          the daemon answered with a JSON-RPC error                        exit 1
        └── Unavailable       the dashboard has no daemon to ask (dashboard.upstream)          exit 1

Exceptions outside the tree are internal: the part named here catches each of them and turns it into a value,
so that it reaches nobody as an exception.

==============  ============================  =============================================================
exception       defined in                    becomes
==============  ============================  =============================================================
Malformed       util.fields                   a malformed trace in the status, or a ConfigError for a file
DeadlineMissed  runtime.worker                a source, sink or sample that is reported as not answering
ProbeFailed     host.process_facts            a process of which nothing is said, until the next look
Fault           protocol.jsonrpc              the error object of a JSON-RPC answer
AnswerAndClose  protocol.jsonrpc              a last answer, after which the control connection is closed
TooLong         protocol.jsonrpc              an error answer, after which the control connection is closed
NotBelieved     protocol.snapshot             a reason why a snapshot is passed over
OutputClosed    cli.common                    a quiet end of the command: the reader of its output has gone
Ended           cli.screen                    an end by a signal, after the terminal is restored
Refused         sinks.redis.topic_writer      a failing sink in the status
NotRedis        redislink.stream              the trouble of the Redis connection (RedisLost)
CannotDial      redislink.dial                the trouble of the Redis connection (RedisLost)
RedisLost       redislink.session             the trouble of the Redis connection in the status
SourceLost      sources.base                  a source that the status reports as unreadable
GivenUp         sources.file.ground           the end of a search that nobody waits for any more
BadJson         cli.hooks.json_spans          a HooksError, which names the settings file
HomeUnreadable  sources.sessions.home_calls   a home that the status reports as unreadable
Unusable        sources.redis.requests        the part of Redis that the status reports as unreadable
NotPermitted    sources.redis.tracking        polling in place of announced changes, and a line in the log
BadRequest      dashboard.answers             an HTTP answer with status 400
ActionFailed    alerts.actions.base           how a message went, in coordctl alerts and the log
CannotStart     alerts.actions.child          an ActionFailed
TooMuch         alerts.actions.replies        an ActionFailed
ProxyRefuses    alerts.actions.replies        an ActionFailed
ProxyUnknown    alerts.actions.proxies        an ActionFailed
BadSecret       alerts.actions.secrets        a ConfigError, without the secret
BadTemplate     alerts.actions.template       a ConfigError
Late            alerts.thread                 a daemon that is not reached, or a state that is not written
==============  ============================  =============================================================

This module knows nothing of the rest of coordd; the service and its clients raise from it.
"""

from __future__ import annotations

DEBUG = "COORDD_DEBUG"
"""The environment variable that, set to anything, makes an unexpected error show its traceback."""


class CoorddError(Exception):
    """The root of every error that coordd raises on purpose."""

    exit_code = 1


class ConfigError(CoorddError):
    """A configuration that cannot be used.

    Args:
        where: the file, environment variable or flag that the value came from.
        key: the dotted name, ``agents.timeout``; empty when the file as a whole is meant.
        value: the value found, None where there was none.
        expected: a phrase for a correct value: "a duration such as '120s'".
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
        holder = f"coordd {version or '(unknown version)'} with pid {pid}" if pid else "another coordd"
        since = f", running since {started_at}," if started_at else ""
        super().__init__(
            f"{holder}{since} already records into this metrics directory (lock: {lock}). "
            "Ask it with 'coordctl status', stop it first, or give this one another storage.metrics_dir."
        )


class StartError(CoorddError):
    """A lock, socket or directory that the daemon needs cannot be had."""


class InstallError(CoorddError):
    """A service cannot be installed, started or removed."""


_USUAL_ADVICE = ["Start it with 'coordd run', or name another socket with --socket or $COORDD_SOCKET."]


class ClientError(CoorddError):
    """The root of the errors that a client of the control socket meets."""


class DaemonNotRunning(ClientError):
    """Nothing answers on any socket that was tried.

    Args:
        tried: the socket paths, in the order tried, each with the reason it did not answer.
        layout: of the first place where a coordd has run: ``project``, ``user`` or ``system``; None where
            none has, or no layout has that socket.
        root: the project of that place, None elsewhere.
        crashed: whether it ended there without being stopped; None where none has run, or it is not known.
        how: how it ended there, in a sentence.
        others: daemons that answer elsewhere, each in words and with the command that asks it.
        advice: what to do, a sentence or command each.
        start: how to start it again, a ``coordd.protocol.starting.Start``; None if it is not known.
    """

    exit_code = 3

    def __init__(
        self,
        tried: list[tuple[str, str]],
        *,
        layout: str | None = None,
        root: str | None = None,
        crashed: bool | None = None,
        how: str = "",
        others: list[tuple[str, str]] | None = None,
        advice: list[str] | None = None,
        start: object = None,
    ) -> None:
        self.tried = tried
        self.start = start
        self.layout = layout
        self.root = root
        self.crashed = crashed
        self.how = how
        self.others = others or []
        self.advice = _USUAL_ADVICE if advice is None else advice
        lines = [f"  {path}: {reason}" for path, reason in tried]
        lines = ["coordd is not running: no socket answers. Tried:", *lines, *self.hints]
        super().__init__("\n".join(lines))

    @property
    def hints(self) -> list[str]:
        """Return lines that say how it ended, what to do, and who answers elsewhere."""
        elsewhere = [f"{words} answers. Ask it: {command}" for words, command in self.others]
        return [*([self.how] if self.how else []), *self.advice, *elsewhere]

    def advised(self, advice: list[str]) -> DaemonNotRunning:
        """Return the same error with other advice."""
        return DaemonNotRunning(
            self.tried,
            layout=self.layout,
            root=self.root,
            crashed=self.crashed,
            how=self.how,
            others=self.others,
            advice=advice,
            start=self.start,
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
    """Return a value as it is written in TOML, with every character that is not plainly visible escaped."""
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
    """Return one line for an unexpected error: what, where in the code, and what to do about it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
        where = f" in {file}, line {trace.tb_lineno}"
    text = f"{type(error).__name__}: {error}"
    shown = f"{text[:200]}…" if len(text) > 200 else text
    return (
        f"this is a fault of {program} itself ({shown}{where}). {DEBUG}=1 shows the whole of it for a report."
    )
