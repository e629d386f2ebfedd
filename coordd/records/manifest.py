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
                                          coordd wrote it (sinks/adopting.py); the person's word has an
                                          ``"origin"``: machine and folder
``{"name", "row", "length"}``             a table's second line is this one, for all tables begin alike
``{"name", "size"}``                      a table was closed at this size; null: it was opened again
``{"name", "met": true}``                 somebody else writes to the file: coordd writes to another one
``{"name", "mixed": true}``               it holds what is not coordd's: it is neither gzipped nor removed
``{"name", "found": true}``               it was there before the manifest; its content has to prove it
========================================  ==========================================================

``name`` is that of the plain file. A file that is still empty, or holds only a part of the first line (a
kill, a full disk), is coordd's if its name was announced. Lines are only ever added, except by
:func:`compact`.

A manifest may come with a clone, and claim what its writer guessed. So it suffices for appending; before a
file is gzipped or removed, all that is in it has to look like coordd's (adopting.py), or its owner's word be
there, which nobody elsewhere can know how to write.
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

from coordd.protocol.origin import origin_of
from coordd.records.shapes import may_begin

NAME = ".coordd-files.jsonl"
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest that are read, from its end: 20 years' worth. One that came with a clone may be of any
size; what it says before them does not count."""
MAX_LINE = 4 * 1024 * 1024
"""Bytes of the longest first line that proves anything."""
COMPACT_FROM = 256 * 1024
_RECENT = 100
RECORDS = ".jsonl"
TABLE = ".csv"
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 64 * 1024


class Claims:
    """What a manifest says.

    ``order`` numbers the names by their first mention, which is the order of writing; ``adopted`` and
    ``found`` are the names with these flags.
    """

    __slots__ = (
        "_lengths",
        "_lines",
        "_origins",
        "_rows",
        "adopted",
        "found",
        "met",
        "mixed",
        "order",
        "sizes",
    )

    def __init__(self) -> None:
        self.order: dict[str, int] = {}
        self.adopted: set[str] = set()
        self.found: set[str] = set()
        self.met: set[str] = set()
        self.mixed: set[str] = set()
        self.sizes: dict[str, int | None] = {}
        self._origins: dict[str, object] = {}
        self._rows: dict[str, dict[str, int]] = {}
        self._lines: dict[str, set[str]] = {}
        self._lengths: dict[str, int] = {}

    @classmethod
    def parse(cls, data: bytes) -> Claims:
        """Read a manifest; other lines in it are passed over."""
        claims = cls()
        claims.add(data)
        return claims

    def add(self, data: bytes) -> None:
        """Read on: whole lines that were added behind those that were read."""
        for line in data.split(b"\n"):
            if line:
                self._add(line)

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
                self._origins[name] = entry.get("origin")
            return
        row = entry.get("row")
        if isinstance(row, str) and isinstance(length, int):
            self._rows.setdefault(name, {})[row] = length
        if "size" in entry:
            size = entry["size"]
            self.sizes[name] = size if isinstance(size, int) else None
        for key, names in (("found", self.found), ("met", self.met), ("mixed", self.mixed)):
            if entry.get(key) is True:
                names.add(name)

    def announces(self, name: str) -> bool:
        """Return whether the manifest announces a file of this (plain) name."""
        return name in self._lines

    def given(self, name: str, folder: int) -> bool:
        """Return whether the owner of this very folder gave coordd the file of this (plain) name."""
        origin = self._origins.get(name)
        return isinstance(origin, dict) and all(
            type(origin.get(key)) is type(value) and origin[key] == value
            for key, value in origin_here(folder).items()
        )

    def prove_row(self, name: str, line: bytes, *, whole: bool) -> bool:
        """Return as :meth:`prove`, for the second line of a table."""
        rows = self._rows.get(name, {})
        if whole:
            return digest(line) in rows
        return len(line.rstrip(b"\0")) <= max(rows.values(), default=0)

    def prove(self, name: str, line: bytes, *, whole: bool) -> bool:
        """Return whether coordd made a file of this (plain) name that begins so; see :func:`first_line`."""
        if name not in self._lines:
            return False
        if whole:
            return digest(line) in self._lines[name]
        # A power loss leaves NUL bytes behind, where a file had grown and nothing was written yet.
        line = line.rstrip(b"\0")
        if name.endswith((RECORDS, TABLE)) and not may_begin(line, table=name.endswith(TABLE)):
            return False
        return len(line) <= self._lengths.get(name, 0)


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


def announcement(
    name: str, line: bytes, *, adopted: bool = False, origin: dict[str, object] | None = None
) -> bytes:
    """Return the manifest line for a file that begins with ``line`` (without its newline).

    Args:
        name: the plain one.
        line: the first one.
        adopted: coordd did not begin it.
        origin: of its folder, where its owner gave it.
    """
    entry: dict[str, object] = {"name": name, "sha256": digest(line), "length": len(line)}
    if adopted:
        entry["adopted"] = True
        if origin is not None:
            entry["origin"] = origin
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def remark(name: str, **what: object) -> bytes:
    """Return the manifest line that says something more of a file (``met``, ``mixed``, ``size``)."""
    return json.dumps({"name": name, **what}, separators=(",", ":")).encode() + b"\n"


def row_announcement(name: str, line: bytes) -> bytes:
    """Return the manifest line for a table whose second line is ``line``."""
    return remark(name, row=digest(line), length=len(line))


def origin_here(folder: int) -> dict[str, object]:
    """Return what tells this machine and an open directory.

    The device is left out: its number may change when the machine starts again.
    """
    return {key: value for key, value in origin_of(folder).items() if key != "device"}


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
    """Return whether coordd made an open file of this name (plain or gzipped); False if unreadable.

    Others may have written to it since: see :func:`is_own`.
    """
    plain = plain_name(name)
    if not claims.announces(plain):
        return False
    packed = name.endswith(".gz")
    try:
        line, whole = first_line(descriptor, compressed=packed)
        second, second_whole = b"", False
        if plain.endswith(TABLE) and whole:
            second, second_whole = second_line(descriptor, compressed=packed)
    except OSError:
        return False
    # gzip is put in place whole (compress.py): what ends early is somebody else's
    if (packed and not whole) or not claims.prove(plain, line, whole=whole):
        return False
    if not plain.endswith(TABLE) or plain in claims.adopted or not (second or second_whole):
        return True
    return claims.prove_row(plain, second, whole=second_whole)


def second_line(descriptor: int, *, compressed: bool) -> tuple[bytes, bool]:
    """Return as :func:`first_line`, for the line behind it; empty where it is too far off."""
    ended: list[bool] = []
    head = b""
    for piece in _inflated(descriptor, ended) if compressed else _read(descriptor):
        head += piece
        if head.count(b"\n") >= 2 or len(head) > _BLOCK:
            break
    lines = head.split(b"\n")
    return (lines[1] if len(lines) > 1 else b""), len(lines) > 2


def is_own(claims: Claims, folder: int, name: str) -> bool:
    """Return whether a file in an open directory is coordd's, and known to have no lines of others."""
    plain = plain_name(name)
    if not proves(claims, folder, name):
        return False
    if plain in claims.adopted and claims.given(plain, folder):
        return True
    # that a table is adopted is nobody's word but its owner's, for its content cannot tell
    if plain in claims.mixed or (plain.endswith(TABLE) and plain in claims.adopted):
        return False
    return _has_size(claims, folder, name)


def _has_size(claims: Claims, folder: int, name: str) -> bool:
    """Return whether a table has the size at which it was closed, where that is known."""
    size = claims.sizes.get(plain_name(name))
    if size is None or not plain_name(name).endswith(TABLE):
        return True
    try:
        if not name.endswith(".gz"):
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size == size
        descriptor = os.open(name, os.O_RDONLY | _SAFE, dir_fd=folder)
        try:  # its last four bytes are the size of what is in it (RFC 1952)
            end = os.pread(descriptor, 4, max(0, os.fstat(descriptor).st_size - 4))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return int.from_bytes(end, "little") == size & 0xFFFFFFFF


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
        kept = list(dict.fromkeys(_last_sizes(kept)))
        if len(kept) * 2 > len(lines):
            return False
        _replace(folder, b"".join(line + b"\n" for line in kept), mode)
        return True


def _last_sizes(lines: list[bytes]) -> list[bytes]:
    """Return the lines with the last size of each table alone, for the order of sizes counts."""
    last = {}
    for line in lines:
        for name in Claims.parse(line).sizes:
            last[name] = line
    others = [line for line in lines if not Claims.parse(line).sizes]
    return others + list(last.values())


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
