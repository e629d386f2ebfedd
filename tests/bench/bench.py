"""Measures coordd against its targets and against floors of the same run: ``python tests/bench/bench.py``.

Spawns real daemons on temporary projects; needs what coordd needs, and Linux's /proc for memory, wake-ups and
CPU (elsewhere those rows stay empty). Prints a table and judges nothing: that is for who knows the machine.

    python tests/bench/bench.py             everything, some eight minutes
    python tests/bench/bench.py --quick     two minutes, rougher
    python tests/bench/bench.py memory cli  some of it
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator

import asking
import claudesessions
import codexsessions
import dashboard
import footprint
import history
import hookcalls
import intake
import latency
import redisreader
import startup
import throughredis
from harness import Figure, Settings

MEASUREMENTS: dict[str, Callable[[Settings], Iterator[Figure]]] = {
    "latency": latency.measure,
    "memory": footprint.memory,
    "cli": startup.command,
    "start": startup.first_answer,
    "idle": footprint.idle,
    "socket": asking.measure,
    "intake": intake.measure,
    "redis-reader": redisreader.measure,
    "history": history.measure,
    "redis": throughredis.measure,
    "dashboard": dashboard.measure,
    "sessions": claudesessions.measure,
    "hooks": hookcalls.measure,
    "codex": codexsessions.measure,
}

COLUMNS = "{:<44} {:>10} {:<7} {:>10} {:>7}  {:<12} {}"


def main() -> int:
    """Measure, print a row as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=str(__doc__).partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("only", nargs="*", metavar="WHAT", help=f"some of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="shorter and rougher")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--dir", help="where the temporary projects lie; default: the system's choice")
    options = parser.parse_args()
    unknown = set(options.only) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    settings = Settings(quick=options.quick, directory=options.dir)
    figures: list[Figure] = []
    if not options.json:
        print(COLUMNS.format("figure", "value", "", "floor", "ratio", "target", "floor is"), flush=True)
    for name, measure in MEASUREMENTS.items():
        if options.only and name not in options.only:
            continue
        for figure in measure(settings):
            figures.append(figure)
            if not options.json:
                print(_row(figure), flush=True)
    if options.json:
        json.dump(
            {"machine": _machine(), "figures": [_document(figure) for figure in figures]},
            sys.stdout,
            indent=1,
        )
        print()
    return 0


def _row(figure: Figure) -> str:
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}x"
    value, floor = _number(figure.value), _number(figure.floor)
    return COLUMNS.format(
        figure.name, value, figure.unit, floor, ratio, figure.target, figure.floor_name
    ).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _document(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "value": figure.value,
        "floor_name": None if figure.floor is None else figure.floor_name,
        "floor": figure.floor,
        "ratio": figure.ratio,
        "target": figure.target,
    }


def _machine() -> dict[str, object]:
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


if __name__ == "__main__":
    sys.exit(main())
