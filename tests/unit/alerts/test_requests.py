"""What ``coordctl alerts`` asks is answered, whatever an action has to look at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from alert_play import a_rule

from coordd.alerts import requests as requests_module
from coordd.alerts.engine import Engine
from coordd.alerts.memory import Memory
from coordd.alerts.reports import UNCHECKED
from coordd.alerts.requests import Requests


class Hanging:
    """An action whose program lies on a file system that does not answer."""

    label = "exec tell"

    def __init__(self) -> None:
        self.answers = threading.Event()

    async def perform(self, message: object) -> None:
        raise NotImplementedError

    def check(self) -> str | None:
        self.answers.wait(20)
        return None


@pytest.fixture
def action() -> Iterator[Hanging]:
    one = Hanging()
    yield one
    one.answers.set()


def asked(action: Hanging) -> Requests:
    actions = {"r": {action.label: action}}
    feed: Any = SimpleNamespace(path=None, connected=False, trouble=None)
    delivery: Any = SimpleNamespace(actions=actions)
    nothing: Any = None
    return Requests(
        memory=Memory(engine=Engine([a_rule()])),
        delivery=delivery,
        feed=feed,
        host="vm",
        process=dict,
        problems=list,
        reload=nothing,
        save=nothing,
        changed=nothing,
    )


def problem(document: Any) -> object:
    (rule,) = document["rules"]
    return rule["actions"][0]["problem"]


async def test_the_loop_goes_on_while_a_look_at_an_action_hangs(
    action: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "CHECK", 0.05)
    requests = asked(action)
    for _ in range(2):  # the second time, the look before it has not ended
        answer = asyncio.ensure_future(requests.status({}))
        turns = 0
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        assert problem(answer.result()) == UNCHECKED
    assert turns > 0
    action.answers.set()
    monkeypatch.setattr(requests_module, "CHECK", 20.0)
    said: object = UNCHECKED
    for _ in range(2000):  # until the look before it has ended
        if (said := problem(await requests.status({}))) is None:
            break
        await asyncio.sleep(0.005)
    assert said is None
