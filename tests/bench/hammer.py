"""What one reader can make the daemon log: ``until`` at the end of the calendar, asked for three seconds.

``python tests/bench/hammer.py`` prints how many questions were answered with an internal error, how much log
they made, and what coordctl says to the same question.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import Project, watching

SECONDS = 3.0
PARAMS = {"type": "system", "until": "9999-12-31T23:59:59Z"}


def main() -> None:
    """Ask, and print."""
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / "app")
        with watching(project, Path(directory)) as coordd:
            request = {"jsonrpc": "2.0", "id": 1, "method": "history.query", "params": PARAMS}
            line = json.dumps(request).encode() + b"\n"
            asked = failed = 0
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(coordd.socket))
                answers = sock.makefile("rb")
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    sock.sendall(line)
                    failed += "error" in json.loads(answers.readline())
                    asked += 1
            done = coordd.ctl("history", "system", "--until", PARAMS["until"])
            print(f"{asked} questions, {failed} internal errors, log {coordd.log.stat().st_size} bytes")
            print(
                f"coordctl: exit {done.returncode}, {done.stderr.strip().splitlines()[-1:] or 'no complaint'}"
            )
            coordd.log.write_text("")  # the harness takes a traceback in it for a failed test


if __name__ == "__main__":
    main()
