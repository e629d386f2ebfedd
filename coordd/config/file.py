"""Read the configuration files; no other module reads configuration from disk.

The owner's files may be links and have to be valid. A project's own file may come from a stranger: it is
opened without following links, and whatever is wrong with it is a problem in words, never an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from coordd.config.build import Config, build_config
from coordd.config.layout import Layout
from coordd.config.project import MAX_BYTES as MAX_OF_PROJECT
from coordd.config.project import clipped
from coordd.config.sources import ALERTS, parse_toml
from coordd.errors import ConfigError
from coordd.protocol.paths import project_paths, user_paths
from coordd.util.fields import Malformed
from coordd.util.regular_files import open_regular
from coordd.util.untrusted_folder import FOLDER_FLAGS, open_folder, read_regular

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """All sources of the configuration, fixed at start so that a reload reads the same ones.

    ``config_file`` is the file that ``--config`` named, None for the layout's own, which need not exist.
    """

    layout: Layout
    config_file: str | None
    environ: Mapping[str, str]
    flags: Mapping[str, object]
    cwd: str

    @property
    def path(self) -> str:
        """The path of the configuration file that is read."""
        return self.config_file or self.layout.config_file

    def load(self) -> Config:
        """Read and check all sources; return the configuration.

        Raises:
            ConfigError: with file, key, value and what was expected; of a project's own file nothing is one.
        """
        root = self.layout.root if self.config_file is None else None
        user_file = user_paths(self.environ, sys.platform)["config_file"]
        unreadable: list[str] = []
        troubles: list[str] = []
        if root is None:
            file_text, user_text = _read(self.path, required=self.config_file is not None), None
        else:
            file_text = _read_of_project(root, unreadable)
            user_text = _read_of_user(user_file, troubles)
        return build_config(
            layout=self.layout,
            file_text=file_text,
            file_name=self.path,
            environ=self.environ,
            flags=self.flags,
            trusted=root is None,
            cwd=self.cwd,
            user_text=user_text,
            user_file=user_file,
            canonical=os.path.realpath,
            troubles=[*unreadable, *troubles],
            unreadable=unreadable,
        )


def alerts_file(sources: ConfigSources) -> str | None:
    """Return the owner's file if it has rules of coordd-alert, which are that program's to check; else None.

    Raises:
        ConfigError: the file cannot be read.
    """
    in_project = sources.layout.root is not None and sources.config_file is None
    path = user_paths(sources.environ, sys.platform)["config_file"] if in_project else sources.path
    text = _read(path, required=False)
    return path if text is not None and ALERTS in parse_toml(text, path) else None


def _read_of_project(root: str, troubles: list[str]) -> str | None:
    """Read a project's own file through its directory: no link is followed below it, no call blocks."""
    path = project_paths(root)["config_file"]
    folder, name = os.path.split(path)
    try:
        with _closing(os.open(root, FOLDER_FLAGS)) as project:
            claude = open_folder(os.path.basename(folder), project)
            if claude is None:
                return None
            with _closing(claude):
                return read_regular(claude, name, MAX_OF_PROJECT)[0].decode()
    except FileNotFoundError:
        return None
    except Malformed as error:
        reason = f"{error}"
    except UnicodeDecodeError as error:
        reason = f"expected UTF-8: byte {error.start} is none"
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    troubles.append(clipped(f"{path}: {reason}; it is ignored"))
    return None


def _read_of_user(path: str, troubles: list[str]) -> str | None:
    """Read the user's own file, which holds the user's tables for projects."""
    try:
        return _read(path, required=False)
    except ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        # another user runs with this home: go on without its tables, and report it
        troubles.append(clipped(f"{error}; its tables for projects are ignored"))
        return None


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of a block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: str, *, required: bool) -> str | None:
    def refuse(_kind: str) -> ConfigError:
        return ConfigError(path, "", None, "expected a regular file")

    try:
        descriptor = open_regular(path, os.O_RDONLY, refuse=refuse, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise ConfigError(path, "", None, "there is no such file") from None
        return None
    except OSError as error:
        raise ConfigError(path, "", None, f"it cannot be read: {error.strerror}") from error
    with _closing(descriptor), os.fdopen(descriptor, "rb", closefd=False) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(path, "", None, f"expected a file of at most {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", None, f"expected UTF-8: byte {error.start} is none") from error
