"""Ask a module of coordd's in a process of its own: one JSON line to its stdin, one from its stdout.

What it needs (TLS, apprise, a name server that does not answer) costs this process neither memory nor a hang,
and its command line, which everybody can read, is the name of the module. The answer is ``{"failed": null}``,
or why it failed, in words.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.child import CannotStart, ChildRunner, in_words
from coordd.util.text import clipped, escape

_ANSWER = 4096
_LONGEST = 300


class PythonChild:
    """Run one module for each question.

    Args:
        module: its name.
        environ: its environment.
        seconds: how long it may take.
    """

    def __init__(self, module: str, *, environ: Mapping[str, str], seconds: float) -> None:
        # -P: no directory on the way to the modules that was not there when this process was started
        self._argv = [sys.executable, "-P", "-m", module]
        self._environ = environ
        self._seconds = seconds
        self._runner = ChildRunner(kept_stdout=_ANSWER)

    async def ask(self, question: Mapping[str, object]) -> None:
        """Have it done.

        Raises:
            ActionFailed: it was not done.
        """
        try:
            ended = await self._runner.run(
                self._argv, environ=self._environ, stdin=_line(question), seconds=self._seconds
            )
        except CannotStart as error:
            raise ActionFailed(f"the process that sends cannot be started: {error}") from None
        if ended.status is None:
            raise ActionFailed(
                f"it was not told within {self._seconds:g} s, and the process that sends was killed"
            )
        _judge(ended.status, ended.stdout)

    def ask_blocking(self, question: Mapping[str, object]) -> None:
        """Have it done while this thread waits.

        Raises:
            ActionFailed: it was not done.
        """
        try:
            done = subprocess.run(
                self._argv,
                input=_line(question),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                cwd="/",
                timeout=self._seconds,
                check=False,
            )
        except OSError as error:
            raise ActionFailed(f"the process that sends cannot be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ActionFailed(f"the process that sends did not answer within {self._seconds:g} s") from None
        _judge(done.returncode, done.stdout[:_ANSWER])


def _line(question: Mapping[str, object]) -> bytes:
    return json.dumps(question).encode("ascii") + b"\n"


def _judge(status: int, stdout: bytes) -> None:
    """Raise ActionFailed if the answer says that it was not done, or there is no answer."""
    try:
        failed = json.loads(stdout)["failed"]
    except (ValueError, LookupError, TypeError):
        raise ActionFailed(f"the process that sends has ended: {in_words(status)}") from None
    if failed is not None:
        raise ActionFailed(clipped(escape(str(failed)), _LONGEST))
