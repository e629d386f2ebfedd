"""Read an untrusted JSON object field by field: a bad field becomes None and is reported, the others count.

Pure. A report names the field and what was expected, never the content: it must stay the same from one
reading to the next, and untrusted data does not belong in a log.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from coordd.util.timestamps import parse_timestamp

T = TypeVar("T")

MAX_TEXT = 256


class Malformed(ValueError):
    """An input that cannot be used; the text is the reason, without any of the content."""


class Denied(str):
    """Why something cannot be read, in words, where a right is lacking that somebody can give."""

    __slots__ = ()


class Parsed(NamedTuple, Generic[T]):
    """A parsed value, and in words what could not be used of its source (None if all was used)."""

    value: T
    problem: str | None = None


def jsonable(text: str) -> str:
    r"""Return the text with every lone surrogate escaped, so that it can be written as JSON.

    A byte that is not UTF-8 (``surrogateescape`` turns it into a surrogate, in file names and in the decoders
    here) becomes ``\xNN``; any other lone surrogate, such as JSON's ``"\ud800"``, becomes ``\uNNNN``. A name
    that contains such an escape in plain characters looks the same afterwards; that is accepted.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(_escaped, text))
    return text


def _escaped(char: str) -> str:
    code = ord(char)
    if not 0xD800 <= code <= 0xDFFF:
        return char
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def decoded(content: bytes) -> str:
    """Decode untrusted bytes as UTF-8: drop a byte order mark, keep bad bytes as surrogates."""
    return content.removeprefix(BOM_UTF8).decode("utf-8", "surrogateescape")


MAX_DIGITS = 32
"""Characters of a number that is written as text."""


@lru_cache(maxsize=256)
def _shared(text: str) -> str:
    """Return one object for equal texts: thousands of agents may write the same status and host name.

    sys.intern would keep a stranger's texts for good on some versions of CPython.
    """
    return text


class Fields:
    """The fields of one JSON object.

    An empty file has no fields and is not a problem: its writer has only just begun.
    """

    def __init__(self, content: bytes) -> None:
        self._problems: list[str] = []
        self._fields: Mapping[str, object] = {}
        if not content.strip():
            return
        try:
            # int() of very many digits raises (sys.set_int_max_str_digits), which would lose all other
            # fields.
            value = json.loads(decoded(content), parse_int=_bounded_int)
        except RecursionError:
            self._problems.append("JSON nested too deeply")
        except ValueError:
            self._problems.append("not JSON")
        else:
            if isinstance(value, dict):
                self._fields = value
            else:
                self._problems.append("JSON, but not an object")

    @property
    def problem(self) -> str | None:
        """Everything found wrong so far, in one line; None if nothing was."""
        return "; ".join(self._problems) or None

    def moment(self, name: str) -> float | None:
        """Return the field as epoch seconds, from ISO-8601 or a number."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, str | int | float):
            try:
                return parse_timestamp(value)
            except (ValueError, OverflowError):
                pass
        self._bad(name, "not a timestamp")
        return None

    def number(self, name: str, low: float, high: float, *, text: bool = False) -> float | None:
        """Return the field as a finite number from ``low`` to ``high``; ``text``: its digits count too."""
        value = self._fields.get(name)
        if value is None:
            return None
        if text and isinstance(value, str) and len(value) <= MAX_DIGITS and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self._bad(name, f"not a number from {low:g} to {high:g}")
        return None

    def integer(self, name: str, low: int, high: int, *, text: bool = False) -> int | None:
        """Return the field as a whole number from ``low`` to ``high``; ``text``: its digits count too."""
        value = self._fields.get(name)
        if value is None:
            return None
        if text and isinstance(value, str) and len(value) <= MAX_DIGITS and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self._bad(name, f"not a whole number from {low} to {high}")
        return None

    def text(self, name: str) -> str | None:
        """Return a text of 1 to 256 characters; empty text is None and not a problem."""
        value = self._fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and len(text := jsonable(value)) <= MAX_TEXT:
            return _shared(text)
        self._bad(name, f"not text of up to {MAX_TEXT} characters")
        return None

    def identifier(self, name: str) -> str | None:
        """Return an id of 1 to 256 characters, stripped of white space; a whole number becomes text."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and 1 <= len(text := jsonable(value.strip())) <= MAX_TEXT:
            return text
        self._bad(name, f"not an id of 1 to {MAX_TEXT} characters")
        return None

    def prose(self, name: str, limit: int = 1000) -> str | None:
        """Return a text for people, cut at ``limit`` characters."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            return jsonable(value[:limit])
        self._bad(name, "not text")
        return None

    def refuse(self, name: str, why: str) -> None:
        """Report a field that cannot be used, for a reason which holds none of the content."""
        self._bad(name, why)

    def _bad(self, name: str, expected: str) -> None:
        self._problems.append(f"{name}: {expected}")


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else math.inf
