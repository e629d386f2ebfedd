r"""Read words of the command line as the daemon writes them, whatever locale the shell has.

Python decodes arguments by the locale: under ``LC_ALL=C`` without UTF-8 mode, or in a Latin-1 one, a word is
another text than its bytes mean elsewhere. So the bytes count here. They are UTF-8, as all that coordd writes
is; a byte that is not is shown by the daemon as ``\xNN``, or was meant as Latin-1. A word may also be typed
as it was shown: with escapes for what is no printable character, or none of the terminal's.
"""

from __future__ import annotations

import os

from coordd.util.fields import jsonable
from coordd.util.text import escape


def typed(word: str) -> str:
    r"""Return a word of the command line as UTF-8 has it, with ``\xNN`` for each byte that is none."""
    return jsonable(os.fsencode(word).decode("utf-8", "surrogateescape"))


def spellings(word: str) -> list[str]:
    """Return what a word of the command line may mean, the likeliest first, each once."""
    raw = os.fsencode(word)
    found = [typed(word)]
    try:
        raw.decode()
    except UnicodeDecodeError:
        found.append(raw.decode("latin-1"))
    return list(dict.fromkeys(found))


def shown_forms(text: str) -> list[str]:
    """Return a text as it is and as commands show it: to any terminal, and to one that knows ASCII alone."""
    escaped = escape(text)
    ascii_only = escaped.encode("ascii", "backslashreplace").decode("ascii")
    return list(dict.fromkeys((text, escaped, ascii_only)))
