"""Turn the status document into Prometheus metrics.

Names follow the Prometheus conventions: base units, a unit as suffix, ``_total`` for counters. An unknown
value has no sample, never 0. No label ever holds an agent's, a task's or a workspace's name: strangers
choose those, and a fleet has thousands. With the daemon down there is ``coordd_up 0``, and its own metrics
are absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordd.dashboard.agent_metrics import AgentNumbers, agent_families, kind_of, needs_families
from coordd.dashboard.families import counter, gauge, gauges_by, states
from coordd.model import STATUSES, WORKSPACE_STATES
from coordd.util.text import epoch_of, number
from coordd.util.untyped import as_dict, dicts

WINDOWS = {18_000.0: "5h", 604_800.0: "7d"}
"""The windows of limits with a series of their own, by their lengths in seconds."""
RATIO = 0.01
"""The factor from percent to the ratio 0..1 that Prometheus expects."""


class Page(Collector):
    """The metrics of one scrape, made of a status document, or of None without a daemon.

    ``agents`` is what the list of agents tells, None where it is not known.
    """

    def __init__(
        self, status: dict[str, Any] | None, own: Iterable[Metric], agents: AgentNumbers | None = None
    ) -> None:
        self._status = status
        self._agents = agents
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families, the dashboard's own last."""
        up = GaugeMetricFamily("coordd_up", "Whether the daemon answers.")
        up.add_metric([], 0.0 if self._status is None else 1.0)
        yield up
        if self._status is not None:
            known = chain(families(self._status), agent_families(self._agents) if self._agents else ())
            yield from (family for family in known if family.samples)
        yield from self._own


