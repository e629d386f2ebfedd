"""Messages as actions get them."""

from __future__ import annotations

import dataclasses
from typing import Any

from coordd.alerts.message import Entry, Message

ENTRY = Entry(
    kind="waiting",
    subject="7d0f1c2e-0000-4000-8000-000000000012",
    name="shop-12",
    workspace="/home/ann/src/shop",
    project="/home/ann/src/shop",
    since="2026-11-28T03:00:00.000Z",
    text="waits for you: permission prompt",
    command="coordctl goto shop-12",
    state="firing",
)
MESSAGE = Message(
    id="01-abc",
    rule="needs-me",
    state="firing",
    at="2026-11-28T03:00:30.000Z",
    host="desk",
    title="shop-12 waits for you: permission prompt",
    text="shop-12 (~/src/shop) waits for you: permission prompt, since 04:00. coordctl goto shop-12",
    entries=(ENTRY,),
    count=1,
    again=False,
)

TEXTS = (
    "{title}",
    "{agent} {{x}} {nothing}",
    "%s %n %d",
    "$(touch /tmp/owned) `id` ${HOME} ; rm -rf / | & > <",
    "-rf",
    "--help",
    "@/etc/passwd",
    "<b>bold</b> & 'quoted' \"too\"",
    "a\nb\r\nc\0d\x1b[31m",
    "\u202eevil\u2066",
    "مرحبا שלום",
    "\ud800",
    "ä" * 100 * 1024,
    "x" * 100 * 1024,
)
"""What strangers may write."""


def message(**fields: Any) -> Message:
    """Return a message with these fields."""
    return dataclasses.replace(MESSAGE, **fields)
