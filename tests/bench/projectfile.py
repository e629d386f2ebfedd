"""Show what a clone's ``.claude/coordd.toml`` makes coordd send to a socket of the user's that is no Redis.

Run it with ``python tests/bench/projectfile.py``. A listener that takes lines, as a memcached does, holds one
key. ``coordctl doctor``, ``coordd check-redis`` and ``coordd run`` are run in a project whose file names that
listener as its Redis, with a command in the name of the user. Prints the lines that came, and what is left.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

COMMANDS = (
    ("coordctl doctor", ["-m", "coordd.cli", "doctor"]),
    ("coordd check-redis", ["-m", "coordd", "check-redis"]),
    ("coordd run", ["-m", "coordd", "run"]),
)
WAIT = 4.0


class LineServer:
    """Takes lines as memcached does: ``delete KEY``; answers ERROR to what it does not know."""

    def __init__(self, path: Path) -> None:
        self.lines: list[bytes] = []
        self.keys = {b"session": b"precious"}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as file:
            try:
                for line in file:
                    self.lines.append(line)
                    command, _, key = line.strip().partition(b" ")
                    found = command == b"delete" and self.keys.pop(key, None) is not None
                    file.write(b"DELETED\r\n" if found else b"ERROR\r\n")
                    file.flush()
            except OSError:
                return


def main() -> None:
    """Run each command against a fresh listener."""
    for name, arguments in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "clone")
            (project / ".claude" / "coordination" / "agents").mkdir(parents=True)
            url = f"unix://a%0D%0Adelete%20session%0D%0Ab:x@{folder}/memcached.sock"
            (project / ".claude" / "coordd.toml").write_text(f'[coordination]\nredis_url = "{url}"\n')
            server = LineServer(Path(folder, "memcached.sock"))
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("COORDD_", "XDG_", "REDIS_"))}
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=project,
                env={**kept, "HOME": folder},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until = time.monotonic() + WAIT
            if name == "coordd run":
                while time.monotonic() < until and process.poll() is None:
                    time.sleep(0.1)
                process.terminate()
            process.wait()
            left = "is there" if server.keys else "is DELETED"
            print(f"{name}: {len(server.lines)} lines came; the key {left}")
            for line in server.lines[:8]:
                print(f"    {line!r}")


if __name__ == "__main__":
    main()
