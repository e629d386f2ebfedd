"""The log of a real daemon says what happened, with its values, also where it counts lines of one kind."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from live import Project, watching
from waiting import eventually

import coordd
from coordd.util.log_limit import MOST

PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?[diouxXeEfFgGcrsa]")
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")


def test_lines_that_are_counted_show_no_template(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    with watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="1s") as daemon:
        for number in range(3 * MOST):
            project.beat(f"agent-{number}")
            (project.agents / f"odd-{number}.active").write_text("{")
        eventually(lambda: daemon.rpc("status")["agents"]["inactive"] >= 3 * MOST)
        daemon.stop()
        lines = daemon.logged().splitlines()
    counted = [line for line in lines if "more of these" in line]
    assert any("agent.inactive: agent " in line for line in counted), lines
    assert any("malformed trace " in line for line in counted), lines
    assert [line for line in lines if PLACEHOLDER.search(line)] == []


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    root = Path(coordd.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield f"{path.relative_to(root)}:{node.lineno}", node.func.attr, node


def _text(node: ast.expr) -> str | None:
    """Return the fixed parts of a text as it is written; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "" for part in node.values)
    return None


def test_every_line_has_as_many_values_as_places_for_them() -> None:
    found = 0
    for place, name, call in _calls():
        of_log = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("log", "logging")
        if not of_log or name not in LEVELS:
            continue
        message, *values = call.args[1:] if name == "log" else call.args
        text = _text(message)
        assert text is not None, f"{place}: the message is no literal: what is counted has no kind"
        assert len(PLACEHOLDER.findall(text.replace("%%", ""))) == len(values) or any(
            isinstance(value, ast.Starred) for value in values
        ), f"{place}: {text!r} with {len(values)} values"
        found += 1
    assert found > 50


def test_no_event_has_a_place_for_values() -> None:
    """An event is recorded as it is: nothing fills it in."""
    events = ("event", "_on_event")
    found = [(place, call) for place, name, call in _calls() if name in events and len(call.args) > 2]
    assert found
    for place, call in found:
        texts = [
            _text(one) or ""
            for argument in call.args
            for one in ast.walk(argument)
            if isinstance(one, ast.expr)
        ]
        assert not any(PLACEHOLDER.search(text) for text in texts), place
