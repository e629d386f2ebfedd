"""The state and the journal, killed between any two steps; and what was told then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alert_play import Play, a_rule

from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.calls import Calls
from coordd.alerts.delivery import Delivery
from coordd.alerts.engine import Engine
from coordd.alerts.memory import Memory, from_document, to_document
from coordd.alerts.message import Message
from coordd.alerts.outbox import Line, Outbox
from coordd.alerts.reports import report
from coordd.alerts.store import DAMAGED, JOURNAL, STATE, StateFiles
from coordd.alerts.texts import AGAIN, again, message_of


class Killed(BaseException):
    """The process is gone; nothing may catch it."""


class KilledAt(Calls):
    """Stop at one of the system calls, before it or in the middle of it."""

    def __init__(self, step: int, *, kill: Callable[[], None], torn: bool = False) -> None:
        self._left = step
        self._kill = kill
        self._torn = torn

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._kill()

    def make(self, name: str, directory: int) -> int:
        self._step()
        return super().make(name, directory)

    def append_to(self, name: str, directory: int) -> int:
        self._step()
        return super().append_to(name, directory)

    def write(self, descriptor: int, data: bytes) -> int:
        if self._left == 0 and self._torn:
            super().write(descriptor, data[: len(data) // 2])
        self._step()
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def sync_directory(self, directory: int) -> None:
        self._step()
        super().sync_directory(directory)

    def rename(self, name: str, to: str, directory: int) -> None:
        self._step()
        super().rename(name, to, directory)

    def truncate(self, descriptor: int, size: int) -> None:
        self._step()
        super().truncate(descriptor, size)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def raise_killed() -> None:
    raise Killed


def steps_of(do: Callable[[StateFiles], None], tmp_path: Path) -> int:
    """Return how many system calls something takes."""
    count = 0

    class Counting(KilledAt):
        def _step(self) -> None:
            nonlocal count
            count += 1

    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    do(StateFiles(descriptor, calls=Counting(0, kill=raise_killed)))
    os.close(descriptor)
    return count


def life(files: StateFiles) -> None:
    """Write states and lines, as a life of the process does."""
    files.read()
    files.write({"n": 1})
    files.append({"line": 1})
    files.append({"line": 2})
    files.write({"n": 2})
    files.append({"line": 3})


def test_what_was_written_is_read(folder: int) -> None:
    life(StateFiles(folder))
    assert StateFiles(folder).read() == ({"n": 2}, [{"line": 3}])


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_each_step_it_is_the_state_before_or_after(tmp_path: Path, torn: bool) -> None:
    (tmp_path / "count").mkdir()
    steps = steps_of(life, tmp_path / "count")
    assert steps > 10
    allowed = [
        (None, []),
        ({"n": 1}, []),
        ({"n": 1}, [{"line": 1}]),
        ({"n": 1}, [{"line": 1}, {"line": 2}]),
        ({"n": 2}, [{"line": 1}, {"line": 2}]),  # killed before the journal was emptied
        ({"n": 2}, []),
        ({"n": 2}, [{"line": 3}]),
    ]
    seen = []
    for step in range(steps + 1):
        place = tmp_path / str(step)
        place.mkdir()
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(Killed):
            life(StateFiles(descriptor, calls=KilledAt(step, kill=raise_killed, torn=torn)))
        again = StateFiles(descriptor)
        found = again.read()
        assert found in allowed
        assert not seen or allowed.index(found) >= allowed.index(seen[-1])
        seen.append(found)
        again.append({"after": True})  # a torn line does not take the next one along
        assert StateFiles(descriptor).read()[1][-1] == {"after": True}
        os.close(descriptor)
    assert seen[-1] == allowed[-1]


CHILD = """
import os, signal, sys
sys.path[:0] = [{here!r}, {support!r}]
from test_store import KilledAt, life
from coordd.alerts.store import StateFiles
calls = KilledAt(int(sys.argv[2]), kill=lambda: os.kill(os.getpid(), signal.SIGKILL), torn=True)
life(StateFiles(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY), calls=calls))
"""


@pytest.mark.parametrize("step", [3, 5, 9, 12, 15])
def test_a_real_kill_leaves_what_can_be_read(tmp_path: Path, step: int, folder: int) -> None:
    here = Path(__file__).parent
    code = CHILD.format(here=str(here), support=str(here.parents[1] / "support"))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(step)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    state, journal = StateFiles(folder).read()
    assert state in (None, {"n": 1}, {"n": 2})
    assert all(line.keys() == {"line"} for line in journal)


def test_a_damaged_state_is_moved_aside(tmp_path: Path, folder: int) -> None:
    (tmp_path / STATE).write_text("{nonsense")
    files = StateFiles(folder)
    assert files.read() == (None, [])
    assert files.damaged is not None
    assert (tmp_path / DAMAGED).read_text() == "{nonsense"


def test_a_link_in_place_of_the_journal_is_not_followed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "elsewhere").write_text("mine\n")
    (tmp_path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"):
        StateFiles(folder).append({"line": 1})
    assert (tmp_path / "elsewhere").read_text() == "mine\n"


# what is told, with a kill at each step


class Recorded:
    """An action that a person hears, or that fails; ``kill`` may end the process in it."""

    label = "recorded"

    def __init__(
        self, heard: list[Message], *, kill: Callable[[], None] = lambda: None, late: bool = False
    ) -> None:
        self._heard = heard
        self._kill = kill
        self._late = late

    async def perform(self, message: Message) -> None:
        if not self._late:
            self._kill()
        self._heard.append(message)
        if self._late:
            self._kill()

    def check(self) -> str | None:
        return None


def one_run(folder: int, heard: list[Message], calls: Calls, action: Recorded, *, tell: bool) -> Memory:
    """Start, tell what waits, and with ``tell`` what is due; as service.py does it."""
    files = StateFiles(folder, calls=calls)
    play = Play([a_rule()])
    document, journal = files.read()
    memory = Memory(engine=play.engine)
    if document is not None:
        memory = from_document(document, play.engine, play.now)
    memory.outbox.replay(journal)

    async def work() -> None:
        async def keep(line: Line) -> None:
            files.append(line)

        delivery = Delivery(
            outbox=memory.outbox,
            actions={"r": {action.label: action}},
            keep=keep,
            stamp=lambda: "2026-11-28T00:00:00.000Z",
            changed=lambda: None,
        )
        files.write(to_document(memory, play.now))
        waiting = list(memory.outbox.parcels.values())
        if tell:
            play.begin("a")
            play.wait(10)
            for _, draft in play.drafts:
                memory.serial += 1
                message = message_of(draft, serial=memory.serial, now=play.now, host="h", home=None)
                waiting.append(memory.outbox.add(message, [action.label]))
            files.write(to_document(memory, play.now))
        for parcel in waiting:
            delivery.send(parcel)
        tasks = list(delivery._tasks)
        for task in tasks:
            await task

    try:
        asyncio.run(work())
    finally:
        files.close()
    return memory


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_each_step_it_is_told_once_or_again_and_says_so(tmp_path: Path, torn: bool) -> None:
    """A kill at each system call, and in the action: told exactly once, or again and marked."""
    doubts = 0
    for step in range(200):
        place = tmp_path / str(step)
        place.mkdir()
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        heard: list[Message] = []
        calls = KilledAt(step, kill=raise_killed, torn=torn)
        finished = False
        try:
            one_run(folder, heard, calls, Recorded(heard), tell=True)
            finished = True
        except Killed:
            pass
        before = len(heard)
        state, _ = StateFiles(folder).read()
        memory = one_run(folder, heard, Calls(), Recorded(heard), tell=False)
        known = bool(memory.outbox.told)
        if not known:  # nothing of it was on disk: the daemon tells of it anew
            assert heard == []
            assert state is None or not state["outbox"]["told"]
        else:
            assert len({one.id for one in heard}) == 1
            assert 1 <= len(heard) <= 2
            if before and len(heard) == 2:
                doubts += 1
                assert [one.again for one in heard] == [False, True]
                assert heard[1].text.endswith(AGAIN)
        third = one_run(folder, heard, Calls(), Recorded(heard), tell=False)
        assert len(heard) <= 2
        assert not third.outbox.parcels
        os.close(folder)
        if finished:
            break
    assert finished
    assert 1 <= doubts <= 3  # killed after the action, before its outcome was on disk


@pytest.mark.parametrize("late", [False, True])
def test_killed_in_the_action_it_is_told_again_and_marked(folder: int, late: bool) -> None:
    heard: list[Message] = []
    with pytest.raises(Killed):
        one_run(folder, heard, Calls(), Recorded(heard, kill=raise_killed, late=late), tell=True)
    memory = one_run(folder, heard, Calls(), Recorded(heard), tell=False)
    assert heard[-1].again
    assert len(heard) == 1 + late
    assert [one.again for one in memory.outbox.told[0].outcomes] == [True]


def test_one_that_fails_is_not_told_again(folder: int) -> None:
    heard: list[Message] = []

    class Failing(Recorded):
        async def perform(self, message: Message) -> None:
            heard.append(message)
            raise ActionFailed("no luck")

    one_run(folder, heard, Calls(), Failing(heard), tell=True)
    memory = one_run(folder, heard, Calls(), Recorded(heard), tell=False)
    assert len(heard) == 1
    assert memory.outbox.told[0].outcomes[0].error == "no luck"


def test_the_memory_is_what_it_was(folder: int) -> None:
    play = Play([a_rule(hold=5.0)])
    memory = Memory(engine=play.engine)
    play.begin("told")
    play.wait(10)
    play.begin("pending")
    memory.heard.place = "abc:7"
    document = json.loads(json.dumps(to_document(memory, play.now)))
    later = Play([a_rule(hold=5.0)], wall=play.wall + 100, mono=50.0)
    restored = from_document(document, later.engine, later.now)
    assert restored.heard.place == "abc:7"
    later.wait(5)
    assert later.states() == ["firing"]  # the one that was pending: the other was told before
    assert [one.condition.subject for one in later.told] == ["pending"]


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"fires": 3, "rules": [], "mutes": {}, "turns": {}, "outbox": [], "heard": 5, "serial": "x"},
        {"fires": [{"kind": 1}], "rules": {"r": {"tracks": [{"phase": "x"}, 3], "messages": ["a"]}}},
        {"outbox": {"parcels": [{"message": {}}, 3], "told": [{}]}, "turns": [[1, 2, 3], ["a", "b", "c"]]},
    ],
)
def test_a_state_that_makes_no_sense_is_passed_over(nonsense: dict[str, object]) -> None:
    play = Play([a_rule()])
    memory = from_document(nonsense, Engine([a_rule()]), play.now)
    assert not memory.outbox.parcels
    assert not memory.engine.fires


@pytest.mark.parametrize("field", ["id", "text", "entries", "count", "subject", "since", "outcomes", "error"])
@pytest.mark.parametrize("nonsense", [None, 7, ["x"], {"a": {}}, "x"])
def test_what_waits_in_a_state_is_sound_or_passed_over(field: str, nonsense: object) -> None:
    play = Play([a_rule()])
    memory = Memory(engine=play.engine)
    play.begin("a")
    play.wait(5)
    parcel = memory.outbox.add(
        message_of(play.drafts[0][1], serial=1, now=play.now, host="h", home=None), ["exec x", "exec y"]
    )
    memory.outbox.done(parcel, "exec x", "now", None)
    document = json.loads(json.dumps(to_document(memory, play.now)))
    for part in (document["outbox"]["parcels"][0]["message"], document["outbox"]["told"][0]):
        for one in (part, *part.get("entries", []), *part.get("outcomes", [])):
            if field in one:
                one[field] = nonsense
    restored = from_document(document, Engine([a_rule()]), play.now)
    for one in restored.outbox.parcels.values():
        assert again(one.message).to_json()
    assert all(isinstance(one.title, str) for one in restored.outbox.told)
    report(restored, checks={}, now=play.now, daemon={}, process={}, problems=[])


def test_too_many_messages_are_given_up_and_listed() -> None:
    outbox = Outbox()
    play = Play([a_rule()])
    play.begin("a")
    play.wait(5)
    for serial in range(600):
        message = message_of(play.drafts[0][1], serial=serial, now=play.now, host="h", home=None)
        outbox.add(message, ["x"])
    assert len(outbox.parcels) == 500


def test_a_message_that_nothing_tells_waits_for_nobody() -> None:
    outbox = Outbox()
    play = Play([a_rule()])
    play.begin("a")
    play.wait(5)
    outbox.add(message_of(play.drafts[0][1], serial=1, now=play.now, host="h", home=None), [])
    assert not outbox.parcels
    assert len(outbox.told) == 1
