"""Test metrics and chart columns: every number comes from the daemon's documents."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import coordd
from coordd.dashboard.agent_metrics import KINDS, PROCESS_KINDS, AgentNumbers, read_agents
from coordd.dashboard.metrics import Page, dashboard_families
from coordd.dashboard.openapi import document
from coordd.dashboard.series import RANGES, series
from coordd.dashboard.token_totals import TokenTotals
from coordd.model import AgentView, Status, Tokens
from coordd.sources.process.programs import PROGRAMS

USAGE = {"total": 100, "used": 25, "free": 70, "available": 75, "percent": 25.0}
STATUS: dict[str, Any] = {
    "health": "degraded",
    "problems": ["one", "two"],
    "daemon": {
        **{"version": "0.1.0", "started_at": "2026-11-22T06:05:00.000Z", "coord_mode": "redis"},
        **{"cpu_seconds": 1.5, "rss": 30_000_000},
    },
    "redis": {
        **{"configured": True, "connected": True, "url": "redis://h/0", "used_memory": 1_000_000, "keys": 12},
        **{"latency_ms": 0.5, "feed": "push", "error": None},
    },
    "system": {
        **{"timestamp": "2026-11-22T06:05:00.000Z", "cpu_percent": 12.5, "cpu_count": 2},
        **{"load_average": [0.1, 0.2, 0.3], "memory_usage": USAGE, "swap_usage": USAGE, "disk_usage": USAGE},
        **{"disk_io": {"read": 1.0, "write": 2.0}, "network_io": {"sent": 3.0, "received": 4.0}},
        "self": {"cpu_percent": 0.1, "rss": 30_000_000, "open_fds": 12, "loop_lag_ms": 1.0},
    },
    "agents": {
        **{"total": 9, "active": 5, "inactive": 3, "unknown": 1, "stalled": 1},
        "activities": {"waiting": 2, "blocked": 0, "stalled": 1, "unknown": 1, "working": 1, "idle": 0},
    },
    "attention": [{"kind": "waiting"}, {"kind": "waiting"}, {"kind": "mass"}, {"kind": "new"}],
    "tasks": {"available": 4, "claimed": 6, "expired": 2, "orphaned": 1},
    "sinks": {"jsonl": {"state": "ok", "written": 10, "backlog": 0, "dropped": 0, "error": None}},
    "workspaces": [
        {"path": "/a", "state": "inotify"},
        {"path": "/b", "state": "poll"},
        {"path": "/c", "state": "odd"},
    ],
    "traces_malformed": {"count": 3, "traces": []},
}
OWN = dashboard_families(connections=1, streams=1, refused=0, cut=0, requests=5, cpu=0.1, reconnections=0)


SINCE = "2026-11-22T06:00:00.000Z"


def entry(agent_id: str, status: Status = "active", **more: Any) -> AgentView:
    """An agent as the daemon answers it."""
    fixed: dict[str, Any] = {
        **{"timestamp": SINCE, "host": "box", "workspace": "/src/app", "reason": "process"},
        **{"cause": "start", "active_tasks": 0, "uptime": 1.0, "last_heartbeat": None},
        **{"declared_status": None, "sources": ("claude-code",)},
    }
    return AgentView(agent_id=agent_id, status=status, **{**fixed, **more})


def listed(*agents: AgentView, at: str = "2026-11-22T06:05:00.000Z") -> bytes:
    return msgspec.json.encode({"timestamp": at, "agents": agents, "cursor": None})


def numbers(*agents: AgentView) -> AgentNumbers:
    return read_agents(listed(*agents), TokenTotals())


def page(status: dict[str, Any] | None, agents: AgentNumbers | None = None) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page(status, OWN, agents))
    return registry


def samples(status: dict[str, Any] | None, agents: AgentNumbers | None = None) -> dict[str, float]:
    text = openmetrics(page(status, agents)).decode()
    return {
        f"{s.name}{json.dumps(s.labels) if s.labels else ''}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_every_number_has_its_metric() -> None:
    found = samples(STATUS)
    for name, value in {
        "coordd_up": 1,
        "coordd_healthy": 0,
        "coordd_problems": 2,
        "coordd_start_time_seconds": 1795327500,
        'coordd_coordination_mode{"mode": "redis"}': 1,
        'coordd_coordination_mode{"mode": "file"}': 0,
        'coordd_agents{"status": "unknown"}': 1,
        "coordd_agents_stalled": 1,
        "coordd_tasks_available": 4,
        'coordd_claims{"state": "held"}': 3,
        "coordd_host_cpu_usage_ratio": 0.125,
        "coordd_host_load15": 0.3,
        "coordd_host_disk_free_bytes": 70,
        "coordd_host_network_received_bytes_per_second": 4,
        "coordd_redis_up": 1,
        "coordd_redis_latency_seconds": 0.0005,
        'coordd_redis_feed{"feed": "push"}': 1,
        'coordd_sink_written_records_total{"sink": "jsonl"}': 10,
        'coordd_workspaces{"state": "other"}': 1,
        "coordd_traces_malformed": 3,
        "coordd_loop_lag_seconds": 0.001,
        "coordd_process_cpu_seconds_total": 1.5,
        "coordd_dashboard_requests_total": 5,
        'coordd_agents_activity{"activity": "waiting"}': 2,
        'coordd_agents_activity{"activity": "idle"}': 0,
        'coordd_attention{"kind": "waiting"}': 2,
        'coordd_attention{"kind": "killed"}': 0,
        'coordd_attention{"kind": "other"}': 1,
    }.items():
        assert found[name] == value, name


def test_what_is_unknown_has_no_sample() -> None:
    unknown = {**STATUS, "system": None, "tasks": dict.fromkeys(STATUS["tasks"]), "sinks": {}}
    unknown["redis"] = {**dict.fromkeys(STATUS["redis"]), "configured": False}
    found = samples(unknown)
    assert not [
        name
        for name in found
        if name.startswith(("coordd_host", "coordd_claims", "coordd_sink", "coordd_redis_k"))
    ]
    assert found["coordd_redis_configured"] == 0
    assert [name for name in samples(None) if not name.startswith("coordd_dashboard")] == ["coordd_up"]
    assert samples(None)["coordd_up"] == 0


def test_a_daemon_that_tells_of_no_needs_has_no_number_of_them() -> None:
    old = {name: value for name, value in STATUS.items() if name != "attention"}
    old["agents"] = {"total": 1, "active": 1, "inactive": 0, "unknown": 0}
    found = samples(old)
    assert not [name for name in found if name.startswith(("coordd_attention", "coordd_agents_activity"))]


def test_every_kind_that_a_source_tells_of_has_its_label() -> None:
    found = set()
    for folder in (Path(coordd.__file__).parent / "sources").iterdir():
        text = "\n".join(file.read_text() for file in folder.glob("*.py"))
        if re.search(r"\bSession\([^)]*kind=KIND", text):  # of a session, and not of the source itself
            found |= set(re.findall(r'^KIND = "(.*)"', text, re.MULTILINE))
    assert found == set(KINDS)
    assert {row.kind for row in PROGRAMS} == PROCESS_KINDS


def test_agents_are_counted_by_kind_in_few_words() -> None:
    found = samples(
        STATUS,
        numbers(
            entry("a", kind="claude-code"),
            entry("b", kind="claude-code"),
            entry("c", kind="my-own-agent"),
            entry("d", kind='{"x"}\n'),
            entry("e", kind=None),
            entry("f", kind=""),
            entry("g", "inactive", kind="gemini"),
        ),
    )
    kinds = {
        name: value for name, value in found.items() if name.startswith("coordd_agents_kind") and value > 0
    }
    assert kinds == {
        'coordd_agents_kind{"kind": "claude-code"}': 2,
        'coordd_agents_kind{"kind": "other"}': 2,
        'coordd_agents_kind{"kind": "unknown"}': 2,
    }
    assert "gemini" not in str(found), "no source tells of it"


def test_seconds_waited_are_those_of_who_waits_now() -> None:
    found = samples(
        STATUS,
        numbers(
            entry("a", activity="waiting", activity_since=SINCE, waiting_for="question"),
            entry("b", activity="waiting", activity_since="2026-11-22T06:04:00.000Z"),
            entry("c", activity="waiting", activity_since=None),
            entry("d", activity="working", activity_since=SINCE),
            entry("e", "inactive", activity="waiting", activity_since=SINCE),
            entry("f", activity="waiting", activity_since="2026-11-22T07:00:00.000Z"),
            entry("g", "unknown", reason="quiet", activity="waiting", activity_since=SINCE),
        ),
    )
    assert found["coordd_waiting_seconds_max"] == 300
    assert found["coordd_waiting_seconds"] == 660
    nobody = samples(STATUS, numbers(entry("a")))
    assert nobody["coordd_waiting_seconds_max"] == nobody["coordd_waiting_seconds"] == 0
    assert not [name for name in samples(STATUS) if "waiting_seconds" in name]


def test_tokens_are_a_counter_by_kind_and_type() -> None:
    totals = TokenTotals()
    first = Tokens(input=100, output=10, cache_read=1000, cache_write=50, since=SINCE)
    later = Tokens(input=103, output=12, cache_read=1005, cache_write=50, since=SINCE)
    read_agents(listed(entry("a", kind="claude-code", tokens=first)), totals)
    agents = read_agents(listed(entry("a", kind="claude-code", tokens=later)), totals)
    found = samples(STATUS, agents)
    assert {name: value for name, value in found.items() if name.startswith("coordd_tokens")} == {
        'coordd_tokens_total{"kind": "claude-code", "type": "input"}': 3,
        'coordd_tokens_total{"kind": "claude-code", "type": "output"}': 2,
        'coordd_tokens_total{"kind": "claude-code", "type": "cache_read"}': 5,
        'coordd_tokens_total{"kind": "claude-code", "type": "cache_write"}': 0,
    }
    gone = samples(STATUS, read_agents(listed(), totals))
    assert gone['coordd_tokens_total{"kind": "claude-code", "type": "input"}'] == 3


def test_no_label_names_an_agent() -> None:
    agent = entry(
        "secret-id", name="secret-name", project="/secret", kind="secret-kind", waiting_for="secret"
    )
    told = [{"kind": "waiting", "subject": "secret", "text": "secret", "workspace": "/secret"}]
    text = generate_latest(page({**STATUS, "attention": told}, numbers(agent))).decode()
    assert "secret" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(STATUS)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(STATUS, JSON)))
def test_no_status_breaks_a_scrape(status: dict[str, Any]) -> None:
    generate_latest(page(status))


ODD = st.dictionaries(
    st.sampled_from(["agent_id", "workspace", "status", "kind", "activity", "activity_since", "tokens"]),
    JSON | st.sampled_from(["active", "waiting", SINCE]) | st.just({"input": 1e300, "since": 1}),
)


@given(st.lists(ODD, max_size=4), JSON)
def test_no_list_of_agents_breaks_a_scrape(agents: list[dict[str, Any]], at: object) -> None:
    encoded = msgspec.json.encode({"agents": agents, "timestamp": at})
    generate_latest(page(STATUS, read_agents(encoded, TokenTotals())))


def test_promtool_has_nothing_against_it() -> None:
    if shutil.which("promtool") is None:
        assert not os.environ.get("CI"), "promtool is missing"
        return
    tokens = Tokens(input=1, output=1, cache_read=1, cache_write=1, since=SINCE)
    agents = numbers(entry("a", kind="codex", tokens=tokens, activity="waiting", activity_since=SINCE))
    for status in (STATUS, None):
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=generate_latest(page(status, agents)),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# columns for charts


def test_columns_of_plain_and_of_thinned_samples() -> None:
    records = [
        {"timestamp": "2026-11-22T06:05:00Z", "cpu_percent": 1.23456, "load_average": [1, 2, 3]},
        {"timestamp": "2026-11-22T06:06:00Z", "cpu_percent": None, "load_average": None},
        {"timestamp": "2026-11-22T06:04:00Z", "cpu_percent": {"mean": 5, "min": 1, "max": 9}},
        {"timestamp": "yesterday", "cpu_percent": 7},
        {"timestamp": "2026-11-22T06:30:00Z", "cpu_percent": "many", "load_average": [1]},
    ]
    made = json.loads(series(records, RANGES["1h"], 1795329000.0))
    assert made["times"] == [1795327440, 1795327500, 1795327560, 1795329000]
    assert made["series"]["cpu"] == [5, 1.2346, None, None]
    assert made["series"]["cpu_min"] == [1, 1.2346, None, None]
    assert made["series"]["load5"] == [None, 2, None, None]
    assert made["gap"] == 150  # the usual distance, once more and a half
    assert made["until"] - made["since"] == 3600
    assert json.loads(series([], RANGES["7d"], 0.0))["times"] == []


def test_a_container_has_columns_of_its_own_limits() -> None:
    group = {"memory_max": 512, "memory_percent": {"mean": 50, "min": 40, "max": 60}, "cpu_max": None}
    record = {"timestamp": "2026-11-22T06:05:00Z", "cpu_percent": 7, "memory_usage": {"percent": 12}}
    made = json.loads(series([{**record, "cgroup": group}], RANGES["1h"], 1795329000.0))["series"]
    assert (made["cpu"], made["memory"], made["memory_max"]) == ([7], [50], [60])


# the document


def test_the_document_refers_only_to_what_it_has() -> None:
    made = document()
    text = msgspec.json.encode(made).decode()
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in made["components"]["schemas"]
    for path, methods in made["paths"].items():
        assert set(methods) == {"get"}, path
        assert "503" in methods["get"]["responses"] or not path.startswith("/api/") or path == "/api/events"


# the page


def test_a_limit_is_the_highest_of_all_accounts_and_what_is_unknown_has_no_sample() -> None:
    def limit(used: object, window: object, kind: object = "codex") -> dict[str, object]:
        return {"kind": kind, "account": "/home/me/.codex", "used_percent": used, "window": window}

    told = [limit(12.5, 18000), limit(83, 18000.0), limit(None, 604800), limit(50, 7), limit("x", [])]
    found = samples({**STATUS, "limits": [*told, limit(20, 604800, "mine"), None, 7]})
    assert {name: round(value, 6) for name, value in found.items() if name.startswith("coordd_limit")} == {
        'coordd_limit_used_ratio{"kind": "codex", "window": "5h"}': 0.83,
        'coordd_limit_used_ratio{"kind": "other", "window": "7d"}': 0.2,
    }
    assert not [name for name in samples({**STATUS, "limits": 7}) if name.startswith("coordd_limit")]
