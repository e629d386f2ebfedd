"""Test when the daemon is asked for its status: soon after a change while a page is open, else rarely."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_coordd import FakeCoordd, fake_coordd
from waiting import until

from coordd.dashboard import daemon_poll
from coordd.dashboard.daemon_poll import Pulse
from coordd.dashboard.feed import TOPICS, Feed, Reader
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.upstream import Upstream
from coordd.protocol.client import connect
from coordd.protocol.paths import DaemonLocation

WELCOME = {"seq": 0, "status": {"daemon": {"layout": "project"}}, "agents": []}
EVENT = ("event", b'{"seq":1,"kind":"agent.waiting"}')


class Scene:
    """A pulse between a fake daemon and a feed."""

    def __init__(self, fake: FakeCoordd) -> None:
        self.fake = fake
        self.feed = Feed(epoch="e")
        self.pulse = Pulse(feed=self.feed, last=LastKnown(read_snapshot=lambda: None))
        self.upstream = Upstream(
            find=lambda: connect([DaemonLocation("--socket", fake.path, None, None, None)], 5.0),
            on_record=self.pulse.take,
            on_change=self.pulse.connection_changed,
            layouts=frozenset({"project"}),
        )

    def asked(self, method: str = "status") -> int:
        return self.fake.methods.count(method)

    def open_page(self) -> Reader:
        reader = self.feed.reader(after=None, topics=frozenset(TOPICS))
        self.pulse.wake()
        return reader


@asynccontextmanager
async def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Run it with intervals that do not end by themselves within a test."""
    monkeypatch.setattr(daemon_poll, "LOOK", 3600.0)
    monkeypatch.setattr(daemon_poll, "IDLE", 3600.0)
    answers = {"subscribe": WELCOME, "status": {"n": 1}, "tasks.list": {"tasks": [], "unknown": []}}
    with fake_coordd(str(tmp_path / "s"), answers) as fake:
        scene = Scene(fake)
        running = [
            asyncio.create_task(scene.upstream.run()),
            asyncio.create_task(scene.pulse.run(scene.upstream)),
        ]
        try:
            await until(lambda: scene.asked() > 0)
            yield scene
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_what_happens_costs_no_question_while_no_page_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(tmp_path, monkeypatch) as scene:
        await until(lambda: not scene.pulse._changed.is_set())
        for _ in range(100):
            scene.pulse.take(*EVENT)
        assert scene.pulse._waking is None
        assert not scene.pulse._changed.is_set()


async def test_an_open_page_gets_the_status_that_follows_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(tmp_path, monkeypatch) as scene:
        reader = scene.open_page()
        await until(lambda: b'{"n": 1}' in reader.take())
        await scene.upstream.ask("status", fresh=3600)  # somebody else's answer, from before the change
        scene.fake.answers["status"] = {"n": 2}
        scene.pulse.take(*EVENT)
        await until(lambda: b'{"n": 2}' in reader.take())


async def test_many_changes_at_once_are_one_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with playing(tmp_path, monkeypatch) as scene:
        reader = scene.open_page()
        await until(lambda: b'{"n": 1}' in reader.take())
        before = scene.asked()
        scene.fake.answers["status"] = {"n": 2}
        for _ in range(100):
            scene.pulse.take(*EVENT)
        await until(lambda: b'{"n": 2}' in reader.take())
        assert scene.asked() == before + 1


@pytest.mark.parametrize(
    ("method", "params", "matters"),
    [
        ("event", {"kind": "agent.waiting"}, True),
        ("agent", {"cause": "activity"}, True),
        ("agent", {"cause": "verdict"}, True),
        ("agent", {"cause": "removed"}, True),
        ("agent", {"cause": "heartbeat"}, False),
        ("agent", {"cause": "progress"}, False),
        ("system", {"cpu_percent": 1}, False),
        ("lagged", {"dropped": 3}, True),
        ("agent", {"cause": 7}, True),
    ],
)
async def test_a_beat_is_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, params: object, matters: bool
) -> None:
    async with playing(tmp_path, monkeypatch) as scene:
        reader = scene.open_page()
        await until(lambda: b'{"n": 1}' in reader.take())
        await until(lambda: scene.pulse._waking is None and not scene.pulse._changed.is_set())
        scene.pulse.take(method, json.dumps(params).encode())
        assert (scene.pulse._waking is not None) is matters
