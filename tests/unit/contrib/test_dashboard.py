"""Test the dashboard's files in contrib/ with the programs that read them.

That their expressions name what there is, tests/integration/test_consumers.py finds out with a real daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "contrib" / "prometheus"
GRAFANA = ROOT / "contrib" / "grafana" / "coordd-dashboard.json"


def expressions(node: Any) -> Iterator[str]:
    """Every PromQL expression in Grafana's document."""
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for inner in node.values():
            yield from expressions(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from expressions(inner)


def tool(name: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str] | None:
    """Run a program that CI has; return None if this machine lacks it."""
    if shutil.which(name) is None:
        assert not os.environ.get("CI"), f"{name} is missing"
        return None
    return subprocess.run([name, *arguments], capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "coordd.rules.yml"),
        ("test", "rules", "coordd.rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_takes_what_is_for_prometheus(arguments: tuple[str, ...]) -> None:
    done = tool("promtool", *arguments, cwd=PROMETHEUS)
    assert done is None or done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_grafana_is_promql(tmp_path: Path) -> None:
    lines = ["groups:", "  - name: grafana", "    rules:"]
    for number, expression in enumerate(expressions(json.loads(GRAFANA.read_text()))):
        text = expression.replace("$__rate_interval", "1m")
        lines += [f"      - record: panel:{number}", f"        expr: {json.dumps(text)}"]
    path = tmp_path / "panels.yml"
    path.write_text("\n".join(lines) + "\n")
    done = tool("promtool", "check", "rules", str(path))
    assert done is None or done.returncode == 0, done.stdout + done.stderr


def test_grafana_can_import_it() -> None:
    document = json.loads(GRAFANA.read_text())
    panels = document["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
