"""See whether a session's subagents make progress, by the transcripts that they have of their own.

``<session id>/subagents/agent-<id>.jsonl`` beside the session's transcript, and ``agent-<id>.meta.json`` that
names the call which waits for it. Of each only the end is read, and of that only the last time. All calls may
block, and belong in a thread.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice

import msgspec

from coordd.sources.claude_code.transcript import TranscriptReducer
from coordd.sources.claude_code.transcript_lines import decode
from coordd.sources.sessions.lines import text_of
from coordd.util.fields import Malformed
from coordd.util.regular_files import open_regular
from coordd.util.untrusted_folder import open_folder, read_regular

MAX_FILES = 4096
"""Files of a session's subagents that are looked at."""
_TAIL = 64 * 1024
_MAX_META = 64 * 1024
_NAME = re.compile(r"agent-([0-9A-Za-z_-]{1,128})\.(jsonl|meta\.json)", re.ASCII)


class _Meta(msgspec.Struct):
    toolUseId: object = None  # noqa: N815 - the name is the format's


class SubagentFiles:
    """The transcripts of one session's subagents; ``folder`` is where they lie."""

    __slots__ = ("_calls", "_seen", "folder")

    def __init__(self, transcript: str) -> None:
        self.folder = f"{transcript.removesuffix('.jsonl')}/subagents"
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._calls: dict[str, str] = {}

    def read(self, reducer: TranscriptReducer, wall: float) -> bool:
        """Note in the session's reducer what its subagents have written; return whether they have a folder.

        ``wall`` is the time now in epoch seconds.

        Raises:
            Malformed, OSError: it cannot be read.
        """
        parent = os.open(os.path.dirname(os.path.dirname(self.folder)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            above = open_folder(os.path.basename(os.path.dirname(self.folder)), parent)
        finally:
            os.close(parent)
        if above is None:
            return False
        try:
            folder = open_folder("subagents", above)
        finally:
            os.close(above)
        if folder is None:
            return False
        try:
            self._read(folder, reducer, wall)
        finally:
            os.close(folder)
        return True

    def _read(self, folder: int, reducer: TranscriptReducer, wall: float) -> None:
        open_ones, calls = reducer.subagents, reducer.subagent_calls
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_FILES)]
        for name in names:
            found = _NAME.fullmatch(name)
            if found is None or found[2] != "jsonl":
                continue
            agent = found[1]
            if calls and agent not in self._calls and (call := _call_of(folder, agent)) is not None:
                self._calls[agent] = call
            waited_for = self._calls.get(agent)
            waited_for = waited_for if waited_for in calls else None
            if agent not in open_ones and waited_for is None:
                continue
            at = self._last_time(folder, name, wall)
            if at is not None:
                reducer.subagent_seen(waited_for or agent, at)

    def _last_time(self, folder: int, name: str, wall: float) -> float | None:
        """Return the time of the last line that has one; None where nothing was written since it was read."""
        try:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            mark = state.st_ino, state.st_size, state.st_mtime_ns
            if not stat.S_ISREG(state.st_mode) or mark == self._seen.get(name):
                return None
            self._seen[name] = mark
            descriptor = open_regular(name, os.O_RDONLY, refuse=Malformed, directory=folder)
            try:
                content = os.pread(descriptor, _TAIL, max(0, state.st_size - _TAIL))
            finally:
                os.close(descriptor)
        except (OSError, Malformed):
            return None
        for line in reversed(content.split(b"\n")):
            record = decode(line) if line else None
            at = record.time_by(wall) if record is not None else None
            if at is not None:
                return at
        return None


def _call_of(folder: int, agent: str) -> str | None:
    """Return the id of the call that waits for a subagent, None where there is none."""
    try:
        content, _ = read_regular(folder, f"agent-{agent}.meta.json", _MAX_META)
        return text_of(msgspec.json.decode(content, type=_Meta).toolUseId)
    except (OSError, Malformed, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
