"""Take the records of an agent or a project out of all record files: count first, then rewrite each file.

Only files that coordd made, as the manifest proves, and that hold nothing of others are touched; the others
are named. The part that is being written is never touched: its writer has to go on in another one first.
Runs in the thread of housekeeping, so that neither meets the other in a file. purge_file.py does one file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from coordd.records.manifest import ManifestClaims, announcement, plain_name, remark
from coordd.records.names import parse_part
from coordd.records.provenance import is_own
from coordd.records.selection import RecordSelection
from coordd.sinks.adopting import only_records
from coordd.sinks.compress import is_own_copy
from coordd.sinks.folder import Folder
from coordd.sinks.purge_file import COPY, LineChoice, is_own_rewrite, look, rewrite, temporary_of
from coordd.sinks.repair import DAMAGED
from coordd.sinks.series_housekeeping import SeriesWriter, part_name_in
from coordd.sinks.similar_ids import SimilarIds
from coordd.util.regular_files import explain

SERIES = ("agent", "event")
"""The series that have records of agents."""
MAX_SAMPLES = 100_000
"""Records that are told by name, for who has copies of them elsewhere."""
MAX_LEFT = 100
"""Files that are named which were left as they are."""
_PACKING = ".gz.tmp"

Named = tuple[str, str, str | None, str]
"""Host, timestamp, workspace and id in an agent's record: where a copy of it is in Redis."""


class LeftFile(NamedTuple):
    """A file that stays as it is, and why; ``own``: coordd made it, and such records may be left in it."""

    path: str
    why: str
    own: bool


@dataclass(slots=True)
class PurgeReport:
    """What was found, or done: lines, the files that have them, and what was left as it is, each with why.

    ``current``: the series whose current part is among the files. ``recent`` names records for
    :class:`~coordd.sinks.redis.sink.RedisSink`. ``similar``: recorded ids that begin with the agent's.
    """

    lines: int = 0
    files: int = 0
    current: list[str] = field(default_factory=list)
    left: list[LeftFile] = field(default_factory=list)
    left_unnamed: int = 0
    recent: list[Named] = field(default_factory=list)
    similar: list[str] = field(default_factory=list)

    def leave(self, path: str, why: str, *, own: bool = True) -> None:
        """Note a file that stays as it is; ``own``: coordd made it."""
        if len(self.left) < MAX_LEFT:
            self.left.append(LeftFile(path, why, own))
        else:
            self.left_unnamed += 1


class Purge:
    """One purge; ``done`` of ``total`` files were looked at or rewritten so far, for any thread to read.

    Args:
        writers: the series of all sinks; those without agents are passed over.
        selection: whose records go; it learns the worktrees of a project.
        since: the timestamp from which on records are told in ``recent``.
    """

    def __init__(self, *, writers: Sequence[SeriesWriter], selection: RecordSelection, since: str) -> None:
        self.done = 0
        self.total = 0
        self._writers = sorted(
            (one for one in writers if one.series.name in SERIES), key=lambda one: one.series.name
        )  # those of agents first: events know nothing of worktrees
        self._selection = selection
        self._since = since
        self._similar = SimilarIds(selection.agent_id)

    def count(self) -> PurgeReport:
        """Return what :meth:`rewrite` would do; changes nothing."""
        report = PurgeReport()
        self._learn()
        self._each(report, rewrites=False)
        report.similar = sorted(self._similar.found)
        return report

    def rewrite(self) -> PurgeReport:
        """Take the records out of all files, and return what was done; it may be repeated."""
        report = PurgeReport()
        self._learn()
        self._each(report, rewrites=True)
        return report

    def _learn(self) -> None:
        """Learn which workspaces are worktrees of the project, from all records of agents."""
        if self._selection.place is None:
            return
        place = self._selection.place
        project = RecordSelection(place=place)
        for writer in self._writers:
            if writer.series.name != "agent":
                continue
            self._in_folder(
                writer,
                PurgeReport(),
                lambda one: one.look(LineChoice("agent", project, seen=self._selection.learn)),
            )

    def _each(self, report: PurgeReport, *, rewrites: bool) -> None:
        self.done = self.total = 0
        for writer in self._writers:
            self._in_folder(writer, report, lambda one: one.purge(self, report, rewrites=rewrites))

    def choice(self, series: str, report: PurgeReport, *, damaged: bool) -> LineChoice:
        """Return which lines go from a file of a series."""

        def seen(record: dict[str, Any]) -> None:
            names = tuple(record.get(name) for name in ("host", "timestamp", "workspace", "agent_id"))
            if len(report.recent) < MAX_SAMPLES and str(names[1]) >= self._since:
                report.recent.append(names)  # type: ignore[arg-type]  # whatever it is, redis/commands.py checks

        return LineChoice(
            series, self._selection, damaged=damaged, seen=seen if series == "agent" else lambda _: None
        )

    def passing(self, block: bytes) -> None:
        """Note what is like the agent's id in a block of agents' records."""
        self._similar.look(block)

    def _in_folder(self, writer: SeriesWriter, report: PurgeReport, act: Any) -> None:
        try:
            folder = writer.folder.take()
        except OSError as error:
            report.leave(writer.folder.path, explain(error))
            return
        if folder is None:
            report.leave(writer.folder.path, "the directory is not in its place")
            return
        try:
            act(_SeriesFiles(writer, folder))
        except OSError as error:
            report.leave(writer.folder.path, explain(error))
        finally:
            folder.close()


