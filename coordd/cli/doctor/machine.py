"""Check the machine: its clock, and what is left of the limits of inotify."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.tools import run_tool
from coordd.cli.doctor.workspaces import WATCHES_FIX
from coordd.cli.times import moment_words
from coordd.util.text import epoch_of
from coordd.util.timestamps import format_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

RELEASED = 1_767_225_600.0
"""2026-01-01T00:00:00Z, before coordd was first released: an earlier clock is wrong."""
APART = 2.0
"""Seconds by which the clocks of daemon and client, on one machine, may differ."""
FULL = 0.8
"""The share of an inotify limit above which a warning is due."""


def check_clock(facts: DoctorFacts) -> Iterator[Finding]:
    """Check the wall clock: plausible, the same as the daemon's, and kept by NTP if systemd tells."""
    now = moment_words(format_utc(facts.asked_at), utc=False)
    fix = "set it right: 'timedatectl set-ntp true', or chrony; records carry the time it shows"
    if facts.asked_at < RELEASED:
        yield Finding("clock", "fail", f"it shows {now}, which is past", fix)
        return
    theirs = epoch_of(facts.status.get("timestamp")) if facts.alive else None
    if theirs is not None and abs(theirs - facts.asked_at) > APART:
        yield Finding(
            "clock",
            "warn",
            f"the daemon's differs by {theirs - facts.asked_at:+.1f} s from {now} here",
            "it may have been stepped this moment: ask again; else look for a faked or namespaced clock",
        )
        return
    answer = run_tool("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer is not None and answer.strip() == "no":
        yield Finding("clock", "warn", f"{now}, not synchronised by NTP", fix)
        return
    kept = ", synchronised" if answer is not None and answer.strip() == "yes" else ""
    yield Finding(
        "clock", "ok", f"{now}{kept}" + (", the same as the daemon's" if theirs is not None else "")
    )


def check_inotify(facts: DoctorFacts) -> Iterator[Finding]:
    """Check how much of the limits of inotify the daemon's user has taken, as far as this user may see."""
    if sys.platform != "linux":
        return
    try:
        limits = {key: _limit(key) for key in ("max_user_instances", "max_user_watches")}
    except (OSError, ValueError) as error:
        yield Finding("inotify", "warn", f"its limits cannot be read: {error}", "is /proc mounted?")
        return
    yield inotify_use(limits, dict(zip(limits, used(facts.daemon.uid), strict=True)), facts.daemon.name)


def inotify_use(limits: dict[str, int], taken: dict[str, int], name: str) -> Finding:
    """Return the finding on limits and what is taken of each."""
    words = ", ".join(f"{taken[key]} of {limit} {key.split('_')[2]}" for key, limit in limits.items())
    full = next((key for key, limit in limits.items() if taken[key] > limit * FULL), None)
    fix = None if full is None else WATCHES_FIX.format(key=f"fs.inotify.{full}")
    return Finding("inotify", "ok" if full is None else "warn", f"{name} uses {words}", fix)


def used(uid: int) -> tuple[int, int]:
    """Return instances and watches of a user's processes; processes that we may not inspect are left out."""
    instances = watches = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid != uid:
                continue
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") != "anon_inode:inotify":
                    continue
                instances += 1
                with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as file:
                    watches += sum(line.startswith("inotify ") for line in file)
        except OSError:
            continue  # it ended, or we may not inspect it
    return instances, watches


def _limit(key: str) -> int:
    with open(f"/proc/sys/fs/inotify/{key}", encoding="ascii") as file:
        return int(file.read())
