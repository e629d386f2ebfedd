"""Load the files of ``packaging/`` and fill them in.

A wheel holds them inside the package (``coordd/_packaging``); in a source tree they lie beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from xml.sax.saxutils import escape

import coordd

_PLACE = re.compile(r"@([A-Z][A-Z_]*)@")


def template(name: str) -> str:
    """Return the text of one file, such as ``systemd/coordd.service.in``."""
    inside: Traversable = files(coordd).joinpath("_packaging")
    root = inside if inside.is_dir() else Path(coordd.__file__).resolve().parent.parent / "packaging"
    return root.joinpath(name).read_text(encoding="utf-8")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every ``@NAME@``; a line with nothing else that becomes empty is dropped.

    Raises:
        KeyError: a name without a value.
    """
    lines = []
    for line in text.splitlines():
        # "@...@" in comments and systemd's words such as "@system-service" are not placeholders
        filled = _PLACE.sub(lambda match: values[match[1]], line)
        if filled.strip() or not line.strip():
            lines.append(filled)
    return "\n".join(lines) + "\n"


def unit_command(argv: Sequence[str]) -> str:
    """Format a command line for ExecStart= (systemd.service(5): specifiers, variables, quoting)."""
    return " ".join([_unit_word(word) for word in argv])


def unit_environment(variables: Mapping[str, str]) -> str:
    """Format ``Environment=`` lines."""
    return "\n".join([f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items()])


def plist_strings(argv: Sequence[str], indent: str) -> str:
    """Format ``<string>`` elements, the first without its indent."""
    return f"\n{indent}".join([f"<string>{escape(word)}</string>" for word in argv])


def plist_text(text: str) -> str:
    """Escape text between tags."""
    return escape(text)


def _unit_word(word: str) -> str:
    safe = re.fullmatch(r"[\w./:+,=-]+", word, re.ASCII) is not None
    return word if safe else _quoted(word).replace("$", "$$")


def _quoted(text: str) -> str:
    return '"' + text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"') + '"'
