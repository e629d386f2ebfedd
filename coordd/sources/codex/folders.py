"""Name the folders of a home in which a rollout may appear: ``sessions/YYYY/MM/DD``, by the newest days.

A new rollout lies in the folder of its day, which may itself be new. The newest two of each level are
watched: one whose name a wrong clock has made hides no other. A call may block.
"""

from __future__ import annotations

import os
import re
from itertools import islice

NEWEST = 2
"""Years, months of each, and days of each of these, that are watched."""
MAX_NAMES = 1000
"""Names in one folder that are looked at."""
_LEVELS = tuple(re.compile(pattern, re.ASCII) for pattern in (r"[0-9]{4}", r"[0-9]{2}", r"[0-9]{2}"))


def folders(home: str) -> list[str]:
    """Return ``sessions`` and the newest folders below it, as they are now."""
    level = [f"{home}/sessions"]
    found = [*level]
    for pattern in _LEVELS:
        level = [
            f"{above}/{name}"
            for above in level
            for name in sorted(filter(pattern.fullmatch, _names(above)), reverse=True)[:NEWEST]
        ]
        found += level
    return found


def _names(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [one.name for one in islice(entries, MAX_NAMES) if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
