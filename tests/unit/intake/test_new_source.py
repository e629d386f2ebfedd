"""A source of a new kind takes a folder (here tests/support/toy) and a line where sources are built."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from simulated import Clock, Coordd, Records
from toy.source import ToySource

from coordd.agents.key import AgentKey
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces, Heartbeat, SourceTraces
from coordd.model import AgentSample
from coordd.sources.base import OneSource
from coordd.sources.fake import FakeSource


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("coordd.runtime.schedule.monotonic", clock.monotonic)
    monkeypatch.setattr("coordd.runtime.schedule.time", clock.time)
    return clock


async def test_its_agents_are_shown_joined_and_recorded_as_all_others(clock: Clock, tmp_path: Path) -> None:
    path, records = tmp_path / "beats", Records()
    path.write_text(f"x {clock.time() - 10}\nz {clock.time() - 10}\n")
    file = FakeSource(SourceName("file", "/a"), workspace="/a")
    file.put(AgentTraces("x", Heartbeat(clock.time() - 500, None, (1,)), tasks=("t",)))
    coordd = Coordd(
        clock=clock,
        records=records,
        finders=(OneSource(file), OneSource(ToySource(path))),
        timeout=120.0,
        forget_after=86_400.0,
    )
    await coordd.start()
    x, z = AgentKey("/a", "x"), AgentKey("", "z")
    assert coordd.shown() == {x: ("active", ("file", "toy"), 1), z: ("active", ("toy",), 0)}

    await coordd.jobs.pass_time(200)
    assert [coordd.shown()[key][0] for key in (x, z)] == ["inactive", "inactive"]
    path.write_text(f"x {clock.time()}\n")
    await coordd.jobs.pass_time(3)  # it is polled
    assert coordd.shown() == {x: ("active", ("file", "toy"), 1)}

    path.unlink()
    await coordd.jobs.pass_time(200)
    assert coordd.shown() == {x: ("unknown", ("file", "toy"), 1)}
    last = msgspec.json.decode(msgspec.json.encode(records.samples[-1]), type=AgentSample)
    assert (last.agent_id, last.status, last.sources) == ("x", "unknown", ("file", "toy"))
    await coordd.stop()


async def test_a_source_that_announces_its_changes_is_read_in_full_each_ten_minutes(clock: Clock) -> None:
    class Counted(FakeSource):
        readings = 0

        async def read_all(self) -> SourceTraces:
            self.readings += 1
            return await super().read_all()

    source = Counted(SourceName("file", "/a"), workspace="/a")
    coordd = Coordd(
        clock=clock,
        records=Records(),
        finders=(OneSource(source),),
        timeout=120.0,
        forget_after=86_400.0,
    )
    await coordd.start()
    assert source.readings == 1
    await coordd.jobs.pass_time(595)
    assert source.readings == 1
    await coordd.jobs.pass_time(70)  # so late that it may share the wake-up of something else
    assert source.readings == 2
    await coordd.stop()
