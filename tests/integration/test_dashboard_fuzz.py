"""The API against its own OpenAPI document: all that it allows, all that it does not, and what follows from
that.

Schemathesis asks; every check of it but one is on: answers fit their schemas and their documented status
codes, what violates the schema is refused, unknown methods are 405, and nothing ends in a 500.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dash import Dashboard, dashboard
from live import Project, watching
from waiting import eventually

pytestmark = pytest.mark.page

# Not every text is a moment, nor a cursor that a page before gave: a schema cannot say which are.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
# A stream does not end; test_dashboard_api.py asks it.
PATHS = ("--exclude-path", "/api/events")


def fuzz(dash: Dashboard, examples: int, *more: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{dash.url}/openapi.json", *CHECKS, *PATHS),
            *("--max-examples", str(examples), "--seed", "6", "--no-color", *more),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=dash.log.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_document_says_holds(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    for folder in ("claims", "tasks"):
        (project.coordination / folder).mkdir()
    for name in ("coder", "tester", "a b", "ünï", "a/b".replace("/", "%2F")):
        project.beat(name)
    claim = {"agent_id": "nobody", "claimed_at": int(time.time()), "ttl": 300}
    (project.coordination / "claims" / "t.claim").write_text(json.dumps(claim))
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    with watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s") as coordd:
        with dashboard(sock=coordd.socket, home=tmp_path / "home") as dash:
            eventually(lambda: project.records("system"))
            fuzz(dash, 40)
            assert dash.json("/api/status")["agents"]["active"] == 5
        with dashboard("--token-file", str(token), sock=coordd.socket, home=tmp_path / "home") as dash:
            fuzz(
                dash, 1, "--phases", "examples,coverage", "--header", "Authorization: Bearer 0123456789abcdef"
            )


def test_what_the_document_says_holds_without_a_daemon_too(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with dashboard(sock=tmp_path / "none", home=tmp_path / "home", wait_for_daemon=False) as dash:
        # every answer is a server's error then, and documented as one
        fuzz(
            dash,
            3,
            "--phases",
            "examples,coverage,fuzzing",
            "--exclude-checks",
            "positive_data_acceptance,not_a_server_error",
        )
