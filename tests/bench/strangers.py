"""What coordd does to record files that are not its own: 45 days of them, as a project's own scripts leave
them.

``python tests/bench/strangers.py [PYTHON]`` plants them in a new project, runs that Python's coordd for a
while, and prints how many were changed or removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAYS = 45


def plant(project: Path) -> list[Path]:
    """The names of coordd's files, in coordd's folders, by somebody else; a link's name too."""
    metrics, logs = project / ".claude" / "metrics", project / ".claude" / "logs"
    for folder in (metrics, logs, project / ".claude" / "coordination" / "agents"):
        folder.mkdir(parents=True)
    made = []
    today = datetime.now(UTC)
    for days in range(DAYS):
        day = today - timedelta(days=days)
        stamp = day.strftime("%Y-%m-%dT%H:%M:%SZ")
        for series in ("system", "agent"):
            record = {"timestamp": stamp, "cpu_percent": 1.5, "memory_usage": {"percent": 40.0}}
            path = metrics / f"{series}_{day:%Y-%m-%d}.jsonl"
            path.write_text(json.dumps(record) + "\n")
            made.append(path)
        path = logs / f"performance_{day:%Y-%m-%d}.csv"
        path.write_text(
            f"TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE\n{stamp},1.5,40.0,N/A,N/A,file\n"
        )
        made.append(path)
    for path in (
        logs / "performance.log",
        logs / "coordd.log",
        logs / "coordd.log.1",
        metrics / "agent.jsonl",
    ):
        path.write_text("somebody's own\n")
        made.append(path)
    return made


def digests(paths: list[Path]) -> dict[Path, str | None]:
    """What is in each file; None where it is gone."""
    found: dict[Path, str | None] = {}
    for path in paths:
        found[path] = None
        with contextlib.suppress(OSError):
            found[path] = "link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def ask(sock: Path, method: str) -> dict[str, object] | None:
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(sock))
        connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
        answer = json.loads(connection.makefile("rb").readline())
        result: dict[str, object] = answer["result"]
        return result
    return None


def main(python: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "app"
        made = plant(project)
        before = digests(made)
        environ = {"HOME": folder, "PATH": os.environ["PATH"]}
        with subprocess.Popen(
            [python, "-m", "coordd", "run", "--workspace", str(project)],
            env=environ,
            cwd=folder,
            stderr=subprocess.DEVNULL,
        ) as daemon:
            sock = project / ".claude" / "run" / "coordd.sock"
            deadline = time.monotonic() + 30
            while ask(sock, "ping") is None and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(8)  # the first housekeeping begins after a second
            status = ask(sock, "status") or {}
            daemon.send_signal(signal.SIGTERM)
        after = digests(made)
        gone = sum(after[path] is None for path in made)
        changed = sum(after[path] not in (None, before[path]) for path in made)
        print(f"{len(made)} files planted: {gone} gone, {changed} changed")
        print(json.dumps({"health": status.get("health"), "sinks": status.get("sinks")}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else sys.executable)
