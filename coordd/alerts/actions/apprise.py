"""Tell a message by apprise (the extra ``coordd[alerts]``), which knows Slack, mail and a hundred others.

Apprise runs in a child process (``apprise_child.py``): it is large, it may hang in any of its services, and
its log can hold what its addresses hold. The address, a secret, goes through the child's stdin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec

from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.python_child import PythonChild
from coordd.alerts.actions.shortening import shortened
from coordd.alerts.actions.urgency import urgent
from coordd.alerts.message import Message
from coordd.util.text import escape, escape_lines

DEADLINE = 30.0
"""Seconds that apprise may take, its start included."""
MISSING = "apprise is not installed: pip install 'coordd[alerts]'"
EXPECTED = "expected an address of apprise's, such as ntfy://topic"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]{1,19})://.", re.ASCII)
_TITLE = 200
_BODY = 3000
"""Characters; the services that apprise knows take from a few hundred to some thousands."""


class AppriseAction:
    """Tell each message at one address.

    Args:
        url: the address, a secret.
        environ: of the process that tells.
        deadline: seconds.

    Raises:
        ValueError: it is no address; the text does not repeat it.
    """

    def __init__(self, url: str, *, environ: Mapping[str, str], deadline: float = DEADLINE) -> None:
        found = _SCHEME.match(url)
        if found is None:
            raise ValueError(EXPECTED)
        self.label = f"apprise {found[1].lower()}"
        self._url = url
        self._child = PythonChild("coordd.alerts.actions.apprise_child", environ=environ, seconds=deadline)
        self._taken = False

    async def perform(self, message: Message) -> None:
        """Tell the message.

        Raises:
            ActionFailed: apprise is missing, or says that it was not delivered.
        """
        await self._child.ask(
            {
                "url": self._url,
                "title": shortened(escape(message.title), _TITLE),
                "body": shortened(escape_lines(message.text), _BODY),
                "type": _type_of(message),
            }
        )

    def check(self) -> str | None:
        """Return why it cannot work here: apprise is missing, or takes no such address. Blocking.

        Apprise itself is asked once, in a process of its own, which takes a second or two; it sends nothing.
        """
        if find_spec("apprise") is None:
            return MISSING
        if not self._taken:
            try:
                self._child.ask_blocking({"url": self._url, "check": True})
            except ActionFailed as error:
                return str(error)
            self._taken = True
        return None


def _type_of(message: Message) -> str:
    """Return apprise's word for how bad it is; services show it as a colour or a sign."""
    if message.state == "firing":
        return "failure" if urgent(message) else "warning"
    return "success" if message.state == "resolved" else "info"
