"""Implement ``coordctl check``: a plugin for Nagios, Icinga, Naemon, Sensu and others with their protocol.

By the Monitoring Plugins Development Guidelines a plugin prints one line with performance data and exits with
0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN. It is one line whatever happens, at most 4 KiB, so that every reader
takes it whole. So wrong usage and a fault of coordctl's own exit with 3 here, and not as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.check_rules import (
    CRITICAL,
    METRICS,
    OK,
    UNKNOWN,
    WARNING,
    CheckResult,
    Metric,
    Thresholds,
    evaluate,
    of_error,
)
from coordd.cli.common import say
from coordd.cli.options import takes_target
from coordd.cli.ranges import ThresholdRange, parse_range
from coordd.errors import CoorddError, DaemonNotRunning, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordd.cli.common import DaemonTarget

_DEGRADED = {"ok": OK, "warning": WARNING, "critical": CRITICAL}


class PluginCommand(click.Command):
    """A command that reports usage errors as a plugin does: one line on stdout, exit code 3."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context as click does; print a usage error as a plugin does."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            say(usage_line(error.format_message()))
            raise click.exceptions.Exit(UNKNOWN) from error


def usage_line(message: str) -> str:
    """Return a usage error as a plugin's line."""
    words = message if message.endswith((".", "?")) else f"{message}."
    return of_error(UNKNOWN, f"usage: {words} Try 'coordctl check --help'.").text()


def takes_limits(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--warning-X`` and ``--critical-X`` for each metric, passed as ``warning_x``, ``critical_x``."""
    for metric in reversed(METRICS):
        for severity in ("critical", "warning"):
            function = _limit_option(metric, severity)(function)
    return function


def _limit_option(metric: Metric, severity: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    default = metric.warning if severity == "warning" else metric.critical

    def parsed(ctx: click.Context, param: click.Parameter, value: str | None) -> ThresholdRange | None:
        try:
            return None if value is None else parse_range(value, minimum=metric.minimum)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", ctx, param) from error

    verb = "Warn on" if severity == "warning" else "Critical on"
    return click.option(
        f"--{severity}-{metric.name}",
        callback=parsed,
        default=default,
        metavar="N" if metric.minimum else "RANGE",
        help=f"{verb} {metric.doc}" + (f" (default {default})." if default else "."),
    )


@click.command(
    "check",
    cls=PluginCommand,
    epilog="""\b
Examples:
  coordctl check
  coordctl check --critical-agents 1 --warning-agents 3
  coordctl check --warning-stalled 0 --critical-orphaned 5 --degraded ok
  coordctl check --warning-waiting 0 --critical-killed 3
  coordctl check --warning-load 2 --critical-load 4 --warning-age 180
  coordctl --socket /run/coordd/coordd.sock check --warning-disk ~:80

\b
A RANGE says which values are fine:
  10      0 to 10               10:     10 and more
  ~:10    10 and less           5:10    5 to 10
  @5:10   all but 5 to 10       ~:      any, which turns a default off

\b
Without options: CRITICAL when coordd is not running or memory or disk are over
95 %; WARNING when coordd is degraded (see coordctl status) or they are over
90 %. Inactive agents alone are not a problem. UNKNOWN when the state cannot be
known: no permission, no answer in time, or a threshold on a number that the
daemon does not know.

\b
Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (usage errors too).

\b
In Icinga or Nagios:
  define command {
    command_name  check_coordd
    command_line  /usr/bin/coordctl --timeout 8 check --critical-agents $ARG1$
  }""",
)
@takes_limits
@click.option(
    "--degraded",
    type=click.Choice(list(_DEGRADED)),
    default="warning",
    help="The result when coordd itself reports problems (default warning).",
)
@click.option("--load-absolute", is_flag=True, help="Judge load as it is, not divided by the number of CPUs.")
@takes_target
def command(target: DaemonTarget, degraded: str, load_absolute: bool, **ranges: ThresholdRange | None) -> int:
    """Print one line for a monitoring system, with performance data and its exit code."""
    limits = {
        metric.name: Thresholds(ranges[f"warning_{metric.name}"], ranges[f"critical_{metric.name}"])
        for metric in METRICS
    }
    verdict = check(target, limits, degraded=_DEGRADED[degraded], per_cpu=not load_absolute)
    say(verdict.text())
    return verdict.state


def check(
    target: DaemonTarget, limits: dict[str, Thresholds], *, degraded: int, per_cpu: bool
) -> CheckResult:
    """Ask the daemon and judge its answer; a failure to ask becomes a verdict too."""
    try:
        with target.connect(tell=False) as client:
            document = client.call("status")
    except DaemonNotRunning as error:
        return of_error(CRITICAL, str(error))
    except CoorddError as error:
        return of_error(UNKNOWN, str(error))
    except Exception as error:
        return of_error(UNKNOWN, unexpected("coordctl", error))
    if not isinstance(document, dict) or document.get("health") not in ("ok", "degraded"):
        return of_error(UNKNOWN, f"{client.path}: the answer is not a status document.")
    return evaluate(document, limits, degraded=degraded, per_cpu=per_cpu)
