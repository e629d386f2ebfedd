"""Ask a module of coordd's in a process of its own: one JSON line to its stdin, one from its stdout.

What it needs (TLS, apprise, a name server that does not answer) costs this process neither memory nor a hang,
and its command line, which everybody can read, is the name of the module. The answer is ``{"failed": null}``,
or why it failed, in words.
"""

from __future__ import annotations

import json
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
        self._module = module
        self._environ = environ
        self._seconds = seconds
        self._runner = ChildRunner(kept_stdout=_ANSWER)

    async def ask(self, question: Mapping[str, object]) -> None:
        """Have it done.

        Raises:
            ActionFailed: it was not done.
        """
        # -P: no directory on the way to the modules that was not there when this process was started
        argv = [sys.executable, "-P", "-m", self._module]
        stdin = json.dumps(question).encode("ascii") + b"\n"
        try:
            ended = await self._runner.run(argv, environ=self._environ, stdin=stdin, seconds=self._seconds)
        except CannotStart as error:
            raise ActionFailed(f"the process that sends cannot be started: {error}") from None
        if ended.status is None:
            raise ActionFailed(
                f"it was not told within {self._seconds:g} s, and the process that sends was killed"
            )
        try:
            failed = json.loads(ended.stdout)["failed"]
        except (ValueError, LookupError, TypeError):
            raise ActionFailed(f"the process that sends has ended: {in_words(ended.status)}") from None
        if failed is not None:
            raise ActionFailed(clipped(escape(str(failed)), _LONGEST))
