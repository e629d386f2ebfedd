"""Find the agents that ended in order today, in the records: the daemon's list no longer has them.

Today is the local day, as the daemon counts it. What is kept is one record for each agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import is_at
from coordd.cli.agent_words import ended, key_of, seconds_since
from coordd.cli.tail import find_series
from coordd.errors import CannotTell
from coordd.records.moments import Span
from coordd.records.scan import RecordQuery, Scan
from coordd.util.text import escape
from coordd.util.timestamps import day_around

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coordd.cli.agent_words import Key
    from coordd.cli.common import DaemonTarget


def ended_today(
    target: DaemonTarget, listed: Iterable[dict[str, Any]], *, workspace: str | None, now: float
) -> list[dict[str, Any]]:
    """Return the last record of each agent that ended since midnight and is not listed.

    Args:
        target: the daemon that says where the records are.
        listed: entries of ``agents.list``; who lives again is among them.
        workspace: only agents of this workspace or project; "" for those of Redis alone, None for all.
        now: epoch seconds.

    Raises:
        CannotTell: the records may not be read.
    """
    present = {key_of(agent) for agent in listed}
    query = RecordQuery("agent", Span(day_around(now)[0], None))
    last: dict[Key, dict[str, Any]] = {}
    began: dict[Key, object] = {}
    try:
        for batch in Scan(find_series(target, "agent").directory, query).batches():
            for _, record in batch:
                key = key_of(record)
                last[key] = record
                if not ended(record):
                    began.pop(key, None)
                elif key not in began:  # the records that follow tell when it was forgotten
                    began[key] = record.get("timestamp")
    except OSError as error:
        raise CannotTell(f"{escape(str(error.filename or ''))}: {error.strerror or error}") from error
    return [
        {
            **record,
            "last_heartbeat_age": seconds_since(record.get("last_heartbeat"), now),
            "inactive_since": began.get(key),
        }
        for key, record in last.items()
        if ended(record) and key not in present and (workspace is None or is_at(record, workspace))
    ]
