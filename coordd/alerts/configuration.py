"""Read the rules from the owner's configuration file, where nobody else can have written them.

The file is coordd's own ``coordd.toml``; here only its ``[[alert]]`` tables count. Blocking.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from coordd.alerts.ownership import trouble_with
from coordd.alerts.rules import TABLE, Rule, rules_of
from coordd.errors import ConfigError
from coordd.protocol.paths import system_paths, user_paths
from coordd.util.regular_files import open_regular, read_open

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules, and the file that they are from; ``built_in``: the file has none, or there is no file."""

    file: str
    rules: tuple[Rule, ...]
    built_in: bool


def usual_file(layout: str | None, environ: Mapping[str, str]) -> str:
    """Return the configuration of a layout; that of a project is the user's, for projects have no rules."""
    paths = system_paths(sys.platform) if layout == "system" else user_paths(environ, sys.platform)
    return paths["config_file"]


def load(path: str, *, required: bool, environ: Mapping[str, str]) -> Rules:
    """Read the rules.

    Args:
        path: the file.
        required: whether it has to be there.
        environ: HOME.

    Raises:
        ConfigError: the file cannot be read or trusted, or holds something that is no rule.
    """
    path = os.path.abspath(path)
    home = environ.get("HOME")
    text = _read(path, required=required)
    tables = None if text is None else _tables(text, path)
    if tables is not None:
        try:
            trouble = trouble_with(path, uid=os.geteuid(), home=home)
        except OSError as error:
            trouble = f"{error.filename or path} cannot be looked at: {error.strerror}"
        if trouble is not None:
            raise ConfigError(path, TABLE, None, f"its rules are not used, for {trouble}")
    return Rules(path, rules_of(tables, where=path, home=home), built_in=tables is None)


def _read(path: str, *, required: bool) -> str | None:
    def refuse(kind: str) -> ConfigError:
        return ConfigError(path, "", None, f"expected a regular file, not {kind}")

    try:
        descriptor = open_regular(path, os.O_RDONLY, refuse=refuse, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise ConfigError(path, "", None, "there is no such file") from None
        return None
    except OSError as error:
        raise ConfigError(path, "", None, f"it cannot be read: {error.strerror}") from error
    try:
        return read_open(descriptor, path, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", None, f"expected UTF-8: byte {error.start} is none") from error
    except OSError as error:
        raise ConfigError(path, "", None, f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _tables(text: str, path: str) -> object:
    try:
        return tomllib.loads(text).get(TABLE)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError alone
        raise ConfigError(path, "", None, f"expected TOML: {error}") from error
