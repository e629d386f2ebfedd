"""What the last run left, on a disk that hangs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from coordd.runtime.worker import Worker
from coordd.sinks import last_run as last_run_module
from coordd.sinks.last_run import LastRun, Memory
from coordd.util.held_directory import HeldDirectory


def test_a_disk_that_hangs_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()
    metrics = HeldDirectory(str(tmp_path / "m"), mode=0o700)
    monkeypatch.setattr(metrics, "look", lambda: answers.wait(20) and None)
    monkeypatch.setattr(last_run_module, "READ_DEADLINE", 0.05)
    writer = Worker("writer")
    last_run = LastRun(
        path=str(tmp_path / "snapshot.json"),
        directory=HeldDirectory(str(tmp_path), mode=0o700),
        metrics=metrics,
        mode=0o600,
        root=None,
        host="h",
        writer=writer,
        syncer=writer,
    )

    async def run() -> Memory:
        try:
            return await last_run.read()
        finally:
            answers.set()
            writer.close()

    assert asyncio.run(run()) == Memory()
    assert "the records of the last run cannot be read" in caplog.text
