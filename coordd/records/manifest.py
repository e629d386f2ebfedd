"""Record in a folder which files coordd made (``.coordd-files.jsonl``), and check that a file is one of them.

Others write the same names into the same folders, so a name proves nothing. Before the first line of a file
is written, a line of the manifest announces it and is brought to disk; a file is coordd's if its first line
is one that the manifest announces under its name. That still holds where the folder is copied, and for a file
that was gzipped.

========================================  ==========================================================
a line of the manifest                    what it says
========================================  ==========================================================
``{"name", "sha256", "length"}``          a file begins with this line (without its newline)
the same with ``"adopted": true``         a person gave the file to coordd, or its content proved that
                                          coordd wrote it (sinks/adopting.py)
``{"name", "found": true}``               it was there before the manifest; its content has to prove it
========================================  ==========================================================

``name`` is that of the plain file. A file that is still empty, or holds only a part of the first line (a
kill, a full disk), is coordd's if its name was announced. Lines are only ever added, except by
:func:`compact`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import stat
import zlib
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

NAME = ".coordd-files.jsonl"
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest that are read, from its end: 20 years' worth. One that came with a clone may be of any
size; what it says before them does not count."""
MAX_LINE = 4 * 1024 * 1024
"""Bytes of the longest first line that proves anything."""
COMPACT_FROM = 256 * 1024
_RECENT = 100
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 64 * 1024


