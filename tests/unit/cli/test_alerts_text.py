"""Test what ``coordctl alerts`` shows."""

from __future__ import annotations

from typing import Any

import pytest

from coordd.cli.alerts import troubled
from coordd.cli.alerts_text import alerts_text
from coordd.cli.view import View

FIRES: dict[str, Any] = {
    "rule": "r",
    "kind": "waiting",
    "subject": "6b4e1f02",
    "since": "2026-11-28T05:00:00.000Z",
    "text": "waits for you: permission prompt",
    "phase": "told",
    "told_at": "2026-11-28T05:00:30.000Z",
}


def test_a_long_name_makes_no_row_wide() -> None:
    firing = [{**FIRES, "name": "x" * 5000}, {**FIRES, "name": "\x1b[31m" * 50}, {**FIRES, "name": None}]
    document = {"timestamp": "2026-11-28T05:01:00.000Z", "daemon": {}, "firing": firing, "firing_total": 3}
    lines = list(alerts_text(document, View(utc=True)))
    assert max(map(len, lines)) < 180
    assert not any("\x1b" in line for line in lines)
    assert any("6b4e1f02" in line for line in lines)


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("told", "2026-11-28 05:00:30"),
        ("renewed", "not yet"),
        ("pending", "not yet"),
        ("due", "with the next message"),
        ("over", "over, not yet told"),
    ],
)
def test_that_an_earlier_prompt_was_told_says_nothing_of_this_one(phase: str, words: str) -> None:
    document = {"timestamp": "2026-11-28T05:01:00.000Z", "firing": [{**FIRES, "phase": phase}]}
    (row,) = (line for line in alerts_text(document, View(utc=True)) if "permission prompt" in line)
    assert row.endswith(words)


def test_an_action_that_works_hides_none_that_fails() -> None:
    def told(rule: str, action: str, error: str | None) -> dict[str, Any]:
        return {"rule": rule, "outcomes": [{"action": action, "error": error}]}

    rules = [
        {"name": "a", "actions": [{"action": "exec x", "problem": None}]},
        {"name": "b", "actions": [{"action": "webhook h", "problem": None}]},
    ]
    newest_first = [told("a", "exec x", None), told("b", "webhook h", "it refuses")]
    assert troubled({"rules": rules, "told": newest_first})
    assert not troubled({"rules": rules, "told": [told("b", "webhook h", None), *newest_first]})
    assert not troubled({"rules": rules, "told": [told("gone", "webhook h", "it refuses")]})
    assert not troubled({"rules": rules[:1], "told": newest_first})
