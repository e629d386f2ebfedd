"""Listen for lines as a memcached does, to show what must never be sent to one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class LineServer:
    """Listen on a Unix socket or a loopback port; hold one key, which ``delete session`` removes.

    ``lines`` are those that came, ``connections`` how many came to say them.
    """

    def __init__(self, path: str | None = None) -> None:
        self.lines: list[bytes] = []
        self.connections = 0
        self.keys = {b"session": b"precious"}
        self._socket = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._socket.bind(("127.0.0.1", 0) if path is None else path)
        self._socket.listen()
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}" if path is None else path
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as file:
            for line in file:
                self.lines.append(line)
                command, _, key = line.strip().partition(b" ")
                found = command == b"delete" and self.keys.pop(key, None) is not None
                file.write(b"DELETED\r\n" if found else b"ERROR\r\n")
                file.flush()
