"""Everything that shows numbers, against a real daemon in every state: each field, column, series and label.

Nothing here is a fixture of its own. The fields are those of coordd/model.py, so that a new one that nobody
fills or shows fails a test, as a series or the value of a label does that never occurs.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from everything import LIMIT, Document, Look, Looks, looked

from coordd import model
from coordd.cli.agent_words import ORDER, state_of
from coordd.util.text import epoch_of

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "contrib" / "prometheus" / "coordd.rules.yml"
GRAFANA = ROOT / "contrib" / "grafana" / "coordd-dashboard.json"
PAGE = ROOT / "coordd" / "dashboard" / "static"

pytestmark = pytest.mark.xdist_group("consumers")


def documented_pipes() -> list[str]:
    """Every command line of README and help that pipes what coordctl prints into jq, and ends by itself."""
    files = [ROOT / "README.md", *(ROOT / "coordd" / "cli").rglob("*.py")]
    texts = [re.sub(r"\| jq\n +", "| jq ", file.read_text()) for file in files]  # where it goes on below
    lines = [line for text in texts for line in text.splitlines()]
    found = [re.search(r"((?:coordctl|curl) [^`|]*\| jq (-\w+ )*('[^']*'|\.[\w.]+))", line) for line in lines]
    pipes = dict.fromkeys(one[1].rstrip('`"') for one in found if one)
    return [pipe for pipe in pipes if "--watch" not in pipe and "subscribe" not in pipe]


PIPES = documented_pipes()


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looks]:
    made_up = {"reviewer-7": "worker", " --workspace ~/src/app": "", "-n 100 ": "-n 100000 "}
    pipes = PIPES
    for name, real in made_up.items():
        pipes = [pipe.replace(name, real) for pipe in pipes]
    with looked(tmp_path_factory.mktemp("all"), pipes=pipes) as found:
        yield found


@pytest.fixture
def busy(looks: Looks) -> Look:
    return looks.all["busy"]


# What is promised, field by field.

RECORDS: dict[str, type] = {"system": model.SystemSample, "agent": model.AgentSample, "event": model.Event}
NESTED: dict[tuple[type, str], tuple[str, ...]] = {
    (model.SystemSample, "memory_usage"): (
        *("total", "used", "free", "percent", "available"),
        *("active", "inactive", "buffers", "cached", "shared", "slab"),
    ),
    (model.SystemSample, "disk_usage"): ("total", "used", "free", "percent"),
    (model.SystemSample, "swap_usage"): ("total", "used", "free", "percent"),
    (model.SystemSample, "load_average"): ("0", "1", "2"),
    (model.SystemSample, "disk_io"): ("read", "write"),
    (model.SystemSample, "network_io"): ("sent", "received"),
}
"""What is in the objects and lists of a record whose type does not say it."""


def paths(record: type, within: str = "") -> Iterator[str]:
    """Yield every field of a record by its path, those of records in it as well."""
    hints = typing.get_type_hints(record)
    for one in dataclasses.fields(record):
        name = f"{within}{one.name}"
        inner = [kind for kind in _kinds(hints[one.name]) if dataclasses.is_dataclass(kind)]
        if inner:
            yield from paths(inner[0], f"{name}.")
        elif (record, one.name) in NESTED:
            yield from (f"{name}.{part}" for part in NESTED[record, one.name])
        else:
            yield name


def _kinds(hint: Any) -> list[Any]:
    return [hint, *typing.get_args(hint)]


def at(document: Any, path: str) -> Any:
    """Return what stands at a path of a document; None where something on the way is unknown."""
    for part in path.split("."):
        if document is None:
            return None
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def test_the_daemon_fills_every_field_that_it_promises(looks: Looks) -> None:
    every = list(looks.all.values())
    agents = [agent for look in every for agent in look.full]
    for kind, documents in (
        (model.SystemSample, [sample for look in every for sample in look.samples if sample]),
        (model.AgentSample, looks.records["agent"]),
        (model.AgentView, [agent for look in every for agent in look.agents]),
        (model.AgentInFull, agents),
        (model.OrphanView, [one for look in every for one in look.orphans]),
        (model.TaskView, [task for look in every for task in look.tasks]),
        (model.AttentionEntry, [one for look in every for one in look.before["attention"]]),
        (model.Event, looks.records["event"]),
        (model.SinkStatus, [sink for look in every for sink in look.before["sinks"].values()]),
        (model.TaskCounts, [look.before["tasks"] for look in every]),
    ):
        promised = {path.partition(".")[0] for path in paths(kind)}
        for document in documents:
            assert document.keys() == promised, kind
        filled = {path for path in paths(kind) for one in documents if at(one, path) is not None}
        assert set(paths(kind)) - filled <= NEVER.get(kind, set()) | _unlimited(looks, kind), kind


NOTIFICATIONS: dict[str, type] = {
    **RECORDS,
    "task": model.TaskChange,
    "attention": model.AttentionChange,
}


def test_notifications_have_the_fields_that_are_promised(looks: Looks) -> None:
    assert set(NOTIFICATIONS) == set(model.TOPICS)
    assert looks.notified.keys() - {"lagged"} == NOTIFICATIONS.keys()
    for topic, kind in NOTIFICATIONS.items():
        fields = {one.name for one in dataclasses.fields(kind)} | {"seq"}
        for params in looks.notified[topic]:
            assert params.keys() == fields, topic
    entries = {one.name for one in dataclasses.fields(model.AttentionEntry)}
    for params in looks.notified["attention"]:
        for name, more in (("opened", set()), ("changed", set()), ("closed", {"why"})):
            assert all(one.keys() == entries | more for one in params[name])
    numbers = [params["seq"] for topic in model.TOPICS for params in looks.notified[topic]]
    assert len(numbers) == len(set(numbers))


def test_who_follows_has_what_the_daemon_lists(looks: Looks) -> None:
    """Folded together, notifications give the lists of each look that came after them."""
    for look in looks.all.values():
        if look.before["daemon"]["pid"] != looks.all["busy"].before["daemon"]["pid"]:
            continue
        listed = {one["id"]: one for one in looks.followed_from["attention"]}
        for params in looks.notified["attention"]:
            if params["timestamp"] > look.after["timestamp"]:
                break
            for one in params["closed"]:
                listed.pop(one["id"], None)
            listed.update((one["id"], one) for one in (*params["changed"], *params["opened"]))
        assert listed == {one["id"]: one for one in look.before["attention"]}, look.name


NEVER: dict[type, set[str]] = {
    # of the states that are gone through none has it: tests/integration/test_others_write.py has
    model.SinkStatus: {"warning"},
    # nothing is closed to coordd here: tests/integration/test_denied.py
    model.TaskView: {"problem"},
}


def _unlimited(looks: Looks, kind: type) -> set[str]:
    """Return the fields that only a machine has on which a test may make limits."""
    limits = {f"cgroup.{one.name}" for one in dataclasses.fields(model.CgroupUsage)}
    return limits if kind is model.SystemSample and not looks.limited else set()


VALUES: dict[str, tuple[Callable[[Looks], set[Any]], set[Any]]] = {
    "status": (lambda looks: _seen(looks, "status"), set(model.STATUSES)),
    "activity": (lambda looks: _seen(looks, "activity") - {None}, set(model.ACTIVITIES)),
    "attention": (
        lambda looks: {one["kind"] for look in looks.all.values() for one in look.before["attention"]},
        set(typing.get_args(model.AttentionKind)),
    ),
    "workspaces": (
        lambda looks: {one["state"] for look in looks.all.values() for one in look.before["workspaces"]},
        set(model.WORKSPACE_STATES),
    ),
    "tasks": (
        lambda looks: {one["state"] for look in looks.all.values() for one in look.tasks},
        set(model.TASK_STATES),
    ),
    "sinks": (
        lambda looks: {one["state"] for look in looks.all.values() for one in look.before["sinks"].values()},
        set(typing.get_args(model.SinkState)),
    ),
    "coord_mode": (
        lambda looks: {look.before["daemon"]["coord_mode"] for look in looks.all.values()},
        set(typing.get_args(model.CoordMode)),
    ),
}


def _seen(looks: Looks, name: str) -> set[Any]:
    return {agent[name] for look in looks.all.values() for agent in look.agents}


@pytest.mark.parametrize("name", VALUES)
def test_every_word_that_the_model_has_occurs_and_no_other(looks: Looks, name: str) -> None:
    seen, promised = VALUES[name]
    assert seen(looks) == promised


# JSON and text of coordctl, and the dashboard's API.


def timeless(document: Any) -> Any:
    """Return a document without what is another number each time it is asked for."""
    if isinstance(document, dict):
        moving = {"timestamp", "uptime", "last_heartbeat_age", "cpu_percent", "rss", "processes", "age"}
        moving |= {"silence", "last_heartbeat", "value", "change", "sources_seen", "context", "id"}
        return {name: timeless(value) for name, value in document.items() if name not in moving}
    if isinstance(document, list):
        return [timeless(one) for one in document]
    return document


def by_key(agents: list[Document]) -> dict[tuple[str | None, str], Document]:
    return {(one["workspace"], one["agent_id"]): one for one in agents}


def test_json_of_coordctl_and_of_the_page_is_what_the_daemon_says(looks: Looks) -> None:
    for look in looks.all.values():
        for told in (look.json("status --json"), look.api["/api/status"]):
            assert told.keys() == look.before.keys()
            for part in ("agents", "attention", "tasks", "workspaces", "sources", "restart_required"):
                assert told[part] == look.before[part], (look.name, part)
            for part in ("daemon", "redis"):
                assert told[part].keys() == look.before[part].keys()
            assert told["system"] in look.samples
        agents = by_key(look.agents)
        for listed in (look.json("agents --json")["agents"], look.api["/api/agents/active"]):
            assert timeless(by_key(listed)) == timeless(agents), look.name
            assert {frozenset(one) - {"id"} for one in listed} <= {frozenset(one) for one in look.agents}
        assert look.json("tasks --json")["tasks"] == look.tasks
        assert look.api["/api/tasks"]["tasks"] == look.tasks
        assert look.api["/api/metrics/system/latest"] in look.samples


def test_a_daemon_that_was_stopped_is_told_as_it_was(looks: Looks) -> None:
    before = looks.all["down"].after
    for last in looks.last:
        for part in ("agents", "attention", "tasks", "workspaces", "restart_required", "sources"):
            assert last[part] == before[part], part
        assert last.keys() - {"daemon_running", "snapshot_age"} == before.keys()
    assert looks.last[0]["daemon_running"] is False


def test_the_headline_counts_the_living_the_dead_and_the_unknown(looks: Looks) -> None:
    for look in looks.all.values():
        counts, need = look.before["agents"], len(look.before["attention"])
        dead = counts["inactive"] - counts["ended"]
        words = [f"{counts['active']} alive"] if counts["total"] - counts["ended"] else ["no agents"]
        words += [f"{n} {word}" for word, n in (("dead", dead), ("unknown", counts["unknown"])) if n]
        words += [f"{need} {'needs' if need == 1 else 'need'} you"] if need else []
        headline = look.told["status"].splitlines()[0]
        assert f"  {', '.join(words)}  " in headline, look.name


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def test_every_agent_has_its_row_with_its_state(looks: Looks) -> None:
    assert {state_of(agent) for look in looks.all.values() for agent in look.agents} == set(ORDER) - {
        "inactive"
    }
    for look in looks.all.values():
        expected = sorted(state_of(agent) for agent in look.agents)
        for command, ended in (("agents", True), ("status", False)):
            text = look.told[command]
            if command == "status":  # what needs somebody stands above the projects
                project = re.search(r"^(/|Redis alone)", text, re.MULTILINE)
                text = "" if project is None else text[project.start() :]
            place = 1 if command == "status" else 2
            table = [row[place] for row in rows(text) if len(row) > place]
            shown = sorted(cell for cell in table if cell in ORDER)
            wanted = [state for state in expected if ended or state != "ended"]
            assert shown == wanted, (look.name, command)


def test_filters_leave_what_they_name(busy: Look) -> None:
    stalled = [row for row in rows(busy.told["agents --activity stalled"]) if "stalled" in row]
    agents = [one["agent_id"] for one in busy.agents if one["activity"] == "stalled"]
    assert sorted(row[0] for row in stalled) == sorted(agents)
    page = busy.api["/api/agents/active?activity=stalled"]
    assert sorted(one["agent_id"] for one in page) == sorted(agents)
    inactive = {row[0] for row in rows(busy.told["agents --status inactive"])[1:] if row[0]}
    expected = [one for one in busy.agents if one["status"] == "inactive"]
    assert inactive == {one["name"] or one["agent_id"] for one in expected}


def test_every_orphan_has_its_row(busy: Look) -> None:
    table = {row[0]: row for row in rows(busy.told["orphans"])}
    known = [one for one in busy.orphans if one["agent_id"]]  # who runs the tests may have left some
    assert known
    for one in known:
        row = table[str(one["pid"])]
        assert row[1:3] == [one["name"], f"{one['agent_name']} ({one['kind']})"]
        assert row[-1] == ", ".join(map(str, one["ports"]))
    told = busy.json("orphans --json")["orphans"]
    assert timeless({"orphans": told}) == timeless({"orphans": busy.orphans})


def test_every_task_has_its_row(looks: Looks) -> None:
    for look in looks.all.values():
        shown = sorted(
            (row[0], row[1]) for row in rows(look.told["tasks"]) if len(row) > 4 and row[0] != "TASK"
        )
        assert shown == sorted((one["task_id"], one["state"]) for one in look.tasks), look.name


def test_what_is_limited_counts_in_place_of_the_machine(looks: Looks, busy: Look) -> None:
    if not looks.limited:
        assert {sample["cgroup"] for sample in busy.samples} == {None}
        return
    assert {sample["cgroup"]["memory_max"] for sample in busy.samples} == {LIMIT}
    (host,) = [line for line in busy.told["status"].splitlines() if line.startswith("Host ")]
    assert re.search(r"cpu \d+ % of 1\.5 CPUs  memory [\d.]+ MiB of 512 MiB in this container", host)
    assert perfdata(busy)["memory"] in {f"{one['cgroup']['memory_percent']:g}%" for one in busy.samples}


# check


def perfdata(look: Look) -> dict[str, str]:
    parts = look.told["check"].splitlines()[0].partition(" | ")[2].split(" ")
    return {name: value.partition(";")[0] for name, _, value in (part.partition("=") for part in parts)}


def test_perfdata_is_what_the_status_says(looks: Looks) -> None:
    read: dict[str, Callable[[Document], Any]] = {
        "active": lambda s: s["agents"]["active"],
        "waiting": lambda s: s["agents"]["activities"]["waiting"],
        "inactive": lambda s: s["agents"]["inactive"] - s["agents"]["ended"],
        "killed": lambda s: s["agents"]["killed"],
        "stalled": lambda s: s["agents"]["stalled"],
        "blocked": lambda s: s["agents"]["activities"]["blocked"],
        "unknown": lambda s: s["agents"]["unknown"],
        "orphaned": lambda s: s["tasks"]["orphaned"],
        "available": lambda s: s["tasks"]["available"],
        "claimed": lambda s: s["tasks"]["claimed"],
        "cpu": lambda s: _room(s, "cpu_max", "cpu_percent", s["system"]["cpu_percent"]),
        "memory": lambda s: _room(s, "memory_max", "memory_percent", s["system"]["memory_usage"]["percent"]),
        "memory_used": lambda s: _room(s, "memory_max", "memory_used", s["system"]["memory_usage"]["used"]),
        "disk": lambda s: s["system"]["disk_usage"]["percent"],
        "disk_free": lambda s: s["system"]["disk_usage"]["free"],
        "load5_per_cpu": lambda s: round(s["system"]["load_average"][1] / s["system"]["cpu_count"], 3),
    }
    grows = {"age", "daemon_uptime", "daemon_rss"}
    known: set[str] = set()
    for look in looks.all.values():
        found = perfdata(look)
        assert found.keys() == read.keys() | grows
        for name, expected in read.items():
            said = None if found[name] == "U" else float(found[name].rstrip("%Bs"))
            assert said in {_number(expected(status)) for status in moments(look)}, (look.name, name)
            known |= {name} if said else set()
        known |= {name for name in grows if float(found[name].rstrip("Bs")) > 0}
    assert found.keys() - known == set(), "a number that is never anything but 0 or unknown"


def _room(status: Document, limit: str, share: str, machine: Any) -> Any:
    group = status["system"]["cgroup"]
    return machine if group is None or group[limit] is None else group[share]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def moments(look: Look) -> list[Document]:
    """The status with each of the host's samples that it may have had when somebody else asked."""
    return [{**look.before, "system": sample} for sample in look.samples if sample] or [look.before]


