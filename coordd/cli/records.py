"""Implement ``coordctl records``: list record files that are not coordd's own, and adopt them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from coordd.cli.common import say, say_json
from coordd.cli.options import json_option, takes_target
from coordd.cli.purge import purge
from coordd.cli.tail import find_folders
from coordd.errors import CannotTell
from coordd.records import manifest, manifest_file, provenance
from coordd.records.names import series_of
from coordd.util.regular_files import open_if_regular
from coordd.util.text import escape, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coordd.cli.common import DaemonTarget

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Found:
    """A file with a name of coordd's; ``own`` is what the manifest beside it says."""

    folder: str
    name: str
    size: int
    own: bool


@click.group(
    "records",
    invoke_without_command=True,
    epilog="""\b
Examples:
  coordctl records list                 the files that are not coordd's own
  coordctl records adopt --dry-run      what would be given to it
  coordctl records purge --agent ID     forget all that is recorded of an agent

\b
coordd appends to, gzips and removes only files that it made: each is announced in
.coordd-files.jsonl beside it, by its first line. Others may write the same names.
Without a command it lists.""",
)
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the record files that are not coordd's own, give them to it, or purge records."""
    return 0 if ctx.invoked_subcommand is not None else int(ctx.invoke(list_files))


@command.command(
    "list",
    epilog="""\b
Examples:
  coordctl records list
  coordctl records list --all           those that are coordd's own too
  coordctl records list --json | jq -r '.files[] | select(.own | not) | .name'""",
)
@click.option("--all", "everything", is_flag=True, help="List files that are coordd's own as well.")
@json_option("One JSON document: folder, name, size, own.")
@takes_target
def list_files(target: DaemonTarget, everything: bool, as_json: bool) -> int:
    """List the record files that are not coordd's own."""
    found = [one for folder in find_folders(target) for one in look(folder) if everything or not one.own]
    if as_json:
        files = [{"folder": one.folder, "name": one.name, "size": one.size, "own": one.own} for one in found]
        say_json({"schema": SCHEMA, "files": files})
        return 0
    for one in found:
        words = "own" if one.own else "not coordd's own"
        say(f"{escape(os.path.join(one.folder, one.name))}  {size(one.size)}  {words}")
    if not found:
        say("every record file is coordd's own")
    return 0


@command.command(
    "adopt",
    epilog="""\b
Examples:
  coordctl records adopt --dry-run
  coordctl records adopt performance_2026-11-22.csv
  coordctl records adopt                all that are not coordd's own

\b
From then on they are coordd's: gzipped after storage.compress_after_days, and removed
when storage.retention_days or storage.max_bytes ask for it. A daemon that runs
notices by itself.""",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only list them, change nothing.")
@takes_target
def adopt(target: DaemonTarget, names: Sequence[str], dry_run: bool) -> int:
    """Have coordd take files of these NAMEs, or all that are not its own."""
    wanted = set(names)
    taken = 0
    for folder in find_folders(target):
        chosen = [one for one in look(folder) if not one.own and (not wanted or one.name in wanted)]
        wanted -= {one.name for one in chosen}
        for one in give(folder, chosen, dry_run=dry_run):
            taken += 1
            say(f"{'would adopt' if dry_run else 'adopted'} {escape(os.path.join(folder, one.name))}")
    if wanted:
        raise CannotTell(
            "there is no such record file, or it is coordd's own already: "
            f"{escape(', '.join(sorted(wanted)))}"
        )
    if not taken:
        say("there is nothing to adopt")
    return 0


command.add_command(purge)


def look(path: str) -> list[Found]:
    """Return the files of a folder that have names of coordd's; none if the folder does not exist.

    Raises:
        CannotTell: the folder may not be read, or is a link in a project.
    """
    folder = _open_folder(path)
    if folder is None:
        return []
    try:
        claims = manifest.ManifestClaims.parse(manifest_file.read(folder, path) or b"")
        found = []
        for name in sorted(os.listdir(folder)):
            if series_of(name) is None:
                continue
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                own = provenance.is_own(claims, folder, name)
                found.append(Found(path, name, status.st_size, own))
    except OSError as error:
        raise CannotTell(f"{escape(error.filename or path)}: {error.strerror}") from error
    finally:
        os.close(folder)
    return found


def give(path: str, chosen: Sequence[Found], *, dry_run: bool) -> Iterator[Found]:
    """Write files into the manifest as coordd's own; yield those that were written.

    Raises:
        CannotTell: the manifest cannot be written.
    """
    folder = _open_folder(path) if chosen else None
    if folder is None:
        return
    try:
        lines, given = [], []
        for one in chosen:
            line = _first_line(folder, one.name)
            if line is None:
                say(f"{escape(os.path.join(path, one.name))} has no whole line; it stays as it is")
                continue
            name = manifest.plain_name(one.name)
            origin = manifest.origin_here(folder)
            lines.append(manifest.announcement(name, line, adopted=True, origin=origin))
            given.append(one)
        if lines and not dry_run:
            manifest_file.append(folder, b"".join(lines), mode=_mode_beside(folder), shown=path)
        yield from given
    except OSError as error:
        raise CannotTell(f"{escape(error.filename or path)}: {error.strerror}") from error
    finally:
        os.close(folder)


def _first_line(folder: int, name: str) -> bytes | None:
    descriptor = open_if_regular(name, directory=folder)
    if descriptor is None:
        return None
    try:
        line, whole = provenance.first_line(descriptor, compressed=name.endswith(".gz"))
    finally:
        os.close(descriptor)
    return line if whole else None


def _mode_beside(folder: int) -> int:
    """Return the mode of a new manifest: readable for the group if the folder is (the system layout)."""
    return 0o640 if os.fstat(folder).st_mode & 0o050 else 0o600


def _open_folder(path: str) -> int | None:
    """Open a folder, None if it does not exist; in a project a link is not followed."""
    in_project = os.path.basename(os.path.dirname(path)) == ".claude"
    follow = 0 if not in_project else os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotTell(f"{escape(path)}: {error.strerror}") from error
