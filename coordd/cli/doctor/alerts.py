"""Check that somebody is told: whether coordd-alert runs, accepts its rules, can do them, and how it went.

What runs is asked on its control socket; what does not run is judged by its unit, and by its rules, which
``coordd check-config`` has it check.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from coordd import __version__
from coordd.cli.alert_outcomes import last_outcomes
from coordd.cli.doctor.findings import Finding
from coordd.cli.service_state import ALERT, service_states
from coordd.protocol.client import attempt
from coordd.protocol.paths import ALERTS_SOCKET, DaemonLocation, alerts_directory
from coordd.util.shell import shell_word
from coordd.util.text import ago, epoch_of, shown
from coordd.util.unit import unit_of
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

WITHIN = 5.0
"""Seconds that coordd-alert has to answer."""
_NAME = "alerts"
_LISTED = 5
"""Problems that are named at most."""
_NO_MORE = "; the running coordd-alert keeps the ones it has"


def check_alerts(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that coordd-alert runs if it is meant to, and that what it tells arrives.

    Whose: the system's for the system's daemon, else that of this process's user, if that is the daemon's.

    Raises:
        CannotTell: it does not answer, or not to this user.
    """
    system = facts.section("daemon").get("layout") == "system"
    if not system and facts.me.uid != facts.daemon.uid:
        return
    document = _ask(system=system)
    rules = facts.config.rules
    if rules.error:
        kept = "" if document is None else _NO_MORE
        fix = f"mend them, then {'coordd-alert check' if document is None else _command(system, 'reload')}"
        yield Finding(_NAME, "fail", f"its rules cannot be used: {rules.error}{kept}", fix)
    if document is None:
        yield from _silent(facts, system=system)
        return
    wrong = [*_wrong(document, facts, system=system), *_last(document, system=system)]
    yield from wrong or [] if rules.error else wrong or [_well(document)]


def _ask(*, system: bool) -> dict[str, Any] | None:
    """Return what coordd-alert says of itself; None where none runs."""
    folder = alerts_directory("system" if system else None, os.environ, sys.platform)
    path = os.path.join(folder, ALERTS_SOCKET)
    # that of the system runs as a user of its own, and root asks it
    found = attempt(DaemonLocation("--state", path, None, None, None, own=not system), WITHIN)
    if isinstance(found, str):
        return None
    with found as client:
        return as_dict(client.call("status"))


def _silent(facts: DoctorFacts, *, system: bool) -> Iterator[Finding]:
    """Yield what there is to say where none runs."""
    rules = facts.config.rules
    services = service_states(("system",) if system else ("user",), os.environ, ALERT)
    install = f"{'sudo coordd service install --system' if system else 'coordd service install'} --alerts"
    for one in services:
        why = f": {one.why}" if one.why else ""
        if one.state in ("failed", "restarting"):
            yield Finding(_NAME, "fail", f"the service coordd-alert fails{why}", f"{one.look}; {one.start}")
        elif one.state == "stopped":
            yield Finding(_NAME, "warn", "the service coordd-alert is stopped: nobody is told", one.start)
        else:
            yield Finding(_NAME, "warn", f"the service coordd-alert does not answer ({one.state})", one.look)
    for trouble in rules.troubles[:_LISTED]:
        yield Finding(
            _NAME, "warn", f"it could not work: {trouble}", "correct the rule, then coordd-alert check"
        )
    if services or rules.error:
        return
    if rules.there:
        beside = "" if system else "; beside a daemon in the foreground: coordd run --alerts"
        words = "there are rules, and coordd-alert does not run: nobody is told"
        yield Finding(_NAME, "warn", words, f"{install}{beside}")
    else:
        yield Finding(_NAME, "ok", f"nobody is told what needs them; coordd-alert does that ('{install}')")


def _wrong(document: dict[str, Any], facts: DoctorFacts, *, system: bool) -> Iterator[Finding]:
    """Yield what is wrong with one that runs."""
    version = document.get("version")
    if version != __version__:
        words = f"coordd-alert is {shown(version)}, coordctl is {__version__}"
        yield Finding(_NAME, "warn", words, f"start it again after an upgrade{_how(document)}")
    daemon = as_dict(document.get("daemon"))
    followed = daemon.get("socket")
    if facts.alive and not daemon.get("connected"):
        words = f"coordd-alert follows no coordd: {shown(daemon.get('error'))}"
        yield Finding(_NAME, "fail", words, f"name it the one that is meant: {_named(facts)}")
    elif facts.alive and isinstance(followed, str) and not _same(followed, facts.socket):
        words = f"coordd-alert tells of the coordd behind {followed}, and nobody of this one"
        yield Finding(_NAME, "warn", words, f"another one beside it: {_named(facts)} --state DIR")
    for problem in as_list(document.get("problems"))[:_LISTED]:
        if not (facts.config.rules.error and "rules are bad" in str(problem)):  # it is said already
            fix = f"'{_command(system)}' shows how it does"
            yield Finding(_NAME, "warn", shown(problem), fix)
    for rule in dicts(document.get("rules")):
        actions = dicts(rule.get("actions"))
        bad = [one for one in actions if one.get("problem")]
        for one in bad[:_LISTED]:
            words = f"rule {shown(rule.get('name'))}, {shown(one.get('action'))}: {shown(one.get('problem'))}"
            test = _command(system, f"test {shell_word(str(rule.get('name')))}")
            tells_nobody = len(bad) == len(actions)
            yield Finding(_NAME, "fail" if tells_nobody else "warn", words, f"mend that, then try: {test}")


def _last(document: dict[str, Any], *, system: bool) -> Iterator[Finding]:
    """Yield the last message of each action that did not tell it."""
    failed = [(rule, one) for (rule, _), one in last_outcomes(document).items() if one.get("error")]
    for rule, outcome in failed[:_LISTED]:
        by = f"{shown(outcome.get('action'))}: {shown(outcome['error'])}"
        words = f"the last message, {_ago(outcome.get('at'))}, was not told by {by}"
        test = _command(system, f"test {shell_word(str(rule))}")
        yield Finding(_NAME, "warn", words, f"mend that, then try: {test}")


def _well(document: dict[str, Any]) -> Finding:
    told = dicts(document.get("told"))
    last = f"the last message was told {_ago(told[0].get('at'))}" if told else "nothing was to be told yet"
    rules = [shown(one.get("name")) for one in dicts(document.get("rules"))]
    which = "the built-in rule" if document.get("built_in") else f"rules {', '.join(rules[:_LISTED])}"
    more = f" and {len(rules) - _LISTED} more" if len(rules) > _LISTED else ""
    by = _unit(document) or "no service"
    return Finding(
        _NAME, "ok", f"coordd-alert runs (pid {shown(document.get('pid'))}, {by}) with {which}{more}; {last}"
    )


def _unit(document: dict[str, Any]) -> str | None:
    pid = document.get("pid")
    return unit_of(pid) if isinstance(pid, int) else None


def _how(document: dict[str, Any]) -> str:
    unit = _unit(document)
    return "" if unit is None else f": systemctl restart {unit}, or systemctl --user restart {unit}"


def _named(facts: DoctorFacts) -> str:
    return f"coordd-alert run --socket {shell_word(facts.socket or '')}"


def _command(system: bool, words: str = "") -> str:
    return " ".join(
        filter(None, ["sudo coordctl alerts --layout system" if system else "coordctl alerts", words])
    )


def _same(one: str, other: str | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


def _ago(stamp: object) -> str:
    moment = epoch_of(stamp)
    return "at a time that is not known" if moment is None else ago(max(0.0, time.time() - moment))
