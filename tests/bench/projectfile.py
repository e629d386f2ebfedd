"""Show what a clone's ``.claude/coordd.toml`` makes coordd send to a socket of the user's that is no Redis.

Run it with ``python tests/bench/projectfile.py``. A listener that takes lines, as a memcached does, holds one
key. ``coordctl doctor``, ``coordd check-redis`` and ``coordd run`` are run in a project whose file names that
listener as its Redis, with a command in the name of the user. Prints the lines that came, and what is left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT

sys.path[:0] = [str(ROOT / "tests" / "support")]

# ruff: noqa: E402 - what is imported from the tests is found only now
from lineserver import LineServer

COMMANDS = (
    ("coordctl doctor", ["-m", "coordd.cli", "doctor"]),
    ("coordd check-redis", ["-m", "coordd", "check-redis"]),
    ("coordd run", ["-m", "coordd", "run"]),
)
WATCHED = 4.0
"""Seconds for which a daemon is left running."""


def main() -> None:
    """Run each command against a fresh listener."""
    for name, arguments in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "clone")
            (project / ".claude" / "coordination" / "agents").mkdir(parents=True)
            server = LineServer(f"{folder}/memcached.sock")
            url = f"unix://a%0D%0Adelete%20session%0D%0Ab:x@{server.place}"
            (project / ".claude" / "coordd.toml").write_text(f'[coordination]\nredis_url = "{url}"\n')
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("COORDD_", "XDG_", "REDIS_"))}
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=project,
                env={**kept, "HOME": folder, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until = time.monotonic() + WATCHED
            if name == "coordd run":
                while time.monotonic() < until and process.poll() is None:
                    time.sleep(0.1)
                process.terminate()
            process.wait()
            server.close()
            left = "is there" if server.keys else "is DELETED"
            print(f"{name}: {server.connections} connections, {len(server.lines)} lines; the key {left}")
            for line in server.lines[:8]:
                print(f"    {line!r}")


if __name__ == "__main__":
    main()
