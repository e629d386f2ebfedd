"""Nobody fills a log: of a kind of line some are shown, the rest is counted."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Iterator

import msgspec
import pytest
from clock import Clock
from waiting import eventually

from coordd.control.peer import Peer
from coordd.control.rpc import Dispatcher, Method, NoParams
from coordd.service import logs
from coordd.util import log_limit
from coordd.util.log_limit import KINDS, MOST, WINDOW, Limited, log_loop_errors


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(record.getMessage())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(kept: Kept, clock: Clock) -> Iterator[logging.Logger]:
    logger = logging.Logger("test")
    limited = Limited(kept, clock=clock)
    logger.addHandler(limited)
    yield logger
    limited.close()


def test_of_a_kind_so_many_are_shown_and_the_rest_is_counted(
    log: logging.Logger, kept: Kept, clock: Clock
) -> None:
    for number in range(1244):
        log.warning("agent %s is odd", number)
    assert kept.lines == [f"agent {number} is odd" for number in range(MOST)]
    clock.now += WINDOW
    log.warning("another")
    assert kept.lines[MOST:] == ["… 1,234 more of these in 60 s, the last: agent 1243 is odd", "another"]
    assert kept.records[MOST].levelno == logging.WARNING
    log.warning("agent %s is odd", "next")  # a new window
    assert kept.lines[-1] == "agent next is odd"


def test_one_kind_hides_no_other(log: logging.Logger, kept: Kept) -> None:
    for number in range(100):
        log.warning("agent %s is odd", number)
    log.error("agent %s is odd", "by another level")
    log.warning("something else")
    assert kept.lines[MOST:] == ["agent by another level is odd", "something else"]


def test_messages_that_are_all_different_are_bounded_and_remembered_are_few(
    log: logging.Logger, kept: Kept, clock: Clock
) -> None:
    for number in range(20_000):
        log.warning(f"{number} {'x' * 5000}")
    assert len(kept.lines) <= KINDS + MOST
    (limited,) = log.handlers
    assert isinstance(limited, Limited)
    assert len(limited._windows) <= KINDS + 1
    assert max(len(kind[2]) for kind in limited._windows) <= 1000
    clock.now += WINDOW
    log.warning("later")
    assert kept.lines[-2:] == [f"… {20_000 - KINDS - MOST:,} more lines in 60 s", "later"]
    assert len(limited._windows) == 1


def test_a_traceback_counts_as_a_line(log: logging.Logger, kept: Kept) -> None:
    for number in range(100):
        try:
            raise RuntimeError(number)  # noqa: TRY301
        except RuntimeError:
            log.exception("%s failed", number)
    assert len(kept.records) == MOST


def test_what_was_counted_is_said_without_another_line(
    kept: Kept, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a timer, which lives only as long as there is something to say."""
    monkeypatch.setattr(log_limit, "WINDOW", 2.0)  # all lines fall into one, on a slow machine too
    logger = logging.Logger("test")
    limited = Limited(kept)
    logger.addHandler(limited)
    for _ in range(MOST + 5):
        logger.warning("again")
    eventually(lambda: kept.lines[MOST:] == ["… 5 more of these in 2 s, the last: again"])
    eventually(lambda: limited._timer is None)


def test_what_was_counted_is_said_at_the_end(log: logging.Logger, kept: Kept) -> None:
    for _ in range(MOST + 5):
        log.warning("again")
    log.handlers[0].close()
    assert kept.lines[MOST:] == ["… 5 more of these in 60 s, the last: again"]


@pytest.mark.parametrize(
    ("message", "values", "said"),
    [
        ("100% of it, %s", (), "100% of it, %s"),
        ("%d%% of %s", (5, "it"), "5% of it"),
        ("%(what)s fails", ({"what": "it"},), "it fails"),
        ("%s", ("x" * 500,), "x" * 120),
    ],
)
def test_what_was_counted_is_said_with_its_values(
    log: logging.Logger, kept: Kept, message: str, values: tuple[object, ...], said: str
) -> None:
    for _ in range(MOST + 2):
        log.info(message, *values)
    log.handlers[0].close()
    assert kept.lines[MOST:] == [f"… 2 more of these in 60 s, the last: {said}"]


def test_a_message_that_does_not_fit_its_values_costs_no_other_line(kept: Kept) -> None:
    logger = logging.Logger("test")
    limited = Limited(kept)
    window = log_limit._Window(0.0)
    window.hide(logging.LogRecord("test", logging.INFO, "", 0, "%s and %s", ("one",), None))
    limited._windows["test", logging.INFO, "%s and %s"] = window
    logger.addHandler(limited)
    logger.info("another")
    limited.close()
    assert kept.lines == [
        "… 1 more of these in 60 s, the last: a message that cannot be put together",
        "another",
    ]


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up("info", {})
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_reader_who_hammers_at_a_fault_fills_no_log(stderr: io.StringIO) -> None:
    def broken(_params: NoParams, _peer: Peer) -> object:
        raise RuntimeError("a fault of ours")

    class Other(msgspec.Struct, frozen=True):
        size: int = 0

    dispatch = Dispatcher(
        methods={
            "broken": Method("broken", "", broken, NoParams),
            "odd": Method("odd", "", lambda *_: object(), Other),
        },
        own_uid=0,
    )
    peer = Peer(uid=None)
    for number in range(5000):
        for method in ("broken", "odd"):
            answer = dispatch(b'{"jsonrpc":"2.0","id":%d,"method":"%b"}' % (number, method.encode()), peer)
            assert isinstance(answer, bytes)
            assert b"-32603" in answer
    assert "a fault of ours" in stderr.getvalue()
    assert len(stderr.getvalue()) < 40_000


async def test_callbacks_and_tasks_that_fail_fill_no_log(stderr: io.StringIO) -> None:
    """asyncio's own message names the task and its arguments, and is another one each time."""

    async def fail(number: int) -> None:
        raise RuntimeError(f"task {number}")

    def fall(number: int) -> None:
        raise RuntimeError(f"callback {number}")

    loop = asyncio.get_running_loop()
    log_loop_errors(loop)
    for number in range(2000):
        loop.call_soon(fall, number)
        task = loop.create_task(fail(number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
    assert "callback 0" in stderr.getvalue()
    assert stderr.getvalue().count("Traceback") <= 2 * MOST
