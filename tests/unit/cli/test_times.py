"""How times are said to people: local with the zone said once, or UTC where they ask for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from coordd.cli.history import _span
from coordd.cli.history_chart import chart
from coordd.cli.history_table import table_blocks
from coordd.cli.times import moment_words, zone_of
from coordd.records.moments import Span
from coordd.records.scan import RecordQuery
from coordd.util.text import epoch_of

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
SUMMER, WINTER = "2026-10-25T00:59:59.500Z", "2026-10-25T01:00:00.000Z"


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_zone_is_said_once_and_again_where_it_is_another() -> None:
    assert moment_words(WINTER, utc=False) == "2026-10-25 02:00:00 CET"
    assert moment_words(WINTER, utc=False, zone="CET") == "2026-10-25 02:00:00"
    assert moment_words(SUMMER, utc=False, zone="CET", millis=True) == "2026-10-25 02:59:59.500 CEST"
    assert moment_words(SUMMER, utc=True, zone="UTC") == "2026-10-25 00:59:59"
    assert (zone_of(SUMMER, utc=False), zone_of(SUMMER, utc=True), zone_of("soon", utc=True)) == (
        "CEST",
        "UTC",
        "",
    )
    assert moment_words("soon\x1b", utc=False) == "soon\\x1b"
    assert moment_words(None, utc=False) == "-"


def test_the_table_of_history_has_the_zone_in_its_heading() -> None:
    records: list[dict[str, Any]] = [
        {"timestamp": at, "kind": "x", "subject": "s", "message": "m"} for at in (SUMMER, WINTER, None)
    ]

    def table(*, utc: bool) -> list[str]:
        blocks = table_blocks("event", records, thinned=False, with_workspace=True, utc=utc)
        return b"".join(blocks).decode().splitlines()

    assert table(utc=False) == [
        "TIME (CEST)                  KIND  SUBJECT  MESSAGE",
        "2026-10-25 02:59:59.500      x     s        m",
        "2026-10-25 02:00:00.000 CET  x     s        m",
        "-                            x     s        m",
    ]
    assert table(utc=True)[:2] == [
        "TIME (UTC)               KIND  SUBJECT  MESSAGE",
        "2026-10-25 00:59:59.500  x     s        m",
    ]


def test_the_plot_names_the_zone() -> None:
    span = Span(epoch_of(WINTER), epoch_of("2026-10-25T02:00:00.000Z"))
    local, utc = (chart([], RecordQuery("event", span), 0.0, utc=utc).decode() for utc in (False, True))
    assert "events, times are CET" in local
    assert "02:00:00" in local.splitlines()[-1]
    assert "events, times are UTC" in utc
    assert "01:00:00" in utc.splitlines()[-1]


def test_a_time_can_be_typed_as_it_is_shown() -> None:
    assert _span("2026-11-22 07:05:00.500", "2026-11-22T08:00", 0.0, utc=False) == Span(
        epoch_of("2026-11-22T06:05:00.500Z"), epoch_of("2026-11-22T07:00:00.000Z")
    )
    assert _span("2026-11-22T06:05:00", None, 0.0, utc=True).since == epoch_of("2026-11-22T06:05:00.000Z")
    assert _span("2026-11-22", None, 0.0, utc=False).since == epoch_of("2026-11-21T23:00:00.000Z")
