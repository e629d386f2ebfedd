"""Read an untrusted JSON object field by field: a bad field becomes None and is reported, the others count.

Pure. A report names the field and what was expected, never the content: it must stay the same from one
reading to the next, and untrusted data does not belong in a log.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from coordd.util.units import parse_duration
from coordd.util.written_times import AHEAD, WrittenTime, Zone, read_time, zone_of

T = TypeVar("T")

UPDATED = ("last_update", "last_heartbeat", "last_seen", "updated_at", "heartbeat_at")
"""One field under many names: when an agent last told of itself."""
STARTED = ("started_at", "registered_at", "created_at")
"""One field under many names: when an agent began."""
_PAST = (*UPDATED, "timestamp", "claimed_at", *STARTED)
"""Every time that lies in the past when it is written, the latest first."""

MAX_TEXT = 256


class Malformed(ValueError):
    """An input that cannot be used; the text is the reason, without any of the content."""


class Denied(str):
    """Why a trace cannot be read, in words, where a right is lacking that somebody can give.

    It is for readers' tables alone: what is shown of it is a plain ``str``, as msgspec encodes no other.
    """

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


NOT_TEXT = "not UTF-8 text"


def as_utf8(content: bytes) -> bytes:
    """Return text as UTF-8 without its byte order mark, which may also say that it is UTF-16.

    Bytes that are not UTF-8 stay where they are; :func:`utf8` refuses them.

    Raises:
        Malformed: it is not the UTF-16 that it says it is.
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeDecodeError:
            raise Malformed(NOT_TEXT) from None
    return content.removeprefix(BOM_UTF8)


def utf8(content: bytes) -> str:
    """Decode text, whatever byte order mark it has.

    Raises:
        Malformed: it is neither UTF-8 nor, with its mark, UTF-16; or it holds a NUL, as UTF-16 without a mark
            does, and a file that a crash has cut off.
    """
    content = as_utf8(content)
    try:
        if b"\0" not in content:
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise Malformed(NOT_TEXT)


MAX_DIGITS = 32
"""Characters of a number that is written as text."""


@lru_cache(maxsize=256)
def _shared(text: str) -> str:
    """Return one object for equal texts: thousands of agents may write the same status and host name.

    sys.intern would keep a stranger's texts for good on some versions of CPython.
    """
    return text


