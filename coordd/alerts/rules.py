"""Make rules of the ``[[alert]]`` tables of a configuration, and refuse what no rule can mean.

Pure: the content of the file comes in, frozen rules come out. What an action's own keys mean is known to
actions/ alone; here they are passed on.

==============  ==================================================  ===================
key             value                                               default
==============  ==================================================  ===================
name            1 to 64 letters, digits, ``.``, ``_`` and ``-``     (required)
on              words of :data:`KINDS`, and thresholds: ``cpu>90``  :data:`USUAL`
for             how long it has held when it is told                30 s
workspaces      patterns of paths                                   all
quiet           local times, ``22:00-07:00``                        none
every           at most one message in this time                    as they come
finished_after  how long a turn takes whose end is told             5 min
==============  ==================================================  ===================
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from coordd.alerts.quiet import Quiet, parse_quiet
from coordd.errors import ConfigError
from coordd.util.units import parse_duration

TABLE = "alert"
"""The name of a rule's table in the configuration."""

KINDS = (
    "waiting",
    "blocked",
    "stalled",
    "killed",
    "mass",
    "orphaned",
    "split",
    "finished",
    "redis",
    "sink",
    "daemon",
)
"""The words of ``on``, beside thresholds."""

MEASURES = ("cpu", "memory", "disk", "load")
"""What a threshold may be of: percent of the host, and its load of one minute."""

USUAL = ("waiting", "killed", "stalled", "mass")
"""What a rule tells that does not say what, and what the built-in rule tells."""

BUILT_IN = "desktop"
"""The name of the rule that there is when the configuration has none."""

MOST_RULES = 100
REFERENCE = {
    "name": "How the rule is called, by 'coordctl alerts test' too. Needed.",
    "on": "What is told: waiting, blocked, stalled, killed, mass, orphaned, split, finished (a turn that "
    "took long is over), redis, sink, daemon, and thresholds: cpu>90, memory>90, disk>90 in percent, load>4. "
    "Default: waiting, killed, stalled, mass.",
    "for": "So long it has held when it is told; what is over before is not told. Default: 30s.",
    "workspaces": "Patterns of projects or workspaces, with all below them. Default: all.",
    "quiet": "Local times such as 22:00-07:00; what is due in them is told afterwards, in one message.",
    "every": "At most one message in this time, the rest is gathered. Default: as they come, at most 30 in "
    "5 minutes.",
    "finished_after": "So long a turn has taken whose end is told. Default: 5m.",
    "exec": "A program and its arguments, with {title} {text} {agent} {name} {project} {workspace} {kind} "
    "{since} {command} {rule} {state} {count}; the message is JSON on its stdin. There is no shell.",
    "webhook": "An address that gets the message as JSON by POST: text, { file = PATH } or { env = NAME }.",
    "apprise": "A list of addresses of apprise, each as that of a webhook. Needs the extra coordd[alerts].",
    "desktop": "true shows the message on the desktop.",
}
"""The keys of a rule, in words for the manual page."""

_ACTION_KEYS = ("exec", "webhook", "apprise", "desktop")
_KEYS = ("name", "on", "for", "workspaces", "quiet", "every", "finished_after", *_ACTION_KEYS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_THRESHOLD = re.compile(r"(\w+)\s*>\s*(\d{1,6}(?:\.\d{1,3})?)", re.ASCII)
_DAY = 86400.0
_HOLD = 30.0
_FINISHED_AFTER = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A share of the host in percent, or its load, above which something is told; ``word`` is its kind."""

    measure: str
    above: float

    @property
    def word(self) -> str:
        """Return it as ``on`` has it: ``cpu>90``."""
        return f"{self.measure}>{self.above:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is told, when, and how. Durations are in seconds.

    ``kinds`` are the words of ``on``, thresholds among them. ``every`` is None where messages come as they
    are due. ``actions`` holds the values of the keys that are the actions', as the file has them.
    """

    name: str
    kinds: frozenset[str]
    thresholds: tuple[Threshold, ...]
    hold: float
    workspaces: tuple[str, ...]
    quiet: Quiet | None
    every: float | None
    finished_after: float
    actions: Mapping[str, object]

    def wants(self, kind: str, workspace: str | None, project: str | None) -> bool:
        """Return whether the rule tells something of this kind, there.

        ``workspaces`` chooses among what lies in one: what is the whole host's, or coordd's, is told in any
        case.
        """
        if kind not in self.kinds:
            return False
        if not self.workspaces or kind in HOST_KINDS or ">" in kind:
            return True
        return any(
            _fits(place, pattern)
            for place in (workspace, project)
            if place is not None
            for pattern in self.workspaces
        )


HOST_KINDS = frozenset({"redis", "sink", "daemon"})
"""What is of no workspace."""


def built_in() -> Rule:
    """Return the rule that there is when the configuration has none: it tells the desktop."""
    return Rule(
        name=BUILT_IN,
        kinds=frozenset(USUAL),
        thresholds=(),
        hold=_HOLD,
        workspaces=(),
        quiet=None,
        every=None,
        finished_after=_FINISHED_AFTER,
        actions={"desktop": True},
    )


def rules_of(tables: object, *, where: str, home: str | None) -> tuple[Rule, ...]:
    """Return the rules of a configuration.

    Args:
        tables: the value of the key ``alert``; None where there is none.
        where: the file, for errors.
        home: what ``~`` stands for; None refuses it.

    Raises:
        ConfigError: something in them is no rule.
    """
    if tables is None:
        return (built_in(),)
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ConfigError(where, TABLE, None, "expected tables, each of which begins with [[alert]]")
    if len(tables) > MOST_RULES:
        raise ConfigError(where, TABLE, None, f"expected at most {MOST_RULES} rules, not {len(tables)}")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):
        rule = _Reader(table, where, number, home).rule()
        if any(rule.name == other.name for other in rules):
            raise ConfigError(where, f"{TABLE}.{rule.name}.name", rule.name, "expected a name of its own")
        rules.append(rule)
    return tuple(rules)


