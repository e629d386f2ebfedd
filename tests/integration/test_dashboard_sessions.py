"""Sessions of coding agents as the dashboard tells of them, before the real daemon that reads their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dash import Dashboard, dashboard
from live import Coordd, Project, watching
from sessions import Home
from waiting import eventually

NAMED = {"name": "fix login", "nameSource": "user"}
TOKENS = 'coordd_tokens_total{kind="claude-code",type="%s"}'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    one = Home(tmp_path / "home" / ".claude")
    yield one
    one.close()


@pytest.fixture
def daemon(home: Home, tmp_path: Path) -> Iterator[Coordd]:
    """The coordd of one project: sessions that run elsewhere on this machine are none of its."""
    with watching(Project(home.work), tmp_path, COORDD_AGENTS_FORGET_ENDED_AFTER="5s") as one:
        yield one


@pytest.fixture
def dash(daemon: Coordd, home: Home) -> Iterator[Dashboard]:
    with dashboard(sock=daemon.socket, home=home.path.parent) as one:
        yield one


def reads(dash: Dashboard, name: str, value: float) -> None:
    """Wait until a metric has a value."""
    eventually(lambda: dash.metric(name) == value, what=f"{name} {value}")


def used(agent: dict[str, Any]) -> int | None:
    """Return the input tokens of an agent; None as long as its transcript was not read."""
    return agent["tokens"] and agent["tokens"]["input"]


def test_who_waits_is_told_until_somebody_answers(home: Home, daemon: Coordd, dash: Dashboard) -> None:
    session = home.session("s-1", **NAMED, status="busy")
    reads(dash, 'coordd_agents_activity{activity="working"}', 1)
    reads(dash, 'coordd_agents_kind{kind="claude-code"}', 1)
    with closing(dash.events("/api/events?topics=status")) as stream:
        stream.until("status", attention=[])
        session.write(status="waiting", waitingFor="permission prompt")
        eventually(lambda: daemon.rpc("status")["attention"])
        needs = daemon.rpc("status")["attention"]
        assert [(one["kind"], one["subject"]) for one in needs] == [("waiting", "s-1")]
        stream.until("status", attention=needs)
        reads(dash, 'coordd_attention{kind="waiting"}', 1)
        reads(dash, 'coordd_agents_activity{activity="waiting"}', 1)
        eventually(lambda: dash.metric("coordd_waiting_seconds_max") > 0)
        session.write(status="busy")
        stream.until("status", attention=[])
    reads(dash, 'coordd_attention{kind="waiting"}', 0)
    reads(dash, "coordd_waiting_seconds_max", 0)
    text = dash.get("/metrics").body.decode()
    assert "s-1" not in text
    assert "fix login" not in text


def test_tokens_are_counted_on_when_agents_end(home: Home, daemon: Coordd, dash: Dashboard) -> None:
    stays, ends = home.session("s-1", status="busy"), home.session("s-2", status="busy")
    eventually(lambda: daemon.statuses() == {"s-1": "active", "s-2": "active"})
    for session in (stays, ends):
        session.prompt()
        session.answer(stop="tool_use")
    eventually(lambda: [used(agent) for agent in daemon.rpc("agents.list")["agents"]] == [10, 10])
    reads(dash, TOKENS % "input", 0)  # what was used before somebody asked is no increase
    stays.answer()
    ends.answer()
    reads(dash, TOKENS % "input", 20)
    ends.exit()
    eventually(lambda: [a["id"] for a in dash.json("/api/agents/active")] == ["s-1"])
    assert [dash.metric(TOKENS % name) for name in ("input", "output", "cache_read", "cache_write")] == [
        *(20, 10, 200, 0)
    ]
    later = home.session("s-3", status="busy")
    eventually(lambda: daemon.agent("s-3")["status"] == "active")
    later.answer()
    reads(dash, TOKENS % "input", 30)
    # a dashboard that starts later counts from there, as a counter that was reset
    with dashboard(sock=daemon.socket, home=home.path.parent) as other:
        reads(other, TOKENS % "input", 0)