class Fields:
    """The fields of one JSON object, each under its name in snake_case or camelCase.

    An empty file has no fields and is not a problem: its writer has only just begun.

    Args:
        content: the bytes.
        anchor: when they were written, as far as somebody else than the writer tells: the time of the file
            or of the push; it tells in which zone times without one are written.
        now: a moment after which they were not written: what lies over a day ahead of it is no time.
    """

    def __init__(self, content: bytes, *, anchor: float | None = None, now: float | None = None) -> None:
        self._problems: list[str] = []
        self._fields: Mapping[str, object] = {}
        self._anchor = anchor
        self._now = now
        self._zone: Zone | None = None
        self._lossy = False
        if not content.strip():
            return
        try:
            # int() of very many digits raises (sys.set_int_max_str_digits), which would lose all other
            # fields.
            value = json.loads(self._text_of(content), parse_int=_bounded_int)
        except Malformed as error:
            self._problems.append(str(error))
        except RecursionError:
            self._problems.append("JSON nested too deeply")
        except ValueError:
            self._problems.append("not JSON")
        else:
            if isinstance(value, dict):
                self._fields = value
            else:
                self._problems.append("JSON, but not an object")

    def _text_of(self, content: bytes) -> str:
        content = as_utf8(content)
        if b"\0" in content:
            raise Malformed(NOT_TEXT)
        try:
            return content.decode()
        except UnicodeDecodeError:
            self._lossy = True
            self._problems.append(NOT_TEXT)
            return content.decode("utf-8", "surrogateescape")

    def _get(self, name: str) -> object:
        """Return a field, None where it is absent; of text that is not UTF-8 only what is."""
        value = self._fields.get(name)
        if value is None and "_" in name:
            value = self._fields.get(_camel_case(name))
        if self._lossy and isinstance(value, str) and any("\udc80" <= char <= "\udcff" for char in value):
            return None
        return value

    @property
    def problem(self) -> str | None:
        """Everything found wrong so far, in one line; None if nothing was."""
        return "; ".join(self._problems) or None

    def moment(self, *names: str, ahead: bool = False) -> float | None:
        """Return the first of these fields that is a time, in epoch seconds.

        Args:
            names: of the fields; usually one.
            ahead: it may lie any time ahead, as the end of a claim does.
        """
        found = (self._moment(name, ahead=ahead) for name in names)
        return next((time for time in found if time is not None), None)

    def latest(self, *names: str) -> float | None:
        """Return the latest time in these fields, in epoch seconds; None if none of them is one."""
        found = (self._moment(name) for name in names)
        return max((time for time in found if time is not None), default=None)

    def _moment(self, name: str, *, ahead: bool = False) -> float | None:
        value = self._get(name)
        if value is None or value == "":
            return None
        try:
            written = read_time(value)
        except ValueError:
            self._bad(name, "not a timestamp")
            return None
        time = written.epoch
        if written.zoneless:
            if self._zone is None:
                self._zone = self._find_zone()
            time = written.in_zone(self._zone, self._anchor)
        if not ahead and self._now is not None and time > self._now + AHEAD:
            self._bad(name, "more than a day ahead")
            return None
        return time

    def _find_zone(self) -> Zone:
        past = list(self._past())
        anchors = [time.epoch for time in past if not time.zoneless]
        return zone_of(past, anchors if self._anchor is None else [self._anchor, *anchors])

    def _past(self) -> Iterator[WrittenTime]:
        """Yield the times of the object that had passed when it was written."""
        for name in _PAST:
            try:
                yield read_time(self._get(name))
            except ValueError:
                continue
        try:  # a claim that says only how long it lasts and when it ends was made so long before
            end, lasts = read_time(self._get("expires_at")), parse_duration(self._get("ttl"))
        except ValueError:
            return
        yield end._replace(epoch=end.epoch - lasts)

    def duration(self, name: str, longest: float) -> float | None:
        """Return the field as seconds, from a number of them or from text such as ``5m``."""
        value = self._get(name)
        if value is None or value == "":
            return None
        try:
            if (seconds := parse_duration(value)) <= longest:
                return seconds
        except (ValueError, OverflowError):
            pass
        self._bad(name, f"not a duration of up to {longest / 86400:,.0f} days")
        return None

    def number(self, name: str, low: float, high: float, *, text: bool = False) -> float | None:
        """Return the field as a finite number from ``low`` to ``high``; ``text``: its digits count too."""
        value = self._get(name)
        if value is None:
            return None
        if text and isinstance(value, str) and len(value) <= MAX_DIGITS:
            with suppress(ValueError):
                value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            with suppress(OverflowError):
                if math.isfinite(found := float(value)):
                    return found
        span = f"of up to {high:,.0f}" if low == -math.inf else f"from {low:,.0f} to {high:,.0f}"
        self._bad(name, f"not a number {span}")
        return None

    def integer(self, name: str, low: int, high: int, *, text: bool = False) -> int | None:
        """Return the field as a whole number from ``low`` to ``high``; ``text``: its digits count too."""
        value = self._get(name)
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
        value = self._get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and len(text := jsonable(value)) <= MAX_TEXT:
            return _shared(text)
        self._bad(name, f"not text of up to {MAX_TEXT} characters")
        return None

    def identifier(self, name: str) -> str | None:
        """Return an id of 1 to 256 characters, without the white space around it.

        A whole number is its decimal text. Empty text is None and not a problem.
        """
        value = self._get(name)
        if value is None or value == "":
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and 1 <= len(text := jsonable(value.strip())) <= MAX_TEXT:
            return text
        self._bad(name, f"not an id of 1 to {MAX_TEXT} characters")
        return None

    def prose(self, name: str, limit: int = 1000) -> str | None:
        """Return a text for people, cut at ``limit`` characters."""
        value = self._get(name)
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


_EXACT = 2.0**53
"""From here on a float is no exact whole number."""


@lru_cache(maxsize=64)
def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else math.inf
