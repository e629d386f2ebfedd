"""Tell a message by a program: its arguments are a template, and the whole message is JSON on its stdin.

No shell is in between. The program is told in time or not at all: ten seconds after its start it is killed
with all that it has started (``child.py``). Its stdout goes nowhere; of its stderr the first line tells of a
failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coordd.alerts.actions import programs, template
from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.child import CannotStart, ChildRunner, in_words
from coordd.alerts.actions.words import first_line
from coordd.alerts.message import Message
from coordd.util.text import clipped, escape

DEADLINE = 10.0
"""Seconds that a program may take."""
_STDERR = 4096


class ExecAction:
    """Run a program for each message.

    Args:
        arguments: the parsed template; the first is the program and holds no placeholder.
        environ: what the program gets as its environment.
        deadline: seconds.
    """

    def __init__(
        self,
        arguments: tuple[template.Argument, ...],
        *,
        environ: Mapping[str, str],
        deadline: float = DEADLINE,
    ) -> None:
        self._program = arguments[0].parts[0]
        self._rest = arguments[1:]
        self._environ = environ
        self._deadline = deadline
        self._runner = ChildRunner(kept_stderr=_STDERR)
        self._name = clipped(escape(self._program.rpartition("/")[2]), 40)
        self.label = f"exec {self._name}"

    async def perform(self, message: Message) -> None:
        """Run the program once.

        Raises:
            ActionFailed: it could not be started, ended with a status other than 0, or took too long.
        """
        arguments = template.fill(self._rest, message)
        await run_program(
            self._runner,
            [self._program, *arguments],
            name=self._name,
            environ=self._environ,
            stdin=message.to_json(),
            seconds=self._deadline,
        )

    def check(self) -> str | None:
        """Return why the program cannot be started."""
        trouble = programs.trouble_with(self._program, self._environ)
        return None if trouble is None else f"{escape(self._program)}: {trouble}"


async def run_program(
    runner: ChildRunner,
    argv: list[str],
    *,
    name: str,
    environ: Mapping[str, str],
    stdin: bytes,
    seconds: float,
    trouble: Callable[[], str | None] | None = None,
) -> None:
    """Run a program that has to end with status 0; arguments as :meth:`ChildRunner.run` takes them.

    Raises:
        ActionFailed: it did not; the text begins with ``name``.
    """
    try:
        ended = await runner.run(argv, environ=environ, stdin=stdin, seconds=seconds, trouble=trouble)
    except CannotStart as error:
        raise ActionFailed(f"{name} cannot be started: {error}") from None
    if ended.status is None:
        raise ActionFailed(
            f"{name} did not end within {seconds:g} s and was killed, with all that it started"
        )
    if ended.status:
        said = first_line(ended.stderr)
        raise ActionFailed(f"{name}: {in_words(ended.status)}{f': {said}' if said else ''}")
