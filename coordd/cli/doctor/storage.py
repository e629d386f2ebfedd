"""Check the record directories: they exist, are writable, have room left and hold fresh records."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    WRITE,
    ask_as,
    grant,
    in_letters,
    owner_and_mode,
)
from coordd.cli.doctor.findings import Finding, Result
from coordd.cli.doctor.trying import first_obstacle
from coordd.cli.follow import Follower, Series
from coordd.errors import CannotTell
from coordd.protocol.paths import link_in_project
from coordd.records.names import parse_part
from coordd.util import fastjson
from coordd.util.shell import shell_word
from coordd.util.text import ago, epoch_of, number, size
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

LITTLE_SPACE, NO_SPACE = 1 << 30, 64 << 20
LITTLE_INODES = 0.05
"""The share of inodes below which a warning is due."""

_DIRECTORIES = ("metrics_dir", "log_dir")
_LINKS = (
    ("metrics_dir", "system", "jsonl", "system.jsonl"),
    ("metrics_dir", "agent", "jsonl", "agent.jsonl"),
    ("metrics_dir", "event", "jsonl", "event.jsonl"),
    ("log_dir", "performance", "csv", "performance.log"),
)


def check_directories(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that ``metrics_dir`` and ``log_dir`` exist and are writable for the daemon."""
    for key in _DIRECTORIES:
        path = facts.directory(key)
        if path is None:
            continue
        link = link_in_project(path)
        if link is not None:
            words = f"{link} is a symbolic link, and in a project coordd follows none"
            away = f"move it away: mv {shell_word(link)} {shell_word(link + '.aside')}; or use --layout user"
            yield Finding(key, "fail", words, away)
            continue
        if not os.path.lexists(path):
            result: Result = "fail" if facts.alive else "ok"
            fix = f"restart coordd, which makes it; or: mkdir -p {shell_word(path)}" if facts.alive else None
            yield Finding(key, result, f"{path} does not exist; coordd makes it when it starts", fix)
            continue
        if not os.path.isdir(path):
            yield Finding(key, "fail", f"{path} is not a directory", f"move it away: {_mv(path)}")
            continue
        yield _writable(key, path, facts)


