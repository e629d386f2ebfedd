"""Test that a second report of a lost connection only replaces the reason that is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from coordd.intake.redis import PATH, RedisIntake


class Noting:
    """Stand in for a collaborator, and count its calls by name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *about, **more: self.calls.append(name)


def test_a_new_reason_is_shown_and_nothing_else_happens() -> None:
    store = SimpleNamespace(workspaces={})
    tasks, schedule = Noting(), Noting()
    intake = RedisIntake(
        url="redis://h",
        store=store,  # type: ignore[arg-type]
        reader=Noting(),  # type: ignore[arg-type]
        schedule=schedule,  # type: ignore[arg-type]
        agents=Noting(),  # type: ignore[arg-type]
        tasks=tasks,  # type: ignore[arg-type]
        deadline_timer=Noting(),  # type: ignore[arg-type]
        trace_log=Noting(),  # type: ignore[arg-type]
        broken=lambda lost: None,
        flushed=lambda: None,
    )
    shown = store.workspaces[PATH]
    intake.down("closed the connection")
    assert (shown.state, shown.error) == ("unreadable", "closed the connection")
    assert (tasks.calls, schedule.calls) == (["lost"], ["once"])
    intake.down("refuses connections")
    assert (shown.state, shown.error) == ("unreadable", "refuses connections")
    assert (tasks.calls, schedule.calls) == (["lost"], ["once"])
