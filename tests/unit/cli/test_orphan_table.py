"""Test the table of processes that outlived their agents."""

from __future__ import annotations

from typing import Any

from coordd.cli.orphan_table import orphan_lines
from coordd.cli.view import View

ONE: dict[str, Any] = {
    "pid": 4711,
    "name": "node",
    "agent_id": "321e2ec7",
    "agent_name": "shop-12",
    "kind": "claude-code",
    "session_id": "321e2ec7",
    "workspace": "/home/ann/src/shop",
    "project": "/home/ann/src/shop",
    "age": 7200.0,
    "cpu_percent": 1.5,
    "rss": 100 << 20,
    "ports": [3000, 9229],
}


def lines(*orphans: dict[str, Any], columns: int = 120) -> list[str]:
    return orphan_lines(orphans, View(columns=columns, home="/home/ann"))


def test_a_row_says_whose_it_was_what_it_uses_and_where_it_listens() -> None:
    head, row, _, hint = lines(ONE)
    assert head.split() == ["PID", "NAME", "LEFT", "BY", "PROJECT", "AGE", "CPU", "MEM", "PORTS"]
    for word in ("4711", "node", "shop-12 (claude-code)", "~/src/shop", "2 h", "100 MiB", "3000, 9229"):
        assert word in row
    assert hint == "coordd ends none of them; 'kill 4711' ends the first."


def test_what_is_unknown_is_not_made_up() -> None:
    only = dict.fromkeys(ONE) | {"pid": 1, "session_id": "s-1", "kind": "claude-code"}
    row = lines(ONE, only)[2]
    assert row.split() == ["1", "-", "session", "s-1", "(claude-code)", "-", "-", "-", "-", "-"]
    assert "aider-7" in lines(ONE | {"agent_name": None, "agent_id": "aider-7", "kind": "aider"})[1]


def test_what_a_process_calls_itself_cannot_draw_on_the_terminal() -> None:
    assert "\x1b" not in "".join(lines(ONE | {"name": "\x1b[2J", "agent_name": "\x1b]0;x\x07"}))


def test_other_shapes_do_no_harm() -> None:
    lines({}, {"pid": [], "ports": 7, "rss": "x", "age": None, "project": 3})
