"""What the memory makes of what the daemon tells: notifications, a whole status, samples."""

from __future__ import annotations

from typing import Any

import pytest
from alert_play import START, Play, a_rule
from hypothesis import given
from hypothesis import strategies as st

from coordd.alerts.hearing import Hearing
from coordd.alerts.memory import Memory
from coordd.alerts.rules import Threshold
from coordd.util.timestamps import format_utc


def entry(subject: str, kind: str = "waiting", **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "workspace": "/w",
        "subject": subject,
        "since": format_utc(START),
        "text": f"{kind}: x",
        "command": f"coordctl why {subject}",
        "id": f"{subject}-{kind}",
        **more,
    }


def change(*, opened: Any = (), changed: Any = (), closed: Any = (), at: float = START) -> dict[str, Any]:
    return {
        "timestamp": format_utc(at),
        "opened": list(opened),
        "changed": list(changed),
        "closed": list(closed),
        "total": 0,
    }


class Heard:
    def __init__(self, **rule: object) -> None:
        self.play = Play([a_rule(**rule)])
        self.memory = Memory(engine=self.play.engine)
        self.hearing = Hearing(self.memory)

    def take(self, topic: str, params: dict[str, Any]) -> list[str]:
        unsure = self.hearing.take(topic, params, self.play.now)
        return [one.condition.subject for one in unsure]

    def fires(self) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in self.play.engine.fires.values()]


def test_entries_open_and_close() -> None:
    heard = Heard()
    heard.take("attention", change(opened=[entry("a"), entry("b", "killed")]))
    assert heard.fires() == [("waiting", "a"), ("killed", "b")]
    heard.take("attention", change(closed=[entry("a", why="over")]))
    assert heard.fires() == [("killed", "b")]


def test_of_a_killed_one_the_daemon_has_to_be_asked_unless_somebody_acknowledged_it() -> None:
    heard = Heard()
    heard.take("attention", change(opened=[entry("a", "killed"), entry("/w", "mass"), entry("b", "killed")]))
    closed = [entry("a", "killed", why="over"), entry("/w", "mass", why="over")]
    assert heard.take("attention", change(closed=closed)) == ["a", "/w"]
    assert heard.take("attention", change(closed=[entry("b", "killed", why="acknowledged")])) == []
    assert ("killed", "b") not in heard.fires()


def test_the_next_prompt_of_an_agent_is_no_end() -> None:
    heard = Heard()
    heard.take("attention", change(opened=[entry("a", id="1")]))
    heard.play.wait(5)
    heard.take("attention", change(opened=[entry("a", id="2")], closed=[entry("a", id="1", why="over")]))
    heard.play.wait(600)
    assert heard.play.states() == ["firing", "firing"]


def test_a_whole_status_says_what_is_over() -> None:
    heard = Heard()
    heard.take("attention", change(opened=[entry("a"), entry("b"), entry("c", "killed")]))
    heard.hearing.event({"kind": "redis.down", "subject": "x"}, heard.play.now, START)
    status = {"attention": [entry("b")], "redis": {"configured": True, "connected": True}, "sinks": {}}
    unsure = heard.hearing.snapshot(status, heard.play.now)
    assert [one.condition.subject for one in unsure] == ["c"]
    assert heard.fires() == [("waiting", "b"), ("killed", "c")]


def test_redis_and_sinks_of_a_status_and_of_events() -> None:
    heard = Heard(kinds=frozenset({"redis", "sink"}))
    status = {
        "attention": [],
        "redis": {"configured": True, "connected": False, "error": "refused"},
        "sinks": {"jsonl": {"state": "failing", "error": "No space left"}, "csv": {"state": "ok"}},
    }
    heard.hearing.snapshot(status, heard.play.now)
    assert heard.fires() == [("sink", "jsonl"), ("redis", "Redis")]
    heard.take("event", {"kind": "redis.up", "subject": "redis://x", "timestamp": format_utc(START)})
    heard.take("event", {"kind": "sink.recovered", "subject": "jsonl", "timestamp": format_utc(START)})
    assert heard.fires() == []
    heard.take("event", {"kind": "sink.failed", "subject": "csv", "timestamp": format_utc(START)})
    assert heard.fires() == [("sink", "csv")]