class _Reader:
    """Read one table."""

    def __init__(self, table: Mapping[str, object], where: str, number: int, home: str | None) -> None:
        self._table = table
        self._where = where
        self._home = home
        name = table.get("name")
        known = isinstance(name, str) and _NAME.fullmatch(name) is not None
        self._label = f"{TABLE}.{name}" if known else f"{TABLE} {number}"

    def rule(self) -> Rule:
        for key in self._table:
            if key not in _KEYS:
                raise self._error(key, None, f"no such key; expected {_one_of(_KEYS)}{_near(key, _KEYS)}")
        kinds, thresholds = self._on()
        if not any(self._table.get(key) not in (None, False) for key in _ACTION_KEYS):
            raise self._error("", None, f"it does nothing: expected one of {', '.join(_ACTION_KEYS)}")
        quiet = self._table.get("quiet")
        try:
            hours = None if quiet is None else parse_quiet(quiet)
        except ValueError as error:
            raise self._error("quiet", quiet, str(error)) from None
        return Rule(
            name=self._name(),
            kinds=kinds,
            thresholds=thresholds,
            hold=self._seconds("for", _HOLD, least=0.0),
            workspaces=self._workspaces(),
            quiet=hours,
            every=self._seconds("every", 0.0, least=0.0) or None,
            finished_after=self._seconds("finished_after", _FINISHED_AFTER, least=0.0),
            actions={key: self._table[key] for key in _ACTION_KEYS if key in self._table},
        )

    def _name(self) -> str:
        name = self._table.get("name")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            words = "expected a name: 1 to 64 letters, digits, dots, underscores and hyphens"
            raise self._error("name", name, words)
        return name

    def _on(self) -> tuple[frozenset[str], tuple[Threshold, ...]]:
        value = self._table.get("on", list(USUAL))
        if not isinstance(value, list) or not value:
            raise self._error("on", value, f"expected a list of {_one_of(KINDS)}")
        kinds: set[str] = set()
        thresholds: dict[str, Threshold] = {}
        for word in value:
            if isinstance(word, str) and word in KINDS:
                kinds.add(word)
                if word == "killed":  # of those that fell together there are no entries of their own
                    kinds.add("mass")
                continue
            found = _THRESHOLD.fullmatch(word) if isinstance(word, str) else None
            if found is None or found[1] not in MEASURES:
                expected = f"expected {_one_of(KINDS)}, or a threshold such as 'cpu>90'"
                raise self._error("on", word, f"{expected} (of {', '.join(MEASURES)}){_near(word, KINDS)}")
            threshold = Threshold(measure=found[1], above=float(found[2]))
            if threshold.measure != "load" and threshold.above >= 100:
                raise self._error("on", word, "expected a share below 100 percent")
            thresholds[threshold.word] = threshold
        return frozenset({*kinds, *thresholds}), tuple(thresholds.values())

    def _seconds(self, key: str, default: float, *, least: float) -> float:
        value = self._table.get(key)
        if value is None:
            return default
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = -1.0
        if not least <= seconds <= _DAY:
            raise self._error(key, value, "expected a duration of at most a day, such as '30s' or '5m'")
        return seconds

    def _workspaces(self) -> tuple[str, ...]:
        value = self._table.get("workspaces", [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._error("workspaces", value, "expected a list of patterns such as '~/src/*'")
        found = []
        for pattern in value:
            whole = pattern
            if pattern == "~" or pattern.startswith("~/"):
                if self._home is None:
                    raise self._error("workspaces", pattern, "expected a path that begins with /")
                whole = self._home + pattern[1:]
            if not os.path.isabs(whole):
                raise self._error("workspaces", pattern, "expected a path that begins with / or ~/")
            found.append(os.path.normpath(whole))
        return tuple(found)

    def _error(self, key: str, value: object, expected: str) -> ConfigError:
        label = f"{self._label}.{key}" if key else self._label
        # a secret may be the value of an action's key, and nowhere else
        return ConfigError(self._where, label, None if key in _ACTION_KEYS else value, expected)


def _fits(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*")


def _one_of(words: Sequence[str]) -> str:
    return f"one of {', '.join(words)}"


def _near(word: object, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f". Did you mean '{near[0]}'?" if near else ""