class Claims:
    """What a manifest says.

    ``order`` numbers the names by their first mention, which is the order of writing; ``adopted`` and
    ``found`` are the names with these flags.
    """

    __slots__ = ("_lengths", "_lines", "adopted", "found", "order")

    def __init__(self) -> None:
        self.order: dict[str, int] = {}
        self.adopted: set[str] = set()
        self.found: set[str] = set()
        self._lines: dict[str, set[str]] = {}
        self._lengths: dict[str, int] = {}

    @classmethod
    def parse(cls, data: bytes) -> Claims:
        """Read a manifest; other lines in it are passed over."""
        claims = cls()
        for line in data.split(b"\n"):
            if line:
                claims._add(line)
        return claims

    def _add(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or "/" in name:
            return
        self.order.setdefault(name, len(self.order))
        sha256, length = entry.get("sha256"), entry.get("length")
        if isinstance(sha256, str):
            self._lines.setdefault(name, set()).add(sha256)
            if isinstance(length, int):
                self._lengths[name] = max(length, self._lengths.get(name, 0))
            if entry.get("adopted") is True:
                self.adopted.add(name)
        elif entry.get("found") is True:
            self.found.add(name)

    def announces(self, name: str) -> bool:
        """Return whether the manifest announces a file of this (plain) name."""
        return name in self._lines

    def prove(self, name: str, line: bytes, *, whole: bool) -> bool:
        """Return whether coordd made a file of this (plain) name that begins so; see :func:`first_line`."""
        if name not in self._lines:
            return False
        if whole:
            return digest(line) in self._lines[name]
        # A power loss leaves NUL bytes where a file had grown and nothing was written yet.
        return len(line.rstrip(b"\0")) <= self._lengths.get(name, 0)


def _find_sha256() -> Callable[[bytes], Any]:
    """Return CPython's own SHA-256: hashlib would load OpenSSL, a sixth of the daemon's memory."""
    for module in ("_sha2", "_sha256", "hashlib"):  # from 3.12 on, before it, elsewhere
        with contextlib.suppress(ImportError, AttributeError):
            found: Callable[[bytes], Any] = import_module(module).sha256
            return found
    raise ImportError("this Python has no SHA-256")


_sha256 = _find_sha256()


def plain_name(name: str) -> str:
    """Return the name under which a manifest lists a file, whether it is gzipped or not."""
    return name.removesuffix(".gz")


def digest(line: bytes) -> str:
    """Return the digest by which a manifest knows a line (without its newline)."""
    return str(_sha256(line).hexdigest())


def announcement(name: str, line: bytes, *, adopted: bool = False) -> bytes:
    """Return the manifest line for a file that begins with ``line`` (without its newline)."""
    entry: dict[str, object] = {"name": name, "sha256": digest(line), "length": len(line)}
    if adopted:
        entry["adopted"] = True
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def finding(name: str) -> bytes:
    """Return the manifest line for a file that was there before the manifest."""
    return json.dumps({"name": name, "found": True}, separators=(",", ":")).encode() + b"\n"


def first_line(descriptor: int, *, compressed: bool) -> tuple[bytes, bool]:
    """Return the first line of a file without its newline, and whether it is whole.

    It is whole with its newline; in a gzipped file also where the stream ends properly.

    Raises:
        OSError: it cannot be read.
    """
    ended: list[bool] = []
    pieces = _inflated(descriptor, ended) if compressed else _read(descriptor)
    line = b""
    for piece in pieces:
        end = piece.find(b"\n")
        if end >= 0:
            return line + piece[:end], True
        line += piece
        if len(line) > MAX_LINE:
            break
    return line, bool(ended)


def proven(claims: Claims, descriptor: int, name: str) -> bool:
    """Return whether coordd made an open file of this name (plain or gzipped); False if unreadable."""
    if not claims.announces(plain_name(name)):
        return False
    try:
        line, whole = first_line(descriptor, compressed=name.endswith(".gz"))
    except OSError:
        return False
    # A gzipped file gets its name when it is whole (compress.py): one that ends early is somebody else's.
    return (whole or not name.endswith(".gz")) and claims.prove(plain_name(name), line, whole=whole)


def proves(claims: Claims, folder: int, name: str) -> bool:
    """Return as :func:`proven`, for a file by its name in an open directory."""
    if not claims.announces(plain_name(name)):
        return False
    try:
        descriptor = os.open(name, os.O_RDONLY | _SAFE, dir_fd=folder)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and proven(claims, descriptor, name)
    finally:
        os.close(descriptor)


def read(folder: int, shown: str = "") -> bytes | None:
    """Read the manifest in an open directory; None where it has none.

    Args:
        folder: descriptor of the directory.
        shown: the path of the directory, for errors.

    Raises:
        OSError: with ``filename``; it cannot be read, or is not a regular file.
    """
    try:
        descriptor = _open(folder, os.O_RDONLY, shown)
    except FileNotFoundError:
        return None
    try:
        return _end_of(descriptor)
    finally:
        os.close(descriptor)


def append(folder: int, lines: bytes, *, mode: int, shown: str = "", before: bytes = b"") -> None:
    """Append lines to the manifest; they are on disk when this returns.

    Args:
        folder: descriptor of the directory.
        lines: whole lines, with their newlines.
        mode: permission bits of a manifest that has to be made.
        shown: the path of the directory, for errors.
        before: what a manifest that has to be made begins with.

    Raises:
        OSError: with ``filename``; the lines may or may not be in the manifest.
    """
    path = os.path.join(shown, NAME)
    try:
        replaced = False
        try:
            descriptor = _open(folder, os.O_RDWR | os.O_APPEND, shown)
        except FileNotFoundError:
            _replace(folder, before + lines, mode)
            return
        try:
            # Without this lock the lines could go into the old file while compact() replaces it.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:
                replaced = True
            else:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                _write_all(descriptor, (b"\n" if torn else b"") + lines)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    if replaced:
        append(folder, lines, mode=mode, shown=shown, before=before)


def compact(folder: int, present: Callable[[str], bool], *, mode: int) -> bool:
    """Rewrite a large manifest without the files that are gone.

    Args:
        folder: descriptor of the directory.
        present: tells whether a file of a (plain) name exists, plain or gzipped.
        mode: permission bits of the new manifest.

    Returns:
        Whether it was rewritten; it is not while another process appends lines.

    Raises:
        OSError: the old manifest is unchanged.
    """
    try:
        descriptor = _open(folder, os.O_RDONLY, "")
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb"):
        if os.fstat(descriptor).st_size < COMPACT_FROM:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        lines = [line for line in _end_of(descriptor).split(b"\n") if line]
        recent = max(0, len(lines) - _RECENT)  # announced, and perhaps not made yet
        kept = [line for i, line in enumerate(lines) if i >= recent or _is_present(line, present)]
        kept = list(dict.fromkeys(kept))
        if len(kept) * 2 > len(lines):
            return False
        _replace(folder, b"".join(line + b"\n" for line in kept), mode)
        return True


def _is_present(line: bytes, present: Callable[[str], bool]) -> bool:
    return any(present(name) for name in Claims.parse(line).order)


def _open(folder: int, flags: int, shown: str) -> int:
    path = os.path.join(shown, NAME)
    quoted = shlex.quote(path)
    reason = f"not a regular file, and coordd does not touch it; move it away: mv {quoted} {quoted}.other"
    surprise = OSError(errno.EEXIST, reason, path)
    try:
        descriptor = os.open(NAME, flags | _SAFE, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise surprise from error
        raise type(error)(error.errno, error.strerror, path) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise surprise
    return descriptor


def _replace(folder: int, data: bytes, mode: int) -> None:
    """Replace the manifest in one step, so that a reader finds the old or the new one, whole."""
    temporary = f"{NAME}.tmp"
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(temporary, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.EEXIST, f"{temporary} is no regular file there; move it away")
        os.unlink(temporary, dir_fd=folder)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, mode, dir_fd=folder)
    try:
        os.fchmod(descriptor, mode)
        owner = os.fstat(folder)
        if os.geteuid() == 0 and owner.st_uid != 0:  # root does this for a daemon of another user
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # as directories.sync_directory
            raise


def _end_of(descriptor: int) -> bytes:
    """Return the last MAX_BYTES, from the beginning of a line: what coordd itself adds is always in them."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - MAX_BYTES)
    data = b""
    while piece := os.pread(descriptor, size - begin - len(data), begin + len(data)):
        data += piece
    return data[data.find(b"\n") + 1 :] if begin else data


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor: int) -> Iterable[bytes]:
    offset = 0
    while piece := os.pread(descriptor, _BLOCK, offset):
        offset += len(piece)
        yield piece


def _inflated(descriptor: int, ended: list[bool]) -> Iterable[bytes]:
    inflate = zlib.decompressobj(wbits=31)
    for chunk in _read(descriptor):
        fed = chunk
        while fed and not inflate.eof:
            try:
                yield inflate.decompress(fed, _BLOCK)
            except zlib.error:
                return
            fed = inflate.unconsumed_tail
        if inflate.eof:
            ended.append(True)
            return
