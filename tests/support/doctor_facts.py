"""Facts of an installation that is in order, for tests of the doctor's checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fake_coordd import status_document

from coordd import __version__
from coordd.cli.doctor.access import (
    Credentials,
    process,
    user_of,
)
from coordd.cli.doctor.facts import DoctorFacts
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.util.timestamps import format_utc

STRANGER = Credentials(uid=4_000_001, gids=frozenset([4_000_002]))
ROOT = Credentials(0, frozenset([0]), 0b110)
NOW = 1_795_000_000.0


def facts(**changes: Any) -> DoctorFacts:
    values: dict[str, Any] = {
        "tried": ("/run/x.sock",),
        "socket": "/run/x.sock",
        "error": None,
        "ping": {"version": __version__, "pid": os.getpid(), "uptime": 5},
        "status": status_document(timestamp=format_utc(NOW)),
        "snapshot_age": None,
        "daemon": process(os.getpid()) or user_of(os.geteuid()),
        "me": process(os.getpid()) or user_of(os.geteuid()),
        "asked_at": NOW,
        "config": ConfigAnswer(0, "/etc/coordd/coordd.toml", values={"sampling": {"interval": "60s"}}),
    }
    return DoctorFacts(**{**values, **changes})


def only(findings: Any) -> Finding:
    (found,) = list(findings)
    assert isinstance(found, Finding)
    return found


def workspace(tmp_path: Path) -> Path:
    agents = tmp_path / "w" / ".claude" / "coordination" / "agents"
    agents.mkdir(parents=True)
    (agents / "a.heartbeat").write_text("2026-11-22T06:05:00Z")
    return tmp_path / "w"
