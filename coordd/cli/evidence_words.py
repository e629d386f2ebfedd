"""Say in words what each signal of an agent's evidence is and shows, for ``agent`` and ``why``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.times import moment_words
from coordd.util.text import age, ago, epoch_of, number, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_UNOBSERVED = 1.0
"""Seconds without observation from which on they are mentioned; below, the two durations look the same."""


def signal_words(one: dict[str, Any], evidence: Sequence[dict[str, Any]]) -> str:
    """Return the name of a signal, with its source if several sources gave it."""
    sources = {other.get("source") for other in evidence if other.get("source") is not None}
    source = one.get("source")
    return shown(one.get("signal")) + (f" ({shown(source)})" if source and len(sources) > 1 else "")


def value_words(one: dict[str, Any], *, utc: bool, zone: str) -> str:
    """Return the value of a signal; a timestamp with its zone unless that is ``zone``."""
    value = one.get("value")
    if epoch_of(value) is not None:
        return moment_words(value, utc=utc, zone=zone)
    words = shown(value)
    return words.replace("-", " ") if one.get("signal") == "refusal" and value is not None else words


def unobserved(evidence: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line that explains a heartbeat older than the observed silence; else no line."""
    lines = []
    for one in evidence:
        old, silence = number(one.get("age")), number(one.get("silence"))
        if old is not None and silence is not None and old - silence >= _LEAST_UNOBSERVED:
            lines.append(
                f"silent for {age(silence)} of observed time "
                f"({ago(old)}; coordd could not observe it for {age(old - silence)} of that)"
            )
    return lines