# Prometheus, Grafana, and the rules.

SERIES: dict[str, Callable[[Document, Mapping[str, str]], Any]] = {
    "coordd_up": lambda s, of: 1,
    "coordd_build_info": lambda s, of: of["version"] == s["daemon"]["version"],
    "coordd_healthy": lambda s, of: s["health"] == "ok",
    "coordd_problems": lambda s, of: len(s["problems"]),
    "coordd_start_time_seconds": lambda s, of: epoch_of(s["daemon"]["started_at"]),
    "coordd_coordination_mode": lambda s, of: s["daemon"]["coord_mode"] == of["mode"],
    "coordd_workspaces": lambda s, of: [one["state"] for one in s["workspaces"]].count(of["state"]),
    "coordd_traces_malformed": lambda s, of: s["traces_malformed"]["count"],
    "coordd_limit_used_ratio": lambda s, of: max(
        one["used_percent"] / 100
        for one in s["limits"]
        if (one["kind"], one["window"]) == (of["kind"], {"5h": 18000, "7d": 604800}[of["window"]])
    ),
    "coordd_agents": lambda s, of: s["agents"][of["status"]],
    "coordd_agents_stalled": lambda s, of: s["agents"]["activities"]["stalled"],
    "coordd_agents_activity": lambda s, of: s["agents"]["activities"][of["activity"]],
    "coordd_attention": lambda s, of: [one["kind"] for one in s["attention"]].count(of["kind"]),
    "coordd_tasks_available": lambda s, of: s["tasks"]["available"],
    "coordd_claims": lambda s, of: (
        s["tasks"]["claimed"] - s["tasks"]["expired"] - s["tasks"]["orphaned"]
        if of["state"] == "held"
        else s["tasks"][of["state"]]
    ),
    "coordd_sample_timestamp_seconds": lambda s, of: epoch_of(s["system"]["timestamp"]),
    "coordd_host_cpu_usage_ratio": lambda s, of: s["system"]["cpu_percent"] / 100,
    "coordd_host_cpus": lambda s, of: s["system"]["cpu_count"],
    **{
        f"coordd_host_load{minutes}": lambda s, of, place=place: s["system"]["load_average"][place]
        for place, minutes in enumerate((1, 5, 15))
    },
    **{
        f"coordd_host_{part}_{name}_bytes": lambda s, of, part=part, name=name: s["system"][f"{part}_usage"][
            name
        ]
        for part, names in (
            ("memory", ("total", "used", "available")),
            ("swap", ("total", "used", "free")),
            ("disk", ("total", "used", "free")),
        )
        for name in names
    },
    **{
        f"coordd_host_{part}_{name}_bytes_per_second": lambda s, of, part=part, name=name: s["system"][
            f"{part}_io"
        ][name]
        for part, names in (("disk", ("read", "write")), ("network", ("sent", "received")))
        for name in names
    },
    "coordd_cgroup_memory_limit_bytes": lambda s, of: s["system"]["cgroup"]["memory_max"],
    "coordd_cgroup_memory_used_bytes": lambda s, of: s["system"]["cgroup"]["memory_used"],
    "coordd_cgroup_cpus": lambda s, of: s["system"]["cgroup"]["cpu_max"],
    "coordd_cgroup_cpu_usage_ratio": lambda s, of: s["system"]["cgroup"]["cpu_percent"] / 100,
    "coordd_redis_configured": lambda s, of: s["redis"]["configured"],
    "coordd_redis_up": lambda s, of: s["redis"]["connected"],
    "coordd_redis_feed": lambda s, of: s["redis"]["feed"] == of["feed"],
    "coordd_sink_up": lambda s, of: s["sinks"][of["sink"]]["state"] == "ok",
    "coordd_process_open_fds": lambda s, of: s["system"]["self"]["open_fds"],
    "coordd_process_resident_memory_bytes": lambda s, of: s["system"]["self"]["rss"],
    "coordd_loop_lag_seconds": lambda s, of: s["system"]["self"]["loop_lag_ms"] / 1000,
}
"""What a series has to be by the status document, for its labels."""

