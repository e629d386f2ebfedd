"""Make the system calls that change files, one method each, so that each step between two can be tried."""

from __future__ import annotations

import os

from coordd.util.directories import sync_directory


class Calls:
    """The kernel's own."""

    def make(self, name: str, directory: int) -> int:
        """Open a file in a directory for writing; a new one, or emptied. No link is followed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(name, flags, 0o600, dir_fd=directory)

    def append_to(self, name: str, directory: int) -> int:
        """Open a file in a directory for appending; create it if it does not exist, and follow no link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(name, flags, 0o600, dir_fd=directory)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write some of the bytes; return how many."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Bring a file to stable storage."""
        os.fsync(descriptor)

    def sync_directory(self, directory: int) -> None:
        """Bring the names in a directory to stable storage."""
        sync_directory(directory)

    def rename(self, name: str, to: str, directory: int) -> None:
        """Give a file another name in its directory, in place of what has it."""
        os.rename(name, to, src_dir_fd=directory, dst_dir_fd=directory)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, size)
