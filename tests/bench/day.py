"""Let whole simulated days pass, and count false verdicts: ``python tests/bench/day.py``.

Two hundred agents of every kind, and everything that goes wrong on a machine; see tests/support/day/. Prints
``false verdicts: 0 of N`` for each seed, with what was shown how often, and ends with 1 where any was false.

    python tests/bench/day.py                       a day of 200 agents, some two minutes
    python tests/bench/day.py --hours 2 --seeds 10  ten short ones
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from day.run import simulate  # noqa: E402 - it is found by the path set above


def main() -> int:
    """Print a paragraph for each seed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--agents", type=int, default=200, help="how many live at a time (200)")
    parser.add_argument("--hours", type=float, default=24.0, help="how long a day is (24)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many days (1)")
    parser.add_argument("--quiet", action="store_true", help="nothing goes wrong beside the agents")
    options = parser.parse_args()
    logging.getLogger("coordd").setLevel(logging.CRITICAL)
    false = 0
    for seed in range(options.first, options.first + options.seeds):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="coordd-day-") as name:
            outcome = simulate(
                agents=options.agents,
                hours=options.hours,
                seed=seed,
                directory=Path(name).resolve(),
                disturbed=not options.quiet,
            )
        false += outcome.false
        took = time.monotonic() - began
        print(f"seed {seed}: false verdicts: {outcome.false} of {outcome.compared:,} ({took:.0f} s)")
        print("   went wrong:", _counted(outcome.happened))
        print("   shown:", _counted(outcome.shown))
        for words in outcome.details:
            print("   FALSE", words)
        sys.stdout.flush()
    return 1 if false else 0


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


if __name__ == "__main__":
    sys.exit(main())
