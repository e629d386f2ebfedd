"""Parse the threshold ranges of monitoring plugins. Pure.

The syntax is that of the Monitoring Plugins Development Guidelines, "Threshold and ranges": a range says
which values are fine, ``@`` turns it round.

====== =======================================
``10``   alert below 0 or above 10
``10:``  alert below 10
``~:10`` alert above 10
``5:10`` alert outside of 5 to 10, ends fine
``@5:10`` alert within 5 to 10, ends included
====== =======================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"-?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})"
_RANGE = re.compile(rf"(@?)(?:(~|{_NUMBER})?(:))?({_NUMBER})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ThresholdRange:
    """One range; ``text`` is as it was written, since performance data repeats it."""

    start: float
    end: float
    inverted: bool
    text: str

    def alerts(self, value: float) -> bool:
        """Return whether this value alerts."""
        inside = self.start <= value <= self.end
        return inside if self.inverted else not inside

    @property
    def never(self) -> bool:
        """Return whether no value alerts, as with ``~:``."""
        return self.start == -math.inf and self.end == math.inf and not self.inverted


def parse_range(text: str, *, minimum: bool = False) -> ThresholdRange:
    """Return the range that a text describes.

    With ``minimum`` a bare number is the least value that is fine: ``10`` means ``10:``.

    Raises:
        ValueError: the text is not a range, or the range ends before it begins.
    """
    text = text.strip()
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(_not_a_range(text))
    inverted, start, colon, end = match.groups()
    if start is None and end is None:
        raise ValueError(_not_a_range(text))
    if minimum and not colon and not inverted:
        text, start, end = f"{text}:", end, None
    low = -math.inf if start == "~" else float(start) if start is not None else 0.0
    high = math.inf if end is None else float(end)
    if low > high:
        raise ValueError(f"{text!r} ends before it begins")
    return ThresholdRange(low, high, bool(inverted), text)


def _not_a_range(text: str) -> str:
    return f"{text!r:.40} is no range such as '10', '10:', '~:10' or '@5:10'"
