"""Test the monitoring plugin: ranges, verdicts, and its one line, by the plugin guidelines."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from fake_coordd import status_document
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.check_rules import (
    CRITICAL,
    LONGEST,
    METRICS,
    OK,
    UNKNOWN,
    WARNING,
    Thresholds,
    evaluate,
    figure,
    judge,
    of_error,
    plain,
)
from coordd.cli.ranges import parse_range

# One value of performance data: label, value with unit or U, and four optional fields.
PERFDATA = re.compile(
    r"(?P<label>[a-z0-9_]+)=(?P<value>-?\d+(?:\.\d+)?|U)(?P<unit>%|s|B)?"
    r"(?:;(?P<warn>[@~:\d.\-]*))?(?:;(?P<crit>[@~:\d.\-]*))?(?:;\d*)?(?:;\d*)?"
)


def judged(document: dict[str, Any], *, degraded: int = WARNING, per_cpu: bool = True, **ranges: str) -> Any:
    limits: dict[str, Thresholds] = {}
    for name, text in ranges.items():
        severity, _, metric = name.partition("_")
        minimum = next(m.minimum for m in METRICS if m.name == metric)
        old = limits.get(metric, Thresholds())
        asked = parse_range(text, minimum=minimum)
        limits[metric] = (
            Thresholds(asked, old.critical) if severity == "warning" else Thresholds(old.warning, asked)
        )
    return evaluate(document, limits, degraded=degraded, per_cpu=per_cpu)


def with_agents(**counts: Any) -> dict[str, Any]:
    return status_document(agents={"total": 5, "active": 3, "inactive": 2, "unknown": 0, **counts})


# The table of the guidelines, "Example ranges".
@pytest.mark.parametrize(
    ("text", "quiet", "alarming"),
    [
        ("10", [0, 5, 10], [-0.5, 10.5]),
        ("10:", [10, 1e9], [9.99, -1]),
        ("~:10", [-1e9, 10], [10.01]),
        ("10:20", [10, 15, 20], [9.99, 20.01]),
        ("@10:20", [9.99, 20.01], [10, 15, 20]),
        ("@10", [-1, 10.5], [0, 10]),
        ("~:", [-1e9, 0, 1e9], []),
        (":10", [0, 10], [-1, 11]),
        ("-5:-1", [-5, -1], [0]),
        (".5", [0.5], [0.6]),
    ],
)
def test_ranges_of_the_guidelines(text: str, quiet: list[float], alarming: list[float]) -> None:
    asked = parse_range(text)
    assert [v for v in quiet if asked.alerts(v)] == []
    assert [v for v in alarming if not asked.alerts(v)] == []
    assert asked.text == text


@pytest.mark.parametrize(
    "text", ["", ":", "@", "~", "@~", "10:5", "a", "1:2:3", "10%", "1e3", "٣", "1 0", "--1", "5:~"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|before it begins"):
        parse_range(text)


def test_a_bare_minimum_is_the_least_that_is_fine() -> None:
    asked = parse_range("3", minimum=True)
    assert (asked.alerts(2), asked.alerts(3), asked.alerts(1e6), asked.text) == (True, False, False, "3:")
    assert parse_range("3:4", minimum=True) == parse_range("3:4")
    assert parse_range("@3", minimum=True) == parse_range("@3")


numbers = st.integers(-(10**6), 10**6).map(lambda n: n / 100)


@given(numbers, numbers, numbers)
def test_a_range_alerts_outside_and_its_inverse_inside(one: float, other: float, value: float) -> None:
    low, high = sorted((one, other))
    text = f"{low:.2f}:{high:.2f}"
    assert parse_range(text).alerts(value) == (value < low or value > high)
    assert parse_range("@" + text).alerts(value) != parse_range(text).alerts(value)


@given(st.text(alphabet="@~:.-0123456789 x", max_size=12))
def test_parsing_any_text_gives_a_range_or_a_value_error(text: str) -> None:
    try:
        asked = parse_range(text)
    except ValueError:
        return
    assert asked.start <= asked.end
    assert parse_range(asked.text) == asked


@given(st.one_of(st.none(), numbers), numbers, numbers)
def test_critical_outweighs_warning_and_unknown_is_never_ok(
    value: float | None, warning: float, critical: float
) -> None:
    limits = Thresholds(parse_range(f"~:{warning:.2f}"), parse_range(f"~:{critical:.2f}"))
    state = judge(value, limits)
    if value is None:
        assert state == UNKNOWN
    elif value > critical:
        assert state == CRITICAL
    else:
        assert state == (WARNING if value > warning else OK)
    assert judge(value, Thresholds()) == OK


def test_a_healthy_daemon_is_one_line() -> None:
    verdict = judged(with_agents(active=12, inactive=0))
    assert verdict.state == OK
    first, bar, perfdata = verdict.text().partition(" | ")
    assert (first, bar) == ("COORDD OK - 12 agents active", " | ")
    assert perfdata.startswith("active=12;;;0 waiting=U;;;0 inactive=0;;;0 killed=U;;;0 stalled=U")
    assert "\n" not in verdict.text()


def test_inactive_agents_alone_are_no_problem() -> None:
    verdict = judged(with_agents())
    assert verdict.state == OK
    assert (verdict.reasons, verdict.summary) == ((), "3 agents active, 2 inactive")


def test_a_degraded_daemon_is_what_was_asked_for() -> None:
    document = status_document(health="degraded", problems=["sink jsonl fails", "workspace /x | rm"])
    for degraded in (WARNING, CRITICAL):
        verdict = judged(document, degraded=degraded)
        assert verdict.state == degraded
        said, _, _ = verdict.text().partition(" | ")
        assert said.endswith(" - sink jsonl fails; workspace /x / rm; 1 agent active")
    told = judged(document, degraded=OK)
    assert (told.state, told.reasons, told.summary) == (OK, (), "1 agent active")
    assert judged(status_document(health="degraded")).state == WARNING


@pytest.mark.parametrize(
    ("asked", "document", "state"),
    [
        ({"critical_agents": "4"}, with_agents(), CRITICAL),
        ({"critical_agents": "3"}, with_agents(), OK),
        ({"warning_agents": "4", "critical_agents": "2"}, with_agents(), WARNING),
        ({"warning_inactive": "1"}, with_agents(), WARNING),
        ({"warning_stalled": "0"}, with_agents(stalled=1), WARNING),
        ({"warning_stalled": "0"}, with_agents(stalled=0), OK),
        ({"warning_stalled": "0"}, with_agents(), UNKNOWN),
        ({"critical_unknown": "0"}, with_agents(unknown=1), CRITICAL),
        ({"critical_orphaned": "0"}, status_document(tasks={"orphaned": 1}), CRITICAL),
        ({"critical_orphaned": "0"}, status_document(), UNKNOWN),
        ({"critical_cpu": "12"}, status_document(), CRITICAL),
        ({"critical_memory": "45.1"}, status_document(), OK),
        ({"critical_disk": "@71:72"}, status_document(), CRITICAL),
        ({"warning_age": "23"}, status_document(), WARNING),
        ({"warning_age": "24"}, status_document(), OK),
        ({"warning_age": "24"}, status_document(system=None), UNKNOWN),
        ({"warning_age": "~:", "critical_age": "~:"}, status_document(system=None), OK),
        ({"critical_age": "@~:"}, status_document(system=None), UNKNOWN),
        ({"warning_load": "1"}, status_document(), UNKNOWN),  # the number of CPUs is not known
        ({"warning_stalled": "0", "warning_cpu": "1"}, with_agents(), WARNING),
        ({"warning_stalled": "0", "critical_cpu": "1"}, with_agents(), CRITICAL),
    ],
)
def test_thresholds(asked: dict[str, str], document: dict[str, Any], state: int) -> None:
    assert judged(document, **asked).state == state


def test_load_is_of_five_minutes_and_per_cpu_unless_told_otherwise() -> None:
    document = status_document(system={"load_average": [9.0, 6.0, 1.0], "cpu_count": 4})
    assert judged(document, warning_load="1.5").state == OK
    assert judged(document, warning_load="1.4").state == WARNING
    assert judged(document, warning_load="1.5", per_cpu=False).state == WARNING
    assert " load5_per_cpu=1.5;" in judged(document).text()
    assert " load5=6;" in judged(document, per_cpu=False).text()


def test_reasons_come_worst_first_and_say_the_threshold() -> None:
    verdict = judged(with_agents(), warning_cpu="1", critical_agents="9")
    assert verdict.text().startswith(
        "COORDD CRITICAL - active agents 3 (critical at 9:); cpu 12.34 % (warning at 1); "
        "3 agents active, 2 inactive | active=3;;9:;0 "
    )


def test_perfdata_is_what_the_guidelines_ask_for() -> None:
    document = with_agents(stalled=1)
    document["system"] |= {"cpu_count": 2}
    document["system"]["memory_usage"]["used"] = 7 * 2**30
    text = judged(document, warning_memory="~:80", critical_memory="@90:").text()
    perfdata = text.partition(" | ")[2].split(" ")
    found = {m["label"]: m for m in map(PERFDATA.fullmatch, perfdata) if m is not None}
    assert len(found) == len(perfdata)
    assert (found["memory"]["value"], found["memory"]["unit"]) == ("45.1", "%")
    assert (found["memory"]["warn"], found["memory"]["crit"]) == ("~:80", "@90:")
    assert (found["memory_used"]["value"], found["memory_used"]["unit"]) == (str(7 * 2**30), "B")
    assert (found["age"]["value"], found["age"]["unit"]) == ("24", "s")
    assert (found["stalled"]["value"], found["orphaned"]["value"]) == ("1", "U")
    assert found["load5_per_cpu"]["value"] == "0.2"


def test_a_container_is_judged_by_its_own_limits() -> None:
    document = status_document()
    document["system"]["memory_usage"] |= {"percent": 12.0, "used": 1}
    document["system"] |= {"cpu_percent": 5.0, "cgroup": None}
    assert judged(document, warning_memory="50", warning_cpu="50").state == OK
    group = {
        "memory_max": 512,
        "memory_used": 492,
        "memory_percent": 96.1,
        "cpu_max": 0.5,
        "cpu_percent": 60.0,
    }
    document["system"]["cgroup"] = group
    verdict = judged(document, warning_memory="90", critical_memory="95", warning_cpu="50")
    assert verdict.state == CRITICAL
    assert verdict.text().startswith("COORDD CRITICAL - memory 96.1 % (critical at 95); ")
    assert verdict.details == ("cpu 60 % (warning at 50)",)
    assert "memory_used=492B" in verdict.perfdata


def test_many_problems_are_bounded() -> None:
    verdict = judged(status_document(health="degraded", problems=[f"p{i}" for i in range(1000)]))
    said, _, perfdata = verdict.text().partition(" | ")
    assert said.endswith("; p9; 990 more: coordctl status; 1 agent active")
    assert "daemon_uptime" in perfdata


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=3000), max_size=30), st.booleans())
def test_it_is_one_line_of_4_kib_with_all_performance_data(problems: list[str], wide: bool) -> None:
    limits = (
        {f"{how}_{one.name}": "1" * 18 for one in METRICS for how in ("warning", "critical")} if wide else {}
    )
    text = judged(status_document(health="degraded", problems=problems), **limits).text()
    assert len(text.encode()) < LONGEST
    assert len(text.encode("ascii", "backslashreplace")) < LONGEST
    assert (text.splitlines(), text.count(" | "), "daemon_uptime" in text) == ([text], 1, True)
    told = of_error(UNKNOWN, "\n".join(problems)).text()
    assert (told.splitlines(), len(told.encode()) < LONGEST) == ([told], True)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_figures_have_no_exponent(value: float) -> None:
    text = figure(value)
    assert re.fullmatch(r"-?\d+(\.\d{1,3})?", text)
    assert math.isclose(float(text), value, rel_tol=1e-6, abs_tol=0.001)


@given(st.text())
def test_a_strangers_words_stay_on_their_line_and_out_of_the_perfdata(words: str) -> None:
    document = status_document(health="degraded", problems=[words])
    text = judged(document).text()
    assert text.splitlines() == [text]
    assert text.count("|") == 1
    assert plain(words).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["timestamp", "health", "problems", "agents", "tasks", "system", "daemon"]),
        json_values | st.dictionaries(st.sampled_from(["active", "load_average", "cpu_count"]), json_values),
    )
)
def test_any_document_gives_a_verdict(document: dict[str, Any]) -> None:
    verdict = judged(document, critical_agents="1", warning_load="1", warning_cpu="50")
    assert verdict.state in (OK, WARNING, CRITICAL, UNKNOWN)
    first = verdict.text().split("\n")[0]
    assert all(PERFDATA.fullmatch(part) for part in first.partition(" | ")[2].split(" "))


def test_an_error_of_several_lines_becomes_one() -> None:
    verdict = of_error(CRITICAL, "coordd is not running. Tried:\n  /a|b: nothing\n  /c: refused\n\nStart it.")
    assert verdict.text() == (
        "COORDD CRITICAL - coordd is not running. Tried: /a/b: nothing; /c: refused. Start it."
    )


def test_who_needs_a_human_is_counted_and_can_have_thresholds() -> None:
    document = with_agents(
        inactive=5, ended=3, stalled=1, activities={"waiting": 2, "blocked": 0, "working": 4}
    )
    document["attention"] = [{"kind": "killed"}, {"kind": "waiting"}, {"kind": "killed"}, None]
    quiet = judged(document)
    assert quiet.summary == "3 agents active, 2 waiting, 1 stalled, 2 killed, 2 inactive"
    assert (quiet.state, "waiting=2;;;0 inactive=2;;;0 killed=2" in quiet.perfdata) == (OK, True)
    loud = judged(document, warning_waiting="0", critical_killed="1")
    assert loud.state == CRITICAL
    assert loud.reasons == ("killed agents 2 (critical at 1)", "waiting agents 2 (warning at 0)")


def test_those_that_were_killed_together_count_one_by_one() -> None:
    document = with_agents(inactive=24, killed=24)
    document["attention"] = [{"kind": "mass"}]
    verdict = judged(document, critical_killed="3")
    assert verdict.reasons == ("killed agents 24 (critical at 3)",)
    assert verdict.summary.startswith("3 agents active, 24 killed")
    assert (verdict.state, " killed=24;" in verdict.perfdata) == (CRITICAL, True)


@pytest.mark.parametrize("metric", ["waiting", "killed", "blocked"])
def test_an_older_daemon_does_not_tell_who_needs_a_human(metric: str) -> None:
    assert judged(with_agents(), **{f"critical_{metric}": "0"}).state == UNKNOWN
