"""Implement ``coordctl doctor``: run all checks, and print one line and a fix for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from coordd.cli.call_deadline import within
from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.doctor.alerts import check_alerts
from coordd.cli.doctor.daemon import (
    check_config,
    check_health,
    check_lock,
    check_restart,
    check_sinks,
    check_socket,
    check_traces,
    check_version,
)
from coordd.cli.doctor.facts import gather
from coordd.cli.doctor.findings import Finding, failed, finding_document, finding_lines
from coordd.cli.doctor.homes import check_homes
from coordd.cli.doctor.hooks import check_hooks
from coordd.cli.doctor.ignoring import check_ignoring
from coordd.cli.doctor.machine import check_clock, check_inotify
from coordd.cli.doctor.patterns import check_entries
from coordd.cli.doctor.redis import check_redis
from coordd.cli.doctor.storage import (
    check_directories,
    check_links,
    check_records,
    check_space,
    check_strangers,
)
from coordd.cli.doctor.workspaces import check_workspaces
from coordd.cli.options import json_option, takes_target
from coordd.errors import CannotTell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coordd.cli.common import DaemonTarget
    from coordd.cli.doctor.facts import DoctorFacts

SCHEMA = 1
OK, FAILED = 0, 1
LONGEST = 60.0
"""Seconds for one check; each workspace has a shorter limit of its own."""

CHECKS = (
    check_socket,
    check_lock,
    check_version,
    check_config,
    check_restart,
    check_health,
    check_redis,
    check_workspaces,
    check_entries,
    check_ignoring,
    check_homes,
    check_hooks,
    check_alerts,
    check_inotify,
    check_clock,
    check_directories,
    check_space,
    check_links,
    check_strangers,
    check_records,
    check_sinks,
    check_traces,
)


@click.command(
    "doctor",
    epilog="""\b
Examples:
  coordctl doctor
  sudo coordctl doctor                  sees what other users' files allow
  coordctl doctor --json | jq -r '.checks[] | select(.result != "ok") | .fix'
  coordctl doctor --strict >/dev/null || echo 'look after it'

\b
It changes nothing; each fix is yours to run. With coordd down it judges by the last
snapshot, else by the configuration that 'coordd run' would read here.

\b
Exit codes: 0 nothing fails (warnings count with --strict only), 1 something does,
3 coordd is not running, 4 it is there but refuses this user or does not answer.""",
)
@json_option("One JSON document: name, result, message, fix.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings as well.")
@takes_target
def command(target: DaemonTarget, as_json: bool, strict: bool) -> int:
    """Find what is wrong with the installation, and say how to fix it."""
    facts = gather(target)
    findings = examine(facts)
    if as_json:
        say_json({"schema": SCHEMA, "checks": [finding_document(finding) for finding in findings]})
    else:
        say("\n".join(finding_lines(findings, colour=colour_wanted())))
    if facts.error is not None:
        return facts.error.exit_code
    return FAILED if failed(findings, strict=strict) else OK


def examine(facts: DoctorFacts) -> list[Finding]:
    """Run all checks and return their findings; a check that the system does not permit is one too."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += within(LONGEST, partial(_listed, check, facts))
        except (OSError, ValueError, CannotTell) as error:  # ValueError: a path with a zero byte in it
            name = check.__name__.removeprefix("check_")
            findings.append(Finding(name, "warn", f"cannot tell: {error}", "ask as root"))
    return findings


def _listed(check: Callable[[DoctorFacts], Iterator[Finding]], facts: DoctorFacts) -> list[Finding]:
    return list(check(facts))
