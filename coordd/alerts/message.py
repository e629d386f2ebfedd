"""Describe what is told: a message and its entries, and the JSON that programs and webhooks are given.

Pure. Ids, names and texts are those of strangers: here they are data, and each action makes them harmless in
its own way (as an element of a command line, as markup, as JSON).

The JSON is one line of ASCII, ``"schema": 1``: a field may be added under that number, none changes its
meaning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

SCHEMA = 1
"""The number of the form of the JSON."""
LISTED = 100
"""Entries that a message lists; ``count`` says how many there are."""

EntryState = Literal["firing", "resolved", "happened"]
"""Whether it lasts, is over, or has no duration, as a turn that has ended."""
MessageState = Literal["firing", "resolved", "digest", "test"]
"""Whether something of it lasts, all of it is over, it was kept during quiet hours, or is a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that is told: what (``kind``), of whom, since when (UTC), in words, and what to type next."""

    kind: str
    subject: str
    name: str | None
    workspace: str | None
    project: str | None
    since: str
    text: str
    command: str | None
    state: EntryState

    def to_document(self) -> dict[str, object]:
        """Return the entry as it stands in the JSON."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "name": self.name,
            "workspace": self.workspace,
            "project": self.project,
            "since": self.since,
            "text": self.text,
            "command": self.command,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one rule tells at once.

    ``id`` is the same however often it is sent; ``again`` says that it may have been sent before.
    ``entries`` are the first :data:`LISTED` of ``count``.
    """

    id: str
    rule: str
    state: MessageState
    at: str
    host: str
    title: str
    text: str
    entries: tuple[Entry, ...]
    count: int
    again: bool

    def to_json(self) -> bytes:
        """Return the message as one line of JSON in ASCII; lone surrogates become U+FFFD."""
        document = {
            "schema": SCHEMA,
            "id": self.id,
            "rule": self.rule,
            "state": self.state,
            "at": self.at,
            "host": self.host,
            "title": self.title,
            "text": self.text,
            "entries": [entry.to_document() for entry in self.entries[:LISTED]],
            "count": self.count,
            "again": self.again,
        }
        return json.dumps(_unicode(document), separators=(",", ":")).encode("ascii") + b"\n"


def _unicode(value: object) -> object:
    """Return the value with lone surrogates replaced: many readers of JSON refuse their escapes."""
    if isinstance(value, str):
        return (
            value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, dict):
        return {key: _unicode(one) for key, one in value.items()}
    return [_unicode(one) for one in value] if isinstance(value, list) else value
