from __future__ import annotations

from typing import Any

import pytest
from fake_coordd import agent, status_document

from coordd.cli.live_status import IDLE, OVERDUE, PACE, RETRY, LiveStatus
from coordd.cli.look import LOOK, OLD_LOOK, Picture
from coordd.errors import CannotTell, DaemonNotRunning

TIMEOUT = 5.0
NOTIFICATION = {"jsonrpc": "2.0", "method": "agent", "params": {"seq": 8}}
LAGGED = {"jsonrpc": "2.0", "method": "lagged", "params": {"dropped": 3, "seq": 9}}


class FakeClient:
    """As client.Client, with messages that the test puts in."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.note = None
        self.sent: list[list[str]] = []
        self.coming: list[Any] = []
        self.open = True
        self._last = 0
        self._asked: list[tuple[int, str]] = []

    def fileno(self) -> int:
        return 99

    def send(self, calls: list[tuple[str, object]]) -> range:
        self.sent.append([method for method, _ in calls])
        ids = range(self._last, self._last + len(calls))
        self._last = ids.stop
        self._asked += zip(ids, self.sent[-1], strict=True)
        return ids

    def arrived(self) -> list[dict[str, Any]]:
        coming, self.coming = self.coming, []
        for one in coming:
            if isinstance(one, Exception):
                raise one
        return coming

    def close(self) -> None:
        self.open = False

    def answer(self, agents: list[dict[str, Any]] | None = None, **status: Any) -> None:
        """Answer all that was asked."""
        document, agents = status_document(**status), agents or []
        results = {
            "subscribe": {"seq": 7, "status": document, "agents": agents},
            "status": document,
            "agents.list": {"agents": agents},
            "tasks.list": {"tasks": []},
        }
        self.coming += [{"jsonrpc": "2.0", "id": i, "result": results[m]} for i, m in self._asked]
        self._asked = []


class World:
    """A live status of a daemon that is up or down, and the clock."""

    def __init__(self) -> None:
        self.mono = 100.0
        self.error: Exception | None = None
        self.attempts = 0
        self.client = FakeClient("/d")
        self.live = LiveStatus(connect=self.connect, timeout=TIMEOUT)  # type: ignore[arg-type]

    def connect(self) -> FakeClient:
        self.attempts += 1
        if self.error:
            raise self.error
        self.client = FakeClient("/d")
        return self.client

    def go(self, seconds: float = 0.0) -> None:
        self.mono += seconds
        self.live.step(self.mono)
        self.live.read(self.mono)

    def heard(self, *messages: Any) -> None:
        self.client.coming += messages
        self.live.read(self.mono)


@pytest.fixture
def world() -> World:
    """Connected, with the snapshot."""
    world = World()
    world.go()
    assert world.client.sent == [["subscribe", "tasks.list"]]
    world.client.answer([agent("a")])
    world.go()
    assert picture_in(world).document == status_document()
    assert picture_in(world).agents == [agent("a")]
    assert (world.live.changes, world.live.trouble) == (1, None)
    return world


def picture_in(world: World) -> Picture:
    assert world.live.picture is not None
    return world.live.picture


METHODS = [method for method, _ in LOOK]


def test_a_notification_makes_it_look_but_not_more_than_twice_a_second(world: World) -> None:
    world.heard(NOTIFICATION, NOTIFICATION)
    world.go(PACE / 2)
    assert len(world.client.sent) == 1
    assert world.live.due(world.mono) == pytest.approx(PACE / 2)
    world.go(PACE / 2)
    assert world.client.sent[1:] == [METHODS]
    world.heard(NOTIFICATION)
    world.client.answer()
    world.go()
    assert (world.live.changes, world.live.version) == (2, 2)
    world.go(PACE)
    assert world.client.sent[2:] == [METHODS]


def test_left_alone_it_looks_now_and_then_and_only_news_count_as_a_change(world: World) -> None:
    world.go(IDLE - 0.1)
    assert len(world.client.sent) == 1
    world.go(0.1)
    world.client.answer(timestamp="2026-11-22T06:05:05.000Z")
    world.go()
    assert (world.live.changes, world.live.version) == (1, 2)
    world.go(IDLE)
    world.client.answer(health="degraded", problems=["the host sample is late"])
    world.go()
    assert (world.live.changes, world.live.version) == (2, 3)


def test_one_that_was_told_lagged_takes_a_new_snapshot(world: World) -> None:
    world.heard(NOTIFICATION, LAGGED, NOTIFICATION)
    world.go(PACE)
    assert world.client.sent[1:] == [["subscribe", "tasks.list"]]
    world.client.answer()
    world.go()
    assert world.live.changes == 2
    world.go(PACE)
    assert len(world.client.sent) == 2  # what came before the snapshot is in it


def test_a_lost_connection_is_tried_again(world: World) -> None:
    world.heard(CannotTell("/d: the daemon closed the connection."))
    assert world.live.trouble is not None
    assert (world.live.lost_at, world.live.changes, world.live.fileno()) == (world.mono, 2, -1)
    lost_at = world.mono
    world.error = DaemonNotRunning([("/d", "nothing there")])
    world.go(RETRY)
    world.go(RETRY)
    assert world.live.lost_at == lost_at
    assert world.live.changes == 2
    assert world.live.picture is not None
    world.error = None
    world.go(RETRY)
    assert world.attempts == 4
    assert world.live.trouble is not None  # connected is not answered
    world.client.answer()
    world.go()
    assert (world.live.trouble, world.live.changes) == (None, 3)


def test_one_that_hangs_is_seen_and_given_up(world: World) -> None:
    world.go(IDLE)
    asked = world.mono
    assert world.live.overdue(world.mono) is None
    world.go(OVERDUE)
    assert world.live.overdue(world.mono) == OVERDUE
    old = world.client
    world.go(TIMEOUT - OVERDUE)
    assert not old.open
    assert str(world.live.trouble) == "no answer within 5 s"
    assert world.live.lost_at == asked


@pytest.mark.parametrize("result", [None, [], {}, {"health": "fine"}])
def test_an_answer_that_is_no_status_loses_the_connection(world: World, result: Any) -> None:
    world.heard(NOTIFICATION)
    world.go(PACE)
    world.heard(*[{"jsonrpc": "2.0", "id": i, "result": result} for i in range(2, 2 + len(LOOK))])
    assert "not a status document" in str(world.live.trouble)
    assert picture_in(world).document == status_document()


def test_pages_that_are_nonsense_are_no_agents(world: World) -> None:
    world.heard(NOTIFICATION)
    world.go(PACE)
    results = [status_document(), {"tasks": 1}, None, {"agents": "x"}, {"agents": [1, None, agent("b")]}]
    results += [None] * (len(LOOK) - len(results))
    world.heard(*[{"jsonrpc": "2.0", "id": i, "result": result} for i, result in enumerate(results, 2)])
    assert picture_in(world).agents == [agent("b")]
    assert picture_in(world).tasks == []


def test_an_older_daemon_is_asked_what_it_knows(world: World) -> None:
    world.heard(NOTIFICATION)
    world.go(PACE)
    refused = {"code": -32602, "message": "activity: no such parameter"}
    world.heard(*[{"jsonrpc": "2.0", "id": i, "error": refused} for i in range(4, 2 + len(LOOK))])
    assert world.live.trouble is None
    assert world.client.sent[2:] == [[method for method, _ in OLD_LOOK]]
    first = 2 + len(LOOK)
    results = [status_document(), None, *[{"agents": [agent(f"old{n}")]} for n in range(3)]]
    world.heard(*[{"jsonrpc": "2.0", "id": i, "result": r} for i, r in enumerate(results, first)])
    assert [one["agent_id"] for one in picture_in(world).agents] == ["old0", "old1", "old2"]
    world.go(IDLE)
    assert world.client.sent[3:] == [[method for method, _ in OLD_LOOK]]  # once is enough to know
    world.heard({"jsonrpc": "2.0", "id": first + 5, "error": refused})
    assert "no such parameter" in str(world.live.trouble)


def test_an_error_for_a_look_or_for_nobody_loses_the_connection(world: World) -> None:
    world.heard({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "in use\x1b"}})
    assert str(world.live.trouble) == "the daemon refused: in use\\x1b"


def test_answers_to_nobody_are_passed_over(world: World) -> None:
    world.heard({"jsonrpc": "2.0", "id": 77, "result": 1}, {"jsonrpc": "2.0", "id": 0, "result": 1})
    assert (world.live.trouble, world.live.version) == (None, 1)


def test_a_daemon_that_is_down_from_the_start_is_waited_for() -> None:
    world = World()
    world.error = DaemonNotRunning([])
    world.go()
    assert (world.live.picture, world.live.changes) == (None, 1)
    assert world.live.due(world.mono) == RETRY
    world.error = None
    world.go(RETRY)
    world.client.answer()
    world.go()
    assert (world.live.trouble, world.live.changes) == (None, 2)


def test_a_daemon_that_never_was_of_use_is_an_error() -> None:
    world = World()
    world.error = CannotTell("permission denied")
    with pytest.raises(CannotTell, match="permission denied"):
        world.go()
    old = World()
    old.go()
    old.client.coming.append({"jsonrpc": "2.0", "id": 0, "error": {"code": -32601, "message": "x"}})
    with pytest.raises(CannotTell, match="knows no subscriptions"):
        old.go()
