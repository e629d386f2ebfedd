"""Reading the configuration file: the one place where configuration comes from a disk."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from coordd.config import Config, build_config
from coordd.errors import ConfigError
from coordd.layout import Layout
from coordd.sockets import user_paths

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a configuration is made from, fixed at start so that a reload reads nothing else.

    ``config_file`` is the file that ``--config`` named, None for the layout's own, which need not exist.
    """

    layout: Layout
    config_file: str | None
    environ: Mapping[str, str]
    flags: Mapping[str, object]
    cwd: str

    @property
    def path(self) -> str:
        """The file that is read."""
        return self.config_file or self.layout.config_file

    def load(self) -> Config:
        """Read and check everything.

        Raises:
            ConfigError: with file, key, value and what was expected.
        """
        trusted = self.config_file is not None or self.layout.name != "project"
        return build_config(
            layout=self.layout,
            file_text=_read(self.path, required=self.config_file is not None),
            file_name=self.path,
            environ=self.environ,
            flags=self.flags,
            trusted=trusted,
            cwd=self.cwd,
            user_file=user_paths(self.environ, sys.platform)["config_file"],
        )


def _read(path: str, *, required: bool) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if required:
            raise ConfigError(path, "", None, "there is no such file") from None
        return None
    except OSError as error:
        raise ConfigError(path, "", None, f"it cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(path, "", None, "expected a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(path, "", None, f"expected a file of at most {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", None, f"expected UTF-8: byte {error.start} is none") from error
