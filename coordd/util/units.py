"""Parse and format durations and sizes as people write them: ``1h30m``, ``256MiB``.

Pure. coordctl imports it when it has to start fast, so it imports nothing. A ``parse_`` function reads what
its ``format_`` function writes back as the same value (durations: to the millisecond).
"""

from __future__ import annotations

_MILLISECONDS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_WORDS = {
    "w": ("week", "weeks"),
    "d": ("day", "days"),
    "h": ("hr", "hrs", "hour", "hours"),
    "m": ("min", "mins", "minute", "minutes"),
    "s": ("sec", "secs", "second", "seconds"),
    "ms": ("msec", "millisecond", "milliseconds"),
}
_UNITS = _MILLISECONDS | {word: _MILLISECONDS[unit] for unit, words in _WORDS.items() for word in words}
_BYTES = {
    "TiB": 1 << 40,
    "TB": 10**12,
    "GiB": 1 << 30,
    "GB": 10**9,
    "MiB": 1 << 20,
    "MB": 10**6,
    "KiB": 1 << 10,
    "kB": 1000,
    "B": 1,
}
_BYTES_BY_LOWER = {unit.lower(): factor for unit, factor in _BYTES.items()}
_LONGEST = 64
_DIGITS = frozenset("0123456789")
_NUMBER = _DIGITS | {"."}


def parse_duration(value: object) -> float:
    """Parse a duration into seconds, from a number of seconds or from text.

    Text is one or more of ``<number><unit>`` with the units w, d, h, m, s, ms from large to small, each once:
    ``60s``, ``1h30m``, ``1.5h``, ``500ms``. A unit may be a word, and blanks do not count: ``10 min``,
    ``2 days``, ``1 hour 30 minutes``. A number without a unit means seconds.

    Raises:
        ValueError: anything else, or a negative or infinite duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value)
    if not isinstance(value, str):
        raise ValueError(f"not a duration: {value!r:.{_LONGEST}}")
    text = value.strip()
    if _is_number(text):
        return float(text)
    total = 0.0
    smallest: int | None = None
    for number, unit in _parts(text, value):
        factor = _UNITS.get(unit)
        if factor is None:
            units = ", ".join(_MILLISECONDS)
            raise ValueError(f"unknown unit {unit!r:.{_LONGEST}} in {value!r:.{_LONGEST}}: one of {units}")
        if smallest is not None and factor >= smallest:
            raise ValueError(f"units go from large to small, each once: {value!r:.{_LONGEST}}")
        smallest = factor
        total += number * factor
    return _finite(total / 1000)


def format_duration(seconds: float) -> str:
    """Format seconds as ``1d2h3m4s5ms`` without empty parts, rounded to the millisecond; ``0s`` for zero.

    Raises:
        ValueError: negative, or not finite.
    """
    whole = int(_finite(seconds))  # a float times 1000 may be too large for one
    rest = whole * 1000 + round((seconds - whole) * 1000)
    if not rest:
        return "0s"
    parts = []
    for unit, factor in _MILLISECONDS.items():
        if unit == "w":  # 30d is easier to read than 4w2d
            continue
        count, rest = divmod(rest, factor)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(value: object) -> int:
    """Parse a number of bytes, from an int or from text such as ``2GiB``, ``1.5 MiB``, ``10MB``, ``4096``.

    KiB to TiB are powers of 1024, kB to TB powers of 1000, in upper or lower case. ``10M`` could
    mean either and is refused. A fraction of a byte is cut off.

    Raises:
        ValueError: anything else, or a negative number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"a size cannot be negative: {value}")
        return value
    if not isinstance(value, str):
        raise ValueError(f"not a size: {value!r:.{_LONGEST}}")
    text = value.strip()
    end = 0
    while end < len(text) and text[end] in _NUMBER:
        end += 1
    number, unit = text[:end], text[end:].strip()
    factor = _BYTES_BY_LOWER.get(unit.lower()) if unit else 1
    if factor is None or len(text) > _LONGEST or not _is_number(number):
        raise ValueError(f"not a size such as '256MiB' or '10MB': {value!r:.{_LONGEST}}")
    # a float would lose digits of large whole numbers
    return int(number) * factor if "." not in number else int(float(number) * factor)


def format_size(size: int) -> str:
    """Format bytes in the largest unit that divides them: ``2GiB``, ``10MB``, ``1537B``.

    Raises:
        ValueError: negative.
    """
    if size < 0:
        raise ValueError(f"a size cannot be negative: {size}")
    for unit, factor in _BYTES.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def _parts(text: str, given: str) -> list[tuple[float, str]]:
    """Split ``1h30m`` into [(1.0, "h"), (30.0, "m")]."""
    parts = []
    rest = text
    while rest:
        start = 0
        while start < len(rest) and rest[start] in _NUMBER:
            start += 1
        end = start
        while end < len(rest) and rest[end] not in _NUMBER:
            end += 1
        number, unit = rest[:start], rest[start:end].strip()
        if not _is_number(number) or not unit:
            break
        parts.append((float(number), unit))
        rest = rest[end:]
    if rest or not parts or len(text) > _LONGEST:
        raise ValueError(f"not a duration such as '60s' or '1h30m': {given!r:.{_LONGEST}}")
    return parts


def _is_number(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    # str.isdigit would also accept the digits of other scripts
    return (
        0 < len(text) <= _LONGEST
        and bool(whole or fraction)
        and _DIGITS.issuperset(whole)
        and _DIGITS.issuperset(fraction)
    )


def _finite(seconds: float) -> float:
    try:
        number = float(seconds)
    except OverflowError as error:
        raise ValueError(f"too long: {seconds!r:.{_LONGEST}}") from error
    if not 0 <= number < float("inf"):
        raise ValueError(f"a duration is finite and not negative: {number!r}")
    return number
