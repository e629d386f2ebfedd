"""Say what an action is: something that tells a message to somebody, within a deadline of its own.

Whoever performs it knows nothing of how; whoever implements it keeps secrets out of ``label``, out of errors
and out of what ``check`` says.
"""

from __future__ import annotations

from typing import Protocol

from coordd.alerts.message import Message


class ActionFailed(Exception):
    """A message was not told, or may not have been; the text says why, without secrets."""


class Action(Protocol):
    """Tell messages in one way."""

    @property
    def label(self) -> str:
        """What it does, without any secret: ``exec notify-send``, ``webhook example.org``, ``desktop``."""

    async def perform(self, message: Message) -> None:
        """Tell the message; returns once it is told, and within the action's own deadline in any case.

        Cancelled, it kills what it has started.

        Raises:
            ActionFailed: it was not told, or may not have been.
        """

    def check(self) -> str | None:
        """Return why it cannot work here, as where a program is missing; None if nothing speaks against it.

        Blocking: it looks at files, whose file system may hang; and at nothing that is not on this machine.
        """
