"""Test what doctor and installer say of patterns whose matches may not be looked into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import facts, only
from fake_coordd import status_document

from coordd.cli.doctor.access import Credentials
from coordd.cli.doctor.patterns import check_entries, check_pattern, closed_places
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.cli.doctor.trying import as_user
from coordd.errors import DaemonNotRunning
from coordd.installer.readers import check_readable
from coordd.sources.file.workspaces import expand

PLAIN = Credentials(0, frozenset({0}), 0)
"""Root without the capabilities that open everything."""


def workspace(path: Path) -> Path:
    (path / ".claude" / "coordination" / "agents").mkdir(parents=True)
    return path


def close(path: Path) -> None:
    path.chmod(0o700)
    os.chown(path, 1001, 1001)


def problem_of(pattern: str) -> Any:
    """Return the daemon's own words for a pattern, as PLAIN."""
    return as_user(PLAIN, lambda: expand([pattern]).entries[0].problem)


@pytest.mark.root
@pytest.mark.parametrize("pattern", ["*", "*/src/*", "*/src", "bob/*", "**", "**/src"])
@pytest.mark.parametrize(
    "closed", ["bob", "bob/src", "bob/src/app", "bob/src/app/.claude", "bob/empty", None]
)
def test_doctor_installer_and_daemon_say_the_same(tmp_path: Path, pattern: str, closed: str | None) -> None:
    homes = tmp_path / "homes"
    workspace(homes / "ann" / "src" / "app")
    workspace(homes / "bob" / "src" / "app")
    (homes / "bob" / "empty").mkdir()
    if closed is not None:
        close(homes / closed)
    whole = f"{homes}/{pattern}"
    problem = problem_of(whole)
    findings = check_pattern(whole, PLAIN)
    assert [one.result for one in findings] == ["fail"] * len(findings)
    assert (problem is None) == (findings == [])
    for place in as_user(PLAIN, lambda: closed_places(whole)):
        assert place in problem
    told = [one for one in check_readable([whole], PLAIN, sandboxed=False) if one.result == "fail"]
    if problem is not None:
        assert told
        assert str(homes / str(closed)) in told[0].message
        assert str(homes / str(closed)) in str(told[0].fix)


@pytest.mark.root
def test_without_a_daemon_the_configured_patterns_are_tried(tmp_path: Path) -> None:
    homes = tmp_path / "homes"
    close(workspace(homes / "bob"))
    values = {"coordination": {"workspaces": [f"{homes}/*", f"{homes}/bob", f"{homes}/**"]}}
    config = ConfigAnswer(0, "/etc/coordd/coordd.toml", values=values)
    line = only(check_entries(facts(error=DaemonNotRunning([]), daemon=PLAIN, config=config)))
    assert (line.result, str(homes / "bob") in line.message) == ("fail", True)


def test_what_was_merely_found_is_a_line_and_no_trouble() -> None:
    place = {"path": "/src/db", "reason": "Permission denied: /src/db", "named": False}
    entry = {"entry": "/src/**", "pattern": True, "unreadable": [place], "unreadable_more": 0}
    line = only(check_entries(facts(status=status_document(workspace_entries=[entry]))))
    assert (line.result, "passes over" in line.message, line.fix) == ("ok", True, None)


def test_a_link_that_is_not_followed_says_so() -> None:
    place = {"path": "/src/x", "reason": "/src/x is a link of uid 1 to what is uid 2's", "named": True}
    entry = {"entry": "/src/*", "unreadable": [place], "unreadable_more": 3}
    line, more = list(check_entries(facts(status=status_document(workspace_entries=[entry]))))
    assert (line.result, "a link of uid 1" in line.message, line.fix) == (
        "fail",
        True,
        "see whose it is: ls -ld /src/x",
    )
    assert "3 more" in more.message


@pytest.mark.parametrize(
    "entries",
    [None, 1, ["x"], [{}], [{"unreadable": 3}], [{"unreadable": [{}, 1]}], [{"unreadable_more": "x"}]],
)
def test_a_stranger_document_breaks_nothing(entries: Any) -> None:
    for one in check_entries(facts(status=status_document(workspace_entries=entries))):
        assert one.message
