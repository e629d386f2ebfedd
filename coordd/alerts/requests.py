"""Implement what ``coordctl alerts`` asks: what is so, a trial, mutes, a reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from coordd.alerts.control import Handler
from coordd.alerts.delivery import Delivery
from coordd.alerts.feed import Feed
from coordd.alerts.memory import Memory
from coordd.alerts.moment import now
from coordd.alerts.mutes import Mute
from coordd.alerts.outbox import Outcome, TellingRecord
from coordd.alerts.reports import checks_of, report, unchecked
from coordd.alerts.rules import Rule
from coordd.alerts.texts import trial
from coordd.alerts.thread import Late, Thread
from coordd.errors import CoorddError
from coordd.protocol.jsonrpc import INVALID_PARAMS, SERVER_ERROR, Fault
from coordd.util.text import number
from coordd.util.timestamps import format_utc

Params = Mapping[str, Any]
LONGEST_MUTE = 366 * 86400.0
CHECK = 3.0
"""Seconds in which it is looked at whether actions can work here: who asks waits for five."""


class Requests:
    """Answer requests from the memory."""

    def __init__(
        self,
        *,
        memory: Memory,
        delivery: Delivery,
        feed: Feed,
        host: str,
        process: Callable[[], dict[str, object]],
        problems: Callable[[], list[str]],
        reload: Callable[[], Awaitable[object]],
        save: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._delivery = delivery
        self._feed = feed
        self._host = host
        self._process = process
        self._problems = problems
        self._reload = reload
        self._save = save
        self._changed = changed
        self._looks = Thread("checks")

    def table(self) -> dict[str, tuple[Handler, frozenset[str]]]:
        """Return the methods, each with the names of its parameters."""
        return {
            "status": (self.status, frozenset()),
            "test": (self.test, frozenset({"name"})),
            "mute": (self.mute, frozenset({"seconds", "rule", "agent"})),
            "unmute": (self.unmute, frozenset({"rule", "agent"})),
            "reload": (self.reload, frozenset()),
        }

    async def status(self, _params: Params) -> object:
        """Return the document of ``coordctl alerts --json``."""
        feed, actions = self._feed, self._delivery.actions
        try:
            checks = await self._looks.run(lambda: checks_of(actions), within=CHECK)
        except Late:
            checks = unchecked(actions)
        return report(
            self._memory,
            checks=checks,
            now=now(),
            daemon={"socket": feed.path, "connected": feed.connected, "error": feed.trouble},
            process=self._process(),
            problems=self._problems(),
        )

    async def test(self, params: Params) -> object:
        """Do the actions of a rule for real, and return how they went."""
        rule = self._rule(params.get("name"))
        moment = now()
        self._memory.serial += 1
        message = trial(rule, serial=self._memory.serial, now=moment, host=self._host)
        went = await self._delivery.try_out(message)
        outcomes = [Outcome(label, format_utc(now().wall), error, again=False) for label, error in went]
        record = TellingRecord(message.id, rule.name, "test", message.at, message.title, 0, outcomes)
        self._memory.outbox.told.append(record)
        await self._save()
        return asdict(record)

    async def mute(self, params: Params) -> object:
        """Tell nothing for some seconds, of a rule or an agent where they are named; return until when."""
        seconds = number(params.get("seconds"))
        if seconds is None or not 0 < seconds <= LONGEST_MUTE:
            raise Fault(INVALID_PARAMS, "Invalid params: a mute lasts more than 0 s, and a year at most")
        rule, agent = _text(params, "rule"), _text(params, "agent")
        if rule is not None:
            self._rule(rule)
        until = now().wall + seconds
        try:
            self._memory.engine.mute(Mute(until, rule, agent))
        except ValueError as error:
            raise Fault(SERVER_ERROR, str(error), kind="too-many") from error
        await self._save()
        self._changed()
        return {"until": format_utc(until), "rule": rule, "agent": agent}

    async def unmute(self, params: Params) -> object:
        """End mutes; return how many."""
        ended = self._memory.engine.unmute(_text(params, "rule"), _text(params, "agent"))
        await self._save()
        self._changed()
        return {"ended": ended}

    async def reload(self, _params: Params) -> object:
        """Read the rules again."""
        try:
            await self._reload()
        except CoorddError as error:
            raise Fault(SERVER_ERROR, str(error), kind="config") from error
        return {"rules": [rule.name for rule in self._memory.engine.rules]}

    def _rule(self, name: object) -> Rule:
        rules = {rule.name: rule for rule in self._memory.engine.rules}
        if not isinstance(name, str) or name not in rules:
            known = ", ".join(rules) or "none"
            raise Fault(
                INVALID_PARAMS, f"There is no rule {name!r}; the rules are: {known}", kind="no-such-rule"
            )
        return rules[name]


def _text(params: Params, name: str) -> str | None:
    value = params.get(name)
    if value is not None and (not isinstance(value, str) or not value or len(value) > 1000):
        raise Fault(INVALID_PARAMS, f"Invalid params: {name} is a text of up to 1000 characters")
    return value
