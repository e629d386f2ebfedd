"""Test how the end of a process is judged: every row, and kinds that show an orderly end each in its way."""

from __future__ import annotations

import pytest

from coordd.agents.process_end import TABLE, ProcessEnd, judge_end

CLAUDE, CODEX, COPILOT, OTHER = "claude-code", "codex", "copilot", "aider"


@pytest.mark.parametrize(
    ("end", "row", "orderly"),
    [
        (ProcessEnd(CLAUDE, session_present=True, same_boot=False), 1, True),
        (ProcessEnd(CLAUDE, session_present=True, deregistered=True), 2, True),
        (ProcessEnd(deregistered=True), 2, True),
        (ProcessEnd(CLAUDE, session_present=True, watched=False), 3, False),
        (ProcessEnd(CLAUDE, session_present=False, watched=False), 4, True),
        (ProcessEnd(CODEX, session_present=True, in_turn=True, watched=False), 4, True),
        (ProcessEnd(watched=False), 4, True),
        (ProcessEnd(CLAUDE, session_present=False), 5, True),
        (ProcessEnd(COPILOT, session_present=False, in_turn=True), 5, True),
        (ProcessEnd(CODEX, session_present=True), 6, True),
        (ProcessEnd(OTHER), 7, True),
        (ProcessEnd(CLAUDE, session_present=True), 8, False),
        (ProcessEnd(CODEX, session_present=True, in_turn=True), 8, False),
        (ProcessEnd(COPILOT, session_present=True), 8, False),
        (ProcessEnd(), 8, False),
    ],
)
def test_each_row_judges_its_end(end: ProcessEnd, row: int, orderly: bool) -> None:
    found = judge_end(end)
    assert (found.number, found.orderly) == (row, orderly)


def test_the_rows_are_numbered() -> None:
    assert [row.number for row in TABLE] == list(range(1, 9))
