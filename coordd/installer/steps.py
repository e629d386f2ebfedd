"""Define the steps of an installation: each describes itself in a line, and may be repeated.

Files are replaced whole by rename, so that no reader sees half of one. A step that fails says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from coordd.errors import InstallError
from coordd.util.regular_files import make_file

Done = Literal["written", "unchanged", "kept", "made", "ran", "removed", "absent", "given", "linked"]

COMMAND_DEADLINE = 240.0
"""Seconds for a command: systemctl start waits for READY, for which the unit allows 180."""


class Step(Protocol):
    """One step of an installation."""

    def describe(self) -> str:
        """Return what it is about, for ``--dry-run`` and the report."""

    def do(self) -> Done:
        """Carry it out, unless it is done already; return which.

        Raises:
            InstallError: with what to do about it.
        """


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a file with this text.

    ``keep``: an existing file stays. ``owner``: names of user and group, None for those of this process.
    """

    path: str
    text: str
    mode: int = 0o644
    owner: tuple[str, str] | None = None
    keep: bool = False

    def describe(self) -> str:
        """Return the file's path."""
        return f"write {self.path}"

    def do(self) -> Done:
        """Write the file, unless it is unchanged or kept."""
        with contextlib.suppress(OSError, UnicodeDecodeError), open(self.path, encoding="utf-8") as file:
            if file.read() == self.text:
                return "unchanged"
        if self.keep and os.path.lexists(self.path):
            return "kept"
        temporary = f"{self.path}.coordd-new"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            with open(make_file(temporary, mode=0o600), "w", encoding="utf-8") as file:
                file.write(self.text)
                file.flush()
                if self.owner is not None:
                    os.fchown(file.fileno(), *_ids(*self.owner))
                os.fchmod(file.fileno(), self.mode)
                os.fsync(file.fileno())
            os.rename(temporary, self.path)
        except OSError as error:
            raise cannot("write", self.path, error) from error
        return "written"


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory and its parents; an existing one keeps its mode and owner."""

    path: str
    mode: int = 0o755
    owner: tuple[str, str] | None = None

    def describe(self) -> str:
        """Return the directory's path."""
        return f"make {self.path}/"

    def do(self) -> Done:
        """Make the directory, unless it exists."""
        if os.path.isdir(self.path):
            return "unchanged"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            os.mkdir(self.path, 0o700)
            if self.owner is not None:
                os.chown(self.path, *_ids(*self.owner))
            os.chmod(self.path, self.mode)
        except OSError as error:
            raise cannot("make", self.path, error) from error
        return "made"


@dataclass(frozen=True, slots=True)
class GiveTree:
    """Give a directory tree to another owner, without following links: the service changes its user."""

    path: str
    owner: tuple[str, str]

    def describe(self) -> str:
        """Return path and new owner."""
        return f"give {self.path}/ to {':'.join(self.owner)}"

    def do(self) -> Done:
        """Give the tree, unless it is missing or theirs already."""
        try:
            uid, gid = _ids(*self.owner)
            if os.lstat(self.path).st_uid == uid:
                return "absent"
            for _, folders, names, descriptor in os.fwalk(self.path, topdown=False, follow_symlinks=False):
                for name in (*folders, *names):
                    os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            os.chown(self.path, uid, gid, follow_symlinks=False)
        except FileNotFoundError:
            return "absent"
        except OSError as error:
            raise cannot("give away", self.path, error) from error
        return "given"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a command; ``advice`` is what to do when it fails, None if it may fail."""

    argv: tuple[str, ...]
    advice: str | None

    def describe(self) -> str:
        """Return the command as one would type it."""
        return f"run {shlex.join(self.argv)}"

    def do(self) -> Done:
        """Run it, showing its output only if it fails; a command that may fail is not reported."""
        problem = failure(self.argv)
        if self.advice is None:
            return "absent"
        if problem is not None:
            raise InstallError(f"{shlex.join(self.argv)}: {problem}\n{self.advice}")
        return "ran"


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or with ``tree`` a directory and all in it."""

    path: str
    tree: bool = False

    def describe(self) -> str:
        """Return the path."""
        return f"remove {self.path}{'/' if self.tree else ''}"

    def do(self) -> Done:
        """Remove it, unless it is missing."""
        try:
            if self.tree and not os.path.islink(self.path):
                shutil.rmtree(self.path)
            else:
                os.unlink(self.path)
        except FileNotFoundError:
            return "absent"
        except OSError as error:
            raise cannot("remove", error.filename or self.path, error) from error
        return "removed"


@dataclass(frozen=True, slots=True)
class RemoveEmpty:
    """Remove a directory in which nothing is left."""

    path: str

    def describe(self) -> str:
        """Return the path."""
        return f"remove {self.path}/ if it is empty"

    def do(self) -> Done:
        """Remove it, unless it is missing or holds anything."""
        try:
            os.rmdir(self.path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return "absent"
            raise cannot("remove", self.path, error) from error
        return "absent"  # it came with what was in it, and so it goes


def perform(steps: Sequence[Step], *, say: Callable[[str], None], dry_run: bool = False) -> bool:
    """Carry out steps in order, a line for each change; return whether a file was written, given or removed.

    Raises:
        InstallError: from the first step that fails; earlier steps stay done, and may be repeated.
    """
    changed = False
    for step in steps:
        if dry_run:
            say(f"would {step.describe()}")
            continue
        done = step.do()
        changed = changed or done in ("written", "made", "given", "removed")
        if done != "absent":
            say(f"{done:<9}  {step.describe().partition(' ')[2]}")
    return changed


def failure(argv: Sequence[str], *, seconds: float = COMMAND_DEADLINE) -> str | None:
    """Run a command; return its output in words if it failed, None if it succeeded."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end within {seconds:g} s"
    except OSError as error:
        return f"it cannot be run: {error.strerror}"
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or done.stdout.strip())[-2000:]
    return said or f"exit code {done.returncode}"


def output(argv: Sequence[str], *, seconds: float = 30.0) -> str | None:
    """Return what a command prints; None if it fails."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def group_id(group: str) -> int:
    """Return the number of a group.

    Raises:
        InstallError: no group has this name.
    """
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise InstallError(f"there is no group {group}: {error}") from error


def _ids(user: str, group: str) -> tuple[int, int]:
    try:
        return pwd.getpwnam(user).pw_uid, group_id(group)
    except KeyError as error:
        raise InstallError(f"there is no user {user}: {error}") from error


def cannot(verb: str, path: str, error: OSError) -> InstallError:
    """Return the error for a step that the system refused, with what to do about it."""
    hint = ""
    if isinstance(error, PermissionError):
        hint = " Run it as the owner of that directory, or as root (sudo)."
    elif error.errno is not None and os.strerror(error.errno) == "No space left on device":
        hint = " Make room, then run it again."
    return InstallError(f"cannot {verb} {path}: {error.strerror}.{hint}")
