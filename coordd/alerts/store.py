"""Keep the state in one file that is replaced as a whole, and a journal of what was begun and done since.

::

    state.json      replaced: written beside it, synced, renamed, the directory synced
    journal.jsonl   appended to, a synced line at a time; emptied once a state holds all of it

kill -9 between any two steps leaves the state before or the state after, and a journal whose last line may be
torn. Knows nothing of what either means. Blocking: it belongs into a thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from coordd.alerts.calls import Calls
from coordd.util import fastjson
from coordd.util.regular_files import read_file

STATE = "state.json"
JOURNAL = "journal.jsonl"
DAMAGED = "state.damaged.json"
_NEW = ".state.new"
MAX_STATE = 64 * 1024 * 1024
MAX_JOURNAL = 64 * 1024 * 1024


class StateFiles:
    """The files in an open directory, ``directory`` its descriptor."""

    def __init__(self, directory: int, *, calls: Calls | None = None) -> None:
        self._directory = directory
        self._calls = calls or Calls()
        self._journal: int | None = None
        self._torn = False
        self._lines = 0
        self.damaged: str | None = None
        """Why the state that was found could not be read, in words; None where it could."""

    def read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return the state, None where there is none, and the lines of the journal.

        A state that cannot be read is moved aside.

        Raises:
            OSError: the files cannot be read.
        """
        state: dict[str, Any] | None = None
        try:
            found = fastjson.loads(read_file(STATE, MAX_STATE, directory=self._directory).decode())
            state = dict(found.items())
        except FileNotFoundError:
            pass
        except (ValueError, AttributeError, RecursionError) as error:
            self.damaged = f"{STATE} cannot be read ({error}); it is {DAMAGED} now"
            self._calls.rename(STATE, DAMAGED, self._directory)
        return state, self._read_journal()

    def write(self, state: Mapping[str, object]) -> None:
        """Replace the state by this one, which holds all that the journal says; then empty the journal.

        Raises:
            OSError: it is not written; the state is the one before.
        """
        data = fastjson.dumps(state).encode()
        descriptor = self._calls.make(_NEW, self._directory)
        try:
            self._write_all(descriptor, data)
            self._calls.sync(descriptor)
        finally:
            os.close(descriptor)
        self._calls.rename(_NEW, STATE, self._directory)
        self._calls.sync_directory(self._directory)
        if self._lines:
            self._calls.truncate(self._open_journal(), 0)
            self._lines = 0
            self._torn = False

    def append(self, line: Mapping[str, object]) -> None:
        """Append a line to the journal, and sync it.

        Raises:
            OSError: it is not written, or not whole.
        """
        data = fastjson.dumps(line).encode() + b"\n"
        journal = self._open_journal()
        self._lines += 1
        if self._torn:
            data = b"\n" + data
        self._torn = True
        self._write_all(journal, data)
        self._torn = False
        self._calls.sync(journal)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _open_journal(self) -> int:
        if self._journal is None:
            self._journal = self._calls.append_to(JOURNAL, self._directory)
            self._calls.sync_directory(self._directory)
        return self._journal

    def _read_journal(self) -> list[dict[str, Any]]:
        try:
            data = read_file(JOURNAL, MAX_JOURNAL, directory=self._directory)
        except FileNotFoundError:
            return []
        self._torn = bool(data) and not data.endswith(b"\n")
        lines = []
        for line in data.split(b"\n"):
            self._lines += bool(line)
            try:
                found = fastjson.loads(line.decode()) if line else None
            except (ValueError, RecursionError):  # torn by a kill
                continue
            if isinstance(found, dict):
                lines.append(found)
        return lines

    def _write_all(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._calls.write(descriptor, bytes(view)) :]