BETWEEN: dict[str, Callable[[Document, Mapping[str, str]], Any]] = {
    "coordd_sink_written_records_total": lambda s, of: s["sinks"][of["sink"]]["written"],
    "coordd_sink_dropped_records_total": lambda s, of: s["sinks"][of["sink"]]["dropped"],
    "coordd_process_cpu_seconds_total": lambda s, of: s["daemon"]["cpu_seconds"],
    "coordd_waiting_seconds": lambda s, of: sum(_waited(s)),
    "coordd_waiting_seconds_max": lambda s, of: max(_waited(s), default=0.0),
}
"""What only grows: it has to lie between what it is before and after."""

LOOSE = {
    *("coordd_redis_memory_used_bytes", "coordd_redis_keys", "coordd_redis_latency_seconds"),
    *("coordd_sink_backlog_records", "coordd_agents_kind", "coordd_tokens_total"),
}
"""What changes all the time, or is told by the list of agents; :func:`test_...` look at some of them."""
OWN = re.compile(r"coordd_dashboard_\w+")
MAY_BE_ZERO = re.compile(
    r"coordd_host_swap_|coordd_host_(network|disk)_\w+_per_second|coordd_sink_(dropped|backlog)|"
    r"coordd_dashboard_(refused|cut|reconnections|streams)"
)
"""What a machine may have none of, and what is a count of accidents."""


