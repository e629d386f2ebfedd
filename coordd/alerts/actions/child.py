"""Run a program for as long as it may take at most, and leave nothing of it behind.

A thread of its own does it, and the loop waits for that (``attendance.py`` says what the program may do).
Where a file system hangs, the thread does as well: then it stays behind, and the next call fails at once
until it is free. Knows nothing of messages.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from coordd.alerts.actions import programs
from coordd.alerts.actions.attendance import Attendance, Ended

_GRACE = 2.0
"""Seconds beyond the deadline for killing."""


class CannotStart(Exception):
    """A program that was not started; the text says why, without its arguments."""


class ChildRunner:
    """Run programs, but no further one while one could not be started yet.

    Args:
        kept_stdout, kept_stderr: bytes that are kept; with 0 there is no pipe, and nothing to read.
    """

    def __init__(self, *, kept_stdout: int = 0, kept_stderr: int = 0) -> None:
        self._kept = (kept_stdout, kept_stderr)
        self._stuck: threading.Thread | None = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        stdin: bytes,
        seconds: float,
        trouble: Callable[[], str | None] | None = None,
    ) -> Ended:
        """Run a program, the first of ``argv``, in the directory ``/``; cancelled, kill it.

        Args:
            argv: the command line.
            environ: its environment.
            stdin: what it is given.
            seconds: how long it may take.
            trouble: looks, in the thread, whether it can work at all, and returns why it cannot.

        Raises:
            CannotStart: the program could not be started.
        """
        if self._stuck is not None and self._stuck.is_alive():
            raise CannotStart("the one before it has not been started yet: its file system does not answer")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Ended] = loop.create_future()
        try:
            stop_reader, stop_writer = os.pipe()
        except OSError as error:
            raise CannotStart(_why(error)) from None

        def work() -> None:
            result: Ended | CannotStart
            try:
                why = None if trouble is None else trouble()
                if why is None:
                    result = self._work(argv, environ, stdin, seconds, stop_reader)
                else:
                    result = CannotStart(why)
            except CannotStart as error:
                result = error
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                result = CannotStart(_why(error))
            finally:
                os.close(stop_reader)
            with suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(_tell, done, result)

        thread = threading.Thread(target=work, name="coordd-alert-action", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # as many threads as there may be
            os.close(stop_reader)
            os.close(stop_writer)
            raise CannotStart("no thread can be started") from None
        try:
            async with asyncio.timeout(seconds + _GRACE):
                return await asyncio.shield(done)
        except TimeoutError:
            raise CannotStart("its file system does not answer") from None
        finally:
            os.close(stop_writer)  # the thread sees that, and kills what runs
            if not done.done():
                await asyncio.wait({done}, timeout=_GRACE / 2)
            if not done.done():
                done.cancel()
                self._stuck = thread

    def _work(
        self, argv: Sequence[str], environ: Mapping[str, str], stdin: bytes, seconds: float, stop: int
    ) -> Ended:
        program = _found(argv[0], environ)
        poll = select.poll()
        poll.register(stop, select.POLLIN)
        if poll.poll(0):
            raise CannotStart("nobody waits for it any more")
        # Before CPython 3.11.4 (Debian 12 has 3.11.2) who waits for the exec(2) of a vfork(2) holds up the
        # whole process, and its file system may hang. The documentation of subprocess names this switch;
        # typeshed has it as a constant.
        subprocess._USE_VFORK = False  # type: ignore[misc]
        popen = subprocess.Popen(
            list(argv),
            executable=program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self._kept[0] else subprocess.DEVNULL,
            stderr=subprocess.PIPE if self._kept[1] else subprocess.DEVNULL,
            cwd="/",
            env=dict(environ),
            start_new_session=True,
            bufsize=0,
        )
        return Attendance(popen, stdin=stdin, kept=self._kept, seconds=seconds, stop=stop).to_the_end()


def _found(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of a program, of which the first bytes were read.

    Where its file system hangs, this thread does, before anything is forked.

    Raises:
        CannotStart: the file is not a program that can be run.
    """
    if (trouble := programs.trouble_with(name, environ)) is not None:
        raise CannotStart(trouble)
    program = programs.find(name, environ) or name
    with suppress(OSError):  # it may be executable and not readable
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.read(descriptor, 256)
        finally:
            os.close(descriptor)
    return program


def _tell(done: asyncio.Future[Ended], result: Ended | CannotStart) -> None:
    if done.done():
        return
    if isinstance(result, Ended):
        done.set_result(result)
    else:
        done.set_exception(result)
        done.exception()  # where nobody waits any more, asyncio has nothing to complain of


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) else type(error).__name__


def in_words(status: int) -> str:
    """Return in words how a program ended: ``exit status 3``, ``killed by SIGSEGV``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
