"""Test the dashboard's files in contrib/ with the programs that read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from coordd.dashboard.agent_metrics import AgentNumbers
from coordd.dashboard.metrics import Page, dashboard_families

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "contrib" / "prometheus"
GRAFANA = ROOT / "contrib" / "grafana" / "coordd-dashboard.json"
USAGE = {"total": 1, "used": 1, "free": 1, "available": 1}
FULL: dict[str, Any] = {
    "health": "ok",
    "problems": [],
    "daemon": {"started_at": "2026-11-22T06:05:00.000Z", "coord_mode": "file", "cpu_seconds": 1, "rss": 1},
    "redis": {
        **{"configured": True, "connected": True, "used_memory": 1, "keys": 1},
        **{"latency_ms": 1, "feed": "push"},
    },
    "system": {
        **{
            "timestamp": "2026-11-22T06:05:00.000Z",
            "cpu_percent": 1,
            "cpu_count": 1,
            "load_average": [1, 1, 1],
        },
        **{
            "memory_usage": USAGE,
            "swap_usage": USAGE,
            "disk_usage": USAGE,
            "self": {"loop_lag_ms": 1, "open_fds": 1},
        },
        **{"disk_io": {"read": 1, "write": 1}, "network_io": {"sent": 1, "received": 1}},
    },
    "agents": {"active": 1, "inactive": 1, "unknown": 1, "stalled": 1, "activities": {"waiting": 1}},
    "attention": [],
    "tasks": {"available": 1, "claimed": 1, "expired": 0, "orphaned": 0},
    "sinks": {"jsonl": {"state": "ok", "written": 1, "dropped": 0, "backlog": 0}},
    "workspaces": [],
    "traces_malformed": {"count": 0},
}


def our_metrics() -> set[str]:
    """The names of every sample there is when everything is known."""
    registry = CollectorRegistry(auto_describe=False)
    own = dashboard_families(connections=0, streams=0, refused=0, cut=0, requests=0, cpu=0, reconnections=0)
    agents = AgentNumbers({"codex": 1}, (1.0,), {"codex": (1.0, 1.0, 1.0, 1.0)})
    registry.register(Page(FULL, own, agents))
    lines = generate_latest(registry).decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


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


def test_rules_and_panels_use_metrics_that_there_are() -> None:
    known = our_metrics()
    rules = re.findall(r"^\s+expr: (.*)$", (PROMETHEUS / "coordd.rules.yml").read_text(), re.MULTILINE)
    assert len(rules) == 20
    panels = list(expressions(json.loads(GRAFANA.read_text())))
    assert len(panels) > 20
    for expression in rules + panels:
        used = set(re.findall(r"\bcoordd_\w+", expression))
        assert used <= known, expression
        assert used or "up{" in expression


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
