"""Set the clock that libfaketime shows to a process while it runs."""

from __future__ import annotations

from pathlib import Path


def set_clock(offset: Path, setting: str) -> None:
    """Write what the process reads at each look at the clock, such as ``+86400``.

    The file is replaced: one that is empty for a moment would show another time for that moment.
    """
    new = offset.with_suffix(".new")
    new.write_text(setting)
    new.replace(offset)
