"""Test what a workspace as a source reads of its files, beyond what every source has to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from coordd.agents.traces import Registration
from coordd.runtime.worker import Worker
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.source import FileSource


async def test_a_registration_renewed_through_an_open_file_is_read_before_a_verdict(tmp_path: Path) -> None:
    agents = tmp_path / ".claude/coordination/agents"
    agents.mkdir(parents=True)
    worker = Worker("t", replaceable=True)
    backend = FileBackend(entries=[str(tmp_path)])
    (found,) = backend.find()
    source = FileSource(found, backend=backend, worker=worker, unfollow=backend.unfollow)
    agent_id = "a.heartbeat"  # its files are not to be taken for those of an agent "a"
    with (agents / f"{agent_id}.active").open("w") as file:
        file.write('{"status": "idle"}')
        file.flush()
        assert set((await source.read_all()).agents) == {agent_id}
        file.seek(0)
        file.write('{"status": "busy"}')
        file.flush()
        (agents / f"{agent_id}.tasks").write_text("t")
        change = await source.reread([agent_id])
    worker.close()
    (traces,) = change.agents.values()
    assert traces is not None
    assert traces.registration is not None
    assert replace(traces.registration, owner=None, written=None, identity=0) == Registration(status="busy")
    assert traces.tasks == ("t",)
