"""Tell one message by apprise, as a process of its own that ``apprise.py`` starts (``python -m``).

The question is a JSON object on stdin: ``url``, ``title``, ``body``, ``type``, or ``url`` and ``check``.
Whatever apprise, its plugins and what they import print or log goes nowhere: it can hold the address.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import Any

_LIFETIME = 120
"""Seconds after which it ends in any case."""


def main() -> None:
    """Answer the question on stdin, on what was stdout."""
    signal.alarm(_LIFETIME)  # where whoever started it is gone before its time
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    logging.disable(logging.CRITICAL)
    try:
        failed = tell(json.loads(sys.stdin.buffer.read()))
    except BaseException as error:  # its text may hold the address, so no traceback either
        failed = f"apprise ends in an error ({type(error).__name__})"
    os.write(answer, json.dumps({"failed": failed}).encode("ascii") + b"\n")
    os._exit(0)  # threads of apprise's that still wait are left behind


def tell(question: dict[str, Any]) -> str | None:
    """Return why it was not told, else None; with ``check`` why it could not be, and tell nothing."""
    try:
        import apprise
    except ImportError:
        from coordd.alerts.actions.apprise import MISSING

        return MISSING
    logging.disable(logging.CRITICAL)  # its import sets up loggers
    told = apprise.Apprise()
    if not told.add(question["url"]):
        return "apprise does not take its address: try it with 'apprise -v'"
    if question.get("check"):
        return None
    # as text: services that take HTML or Markdown are given it escaped
    delivered = told.notify(
        body=question["body"],
        title=question["title"],
        notify_type=question["type"],
        body_format="text",
        interpret_escapes=False,
    )
    return None if delivered else "apprise could not deliver it: try its address with 'apprise -v'"


if __name__ == "__main__":
    main()
