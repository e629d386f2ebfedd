"""Make the actions of all rules, by rule and label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coordd.alerts.actions.base import Action
from coordd.alerts.actions.exec import ExecAction
from coordd.alerts.actions.template import parse
from coordd.alerts.delivery import labelled
from coordd.alerts.rules import TABLE, Rule
from coordd.errors import ConfigError


def actions_of_rules(
    rules: Iterable[Rule], *, where: str, environ: Mapping[str, str]
) -> dict[str, dict[str, Action]]:
    """Return the actions of each rule.

    Raises:
        ConfigError: the value of a key of an action's is invalid.
    """
    return {rule.name: labelled(_actions(rule, where, environ)) for rule in rules}


def _actions(rule: Rule, where: str, environ: Mapping[str, str]) -> list[Action]:
    argv = rule.actions.get("exec")
    if argv is None:
        return []
    if not isinstance(argv, list) or not all(isinstance(one, str) for one in argv):
        raise ConfigError(where, f"{TABLE}.{rule.name}.exec", argv, "expected a list of texts")
    return [ExecAction(parse(argv), environ=environ)]
