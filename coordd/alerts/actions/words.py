"""Make a line that may be shown of what a program printed."""

from __future__ import annotations

import re

from coordd.util.text import CUT, escape

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/\S*")
_LONGEST = 160


def first_line(printed: bytes) -> str:
    """Return the first line that is not empty, escaped, cut, and without addresses; else nothing.

    Of an address the scheme is left. It may hold a secret: ``curl: (6) could not reach https://…``.
    """
    for line in printed.decode("utf-8", "replace").splitlines():
        if text := line.strip():
            shown = escape(_ADDRESS.sub(lambda found: found[0].partition(":")[0] + "://" + CUT, text))
            return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + CUT
    return ""