def families(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metric families of a status document."""
    daemon, system = as_dict(status.get("daemon")), as_dict(status.get("system"))
    yield from _daemon(status, daemon)
    yield from _agents(status)
    yield from needs_families(status)
    yield from _limits(status)
    yield from _host(system)
    yield from _cgroup(as_dict(system.get("cgroup")))
    yield from _redis(as_dict(status.get("redis")))
    yield from _sinks(as_dict(status.get("sinks")))
    yield from _own_cost(daemon, as_dict(system.get("self")))


def _daemon(status: dict[str, Any], daemon: dict[str, Any]) -> Iterator[Metric]:
    info = GaugeMetricFamily("coordd_build_info", "Version of the daemon; always 1.", labels=["version"])
    info.add_metric([str(daemon.get("version"))[:64]], 1.0)
    yield info
    yield gauge(
        "coordd_healthy", "1 when nothing needs attention, 0 when degraded.", _is(status.get("health"), "ok")
    )
    problems = status.get("problems")
    yield gauge(
        "coordd_problems", "Lines under problems.", len(problems) if isinstance(problems, list) else None
    )
    yield gauge(
        "coordd_start_time_seconds",
        "When the daemon started, as Unix time.",
        epoch_of(daemon.get("started_at")),
    )
    yield states(
        "coordd_coordination_mode",
        "The coordination backend in use.",
        "mode",
        ("redis", "file"),
        daemon.get("coord_mode"),
    )
    workspaces = status.get("workspaces")
    if isinstance(workspaces, list):
        counts: dict[str, float] = dict.fromkeys(WORKSPACE_STATES, 0.0)
        for one in workspaces:
            state = as_dict(one).get("state")
            name = state if isinstance(state, str) and state in counts else "other"
            counts[name] = counts.get(name, 0.0) + 1
        yield gauges_by("state", "coordd_workspaces", "Watched projects by how they are watched.", counts)
    malformed = as_dict(status.get("traces_malformed")).get("count")
    yield gauge("coordd_traces_malformed", "Traces that cannot be used right now.", malformed)


def _agents(status: dict[str, Any]) -> Iterator[Metric]:
    agents, tasks = as_dict(status.get("agents")), as_dict(status.get("tasks"))
    verdicts: dict[str, Any] = {name: agents.get(name) for name in STATUSES}
    yield gauges_by("status", "coordd_agents", "Known agents by verdict.", verdicts)
    yield gauge(
        "coordd_agents_stalled", "Agents that live and hold a task, without progress.", agents.get("stalled")
    )
    yield gauge("coordd_tasks_available", "Tasks that nobody has claimed.", tasks.get("available"))
    claimed, expired, orphaned = (number(tasks.get(name)) for name in ("claimed", "expired", "orphaned"))
    held = None if claimed is None or expired is None or orphaned is None else claimed - expired - orphaned
    claims = {"held": held, "expired": expired, "orphaned": orphaned}
    yield gauges_by("state", "coordd_claims", "Claims on tasks by state.", claims)


def _limits(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield how much of the accounts' windows is used, the highest of each kind; few windows have a label."""
    highest: dict[tuple[str, str], float] = {}
    for one in dicts(status.get("limits")):
        used, window = number(one.get("used_percent")), WINDOWS.get(number(one.get("window")) or 0.0)
        if used is not None and window is not None:
            key = kind_of(one.get("kind")), window
            highest[key] = max(used * RATIO, highest.get(key, 0.0))
    family = GaugeMetricFamily(
        "coordd_limit_used_ratio",
        "How much of a provider's limit is used, 0 to 1, the highest of all accounts.",
        labels=["kind", "window"],
    )
    for labels, value in sorted(highest.items()):
        family.add_metric(list(labels), value)
    yield family


def _host(system: dict[str, Any]) -> Iterator[Metric]:
    yield gauge(
        "coordd_sample_timestamp_seconds",
        "When the host was last sampled, as Unix time.",
        epoch_of(system.get("timestamp")),
    )
    yield gauge(
        "coordd_host_cpu_usage_ratio",
        "Mean CPU use since the sample before, 0 to 1.",
        system.get("cpu_percent"),
        RATIO,
    )
    yield gauge("coordd_host_cpus", "CPUs of the host.", system.get("cpu_count"))
    load = system.get("load_average")
    for index, minutes in enumerate((1, 5, 15)):
        value = load[index] if isinstance(load, list) and len(load) == 3 else None
        yield gauge(f"coordd_host_load{minutes}", f"Load average over {minutes} min.", value)
    for name, what in (("memory", "Memory"), ("swap", "Swap"), ("disk", "The disk that holds /")):
        usage = as_dict(system.get(f"{name}_usage"))
        for key in ("total", "used", "available" if name == "memory" else "free"):
            yield gauge(f"coordd_host_{name}_{key}_bytes", f"{what}: {key} bytes.", usage.get(key))
    for source, keys in (("disk_io", ("read", "write")), ("network_io", ("sent", "received"))):
        rates = as_dict(system.get(source))
        name = source.removesuffix("_io")
        for key in keys:
            yield gauge(
                f"coordd_host_{name}_{key}_bytes_per_second",
                f"Bytes a second, {name} {key}, since the sample before.",
                rates.get(key),
            )


def _cgroup(group: dict[str, Any]) -> Iterator[Metric]:
    """Yield the limits that hold for coordd, such as a container's; nothing where there are none."""
    yield gauge(
        "coordd_cgroup_memory_limit_bytes",
        "Memory that the control group of coordd, such as a container, may use.",
        group.get("memory_max"),
    )
    yield gauge(
        "coordd_cgroup_memory_used_bytes",
        "Memory in use of that, without the cache that is given up first.",
        group.get("memory_used"),
    )
    yield gauge("coordd_cgroup_cpus", "CPUs that the control group of coordd may use.", group.get("cpu_max"))
    yield gauge(
        "coordd_cgroup_cpu_usage_ratio", "Mean use of these, 0 to 1.", group.get("cpu_percent"), RATIO
    )


def _redis(redis: dict[str, Any]) -> Iterator[Metric]:
    configured = redis.get("configured")
    yield gauge("coordd_redis_configured", "Whether a Redis is configured.", _bool(configured))
    if configured is not True:
        return
    yield gauge("coordd_redis_up", "Whether the configured Redis answers.", _bool(redis.get("connected")))
    yield gauge("coordd_redis_memory_used_bytes", "Memory that Redis uses.", redis.get("used_memory"))
    yield gauge("coordd_redis_keys", "Keys in the database.", redis.get("keys"))
    yield gauge("coordd_redis_latency_seconds", "Time that a command took.", redis.get("latency_ms"), 0.001)
    yield states("coordd_redis_feed", "How changes arrive.", "feed", ("push", "poll"), redis.get("feed"))


def _sinks(sinks: dict[str, Any]) -> Iterator[Metric]:
    states, written, dropped, backlog = (
        GaugeMetricFamily("coordd_sink_up", "Whether a sink takes records.", labels=["sink"]),
        CounterMetricFamily("coordd_sink_written_records", "Records that a sink has taken.", labels=["sink"]),
        CounterMetricFamily(
            "coordd_sink_dropped_records", "Records lost because a sink failed.", labels=["sink"]
        ),
        GaugeMetricFamily("coordd_sink_backlog_records", "Records that wait for a sink.", labels=["sink"]),
    )
    for name, sink in list(sinks.items())[:16]:  # the daemon has about three
        known = as_dict(sink)
        values = (
            (states, _is(known.get("state"), "ok")),
            (written, number(known.get("written"))),
            (dropped, number(known.get("dropped"))),
            (backlog, number(known.get("backlog"))),
        )
        for family, value in values:
            if value is not None:
                family.add_metric([str(name)[:64]], value)
    yield from (states, written, dropped, backlog)


def _own_cost(daemon: dict[str, Any], own: dict[str, Any]) -> Iterator[Metric]:
    cpu = CounterMetricFamily("coordd_process_cpu_seconds", "CPU time of the daemon.")
    seconds = number(daemon.get("cpu_seconds"))
    if seconds is not None:
        cpu.add_metric([], seconds)
    yield cpu
    yield gauge("coordd_process_resident_memory_bytes", "Resident memory of the daemon.", daemon.get("rss"))
    yield gauge("coordd_process_open_fds", "File descriptors that the daemon has open.", own.get("open_fds"))
    yield gauge(
        "coordd_loop_lag_seconds", "By how much the daemon's loop was late.", own.get("loop_lag_ms"), 0.001
    )


def dashboard_families(
    *, connections: int, streams: int, refused: int, cut: int, requests: int, cpu: float, reconnections: int
) -> list[Metric]:
    """Return the metrics of the dashboard itself; ``cpu`` is in seconds."""
    return [
        gauge("coordd_dashboard_connections", "Open HTTP connections.", connections),
        gauge("coordd_dashboard_streams", "Open event streams.", streams),
        counter(
            "coordd_dashboard_refused_connections",
            "Connections refused because there were too many.",
            refused,
        ),
        counter(
            "coordd_dashboard_cut_connections", "Connections cut because the client was slow or silent.", cut
        ),
        counter("coordd_dashboard_requests", "HTTP requests answered.", requests),
        counter("coordd_dashboard_cpu_seconds", "CPU time of the dashboard.", cpu),
        counter("coordd_dashboard_reconnections", "Times that the daemon was lost and found.", reconnections),
    ]


def _is(value: object, good: str) -> float | None:
    return None if value is None else float(value == good)


def _bool(value: object) -> float | None:
    return float(value) if isinstance(value, bool) else None
