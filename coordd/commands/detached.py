"""Start a detached daemon, and wait until it is ready: ``coordd start``, where there is no service manager.

python-daemon detaches the daemon before any loop, socket, log or thread exists. Until the daemon is ready,
its standard error is a pipe to the command that started it. The command waits for READY, which a service
manager would get, or for the end and its reason.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from coordd.errors import CoorddError, StartError

START_DEADLINE = 120.0
"""Seconds until READY; reading back the last run's records may take one minute of them."""
_MARK = "\0"
"""Comes before the last message in the pipe, ``READY`` or an exit code; in other text it is escaped."""


@dataclass(frozen=True, slots=True)
class Started:
    """The result of a start: the daemon's pid, or its exit code; and what it printed."""

    pid: int | None
    code: int
    output: str


class PipeNotifier:
    """Tell the waiting command of READY, once, and then leave it: standard error becomes /dev/null."""

    def __init__(self) -> None:
        self._sent_ready = False

    def send(self, message: str) -> None:
        """Pass READY on; other messages are for service managers."""
        if not self._sent_ready and message.startswith("READY=1"):
            self._sent_ready = True
            _tell(f"READY {os.getpid()}")
            _leave_pipe()


def start(run: Callable[[PipeNotifier], int], *, umask: int, seconds: float = START_DEADLINE) -> Started:
    """Run the daemon detached, and wait until it is ready or has failed.

    Args:
        run: the daemon, from setting up its log to its end; returns the exit code.
        umask: of the daemon.
        seconds: to wait; a daemon that takes longer goes on.

    Raises:
        StartError: it is not ready in time; the message says its pid.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _detach_and_run(run, writer, umask)
    os.close(writer)
    os.waitpid(child, 0)  # python-daemon ends it at once: the daemon is its grandchild
    try:
        output, mark, last = _read_pipe(reader, seconds).partition(_MARK)
    finally:
        os.close(reader)
    word, _, pid = last.partition(" ")
    if word == "READY":
        return Started(int(pid), 0, output)
    code = int(last) if mark and last.isdigit() else 1
    return Started(None, code, output or "it ended without a word")


def _detach_and_run(run: Callable[[PipeNotifier], int], writer: int, umask: int) -> NoReturn:
    code = 1
    try:
        from daemon import DaemonContext

        # All explicit: the default umask is 0, and under systemd the guess whether to detach is wrong.
        context = DaemonContext(
            detach_process=True,
            working_directory="/",
            umask=umask,
            uid=os.getuid(),
            gid=os.getgid(),
            initgroups=False,
            prevent_core=True,
            files_preserve=[writer],
            pidfile=None,
            stdin=None,
            stdout=None,
            stderr=open(writer, "w", encoding="utf-8", closefd=False),  # noqa: SIM115  # for its number
            signal_map={signal.SIGTTIN: None, signal.SIGTTOU: None, signal.SIGTSTP: None},
        )
        context.open()
        os.close(writer)  # standard error is the pipe now
        code = run(PipeNotifier())
    except CoorddError as error:
        from coordd.util.text import escape_lines

        os.write(2, escape_lines(str(error)).encode())
        code = error.exit_code
    except Exception:  # it would be shown nowhere else
        os.write(2, traceback.format_exc().replace(_MARK, "").encode())
    finally:
        _tell(str(code))
        os._exit(code)


def _tell(message: str) -> None:
    os.write(2, (_MARK + message).encode())


def _leave_pipe() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)


def _read_pipe(reader: int, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    heard = b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise StartError(
                f"coordd was started, but is not ready after {seconds:g} s: {heard.decode(errors='replace')}"
                "\nIt goes on; its log says what it does, and 'coordctl status' when it is done."
            )
        block = os.read(reader, 65536)
        if not block:
            return heard.decode(errors="replace")
        heard += block
