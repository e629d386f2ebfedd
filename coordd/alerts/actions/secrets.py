"""Read the secrets of rules: written there, in a file of their owner's alone, or in an environment variable.

A file is refused if anybody but its owner can read or write it, if it is not this user's (or root's), and if
a link of somebody else leads to it. Errors say what is wrong and what to type, and nothing of what was read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordd.util.regular_files import open_regular, read_open
from coordd.util.shell import shell_word

LONGEST = 64 * 1024
"""Bytes of a file."""
EXPECTED = 'expected text, { file = "PATH" } or { env = "NAME" }'


class BadSecret(ValueError):
    """A secret that cannot be used; the text says why and does not hold it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, and the variable that it came from; its repr does not show it."""

    value: str = field(repr=False)
    variable: str | None = None


def secret_of(written: object, environ: Mapping[str, str]) -> Secret:
    """Return the secret that a rule names; reads a file where it names one.

    Raises:
        BadSecret: it cannot be had, is empty, or holds a control character.
    """
    if isinstance(written, str):
        return Secret(_checked(written, "it"))
    if not isinstance(written, Mapping) or len(written) != 1:
        raise BadSecret(EXPECTED)
    ((kind, name),) = written.items()
    if kind not in ("file", "env") or not isinstance(name, str) or not name:
        raise BadSecret(EXPECTED)
    if kind == "env":
        if name not in environ:
            raise BadSecret(f"the environment variable {name!r:.80} is not set")
        return Secret(_checked(environ[name], f"the environment variable {name!r:.80}"), name)
    return Secret(_checked(_read(_absolute(name, environ)), "the file"))


def _absolute(path: str, environ: Mapping[str, str]) -> str:
    if path.startswith("~/") and "HOME" in environ:
        path = environ["HOME"] + path[1:]
    if not path.startswith("/"):
        raise BadSecret("expected an absolute path of a file, or one that begins with ~/")
    return path


def _read(path: str) -> str:
    try:
        _check_link(path)
        descriptor = open_regular(path, os.O_RDONLY, refuse=_no_regular_file, follow=True)
        try:
            _check_rights(os.fstat(descriptor), path)
            data = read_open(descriptor, path, LONGEST)
        finally:
            os.close(descriptor)
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise BadSecret(f"the file {shell_word(path)} cannot be read: {words}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadSecret("expected UTF-8 in the file") from None
    return text.removesuffix("\n").removesuffix("\r")


def _check_link(path: str) -> None:
    """Refuse a link of another user at the last step."""
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode) and state.st_uid not in (0, os.geteuid()):
        raise BadSecret("the path is a symbolic link of another user")


def _check_rights(state: os.stat_result, path: str) -> None:
    word = shell_word(path)
    if state.st_uid not in (0, os.geteuid()):
        raise BadSecret(f"the file is another user's (uid {state.st_uid}): sudo chown {os.geteuid()} {word}")
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSecret(f"others than its owner have rights on the file: chmod 600 {word}")


def _no_regular_file(kind: str) -> BadSecret:
    return BadSecret(f"it is {kind}, no regular file")


def _checked(text: str, what: str) -> str:
    if not text:
        raise BadSecret(f"{what} is empty")
    if len(text) > LONGEST or any(map(_is_control, text)):
        raise BadSecret(f"{what} holds a control character, such as a line break, or is too long")
    return text


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff"
