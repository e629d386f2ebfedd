"""Build the dashboard and serve until a signal ends it; the only place that builds its parts."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from types import FrameType

import uvicorn

from coordd.dashboard.access import LOOPBACK, Access
from coordd.dashboard.application import Dashboard
from coordd.dashboard.assets import load_assets
from coordd.dashboard.connections import MOST, HttpConnections, connection_class
from coordd.dashboard.daemon_poll import Pulse
from coordd.dashboard.feed import Feed
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.listen import BACKLOG, Address, bind
from coordd.dashboard.tokens import Keys
from coordd.dashboard.upstream import Upstream
from coordd.errors import CoorddError
from coordd.protocol.admission import allowed_connections
from coordd.protocol.client import Client
from coordd.protocol.snapshot import Snapshot
from coordd.util.local_times import local_stamp
from coordd.util.log_limit import Limited, log_loop_errors
from coordd.util.sdnotify import manager_of, ready, stopping
from coordd.util.text import escape

MAX_HEADERS = 16 * 1024
"""Bytes of a request's line and headers at most."""
GRACE = 3
"""Seconds that unfinished answers have at the end."""
SPARE_DESCRIPTORS = 128
ACCEPTS_PER_TURN = 16
"""Connections that are accepted before others are read: more at once would displace each other."""
LOG_BYTES = 1024 * 1024
"""Bytes of a log file at most; one older file is kept."""

log = logging.getLogger(__name__)


class LogFileError(CoorddError):
    """The log file cannot be written."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line.

    ``keys`` is None if no token is needed, ``log_file`` is None if the log goes to stderr. ``below`` is the
    path of another site below which it is served.
    """

    address: Address
    keys: Keys | None
    names: tuple[str, ...]
    group_may: bool
    log_file: str | None = None
    below: str = ""


def run(
    options: Options,
    *,
    find: Callable[[], Client],
    read_snapshot: Callable[[], Snapshot | None],
    started: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; call ``started`` with the address once requests are answered.

    ``find`` connects to the daemon, once it has found one always to the same; ``read_snapshot`` returns the
    last snapshot of the one that is meant. Both may block.

    Raises:
        ListenError: it is impossible to listen on the address.
        LogFileError: the log file cannot be written.
    """
    _log(options.log_file)
    # It would log a line for each bad request of a stranger; faults of ours are logged as errors.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    _raise_descriptor_limit()
    sock = bind(options.address, group_may=options.group_may)
    try:
        asyncio.run(_serve(options, sock, find=find, read_snapshot=read_snapshot, started=started))
    finally:
        sock.close()
        if options.address.path is not None:
            with suppress(OSError):
                os.unlink(options.address.path)


async def _serve(
    options: Options,
    sock: socket.socket,
    *,
    find: Callable[[], Client],
    read_snapshot: Callable[[], Snapshot | None],
    started: Callable[[str], None],
) -> None:
    log_loop_errors(asyncio.get_running_loop())

    feed = Feed(epoch=f"{time.time_ns():x}")
    last = LastKnown(read_snapshot=read_snapshot)
    pulse = Pulse(feed=feed, last=last)
    layouts = frozenset({"project", "user"} | ({"system"} if options.keys else set()))

    def connection_changed() -> None:
        if upstream.down is None:
            log.info("coordd answers on %s", escape(upstream.path or ""))
            if upstream.note is not None:
                log.warning("%s", escape(upstream.note))
        else:
            log.warning("no daemon: %s", str(upstream.down).partition("\n")[0])
        pulse.connection_changed()

    upstream = Upstream(find=find, on_record=pulse.take, on_change=connection_changed, layouts=layouts)
    connections = HttpConnections(most=min(MOST, allowed_connections()))
    loopback = options.address.loopback
    names = {*LOOPBACK, *options.names} | (set() if loopback else {socket.gethostname().lower()})
    access = Access(names=names, any_address=not loopback, keys=options.keys)
    dashboard = Dashboard(
        upstream=upstream,
        feed=feed,
        pulse=pulse,
        last=last,
        connections=connections,
        access=access,
        assets=load_assets(),
        below=options.below,
    )
    config = uvicorn.Config(
        dashboard.app,
        http=connection_class(connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=ACCEPTS_PER_TURN,
        timeout_keep_alive=60,  # connections.py has a shorter timeout, and counts what it cuts
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=MAX_HEADERS,
    )

    notifier = manager_of(os.environ)

    async def announce() -> None:
        sock.listen(BACKLOG)  # asyncio takes the number of accepts in one turn for the length of the queue
        port = 0 if options.address.path is not None else sock.getsockname()[1]
        started(options.address.url(port))
        notifier.send(ready("serving"))

    server = HttpServer(config, on_start=announce, on_exit=feed.close)
    background = [asyncio.create_task(upstream.run()), asyncio.create_task(pulse.run(upstream))]
    for task in background:
        task.add_done_callback(server.background_ended)
    try:
        await server.serve(sockets=[sock])
    finally:
        notifier.send(stopping("sending the last answers"))
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    if server.failed is not None:
        raise server.failed


class HttpServer(uvicorn.Server):
    """A uvicorn server that sleeps until a signal comes; uvicorn's own wakes ten times a second."""

    def __init__(
        self, config: uvicorn.Config, *, on_start: Callable[[], Awaitable[None]], on_exit: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.failed: BaseException | None = None

    async def main_loop(self) -> None:
        """Wait until the server has to end."""
        await self._on_start()
        await self._ended.wait()
        self._on_exit()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """End in order at the first signal, at once at the second."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._ended.set)

    def background_ended(self, task: asyncio.Task[None]) -> None:
        """End the server when a background task ends: without it the dashboard would show old values."""
        if not task.cancelled():
            self.failed = task.exception()
            self.handle_exit(signal.SIGTERM, None)


class _Lines(logging.Formatter):
    """Write the time of a line as the daemon's log has it."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  # logging's
        return local_stamp(record.created)


def _log(path: str | None) -> None:
    """Log to stderr, whose reader adds the time, or to a file, since launchd keeps no log."""
    if path is None:
        plain = logging.StreamHandler()
        plain.setFormatter(logging.Formatter("%(message)s"))
        logging.basicConfig(handlers=[Limited(plain)], level=logging.INFO)
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a FIFO would never open
        raise LogFileError(f"--log-file {escape(path)}: it exists and is not a regular file")
    try:
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError as error:
        raise LogFileError(f"--log-file {escape(path)}: {error.strerror or error}") from error
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[Limited(handler)], level=logging.INFO)


def _raise_descriptor_limit() -> None:
    """Raise the limit of descriptors; connections may have half of them, and macOS allows only 256."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE,
                (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
            )
