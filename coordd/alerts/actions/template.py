r"""Put a message into the arguments of a command line, as data.

Pure. A template is parsed once, when the rules are read; what it makes of a message is found in one pass, so
that text of a stranger that holds braces stays text. ``{{`` and ``}}`` are braces themselves. Placeholders of
one agent (``{agent}`` to ``{command}``) are those of the message's first entry, empty where it has none.

What a value becomes, in this order::

    control and format characters   escaped as text (``\x1b``), in {text} all but line breaks: no NUL ends an
                                    argument, no line break starts a new header
    more than LONGEST bytes         cut, for a command line that is too long starts no program
    first in its argument, - or +   a blank before it, unless "--" stands alone before: it would be an option
    first in its argument, @ < | =  a blank before it: ``curl -d`` and others would open a file or run it

Arguments that the program itself takes for code are refused when the rules are read (``code_arguments.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coordd.alerts.message import Message
from coordd.util.text import CUT, escape, escape_lines

PLACEHOLDERS = (
    "title",
    "text",
    "agent",
    "name",
    "project",
    "workspace",
    "kind",
    "since",
    "command",
    "rule",
    "state",
    "count",
)
"""What may stand in braces."""

LONGEST = 16 * 1024
"""Bytes of one value; the kernel takes 128 KiB in one argument (MAX_ARG_STRLEN of execve(2))."""
TOTAL = 256 * 1024
"""Bytes of all arguments; beyond that values are cut further. macOS takes 1 MiB with the environment."""

_OPTION_MARKS = frozenset("-+")
_OTHER_MARKS = frozenset("@<|=")


class BadTemplate(ValueError):
    """A template that cannot be used; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: by turns text and the name of a placeholder, the first and the last of them text."""

    parts: tuple[str, ...]
    after_options: bool

    @property
    def constant(self) -> bool:
        """Whether it is the same for every message."""
        return len(self.parts) == 1

    def filled(self, values: dict[str, str], longest: int) -> str:
        """Return the argument with these values, each of at most so many bytes."""
        found = list(self.parts)
        found[1::2] = [_cut(values[name], longest) for name in self.parts[1::2]]
        result = "".join(found)
        if self.parts[0] or self.constant or not result:
            return result
        guarded = result[0] in _OTHER_MARKS or (result[0] in _OPTION_MARKS and not self.after_options)
        return f" {result}" if guarded else result


def parse(arguments: Sequence[str]) -> tuple[Argument, ...]:
    """Return the template of these arguments.

    Raises:
        BadTemplate: an unknown placeholder, or a brace that stands alone.
    """
    found = []
    after_options = False
    for argument in arguments:
        found.append(Argument(_parts(argument), after_options))
        after_options = after_options or argument == "--"
    return tuple(found)


def fill(template: Sequence[Argument], message: Message) -> list[str]:
    """Return the arguments for a message; they can be passed to a program as they are."""
    values = values_of(message)
    longest = LONGEST
    while True:
        arguments = [argument.filled(values, longest) for argument in template]
        if sum(map(_size, arguments)) <= TOTAL or longest <= 64:
            return arguments
        longest //= 2


def values_of(message: Message) -> dict[str, str]:
    """Return the value of each placeholder, escaped."""
    values = {
        "title": escape(message.title),
        "text": escape_lines(message.text),
        "rule": escape(message.rule),
        "state": message.state,
        "count": str(message.count),
    }
    first = message.entries[0] if message.entries else None
    for name, value in (
        ("agent", first and first.subject),
        ("name", first and first.name),
        ("project", first and first.project),
        ("workspace", first and first.workspace),
        ("kind", first and first.kind),
        ("since", first and first.since),
        ("command", first and first.command),
    ):
        values[name] = escape(value or "")
    return values


def _parts(argument: str) -> tuple[str, ...]:
    parts = []
    text = ""
    at = 0
    while at < len(argument):
        char = argument[at]
        if char in "{}" and argument[at + 1 : at + 2] == char:
            text += char
            at += 2
        elif char == "{":
            end = argument.find("}", at)
            name = argument[at + 1 : end] if end >= 0 else argument[at + 1 :]
            if end < 0 or name not in PLACEHOLDERS:
                known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
                raise BadTemplate(f"no such placeholder; there are {known}; a brace itself is {{{{ or }}}}")
            parts += [text, name]
            text = ""
            at = end + 1
        elif char == "}":
            raise BadTemplate("a } without its {; a brace itself is {{ or }}")
        else:
            text += char
            at += 1
    return (*parts, text)


def _cut(value: str, longest: int) -> str:
    if _size(value) <= longest:
        return value
    return value.encode()[: longest - len(CUT.encode())].decode(errors="ignore") + CUT


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
