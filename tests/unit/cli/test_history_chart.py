"""``coordctl history --format chart`` with numbers that no coordd would write."""

from __future__ import annotations

from typing import Any

import pytest

from coordd.cli.history_chart import chart
from coordd.records.moments import Span
from coordd.records.scan import RecordQuery

NOW = 1_795_327_500.0
AT = "2026-11-22T06:04:00.000Z"


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), float("nan"), 10**400, 1e16, None, [], "x"])
def test_no_number_is_too_large_for_it(value: Any) -> None:
    records = [
        {"timestamp": AT, "cpu_percent": one, "memory_usage": {"percent": one}, "active_tasks": one}
        for one in (value, 12.0, value)
    ]
    span = Span(NOW - 3600, NOW)
    assert b"cpu" in chart(records, RecordQuery("system", span, None, None), NOW, utc=False)
    one_agent = [{**record, "agent_id": "a", "status": "active"} for record in records]
    assert b"agent a" in chart(one_agent, RecordQuery("agent", span, "a", None), NOW, utc=True)
