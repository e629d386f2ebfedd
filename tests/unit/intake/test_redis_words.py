"""What the feed does when the link says once more, in other words, that there is no connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from coordd.intake.redis import PATH, RedisIntake


class Noting:
    """Stands for a collaborator: notes how often it was called for what."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *about, **more: self.calls.append(name)


def test_other_words_are_shown_and_nothing_is_done_again() -> None:
    store = SimpleNamespace(workspaces={})
    tasks, schedule = Noting(), Noting()
    feed = RedisIntake(
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
    feed.down("closed the connection")
    assert (shown.state, shown.error) == ("unreadable", "closed the connection")
    assert (tasks.calls, schedule.calls) == (["lost"], ["once"])
    feed.down("refuses connections")
    assert (shown.state, shown.error) == ("unreadable", "refuses connections")
    assert (tasks.calls, schedule.calls) == (["lost"], ["once"])