def check_space(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the room for records, once for each file system."""
    seen = set()
    for key in _DIRECTORIES:
        path = facts.directory(key)
        while path is not None and not os.path.isdir(path) and path != os.path.dirname(path):
            path = os.path.dirname(path)  # missing ones will be made on this file system
        if path is None:
            continue
        try:
            device, usage = os.stat(path).st_dev, os.statvfs(path)
        except OSError as error:
            yield Finding("space", "warn", f"cannot tell for {path}: {error.strerror}", "ask as root")
            continue
        if device not in seen:
            seen.add(device)
            yield room_left(
                path,
                usage.f_bavail * usage.f_frsize,
                usage.f_blocks * usage.f_frsize,
                usage.f_favail,
                usage.f_files,
            )


def room_left(path: str, free: int, total: int, inodes: int, all_inodes: int) -> Finding:
    """Return the finding on a file system: bytes and inodes, free and in all (0 inodes: not counted)."""
    counted = all_inodes > 0
    words = f"{size(free)} of {size(total)} free under {path}"
    if counted:
        words += f", {inodes} of {all_inodes} inodes"
    fix = "free some, lower storage.retention_days or storage.max_bytes, or move storage.metrics_dir"
    if free < NO_SPACE or (counted and inodes == 0):
        return Finding("space", "fail", words, fix)
    if free < LITTLE_SPACE or (counted and inodes < all_inodes * LITTLE_INODES):
        return Finding("space", "warn", words, fix)
    return Finding("space", "ok", words)


def check_links(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the symlinks to the current files, which ``tail -F`` follows."""
    wrong = []
    looked = 0
    for key, kind, extension, name in _LINKS:
        directory = facts.directory(key)
        if directory is None:
            continue
        try:
            parts = Series(directory, kind, extension).parts()
        except CannotTell as error:
            yield Finding("links", "warn", f"cannot tell: {error}", f"ask as root or as {facts.daemon.name}")
            return
        if not parts:
            continue
        looked += 1
        path = os.path.join(directory, name)
        found = _link_problem(path, os.path.basename(parts[-1][1]), kind, extension)
        if found is not None:
            wrong.append((path, *found))
    for path, problem, fix in wrong:
        yield Finding("links", "warn", f"{path} {problem}", fix)
    if looked and not wrong:
        yield Finding("links", "ok", f"{looked} symlinks lead to the current files")


def check_records(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that the last sample of the host is fresh."""
    directory = facts.directory("metrics_dir")
    if directory is None or not os.path.isdir(directory):
        return
    try:
        taken = last_sample(directory)
    except CannotTell as error:
        yield Finding("records", "warn", f"cannot tell: {error}", f"ask as root or as {facts.daemon.name}")
        return
    if taken is None:
        if facts.alive:
            yield Finding(
                "records",
                "fail",
                f"no sample of the host lies in {directory}",
                "'coordctl status' says which sink fails; the daemon's log says why",
            )
        return
    age = facts.asked_at - taken
    words = f"the last sample of the host is from {ago(age)}"
    if age < -facts.interval:
        yield Finding(
            "records",
            "warn",
            f"the last sample of the host is {-age:.0f} s ahead of this clock",
            "set the clock right ('timedatectl'); coordd goes on by itself",
        )
    elif not facts.alive:
        yield Finding("records", "ok", f"{words}: nothing is recorded while coordd is down")
    elif age > 2 * facts.interval:
        yield Finding(
            "records",
            "fail",
            f"{words}; one is due every {facts.interval:g} s",
            "'coordctl status' says which sink fails or whether sampling is late; then restart coordd",
        )
    else:
        yield Finding("records", "ok", words)


def last_sample(directory: str) -> float | None:
    """Return when the host was last sampled (epoch seconds), by the files; None without a sound record.

    Raises:
        CannotTell: the files may not be read.
    """
    follower = Follower(Series(directory, "system", "jsonl"))
    try:
        line = b"".join(follower.last(1))
    finally:
        follower.close()
    try:
        return epoch_of(as_dict(fastjson.loads(line.decode())).get("timestamp"))
    except (ValueError, RecursionError):
        return None


def _writable(key: str, path: str, facts: DoctorFacts) -> Finding:
    user = facts.daemon.name
    try:
        obstacle = first_obstacle(path, facts.daemon, READ | WRITE | SEARCH)
    except CannotTell as reason:
        if facts.alive:  # what cannot be written is a failing sink, which has a check of its own
            return Finding(key, "ok", f"{path} exists; {reason}")
        words = f"{path}: cannot tell whether {user} may write there: {reason}"
        return Finding(key, "warn", words, ask_as(facts.daemon, facts.ask))
    if obstacle is None:
        return Finding(key, "ok", f"{path} is writable for {user}")
    return Finding(
        key,
        "fail",
        f"{path}: {user} lacks {in_letters(obstacle.wanted)} on {obstacle.path} "
        f"({owner_and_mode(obstacle.rights) if obstacle.rights else '?'})",
        f"chown {user} {shell_word(path)}" if obstacle.wanted & WRITE else grant(obstacle, facts.daemon),
    )


def _link_problem(path: str, current: str, kind: str, extension: str) -> tuple[str, str] | None:
    """Return what is wrong with a link and what to do; None if nothing is."""
    by_itself = "nothing: coordd puts it right within seconds, or when it starts"
    move = f"{_mv(path)}; coordd then makes its link within seconds, or when it starts"
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return "is no symlink, and coordd leaves it alone", move
        target = os.readlink(path)
    except FileNotFoundError:
        return f"is missing; it should lead to {current}", by_itself
    except OSError as error:
        return f"cannot be read: {error.strerror}", move
    if target == current:
        return None if os.path.exists(path) else (f"leads to {target}, which is not there", by_itself)
    if parse_part(target, kind, extension) is None:
        return f"leads to {target}, which coordd did not make, and leaves alone", move
    return f"leads to {target}, and the current file is {current}", by_itself


def _mv(path: str) -> str:
    return f"mv {shell_word(path)} {shell_word(path + '.other')}"


def check_strangers(facts: DoctorFacts) -> Iterator[Finding]:
    """Check for files that have names of coordd's but are not its own."""
    files = sum(int(number(as_dict(sink).get("unproven")) or 0) for sink in facts.section("sinks").values())
    if files:
        yield Finding(
            "files",
            "ok",
            f"{files} files with names of coordd's are not its own, and left alone; 'coordctl records' "
            "lists them, 'coordctl records adopt' has them kept, gzipped and removed as its own",
        )
