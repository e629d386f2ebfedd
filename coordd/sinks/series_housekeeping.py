"""Bring one series of record files in order: adopt, remove old dates, gzip closed parts, remove by size.

Touches only files that coordd made, as the manifest proves (records/provenance.py), and never the part that
is being written. Follows no link. A round is complete in itself, and first finishes what a kill in an earlier
one left behind. retention.py decides what is due.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from coordd.records.ages import ages_of
from coordd.records.manifest import ManifestClaims, announcement, plain_name, remark
from coordd.records.names import Part, RecordSeries, parse_part
from coordd.records.provenance import is_own
from coordd.sinks.base import Notice
from coordd.sinks.compress import compress, compressed_name, finish, is_own_copy, temporary_of
from coordd.sinks.content_verdicts import ContentVerdicts
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.purge_file import COPY as PURGE_COPY
from coordd.sinks.purge_file import is_own_rewrite
from coordd.sinks.repair import DAMAGED
from coordd.sinks.retention import Policy, RetainedFile, is_due, outdated, room_for_closed
from coordd.util.regular_files import explain

_COPY = ".gz.tmp"


class SeriesWriter(Protocol):
    """Tell housekeeping about one series; record_file.py implements it."""

    unproven: int

    @property
    def folder(self) -> HeldFolder:
        """Return the directory of the files."""

    @property
    def series(self) -> RecordSeries:
        """Return what the files are called."""

    @property
    def name(self) -> str | None:
        """Return the name of the current part; None before the first one."""

    @property
    def max_part_bytes(self) -> int:
        """Return the size in bytes that a part may grow to."""

    def unless_open(self, name: str, act: Callable[[], None]) -> bool:
        """Call ``act`` unless the file is being written; return whether it was called."""


@dataclass(slots=True)
class Report:
    """Count what one run did; ``notices`` are of what failed for the first time."""

    removed: int = 0
    compressed: int = 0
    freed: int = 0
    notices: list[Notice] = field(default_factory=list)


class SeriesRound:
    """Go over one series once, in a directory that is held open: no other directory is touched."""

    def __init__(
        self,
        writer: SeriesWriter,
        folder: Folder,
        policy: Policy,
        today: str,
        *,
        doubtful: bool,
        verdicts: ContentVerdicts,
        report: Report,
        failures: dict[tuple[str, str], str],
    ) -> None:
        self._writer = writer
        self._folder = folder
        self._policy = policy
        self._today = today
        self._doubtful = doubtful
        self._verdicts = verdicts
        self._report = report
        self._failures = failures
        self._claims = ManifestClaims()

    def run(self) -> None:
        """Adopt, remove and gzip what is due; what fails goes into ``failures``."""
        try:
            self._claims = self._writer.folder.claims(self._folder)
            names = self._folder.names()
            self._adopt(names)
            self._drop_stale_copies(names)
            self._drop_old_dates()
            self._compress()
            self._drop_to_size()
            self._writer.folder.compact(self._folder, self._is_there)
        except OSError as error:
            self._fail(self._folder.path, "kept in order", explain(error))

    def _files(self) -> list[RetainedFile]:
        """Return coordd's own files of the series, oldest first, with those set aside as damaged."""
        found, unproven = self._sorted_out()
        if unproven:  # the writer may have begun a file since the manifest was read
            self._claims = self._writer.folder.claims(self._folder)
            found, unproven = self._sorted_out()
        self._writer.unproven = unproven
        ages = ages_of(((part_name_in(name), part) for name, part, _ in found), self._claims, self._today)
        return sorted(RetainedFile(ages[part_name_in(name)], name, part, size) for name, part, size in found)

    def _sorted_out(self) -> tuple[list[tuple[str, Part, int]], int]:
        """Return coordd's own files with their sizes, and the number of others with such names."""
        found: list[tuple[str, Part, int]] = []
        unproven = 0
        for name in self._folder.names():
            part = self._part(part_name_in(name))
            status = None if part is None else self._folder.regular(name)
            if part is None or status is None:
                continue
            if is_own(self._claims, self._folder.fd, name):
                found.append((name, part, status.st_size))
            else:
                unproven += 1
        return found, unproven

    def _part(self, name: str) -> Part | None:
        return parse_part(name, self._writer.series.name, self._writer.series.extension)

    def _path(self, name: str) -> str:
        return self._folder.path_of(name)

    def _is_current(self, file: RetainedFile) -> bool:
        return file.name == self._writer.name

    def _is_there(self, name: str) -> bool:
        return any(self._folder.exists(form) for form in (name, f"{name}.gz"))

    def _adopt(self, names: list[str]) -> None:
        """Announce files of an older coordd without a manifest, where every line shows that it wrote them."""
        lines = []
        for name in names:
            plain = plain_name(name)
            if self._part(name) is None or plain not in self._claims.found or self._claims.announces(plain):
                continue
            with suppress(FileNotFoundError):
                lines += self._judge(name, plain)
        if lines:
            self._writer.folder.announce(self._folder, b"".join(lines))
            self._claims = self._writer.folder.claims(self._folder)

    def _judge(self, name: str, plain: str) -> list[bytes]:
        """Return the manifest line for a file that its content proves; [] where it does not."""
        descriptor, _ = self._folder.open(name, os.O_RDONLY)
        try:
            line = self._verdicts.first_line_if_own(
                descriptor, self._writer.series.name, compressed=name.endswith(".gz")
            )
            return [] if line is None else [announcement(plain, line, adopted=True)]
        except OSError as error:
            self._fail(self._path(name), "read", explain(error))
        finally:
            os.close(descriptor)
        return []

    def _drop_stale_copies(self, names: list[str]) -> None:
        """Remove the copies that a killed run, of this or of a purge, did not finish."""
        for name in names:
            if not name.startswith(".") or not name.endswith((_COPY, PURGE_COPY)):
                continue
            purging = name.endswith(PURGE_COPY)
            of = name[1:].removesuffix(PURGE_COPY if purging else _COPY)
            part = self._part(part_name_in(of))
            if part is None or (part.compressed and not purging):
                continue
            is_own_one = is_own_rewrite if purging else is_own_copy
            try:
                if is_own_one(self._folder, name, self._claims):
                    self._folder.unlink(name)
            except OSError as error:
                self._fail(self._path(name), "removed", explain(error))

    def _drop_old_dates(self) -> None:
        for file in outdated(self._files(), self._policy, self._today, doubtful=self._doubtful):
            if not self._is_current(file):
                self._drop(file)

    def _compress(self) -> None:
        files = self._files()
        names = {file.name for file in files}
        for file in files:
            if DAMAGED in file.name or file.part.compressed or self._is_current(file):
                continue
            twin = compressed_name(file.name)
            try:
                if twin in names and not self._finish(file):
                    continue
                # a file above the budget is removed anyway: none of coordd's own grows that large
                if (
                    is_due(file.age.date, self._policy, self._today)
                    and file.size <= self._policy.max_bytes
                    and not self._folder.exists(twin)  # somebody else's: the file stays as it is
                    and self._is_all_own(file.name)
                ):
                    self._compress_one(file)
            except FileNotFoundError:  # somebody removed it meanwhile
                continue
            except OSError as error:
                self._fail(self._path(file.name), "compressed", explain(error))

    def _finish(self, file: RetainedFile) -> bool:
        """Keep one of both forms; return whether the plain file is still there, and alone."""
        if finish(self._folder, file.name, self._remove):
            return self._folder.exists(file.name) and not self._folder.exists(compressed_name(file.name))
        self._fail(
            self._path(file.name),
            "compressed",
            "it is there gzipped too, and each holds something of its own",
        )
        return False

    def _compress_one(self, file: RetainedFile) -> None:
        temporary = temporary_of(file.name)
        if not self._claims.announces(temporary):
            self._writer.folder.announce(self._folder, announcement(temporary, b""))
            self._claims = self._writer.folder.claims(self._folder)
        if compress(self._folder, file.name, self._remove):
            self._report.compressed += 1
            with suppress(OSError):
                packed = self._folder.stat(compressed_name(file.name))
                self._report.freed += file.size - packed.st_size

    def _drop_to_size(self) -> None:
        files = self._files()
        current = sum(file.size for file in files if self._is_current(file))
        allowed = room_for_closed(self._policy, current=current, max_part_bytes=self._writer.max_part_bytes)
        closed = [file for file in files if not self._is_current(file)]
        used = sum(file.size for file in closed)
        for file in closed:
            if used <= allowed:
                return
            if self._drop(file):
                used -= file.size

    def _drop(self, file: RetainedFile) -> bool:
        try:
            gone = self._is_all_own(file.name) and self._remove(file.name)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._fail(self._path(file.name), "removed", explain(error))
            return False
        if gone:
            self._report.removed += 1
            self._report.freed += file.size
        return gone

    def _remove(self, name: str) -> bool:
        return self._writer.unless_open(name, lambda: self._folder.unlink(name))

    def _is_all_own(self, name: str) -> bool:
        """Return whether a file has no lines of others; where it has, say so in the manifest."""
        if self._claims.given(plain_name(name), self._folder.fd):
            return True
        descriptor, _ = self._folder.open(name, os.O_RDONLY)
        try:
            if self._verdicts.has_only_records(
                descriptor,
                self._writer.series.name,
                compressed=name.endswith(".gz"),
                damaged=name.endswith(DAMAGED),
            ):
                return True
        finally:
            os.close(descriptor)
        self._writer.folder.announce(self._folder, remark(plain_name(name), mixed=True))
        self._claims = self._writer.folder.claims(self._folder)
        self._writer.unproven += 1
        return False

    def _fail(self, path: str, what: str, reason: str) -> None:
        self._failures[path, what] = reason


def part_name_in(name: str) -> str:
    """Return the part that a file is, or was set aside from: ``….jsonl`` for ``….jsonl.2.damaged``."""
    if not name.endswith(DAMAGED):
        return name
    base, _, number = name.removesuffix(DAMAGED).rpartition(".")
    return base if number.isdecimal() else name.removesuffix(DAMAGED)
