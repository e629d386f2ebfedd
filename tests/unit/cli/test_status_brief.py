"""Test the status as one line."""

from __future__ import annotations

from typing import Any

import pytest

from coordd.cli.look import Picture
from coordd.cli.status_brief import brief_line
from coordd.cli.view import View

COUNTS = {"active": 7, "inactive": 0, "unknown": 0, "ended": 0, "total": 7}


def entry(kind: str = "waiting", **more: Any) -> dict[str, Any]:
    made = {"kind": kind, "workspace": "/a", "subject": "s-1", "since": "2026-11-22T06:01:00.000Z"}
    return {**made, "text": "permission prompt", **more}


def line(*attention: dict[str, Any], problems: int = 0, **counts: int) -> str:
    document = {
        "health": "ok",
        "timestamp": "2026-11-22T06:05:00.000Z",
        "agents": {**COUNTS, **counts},
        "attention": list(attention),
        "problems": ["words"] * problems,
    }
    agents = [{"agent_id": "s-1", "workspace": "/a", "name": "api-3", "status": "active"}]
    return brief_line(Picture(document, agents), View())


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (line(), "7 alive"),
        (line(inactive=2, total=9), "7 alive, 2 dead"),
        (line(entry()), "1 needs you: api-3 permission prompt 4 min, 7 alive"),
        (
            line(entry(), entry("killed"), problems=2),
            "2 need you: api-3 permission prompt 4 min, 7 alive, 1 problem",
        ),
        (line(problems=1), "7 alive, 1 problem"),
        (line(active=0, total=0), "no agents"),
    ],
)
def test_one_line(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("strange", ["two\nlines\x1b[31m", "x" * 1000, "你" * 300])
def test_what_strangers_wrote_stays_one_short_line(strange: str) -> None:
    shown = line(entry(subject=strange, text=strange))
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shown) < 120


def test_documents_of_other_shapes_are_a_line_as_well() -> None:
    for document in ({}, {"attention": 7, "problems": None, "agents": []}, {"attention": [{}]}):
        assert "\n" not in brief_line(Picture(document), View())
