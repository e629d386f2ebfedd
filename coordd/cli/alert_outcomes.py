"""Find out how each action of the alerts went last, from the document of coordd-alert. Pure."""

from __future__ import annotations

from typing import Any

from coordd.util.untyped import dicts


def last_outcomes(document: dict[str, Any]) -> dict[tuple[object, object], dict[str, Any]]:
    """Return the last outcome by rule and action, of those of now: one that works hides none that fails."""
    known = {
        (rule.get("name"), action.get("action"))
        for rule in dicts(document.get("rules"))
        for action in dicts(rule.get("actions"))
    }
    last: dict[tuple[object, object], dict[str, Any]] = {}
    for one in dicts(document.get("told")):
        for outcome in dicts(one.get("outcomes")):
            key = (one.get("rule"), outcome.get("action"))
            if key in known:
                last.setdefault(key, outcome)
    return last
