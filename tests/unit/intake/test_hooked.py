"""A container tells by hooks alone, through a call of 20 minutes and a wait of an hour, on played clocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from day.scene import Scene, play

from coordd.agents.traces import AgentTraces
from coordd.sources.hook_files import HookFile, beat_of, hooks_of

SESSION = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"
_numbers = itertools.count()


class Container:
    """A session of which its hooks tell, by files in the workspace."""

    def __init__(self, scene: Scene, session: str = SESSION) -> None:
        self._scene = scene
        self.session = session
        self.files: dict[str, HookFile] = {}
        self._traces: AgentTraces | None = None

    def hook(self, event: str) -> None:
        """Touch a file, as the hook of an event does."""
        self.files[event] = HookFile(self._scene.clock.time(), next(_numbers))
        self._tell()

    def _tell(self) -> None:
        beat = beat_of(self.files, self._traces)
        self._traces = AgentTraces(self.session, beat, hooks=hooks_of(self.session, self.files))
        self._scene.world.traces[self._scene.workspace][self.session] = self._traces
        self._scene.world.told(self._scene.workspace, self.session, self._traces)

    @property
    def shown(self) -> tuple[str, str, str | None] | None:
        found = {one.agent.key.agent_id: one for one in self._scene.coordd.shown()}
        one = found.get(self.session)
        return None if one is None else (one.verdict.status, one.verdict.reason, one.doing.activity)

    @property
    def view(self) -> Any:
        (one,) = (
            self._scene.coordd._view(one)
            for one in self._scene.coordd.shown()
            if one.agent.key.agent_id == self.session
        )
        return one


def of_container(story: Callable[[Scene, Container], Any]) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def played(scene: Scene) -> None:
            await story(scene, Container(scene))

        play(tmp_path, played)

    return test


async def _call(scene: Scene, one: Container) -> None:
    one.hook("SessionStart")
    await scene.passes(1)
    one.hook("PreToolUse")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "working")
    for _ in range(20):
        await scene.passes(60)
        assert one.shown in [("active", "heartbeat", "working"), ("unknown", "quiet", None)]
    assert one.shown == ("unknown", "quiet", None)
    one.hook("heartbeat")
    one.hook("PostToolBatch")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "working")
    one.hook("Stop")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "idle")


async def _wait(scene: Scene, one: Container) -> None:
    one.hook("PreToolUse")
    one.hook("PermissionRequest")
    await scene.passes(5)
    assert one.shown == ("active", "heartbeat", "waiting")
    assert one.view.waiting_for == "permission prompt"
    assert (one.view.kind, one.view.session_id) == ("claude-code", SESSION)
    assert [(entry.kind, entry.subject) for entry in scene.coordd.attention()] == [("waiting", SESSION)]
    for _ in range(60):
        await scene.passes(60)
        assert one.shown in [("active", "heartbeat", "waiting"), ("unknown", "quiet", "waiting")]
        assert [(entry.kind, entry.subject) for entry in scene.coordd.attention()] == [("waiting", SESSION)]
        assert one.view.waiting_for == "permission prompt"
    assert one.shown == ("unknown", "quiet", "waiting")
    since = scene.coordd.attention()[0].since
    await scene.ends()
    await scene.passes(600)
    await scene.starts()
    await scene.passes(5)
    assert one.shown == ("unknown", "quiet", "waiting")
    assert [entry.since for entry in scene.coordd.attention()] == [since]
    one.hook("heartbeat")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "working")
    assert scene.coordd.attention() == []


async def _asked_and_forgotten(scene: Scene, one: Container) -> None:
    """Nobody says that a container has gone; who waits in it is listed as long as it is shown."""
    one.hook("Question")
    await scene.passes(86_000)
    assert one.shown == ("unknown", "quiet", "waiting")
    await scene.passes(600)
    assert one.shown is None
    assert scene.coordd.attention() == []


async def _silence(scene: Scene, one: Container) -> None:
    one.hook("PreToolUse")
    await scene.passes(1)
    one.hook("heartbeat")
    one.hook("PostToolBatch")
    await scene.passes(119)
    assert one.shown is not None
    assert one.shown[:2] == ("active", "heartbeat")
    await scene.passes(10)
    assert one.shown == ("inactive", "silent", None)


async def _end(scene: Scene, one: Container) -> None:
    one.hook("Stop")
    await scene.passes(300)
    assert one.shown == ("unknown", "quiet", None)
    one.hook("SessionEnd")
    await scene.passes(1)
    assert one.shown == ("inactive", "ended", None)
    await scene.passes(620)
    assert one.shown is None, "one that ended in order leaves the list"
    one.hook("SessionStart")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "idle")


async def _quickly_resumed(scene: Scene, one: Container) -> None:
    one.hook("Stop")
    await scene.passes(60)
    one.hook("SessionEnd")
    await scene.passes(2)
    assert one.shown == ("inactive", "ended", None)
    one.hook("SessionStart")
    await scene.passes(1)
    assert one.shown == ("active", "heartbeat", "idle")


async def _forgotten(scene: Scene, one: Container) -> None:
    one.hook("Stop")
    await scene.passes(86_000)
    assert one.shown == ("unknown", "quiet", None)
    await scene.passes(600)
    assert one.shown is None


async def _restart(scene: Scene, one: Container) -> None:
    one.hook("PreToolUse")
    await scene.passes(600)
    assert one.shown == ("unknown", "quiet", None)
    await scene.ends()
    await scene.passes(600)
    await scene.starts()
    assert one.shown == ("unknown", "quiet", None)
    assert [one.cause for one in scene.recorded][-1] != "heartbeat", "a restart samples nothing twice"


async def _files_go(scene: Scene, one: Container) -> None:
    one.hook("Stop")
    await scene.passes(1)
    one.hook("SessionStart")
    await scene.passes(3600)
    for event in list(one.files):
        del one.files[event]
        if one.files:
            one._tell()
            await scene.passes(1)
            assert one.shown is not None
            assert one.shown[0] == "unknown", "that files are removed is no beat"


async def _other_events(scene: Scene, one: Container) -> None:
    """A busy turn is recorded each 15 s at most."""
    one.hook("SessionStart")
    await scene.passes(1)
    before = len(scene.recorded)
    for _ in range(120):
        one.hook("PreToolUse")
        await scene.passes(0.2)
        one.hook("heartbeat")
        one.hook("PostToolBatch")
        await scene.passes(0.3)
    assert len(scene.recorded) - before <= 8, [sample.cause for sample in scene.recorded[before:]]
    assert one.shown == ("active", "heartbeat", "working")


test_a_call_of_twenty_minutes = of_container(_call)
test_a_wait_of_an_hour = of_container(_wait)
test_one_that_waits_for_a_day_is_forgotten = of_container(_asked_and_forgotten)
test_one_that_was_at_work_and_is_silent_is_dead = of_container(_silence)
test_the_end_of_a_session_is_an_orderly_end = of_container(_end)
test_one_that_is_resumed_at_once_has_not_ended = of_container(_quickly_resumed)
test_one_that_is_quiet_for_a_day_is_forgotten = of_container(_forgotten)
test_a_restart_of_coordd_in_a_long_call = of_container(_restart)
test_that_old_files_are_removed_is_no_beat = of_container(_files_go)
test_a_busy_turn_makes_few_records = of_container(_other_events)


@pytest.mark.parametrize("event", ["Stop", "PreToolUse", "Question"])
def test_beats_of_another_source_after_the_word_make_it_silent(tmp_path: Path, event: str) -> None:
    """It went on and then stopped: the quiet word was not its last."""

    async def story(scene: Scene) -> None:
        one = Container(scene)
        one.hook(event)
        await scene.passes(60)
        one.hook("heartbeat")
        one.hook("PostToolBatch")
        await scene.passes(600)
        assert one.shown == ("inactive", "silent", None)

    play(tmp_path, story)


@pytest.mark.parametrize("event", ["Stop", "heartbeat", "SessionEnd"])
def test_a_session_that_ended_does_not_come_back_by_what_its_hooks_said(tmp_path: Path, event: str) -> None:
    """SessionEnd is unreliable: the last word of one that has ended may be that it waits."""

    async def story(scene: Scene) -> None:
        session = scene.session()
        one = Container(scene, session.played.session_id)
        one.hook("SessionStart")
        await scene.passes(5)
        one.hook(event)
        await scene.passes(5)
        assert scene.shown(session) == ("active", "process", "idle")
        session.played.remove_record()
        scene.machine.end(session.process)
        await scene.passes(5)
        assert scene.shown(session) == ("inactive", "ended", None)
        for _ in range(130):
            await scene.passes(60)
            assert one.shown in [("inactive", "ended", None), None]
        assert one.shown is None
        await scene.ends()
        await scene.starts()
        await scene.passes(3600)
        assert one.shown is None
        one.hook("SessionStart")
        await scene.passes(5)
        assert one.shown == ("active", "heartbeat", "idle")

    play(tmp_path, story)


def test_a_question_counts_beside_a_session_that_says_nothing_of_itself(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session(prints=True)
        one = Container(scene, session.played.session_id)
        session.played.prompt()
        await scene.passes(5)
        call = session.played.call()
        await scene.passes(1)
        one.hook("PermissionRequest")
        await scene.passes(5)
        assert scene.shown(session) == ("active", "process", "waiting")
        assert one.view.waiting_for == "permission prompt"
        await scene.passes(3600)
        assert scene.shown(session) == ("active", "process", "waiting")
        session.played.result(call)
        await scene.passes(5)
        assert scene.shown(session) == ("active", "process", "working")

    play(tmp_path, story)


def test_what_a_session_says_of_itself_goes_before_an_older_question(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        one = Container(scene, session.played.session_id)
        session.played.prompt()
        await scene.passes(5)
        session.played.call()
        one.hook("PermissionRequest")
        await scene.passes(1)
        session.played.status("waiting", "permission prompt")
        await scene.passes(60)
        assert scene.shown(session) == ("active", "process", "waiting")
        session.played.status("busy")
        await scene.passes(60)
        assert scene.shown(session) == ("active", "process", "working")
        session.played.status("idle")
        await scene.passes(60)
        assert scene.shown(session) == ("active", "process", "idle")

    play(tmp_path, story)
