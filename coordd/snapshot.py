"""The snapshot: the last picture, for ``coordctl status`` without a daemon, and for the next daemon."""

from __future__ import annotations

import os

import msgspec

from coordd.directories import ensure_directory


def write_snapshot(
    path: str, document: object, *, mode: int, directory_mode: int, gitignore: bool, root: str | None
) -> None:
    """Replace the snapshot atomically; durable when this returns.

    Raises:
        OSError: it could not be written; the one before is whole.
    """
    ensure_directory(os.path.dirname(path), mode=directory_mode, gitignore=gitignore, root=root)
    temporary = f"{path}.tmp"
    body = msgspec.json.encode(document)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, path)
