"""Judge a status document for ``coordctl check``: metrics, thresholds, verdict. Pure.

One row of :data:`METRICS` for each number: where it stands in the status document, its unit, its options'
help. What the daemon does not know is unknown here too: as performance data it is ``U``, and with a threshold
of its own it makes the result UNKNOWN, never OK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coordd.cli.ranges import ThresholdRange
from coordd.records.room import cpu_percent, memory_percent, memory_used
from coordd.util.text import count, epoch_of, escape, number
from coordd.util.untyped import as_dict

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

_SEVERITY = (OK, UNKNOWN, WARNING, CRITICAL)
"""States from the least to the most urgent: a known problem outweighs an unknown one."""
LONGEST = 4096
"""Bytes of the line at most: what NRPE and others pass on."""
_LISTED = 10  # reasons that are named at most
_CUT = "..."

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """Describe one number that can have thresholds.

    ``unit`` is the UOM of performance data (``%``, ``s``, ``B``, or empty); ``most`` is the largest possible
    value. ``warning`` and ``critical`` are the default ranges, or None. With ``minimum`` a bare number in a
    range is the least value that is fine. ``label`` names it in the performance data, if not by ``name``.
    """

    name: str
    words: str
    doc: str
    read: Callable[[Document], float | None]
    unit: str = ""
    most: str = ""
    warning: str | None = None
    critical: str | None = None
    minimum: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The ranges of one metric; None means that no value alerts."""

    warning: ThresholdRange | None = None
    critical: ThresholdRange | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the plugin prints: a state, the reasons for it, worst first, a summary, performance data."""

    state: int
    reasons: tuple[str, ...]
    summary: str = ""
    perfdata: str = ""

    def text(self) -> str:
        """Return all of it as one line of at most :data:`LONGEST` bytes; the reasons give way."""
        begin, end = f"COORDD {NAMES[self.state]} - ", f" | {self.perfdata}" if self.perfdata else ""
        room = LONGEST - _size(begin + end) - 1  # and the line break
        for listed in range(min(len(self.reasons), _LISTED), 0, -1):
            more = len(self.reasons) - listed
            words = [*self.reasons[:listed], *([f"{more} more: coordctl status"] if more else [])]
            said = "; ".join([*words, *([self.summary] if self.summary else [])])
            if _size(said) <= room:
                break
        else:
            said = "; ".join([*self.reasons[:1], *([self.summary] if self.summary else [])])
        return begin + _cut(said, room) + end


def of_error(state: int, message: str) -> CheckResult:
    """Return a verdict without a status document; a message of several lines becomes a list in one."""
    head, *rest = [plain(" ".join(line.split())) for line in message.split("\n") if line.strip()] or [""]
    said = head
    for line in rest:
        said += (" " if said.endswith((":", ".")) else ". " if line[:1].isupper() else "; ") + line
    return CheckResult(state, (said,))


def _size(text: str) -> int:
    """Return the most bytes that a text takes on any terminal: as UTF-8, or in ASCII with escapes."""
    return max(len(text.encode("utf-8", "surrogatepass")), len(text.encode("ascii", "backslashreplace")))


def _cut(text: str, size: int) -> str:
    if _size(text) <= size:
        return text
    while _size(text) > size - len(_CUT):
        text = text[: min(len(text) - 1, size)]
    return text + _CUT


def evaluate(
    document: Document, limits: Mapping[str, Thresholds], *, degraded: int, per_cpu: bool
) -> CheckResult:
    """Return the verdict on a status document.

    Args:
        document: the answer of ``status``; it may have any shape.
        limits: thresholds by the name of the metric; a metric without them never alerts.
        degraded: the state to return when the daemon reports problems.
        per_cpu: whether load is judged divided by the number of CPUs.
    """
    found: list[tuple[int, str]] = []
    perfdata = []
    for metric in metrics(per_cpu=per_cpu):
        value = metric.read(document)
        asked = limits.get(metric.name, Thresholds())
        state = judge(value, asked)
        if state != OK:
            found.append((state, _reason(metric, value, asked, state)))
        perfdata.append(_perfdata(metric, value, asked))
    perfdata += [_perfdata(metric, metric.read(document), Thresholds()) for metric in _FIGURES]
    problems = document.get("problems")
    if document.get("health") == "degraded" and degraded != OK:
        reported = [plain(problem) for problem in problems] if isinstance(problems, list) else []
        found += [(degraded, words) for words in reported or ["coordd is degraded"]]
    found.sort(key=lambda reason: -_SEVERITY.index(reason[0]))
    return CheckResult(
        state=found[0][0] if found else OK,
        reasons=tuple(words for _, words in found),
        summary=summary(document),
        perfdata=" ".join(perfdata),
    )


def judge(value: float | None, limits: Thresholds) -> int:
    """Return the state of one value; an unknown value (None) with a threshold is UNKNOWN."""
    if all(asked is None or asked.never for asked in (limits.warning, limits.critical)):
        return OK
    if value is None:
        return UNKNOWN
    if limits.critical is not None and limits.critical.alerts(value):
        return CRITICAL
    return WARNING if limits.warning is not None and limits.warning.alerts(value) else OK


def summary(document: Document) -> str:
    """Return in words how many agents there are."""
    agents = as_dict(document.get("agents"))
    active = count(agents.get("active"))
    parts = [f"{active} {'agent' if active == '1' else 'agents'} active"]
    activities = as_dict(agents.get("activities"))
    named = {
        "waiting": activities.get("waiting"),
        "stalled": agents.get("stalled"),
        "killed": _killed(document),
        "blocked": activities.get("blocked"),
        "inactive": _without_ended(document),
        "unknown": agents.get("unknown"),
    }
    parts += [f"{count(value)} {name}" for name, value in named.items() if number(value)]
    orphaned = number(as_dict(document.get("tasks")).get("orphaned"))
    if orphaned:
        parts.append(f"{orphaned:.0f} {'claim' if orphaned == 1 else 'claims'} orphaned")
    return ", ".join(parts)


def plain(value: object) -> str:
    """Escape a text for one line of plugin output; replace ``|``, which would begin performance data."""
    return escape(str(value)).replace("|", "/")


def metrics(*, per_cpu: bool) -> Sequence[Metric]:
    """Return all metrics that take thresholds; ``per_cpu`` decides how load is judged."""
    return (*METRICS[:_LOAD], METRICS[_LOAD] if per_cpu else _ABSOLUTE_LOAD, *METRICS[_LOAD + 1 :])


def _in(*keys: str) -> Callable[[Document], float | None]:
    """Return a function that reads the number at this path of a document, or None."""

    def read(document: Document) -> float | None:
        value: object = document
        for key in keys:
            value = as_dict(value).get(key)
        return number(value)

    return read


def _killed(document: Document) -> float | None:
    """Return how many of the listed agents were killed.

    Of an older daemon, how many killed ones need a human; None where it does not tell that either.
    """
    killed = number(as_dict(document.get("agents")).get("killed"))
    if killed is not None:
        return killed
    attention = document.get("attention")
    if not isinstance(attention, list):
        return None
    return float(sum(as_dict(entry).get("kind") == "killed" for entry in attention))


def _without_ended(document: Document) -> float | None:
    """Return how many agents are inactive without having ended in order, as far as that is told."""
    agents = as_dict(document.get("agents"))
    inactive, ended = number(agents.get("inactive")), number(agents.get("ended"))
    return None if inactive is None else max(inactive - (ended or 0.0), 0.0)


def _cpu(document: Document) -> float | None:
    return number(cpu_percent(as_dict(document.get("system"))))


def _memory(document: Document) -> float | None:
    return number(memory_percent(as_dict(document.get("system"))))


def _memory_used(document: Document) -> float | None:
    return number(memory_used(as_dict(document.get("system"))))


def _load(document: Document) -> float | None:
    averages = as_dict(document.get("system")).get("load_average")
    if not isinstance(averages, (list, tuple)) or len(averages) < 2:
        return None
    return number(averages[1])


def _load_per_cpu(document: Document) -> float | None:
    load, cpus = _load(document), number(as_dict(document.get("system")).get("cpu_count"))
    return None if load is None or not cpus or cpus < 0 else load / cpus


def _sample_age(document: Document) -> float | None:
    asked = epoch_of(document.get("timestamp"))
    taken = epoch_of(as_dict(document.get("system")).get("timestamp"))
    return None if asked is None or taken is None else max(asked - taken, 0.0)


METRICS = (
    Metric(
        "agents",
        "active agents",
        "active agents; a bare number N is the least that is fine",
        _in("agents", "active"),
        minimum=True,
        label="active",
    ),
    Metric(
        "waiting", "waiting agents", "agents that wait for a human", _in("agents", "activities", "waiting")
    ),
    Metric(
        "inactive",
        "inactive agents",
        "inactive agents, without those that ended in order",
        _without_ended,
    ),
    Metric("killed", "killed agents", "agents that were killed, as long as they are listed", _killed),
    Metric("stalled", "stalled agents", "agents that work without progress", _in("agents", "stalled")),
    Metric(
        "blocked",
        "blocked agents",
        "agents that their provider refuses",
        _in("agents", "activities", "blocked"),
    ),
    Metric("unknown", "unknown agents", "agents whose state is unknown", _in("agents", "unknown")),
    Metric("orphaned", "orphaned claims", "claims whose holder is gone", _in("tasks", "orphaned")),
    Metric("cpu", "cpu", "CPU use of the machine, or of the container, in percent", _cpu, "%", "100"),
    Metric(
        "memory",
        "memory",
        "memory in use in percent, of the machine or of the container",
        _memory,
        "%",
        "100",
        warning="90",
        critical="95",
    ),
    Metric(
        "disk",
        "disk",
        "use of the root file system in percent",
        _in("system", "disk_usage", "percent"),
        "%",
        "100",
        warning="90",
        critical="95",
    ),
    Metric(
        "load",
        "load per cpu",
        "the mean load of 5 minutes, divided by the number of CPUs",
        _load_per_cpu,
        label="load5_per_cpu",
    ),
    Metric("age", "age of the last sample", "seconds since the host was last sampled", _sample_age, "s"),
)
_LOAD = next(place for place, metric in enumerate(METRICS) if metric.name == "load")
_ABSOLUTE_LOAD = Metric("load", "load", "", _load, label="load5")
_FIGURES = (
    Metric("available", "", "", _in("tasks", "available")),
    Metric("claimed", "", "", _in("tasks", "claimed")),
    Metric("memory_used", "", "", _memory_used, "B"),
    Metric("disk_free", "", "", _in("system", "disk_usage", "free"), "B"),
    Metric("daemon_rss", "", "", _in("daemon", "rss"), "B"),
    Metric("daemon_uptime", "", "", _in("daemon", "uptime"), "s"),
)
"""Performance data without thresholds."""


def _reason(metric: Metric, value: float | None, limits: Thresholds, state: int) -> str:
    if value is None:
        return f"{metric.words}: not known"
    asked = limits.critical if state == CRITICAL else limits.warning
    shown = f"{figure(value)}{' ' if metric.unit else ''}{metric.unit}"
    return f"{metric.words} {shown} ({NAMES[state].lower()} at {asked.text if asked else ''})"


def _perfdata(metric: Metric, value: float | None, limits: Thresholds) -> str:
    """Return ``'label'=value[UOM];warn;crit;min;max`` without empty fields at the end."""
    shown = "U" if value is None else figure(value) + metric.unit
    fields = [
        shown,
        limits.warning.text if limits.warning else "",
        limits.critical.text if limits.critical else "",
        "0",
        metric.most,
    ]
    return f"{metric.label or metric.name}={';'.join(fields).rstrip(';')}"


def figure(value: float) -> str:
    """Return a number as performance data may hold it: decimal, no exponent, at most three places."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
