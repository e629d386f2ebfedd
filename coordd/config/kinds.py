"""Define the kinds of configuration values: how each is parsed, bounded and shown.

Pure. A kind takes a value of TOML (or a text of the environment) and returns the value that the service uses:
seconds, bytes, absolute paths. Knows no key by name; schema.py assigns kinds to keys.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coordd.config.redis_prefix import LONGEST_PREFIX, check_redis_prefix
from coordd.config.redis_url import check_redis_url, public_url
from coordd.util.units import format_duration, format_size, parse_duration, parse_size

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The context of a value: the environment for ``~`` and ``$NAME``, and the base of relative paths.

    ``base`` is None if relative paths are refused (in a file).
    """

    environ: Mapping[str, str]
    base: str | None


@dataclass(frozen=True, slots=True)
class ValueKind:
    """One kind of value.

    ``parse`` raises ValueError in words that say what was expected. ``from_text`` turns an environment
    variable into what TOML would have given. ``show`` writes a parsed value as TOML.
    """

    words: str
    parse: Callable[[object, Surroundings], object]
    show: Callable[[object], str]
    from_text: Callable[[str], object] = str


def duration(*, least: float, most: float) -> ValueKind:
    """Return the kind for seconds within bounds."""
    words = f"a duration from {format_duration(least)} to {format_duration(most)}"

    def parse(value: object, _: Surroundings) -> float:
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise ValueError(f"expected {words}, such as '90s' or '1h30m'") from error
        if not least <= seconds <= most:
            raise ValueError(f"expected {words}")
        return seconds

    return ValueKind(words, parse, lambda value: _quoted(format_duration(parse_duration(value))))


def size(*, least: int) -> ValueKind:
    """Return the kind for bytes, at least ``least``."""
    words = f"a size of at least {format_size(least)}"

    def parse(value: object, _: Surroundings) -> int:
        try:
            count = parse_size(value)
        except ValueError as error:
            raise ValueError(f"expected {words}, such as '256MiB' or '10MB'") from error
        if count < least:
            raise ValueError(f"expected {words}")
        return count

    return ValueKind(words, parse, lambda value: _quoted(format_size(parse_size(value))))


def integer(*, least: int, most: int) -> ValueKind:
    """Return the kind for a whole number within bounds; booleans are refused."""
    words = f"a whole number from {least} to {most}"

    def parse(value: object, _: Surroundings) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected {words}")
        return value

    def from_text(text: str) -> object:
        try:
            return int(text)
        except ValueError:
            return text  # parse refuses it, with its own error

    return ValueKind(words, parse, str, from_text)


def choice(*allowed: str) -> ValueKind:
    """Return the kind for one of a few words, in lower or upper case."""
    words = "one of " + ", ".join(allowed)

    def parse(value: object, _: Surroundings) -> str:
        if not isinstance(value, str) or value.strip().lower() not in allowed:
            hint = did_you_mean(value.lower(), allowed) if isinstance(value, str) else ""
            raise ValueError(f"expected {words}{hint}")
        return value.strip().lower()

    return ValueKind(words, parse, _quoted)


def boolean() -> ValueKind:
    """Return the kind of a switch: true or false, in the environment also 1, yes, on, 0, no, off."""
    words = "true or false"
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}

    def parse(value: object, _around: Surroundings) -> object:
        found = value if isinstance(value, bool) else None
        if isinstance(value, str):
            found = known.get(value.strip().lower())
        if found is None:
            raise ValueError(f"expected {words}")
        return found

    return ValueKind(words, parse, lambda value: "true" if value else "false")


def group_name() -> ValueKind:
    """Return the kind for the name of a group of users."""
    words = "the name of a group, or its number"

    def parse(value: object, _: Surroundings) -> str:
        if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_][\w.@-]{0,254}\$?", value) is None:
            raise ValueError(f"expected {words}")
        return value

    return ValueKind(words, parse, _quoted)


def path() -> ValueKind:
    """Return the kind for an absolute path; ``~`` and ``$NAME`` are replaced."""
    words = "an absolute path"
    return ValueKind(words, lambda value, around: _absolute(value, around, words), _quoted)


def paths(check: Callable[[str], None] = lambda _: None) -> ValueKind:
    """Return the kind for a list of absolute paths, each once, in their order; patterns stay as they are.

    ``check`` raises ValueError for a path that is none of what is meant.
    """
    words = "a list of absolute paths"

    def parse(value: object, around: Surroundings) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"expected {words}")
        found = tuple(dict.fromkeys(_absolute(item, around, words) for item in value))
        for one in found:
            check(one)
        return found

    def from_text(text: str) -> object:
        return [part for part in text.split(os.pathsep) if part]

    return ValueKind(words, parse, lambda value: json.dumps(value, ensure_ascii=False), from_text)


def project_paths() -> ValueKind:
    """Return the kind for the directories of projects: none of the folders in which agents coordinate."""

    def check(one: str) -> None:
        above, inside, _ = f"{one}/".partition("/.claude/coordination/")
        if not inside and one.endswith("/.claude"):
            above, inside = one.removesuffix("/.claude"), one
        if inside:
            raise ValueError(f"{one} lies inside of a project, which coordd only reads there: name {above}")

    return paths(check)


def redis_url() -> ValueKind:
    """Return the kind for the URL of a Redis."""
    words = "a URL redis://, rediss:// or unix://"

    def parse(value: object, _: Surroundings) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {words}")
        return check_redis_url(value)

    return ValueKind(words, parse, lambda value: _quoted(public_url(str(value))))


def redis_prefix() -> ValueKind:
    """Return the kind for what all keys in a Redis begin with; empty for nothing."""
    words = f"a text of at most {LONGEST_PREFIX} characters without white space"

    def parse(value: object, _: Surroundings) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {words}")
        return check_redis_prefix(value)

    return ValueKind(words, parse, _quoted)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for a near miss, else an empty text."""
    from difflib import get_close_matches  # for errors only

    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _absolute(value: object, around: Surroundings, words: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected {words}")
    expanded = _expand(value, around.environ)
    if not os.path.isabs(expanded):
        if around.base is None or expanded.startswith("~"):
            raise ValueError(f"expected {words}, one that begins with / or ~/")
        expanded = os.path.join(around.base, expanded)
    return os.path.normpath(expanded)


def _expand(value: str, environ: Mapping[str, str]) -> str:
    if value == "~" or value.startswith("~/"):
        value = "$HOME" + value[1:]

    def replacement(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not environ.get(name):
            raise ValueError(f"expected a path whose variables are set, and ${name} is not")
        return environ[name]

    return _VARIABLE.sub(replacement, value)


def _quoted(value: object) -> str:
    # a JSON string is a TOML basic string, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
