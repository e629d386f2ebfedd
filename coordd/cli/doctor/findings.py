"""What the doctor finds: a value for each check, as lines and as an exit code. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.util.text import escape, paint

Result = Literal["ok", "warn", "fail"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``name`` is one word, ``fix`` what to do about it (None: nothing).

    Strings may hold what strangers wrote; they are escaped where they are shown.
    """

    name: str
    result: Result
    message: str
    fix: str | None = None


def finding_lines(findings: Sequence[Finding], *, colour: bool) -> list[str]:
    """A line a check, its fix on the next one, and the sum at the end."""
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
    """One entry of ``checks`` in ``doctor --json``."""
    return {
        "name": finding.name,
        "result": finding.result,
        "message": finding.message,
        "fix": finding.fix,
    }


def failed(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether any of them fails; strictly, whether any is not ok."""
    return any(f.result == "fail" or (strict and f.result == "warn") for f in findings)


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
