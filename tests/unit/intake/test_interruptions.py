"""What coordd says of agents when it could not look: sources unreadable, coordd stopped, the machine asleep.

Each was found by a simulated day (test_simulated_day.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from day.scene import Scene, play

MINUTE, HOUR = 60.0, 3600.0


def test_nobody_stalls_while_the_home_cannot_be_read(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(1)
        session.played.prompt()
        await scene.passes(5 * MINUTE)
        scene.breaks("home")
        await scene.passes(40 * MINUTE)
        assert scene.shown(session) == ("active", "process", "working")
        await scene.is_mended("home")
        assert scene.shown(session) == ("active", "process", "working")
        await scene.passes(11 * MINUTE)
        assert scene.shown(session) == ("active", "process", "stalled")

    play(tmp_path, story)


def test_an_old_call_is_not_stalled_while_it_may_have_ended_unseen(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(1)
        session.played.prompt()
        session.played.call()
        build = scene.machine.spawn(parent=session.process.pid, busy=True)
        await scene.passes(3 * HOUR)
        assert scene.shown(session) == ("active", "process", "working")
        scene.breaks("home")
        await scene.passes(MINUTE)
        scene.machine.end(build)
        await scene.passes(40 * MINUTE)
        assert "stalled" not in {activity for _, _, activity in scene.verdicts(session)}

    play(tmp_path, story)


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_how_a_session_ended_is_said_once_its_home_can_be_read(how: str, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(MINUTE)
        scene.breaks("home")
        await scene.passes(MINUTE)
        if how == "ended":
            session.played.remove_record()
        scene.machine.end(session.process)
        await scene.passes(5 * MINUTE)
        assert scene.shown(session) == ("unknown", "unreachable", None)
        await scene.is_mended("home")
        assert scene.shown(session) == ("inactive", how, None)
        assert ("inactive", {"ended": "killed", "killed": "ended"}[how], None) not in scene.verdicts(session)

    play(tmp_path, story)


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_how_a_registered_process_ended_is_said_once_its_workspace_can_be_read(
    how: str, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        agent = scene.registered()
        await scene.passes(5 * MINUTE)
        assert scene.shown(agent) == ("active", "process", "unknown")
        scene.breaks("workspace")
        await scene.passes(MINUTE)
        if how == "ended":
            agent.register("completed")
        scene.machine.end(agent.process)
        await scene.passes(5 * MINUTE)
        assert scene.shown(agent) == ("unknown", "unreachable", None)
        await scene.is_mended("workspace")
        assert scene.shown(agent) == ("inactive", how, None)

    play(tmp_path, story)


def test_a_process_that_ended_unseen_is_never_told_alive_after_a_restart(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(MINUTE)
        scene.breaks("home")
        await scene.passes(MINUTE)
        scene.machine.end(session.process)
        await scene.passes(MINUTE)
        await scene.ends()
        scene.recorded.clear()
        await scene.starts()
        await scene.passes(MINUTE)
        await scene.is_mended("home")
        assert {status for status, _, _ in scene.verdicts(session)} <= {"unknown", "inactive"}
        assert scene.shown(session) == ("inactive", "killed", None)

    play(tmp_path, story)


def test_a_beat_from_before_the_end_does_not_undo_it_when_both_are_read_later(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        agent = scene.registered()
        await scene.passes(MINUTE)
        scene.breaks("workspace")
        await scene.passes(MINUTE)
        agent.beat()
        agent.register("completed")
        scene.machine.end(agent.process)
        await scene.passes(20 * MINUTE)
        await scene.is_mended("workspace")
        await scene.passes(MINUTE)
        assert scene.shown(agent) is None  # ended, and that for longer than ten minutes
        assert "silent" not in {reason for _, reason, _ in scene.verdicts(agent)}

    play(tmp_path, story)


@pytest.mark.parametrize("how", ["stopped", "asleep"])
def test_a_line_from_just_before_an_interruption_is_young_after_it(how: str, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(1)
        session.played.prompt()
        await scene.passes(9 * MINUTE)  # since everything was read
        session.played.say()
        await scene.passes(0.2)
        if how == "stopped":
            await scene.stands_still(HOUR, session.played.say)
        else:
            session.played.say()
            await scene.sleeps(8 * HOUR)
        await scene.passes(10 * MINUTE)
        assert scene.shown(session) == ("active", "process", "working")

    play(tmp_path, story)


def test_an_old_call_that_works_is_known_to_work_soon_after_a_restart(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(1)
        session.played.prompt()
        session.played.call()
        scene.machine.spawn(parent=session.process.pid, busy=True)
        await scene.passes(3 * HOUR)
        await scene.ends()
        await scene.passes(5)
        await scene.starts()
        await scene.passes(2 * MINUTE)
        assert scene.shown(session) == ("active", "process", "working")

    play(tmp_path, story)


def test_a_process_that_seems_a_moment_older_than_its_call_is_of_it(tmp_path: Path) -> None:
    """Starts count in ticks, and the wall clock is adjusted by and by."""

    async def story(scene: Scene) -> None:
        session = scene.session()
        await scene.passes(1)
        session.played.prompt()
        scene.machine.spawn(parent=session.process.pid, busy=True)
        await scene.passes(0.5)
        session.played.call()
        await scene.passes(3 * HOUR)
        assert scene.shown(session) == ("active", "process", "working")

    play(tmp_path, story)


def test_a_source_that_is_lost_at_the_end_of_a_gap_counts_none_of_it_as_silence(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        agent = scene.registered()
        scene.machine.end(agent.process)  # only beats are left
        await scene.passes(10)
        scene.mail.stopped = True
        scene.clock.mono += 600
        scene.mail.deliver()
        scene.breaks("workspace")
        await scene.coordd.timers.ring()
        await scene.passes(1)
        await scene.is_mended("workspace")
        clock = scene.coordd.workspaces[scene.workspace].state.clock
        taken_out = scene.clock.mono - clock.now(scene.clock.mono)
        assert taken_out > 500  # all but the time before a timer was due

    play(tmp_path, story)


def test_what_an_agent_does_is_recorded_as_soon_as_its_workspace_can_be_read(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        agent = scene.beating("task-1")
        await scene.passes(5)
        scene.breaks("workspace")
        await scene.passes(5)
        assert scene.verdicts(agent)[-1] == ("active", "heartbeat", "unknown")
        await scene.is_mended("workspace", settles=1.0)
        assert scene.verdicts(agent)[-1] == ("active", "heartbeat", "working")

    play(tmp_path, story)
