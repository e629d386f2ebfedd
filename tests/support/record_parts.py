"""Make record files as coordd makes them, each with its line in the manifest."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from coordd.records import manifest, manifest_file
from coordd.util.timestamps import format_utc

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0


def announce(directory: Path, name: str, line: bytes) -> None:
    with (directory / manifest_file.NAME).open("ab") as listed:
        listed.write(manifest.announcement(name, line))


def part(
    directory: Path, name: str, day: int, agents: list[str], *, packed: bool = False, pad: int = 0
) -> None:
    """A file as coordd makes it, with a record for each of these agents."""
    start = NOON + (day - 22) * DAY
    lines = []
    for n, one in enumerate(agents):
        record: dict[str, object] = {"timestamp": format_utc(start + n * 0.01), "host": "h"}
        if name.startswith("agent"):
            record |= {"workspace": "/w", "agent_id": one, "cause": "start", "n": n}
        else:
            record |= {"kind": "agent.active", "subject": one, "message": "", "detail": {}, "n": n}
        if pad:
            record["pad"] = os.urandom(pad).hex()
        lines.append(json.dumps(record, separators=(",", ":")).encode())
    announce(directory, name, lines[0])
    content = b"".join(line + b"\n" for line in lines)
    if packed:
        (directory / f"{name}.gz").write_bytes(gzip.compress(content))
    else:
        (directory / name).write_bytes(content)
