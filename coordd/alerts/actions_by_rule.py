"""Make the actions of all rules, by rule and label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coordd.alerts.actions.base import Action
from coordd.alerts.actions.build import actions_of, secret_variables
from coordd.alerts.delivery import labelled
from coordd.alerts.rules import TABLE, Rule


def actions_of_rules(
    rules: Sequence[Rule], *, where: str, environ: Mapping[str, str]
) -> dict[str, dict[str, Action]]:
    """Return the actions of each rule. Reads files of secrets.

    Raises:
        ConfigError: the value of a key of an action's is invalid, or a secret cannot be had.
    """
    hidden = frozenset().union(*(secret_variables(rule.actions) for rule in rules))
    return {
        rule.name: labelled(
            actions_of(
                rule.actions, where=where, label=f"{TABLE}.{rule.name}", environ=environ, hidden=hidden
            )
        )
        for rule in rules
    }
