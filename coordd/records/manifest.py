"""Write and parse the lines of a folder's manifest (``.coordd-files.jsonl``): which files coordd made there.

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
``{"name", "purged": true}``              lines were taken out of it, when it was closed (sinks/purging.py)
``{"name", "found": true}``               it was there before the manifest; its content has to prove it
========================================  ==========================================================

``name`` is that of the plain file. A file that is still empty, or holds only a part of the first line (a
kill, a full disk), is coordd's if its name was announced. Lines are only ever added, except when the file is
shortened (manifest_file.py). provenance.py compares files with them.

A manifest may come with a clone, and claim what its writer guessed. So it suffices for appending; before a
file is gzipped or removed, all that is in it has to look like coordd's (adopting.py), or its owner's word be
there, which nobody elsewhere can know how to write.
"""

from __future__ import annotations

import json

from coordd.protocol.origin import origin_of
from coordd.records.shapes import may_begin
from coordd.util.digest import sha256_hex

RECORDS = ".jsonl"
TABLE = ".csv"


class ManifestClaims:
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
        "purged",
        "sizes",
    )

    def __init__(self) -> None:
        self.order: dict[str, int] = {}
        self.adopted: set[str] = set()
        self.found: set[str] = set()
        self.met: set[str] = set()
        self.mixed: set[str] = set()
        self.purged: set[str] = set()
        self.sizes: dict[str, int | None] = {}
        self._origins: dict[str, object] = {}
        self._rows: dict[str, dict[str, int]] = {}
        self._lines: dict[str, set[str]] = {}
        self._lengths: dict[str, int] = {}

    @classmethod
    def parse(cls, data: bytes) -> ManifestClaims:
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
        flags = {"found": self.found, "met": self.met, "mixed": self.mixed, "purged": self.purged}
        for key, names in flags.items():
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
        """Return whether coordd made a file of this (plain) name that begins with ``line``.

        Args:
            name: the plain one.
            line: the first one, without its newline.
            whole: it ends there; otherwise the file does, and a kill may have left it so.
        """
        if name not in self._lines:
            return False
        if whole:
            return digest(line) in self._lines[name]
        # A power loss leaves NUL bytes behind, where a file had grown and nothing was written yet.
        line = line.rstrip(b"\0")
        if name.endswith((RECORDS, TABLE)) and not may_begin(line, table=name.endswith(TABLE)):
            return False
        return len(line) <= self._lengths.get(name, 0)


def plain_name(name: str) -> str:
    """Return the name under which a manifest lists a file, whether it is gzipped or not."""
    return name.removesuffix(".gz")


def digest(line: bytes) -> str:
    """Return the digest by which a manifest knows a line (without its newline)."""
    return sha256_hex(line)


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