@pytest.mark.parametrize(
    ("word", "high", "low"),
    [
        ("cpu>90", {"cpu_percent": 95.0}, {"cpu_percent": 12.0}),
        ("memory>90", {"memory_usage": {"percent": 91}}, {"memory_usage": {"percent": 90}}),
        ("disk>90", {"disk_usage": {"percent": 99.0}}, {"disk_usage": {"percent": 9.0}}),
        ("load>2", {"load_average": [2.5, 1, 1]}, {"load_average": [2.0, 5, 5]}),
        (
            "cpu>90",
            {"cpu_percent": 1, "cgroup": {"cpu_percent": 99}},
            {"cpu_percent": 99, "cgroup": {"cpu_percent": 2}},
        ),
        (
            "memory>90",
            {"memory_usage": {"percent": 1}, "cgroup": {"memory_percent": 99}},
            {"memory_usage": {"percent": 99}, "cgroup": {"memory_percent": 1}},
        ),
    ],
)
def test_thresholds(word: str, high: dict[str, Any], low: dict[str, Any]) -> None:
    measure, _, above = word.partition(">")
    threshold = Threshold(measure=measure, above=float(above))
    heard = Heard(kinds=frozenset({word}), thresholds=(threshold,), hold=90.0)
    stamp = {"timestamp": format_utc(START)}
    heard.take("system", stamp | low)
    assert heard.fires() == []
    heard.take("system", stamp | high)
    heard.play.wait(60)
    heard.take("system", {"timestamp": format_utc(heard.play.wall)} | high)
    heard.play.wait(40)
    assert heard.play.states() == ["firing"]
    heard.take("system", stamp | {})  # unknown says nothing
    assert heard.fires() == [(word, measure)]
    heard.take("system", stamp | low)
    heard.play.wait(60)
    assert heard.play.states() == ["firing", "resolved"]


def sample(activity: str | None, at: float, **more: Any) -> dict[str, Any]:
    moment = format_utc(START + at)
    return {
        "agent_id": "a",
        "workspace": "/w",
        "status": "active",
        "activity": activity,
        "activity_since": moment,
        "timestamp": moment,
        **more,
    }


def test_a_turn_lasts_over_prompts_and_its_end_is_told_to_rules_that_want_it() -> None:
    heard = Heard(finished_after=300.0)
    heard.play.wall += 1000
    for activity, at in (("idle", 0), ("working", 10), ("waiting", 100), ("working", 200), ("idle", 311)):
        heard.take("agent", sample(activity, at))
    heard.play.wait(5)
    assert heard.play.states() == ["happened"]
    assert "5 min 1 s" in heard.play.told[0].condition.text
    heard.take("agent", sample("working", 400))
    heard.take("agent", sample("idle", 500))  # too short
    heard.play.wait(5)
    assert heard.play.states() == ["happened"]


@pytest.mark.parametrize(
    "last", [sample("unknown", 400), sample(None, 400, status="inactive"), sample("working", 400), {}]
)
def test_what_is_no_end_of_a_turn(last: dict[str, Any]) -> None:
    heard = Heard(finished_after=0.0)
    heard.take("agent", sample("working", 10))
    heard.take("agent", last)
    heard.play.wait(5)
    assert heard.play.drafts == []


FIELDS = st.sampled_from(
    [
        "opened",
        "closed",
        "changed",
        "timestamp",
        "kind",
        "subject",
        "workspace",
        "detail",
        "activity",
        "status",
        "agent_id",
        "cpu_percent",
        "load_average",
        "memory_usage",
        "attention",
        "redis",
        "sinks",
        "system",
        "id",
        "why",
        "since",
        "cause",
    ]
)
WORDS = st.sampled_from(["waiting", "killed", "mass", "active", "idle", "redis.down", format_utc(START)])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
ENTRY = st.fixed_dictionaries(
    {"kind": WORDS | JSON, "subject": st.text(max_size=3)}, optional={"since": JSON, "id": JSON, "text": JSON}
)
AGENT = st.fixed_dictionaries({"agent_id": st.just("a"), "activity": WORDS | JSON, "status": WORDS | JSON})


@given(
    topic=st.sampled_from(["attention", "event", "system", "agent", "other"]),
    params=st.dictionaries(FIELDS, JSON | st.lists(ENTRY, max_size=3)) | AGENT,
)
def test_a_daemon_of_any_version_breaks_nothing(topic: str, params: dict[str, Any]) -> None:
    heard = Heard(thresholds=(Threshold(measure="cpu", above=90.0), Threshold(measure="load", above=2.0)))
    heard.take(topic, params)
    heard.hearing.snapshot(params, heard.play.now)
    heard.play.wait(1)