def _waited(status: Document) -> list[float]:
    now = epoch_of(status["timestamp"]) or 0.0
    return [now - (epoch_of(one["since"]) or now) for one in status["attention"] if one["kind"] == "waiting"]


def named(series: str) -> tuple[str, dict[str, str]]:
    name, _, labels = series.partition("{")
    return name, dict(re.findall(r'(\w+)="([^"]*)"', labels))


def test_every_series_is_what_the_status_says(looks: Looks) -> None:
    for look in looks.all.values():
        assert look.metrics
        for series, value in look.metrics.items():
            name, labels = named(series)
            if name in SERIES:
                expected = {float(SERIES[name](status, labels)) for status in moments(look)}
                assert any(value == pytest.approx(one, abs=1e-9) for one in expected), (look.name, series)
            elif name in BETWEEN:
                least, most = (BETWEEN[name](status, labels) for status in (look.before, look.after))
                assert least - 1.5 <= value <= most + 1.5, (look.name, series, least, most)
            else:
                assert name in LOOSE or OWN.fullmatch(name), f"{series} is compared with nothing"


def test_every_series_and_every_value_of_a_label_occurs(looks: Looks) -> None:
    highest: dict[str, float] = {}
    for look in looks.all.values():
        for series, value in look.metrics.items():
            highest[series] = max(value, highest.get(series, 0.0))
    zero = {series for series, value in highest.items() if not value and not MAY_BE_ZERO.match(series)}
    assert zero == set()
    names = {named(series)[0] for series in highest}
    limits = set() if looks.limited else {name for name in SERIES if name.startswith("coordd_cgroup")}
    assert {*SERIES, *BETWEEN, *LOOSE} - names == limits
    assert {series: value for series, value in looks.down.items() if not OWN.match(series)} == {
        "coordd_up": 0
    }


