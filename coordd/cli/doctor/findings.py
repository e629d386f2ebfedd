"""Hold the doctor's findings, and turn them into lines, JSON and an exit code. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.util.text import escape, paint

Result = Literal["ok", "warn", "fail"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: ``name`` is one word, ``fix`` is what to do about it, or None.

    Strings may hold a stranger's text; they are escaped when they are shown.
    """

    name: str
    result: Result
    message: str
    fix: str | None = None


def finding_lines(findings: Sequence[Finding], *, colour: bool) -> list[str]:
    """Return one line for each check, its fix on the next line, and the count at the end."""
    margin = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        word = paint(f"{finding.result:<4}", _STYLES[finding.result], colour=colour)
        lines.append(f"{word}  {finding.name:<{margin}}  {escape(finding.message)}")
        if finding.fix is not None:
            lines.append(f"{'':<{margin + 6}}  fix: {escape(finding.fix)}")
    results = [finding.result for finding in findings]
    warnings, failures = results.count("warn"), results.count("fail")
    lines += ["", f"{results.count('ok')} ok, {_many(warnings, 'warning')}, {_many(failures, 'failure')}"]
    return lines


def finding_document(finding: Finding) -> dict[str, object]:
    """Return one entry of ``checks`` in ``doctor --json``."""
    return {
        "name": finding.name,
        "result": finding.result,
        "message": finding.message,
        "fix": finding.fix,
    }


def failed(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Return whether a check failed; with ``strict``, whether a check is not ok."""
    return any(f.result == "fail" or (strict and f.result == "warn") for f in findings)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