class _SeriesFiles:
    """The files of one series in a directory that is held open."""

    def __init__(self, writer: SeriesWriter, folder: Folder) -> None:
        self._writer = writer
        self._folder = folder
        self._series = writer.series.name
        self._claims = ManifestClaims()

    def look(self, choice: LineChoice) -> None:
        """Look at every line of coordd's own files."""
        self._claims = self._writer.folder.claims(self._folder)
        for name in self._names():
            if is_own(self._claims, self._folder.fd, name):
                try:
                    look(self._folder, name, choice)
                except OSError:  # the purge itself will say so
                    continue

    def purge(self, purge: Purge, report: PurgeReport, *, rewrites: bool) -> None:
        """Count, or take out, the lines of each file."""
        self._claims = self._writer.folder.claims(self._folder)
        if rewrites:
            self._drop_stale_copies(report)
        names = self._names()
        purge.total += len(names)
        for name in names:
            path = self._folder.path_of(name)
            try:
                self._one(name, path, purge, report, rewrites=rewrites)
            except FileNotFoundError:  # retention was faster
                pass
            except OSError as error:
                report.leave(path, explain(error))
            purge.done += 1

    def _one(self, name: str, path: str, purge: Purge, report: PurgeReport, *, rewrites: bool) -> None:
        if not is_own(self._claims, self._folder.fd, name):
            # the writer may have begun a file since the manifest was read
            self._claims = self._writer.folder.claims(self._folder)
        if not is_own(self._claims, self._folder.fd, name):
            report.leave(path, "coordd did not make it: coordctl records", own=False)
            return
        choice = purge.choice(self._series, report, damaged=DAMAGED in name)
        looked = replace(choice, seen=lambda _: None)
        if not rewrites and self._series == "agent":
            looked = replace(looked, passing=purge.passing)
        found = look(self._folder, name, looked)
        if not found.gone:
            return
        if not self._is_all_own(name):
            report.leave(path, f"it holds lines of others, and {found.gone} of these records")
            return
        if name == self._writer.name:
            report.current.append(self._series)
        if rewrites:
            if found.first is not None:
                self._announce(name, found.first)
            gone = rewrite(
                self._folder,
                name,
                choice,
                first=found.first,
                act=lambda step: self._writer.unless_open(name, step),
                stays=self._leads_to(name),
            )
        else:
            gone = found.gone
        report.lines += gone
        report.files += 1

    def _announce(self, name: str, line: bytes) -> None:
        """Say in the manifest how the file will begin, and so its copy until then."""
        plain = plain_name(name)
        lines = announcement(plain, line) + announcement(temporary_of(name), line)
        if plain not in self._claims.purged:
            lines += remark(plain, purged=True)
        self._writer.folder.announce(self._folder, lines)
        self._claims = self._writer.folder.claims(self._folder)

    def _names(self) -> list[str]:
        series = self._writer.series
        return sorted(
            name
            for name in self._folder.names()
            if parse_part(part_name_in(name), series.name, series.extension) is not None
            and self._folder.regular(name) is not None
        )

    def _is_all_own(self, name: str) -> bool:
        if self._claims.given(plain_name(name), self._folder.fd):
            return True
        descriptor, _ = self._folder.open(name, os.O_RDONLY)
        try:
            return only_records(
                descriptor, self._series, compressed=name.endswith(".gz"), damaged=DAMAGED in name
            )
        finally:
            os.close(descriptor)

    def _leads_to(self, name: str) -> bool:
        try:
            return os.readlink(self._writer.series.link, dir_fd=self._folder.fd) == name
        except OSError:
            return False

    def _drop_stale_copies(self, report: PurgeReport) -> None:
        """Remove the copies that a killed run did not finish: the records may be in them."""
        for name in self._folder.names():
            if not name.startswith(f".{self._series}_") or not name.endswith((COPY, _PACKING)):
                continue
            is_own_one = is_own_rewrite if name.endswith(COPY) else is_own_copy
            try:
                if is_own_one(self._folder, name, self._claims):
                    self._folder.unlink(name)
                else:
                    report.leave(self._folder.path_of(name), "coordd did not make it", own=False)
            except OSError as error:
                report.leave(self._folder.path_of(name), explain(error))