def test_agents_are_counted_by_kind_and_their_tokens_too(busy: Look) -> None:
    kinds = {one["kind"] for one in busy.agents if one["status"] == "active"}
    for kind in kinds:
        label = "unknown" if kind is None else kind
        living = [one for one in busy.agents if one["status"] == "active" and one["kind"] == kind]
        assert busy.metrics[f'coordd_agents_kind{{kind="{label}"}}'] == len(living)
    counted = sum(value for name, value in busy.metrics.items() if name.startswith("coordd_agents_kind"))
    assert counted == sum(one["status"] == "active" for one in busy.agents)


def expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from [node["expr"]] if isinstance(node.get("expr"), str) else []
        for inner in node.values():
            yield from expressions(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from expressions(inner)


def test_rules_and_panels_ask_for_series_that_there_are(looks: Looks) -> None:
    there: dict[str, list[dict[str, str]]] = {}
    for metrics in [look.metrics for look in looks.all.values()] + [looks.down]:
        for name, labels in map(named, metrics):
            there.setdefault(name, []).append(labels)
    if not looks.limited:
        there |= {name: [{}] for name in SERIES if name.startswith("coordd_cgroup")}
    rules = re.findall(r"^\s+expr: (.*)$", PROMETHEUS.read_text(), re.MULTILINE)
    panels = list(expressions(json.loads(GRAFANA.read_text())))
    assert len(rules) == 20 and len(panels) > 20
    for expression in rules + panels:
        asked = re.findall(r"\b(coordd_\w+)(?:\{([^}]*)\})?", expression)
        assert asked or "up{" in expression
        for name, chosen in asked:
            assert name in there, expression
            for label, value in re.findall(r'(\w+)="([^"]*)"', chosen):
                assert any(labels.get(label) == value for labels in there[name]), expression
        by = re.findall(r"by \(([^)]*)\)", expression)
        for label in [word.strip() for words in by for word in words.split(",")]:
            assert all(any(label in labels for labels in there[name]) for name, _ in asked), expression


# Past records.


OF_ANOTHER_SYSTEM = {"memory_usage.wired"}
"""Columns that only records of macOS fill."""


def fields(record: Document, kind: type, within: str = "") -> Iterator[str]:
    """Yield every field of a real record by its path, those of objects in it as the model says."""
    known = set(paths(kind))
    for name, value in record.items():
        path = f"{within}{name}"
        if isinstance(value, dict) and path not in known:
            yield from fields(value, kind, f"{path}.")
        elif path in known or not any(one.startswith(f"{path}.") for one in known):
            yield path


@pytest.mark.parametrize("kind", RECORDS)
def test_csv_has_a_column_for_every_field_with_its_value(looks: Looks, kind: str) -> None:
    records = looks.records[kind]
    written = list(csv.DictReader(io.StringIO(looks.history[kind, "csv"])))
    assert set(written[0]) - OF_ANOTHER_SYSTEM == set(paths(RECORDS[kind]))
    assert {path for record in records for path in fields(record, RECORDS[kind])} <= set(written[0])
    assert len(written) == len(records)
    filled: set[str] = set()
    for row, record in zip(written, records, strict=True):
        for column, cell in row.items():
            value = None if column in OF_ANOTHER_SYSTEM else at(record, column)
            filled |= {column} if cell else set()
            assert cell.removeprefix("'") == _cell(value), column
    assert set(paths(RECORDS[kind])) - filled <= _unlimited(looks, RECORDS[kind])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("kind", RECORDS)
def test_jsonl_is_the_records_and_the_table_has_a_row_for_each(looks: Looks, kind: str) -> None:
    records = looks.records[kind]
    assert [json.loads(line) for line in looks.history[kind, "jsonl"].splitlines()] == records
    heading, *table = rows(looks.history[kind, "table"])
    assert len(table) == len(records)
    for place, title in enumerate(heading):
        cells = {row[place] for row in table if len(row) == len(heading)}
        assert cells - {"-"}, f"the column {title} is always empty"


def test_the_performance_log_is_the_samples_of_the_host(looks: Looks) -> None:
    heading, *lines = looks.performance.splitlines()
    assert heading == "TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"
    samples: dict[str, list[tuple[str, str, str]]] = {}
    for one in looks.records["system"]:  # two of them may be of one second
        shares = one["cpu_percent"], one["memory_usage"]["percent"]
        same = samples.setdefault(f"{one['timestamp'][:19]}Z", [])
        same.append((f"{shares[0]:.1f}", f"{shares[1]:.1f}", one["coord_mode"]))
    rows = [row for row in csv.DictReader(looks.performance.splitlines()) if row["TIMESTAMP"] in samples]
    for row in rows:
        assert (row["CPU"], row["MEMORY"], row["COORD_MODE"]) in samples[row["TIMESTAMP"]]
    assert len(rows) >= 3
    assert all(int(line.split(",")[3]) > 0 and int(line.split(",")[4]) > 0 for line in lines[-2:])


EMPTY = {
    "warnings",  # tests/unit/sinks/test_others_write.py
    "sinks.*.warning",  # the same
    "sources[].error",  # tests/unit/sources/claude_code/test_finder.py
    "sources[].unrecognised",  # tests/unit/sources/claude_code/test_source.py
}
"""What is empty in every state here, with the place that has it otherwise."""


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands at every path of a document; the entries of a list have one path, as the sinks do."""
    if isinstance(node, dict) and node:
        for name, inner in node.items():
            step = "*" if path == "sinks" else name
            yield from leaves(inner, f"{path}.{step}" if path else step)
    elif isinstance(node, list) and node:
        for inner in node:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, node


def test_nothing_in_the_status_is_always_empty(looks: Looks) -> None:
    seen: dict[str, bool] = {}
    for look in looks.all.values():
        for path, value in leaves(look.before):
            seen[path] = seen.get(path, False) or value not in (None, [], {})
    lists = {path[: end.start()] for path in seen for end in re.finditer(r"\[\]", path)}
    empty = {path for path, filled in seen.items() if not filled and path not in lists}
    limits = {path for path in empty if path.startswith("system.cgroup")} if not looks.limited else set()
    inner = {path for path in empty if any(other.startswith(f"{path}.") for other in seen)}
    assert empty - limits - inner == EMPTY


# The page's scripts, and the lines of the documentation.


def test_the_page_reads_fields_that_there_are(looks: Looks) -> None:
    known: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            known.update(node)
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    for look in looks.all.values():
        walk([look.before, look.full, look.tasks, look.api])
    walk([looks.records, {"snapshot_age": None}])
    for script in PAGE.glob("*.js"):
        text = script.read_text()
        asked = set(re.findall(r"\.([a-z]+(?:_[a-z]+)+)\b", text))
        own = set(re.findall(r"^ +(\w+)\(", text, re.MULTILINE))  # what it defines itself
        assert asked - known - own == set(), script.name


@pytest.mark.parametrize("place", range(len(PIPES)), ids=PIPES)
def test_lines_of_the_documentation_find_what_they_look_for(looks: Looks, place: int) -> None:
    done = list(looks.piped.values())[place]
    assert (done.returncode in (0, 1), done.stderr) == (True, ""), done
    if "records list" not in PIPES[place]:  # all of the files here are coordd's own
        assert done.stdout.strip() not in ("", "null"), done
