"""Every place where a time, a number or a text of a stranger comes in: an error in words at most.

The functions behind the doors, given anything; test_doors.py among the integration tests knocks at the doors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strange import NUMBERS, TIMES, moments, texts, values

from coordd.cli.common import parse_timeout
from coordd.cli.history_chart import chart
from coordd.cli.history_csv import csv_blocks
from coordd.cli.history_table import table_blocks
from coordd.cli.ranges import parse_range
from coordd.dashboard.access import cookie_of, host_name, origin_host
from coordd.dashboard.answers import BadRequest
from coordd.dashboard.query import read_query
from coordd.dashboard.series import RANGES, series
from coordd.dashboard.tokens import Keys
from coordd.records.files import choose
from coordd.records.moments import Span, checked_span
from coordd.records.scan import TYPES, RecordQuery, Scan
from coordd.records.thin import Thinner
from coordd.sources.bodies import parse_claim, parse_heartbeat, parse_progress, parse_registration
from coordd.util.text import age, ago, count, duration, epoch_of, number, percent, shown, size
from coordd.util.timestamps import format_utc, parse_timestamp, within_calendar
from coordd.util.units import format_duration, parse_duration, parse_size

NOW = 1_795_000_000.0


@given(since=moments | st.none(), until=moments | st.none())
@example(since=None, until="9999-12-31T23:59:59Z")
@example(since="9999-12-31T23:59:59Z", until=None)
@example(since="999999999w", until=None)
@example(since=None, until=10**400)
def test_any_span_is_refused_in_words_or_asked_for(
    tmp_path_factory: pytest.TempPathFactory, since: Any, until: Any
) -> None:
    try:
        span = checked_span(since, until, NOW)
    except ValueError as error:
        assert str(error)
        return
    for one in (span, span.widened(3600), Span((span.until or NOW) - 3600, span.until)):
        assert one.low <= b"\x7f"
        assert one.high <= b"\x7f"
        choose("/nowhere", "system", one)
        list(Scan(str(tmp_path_factory.getbasetemp()), RecordQuery("event", one)).batches())
        for records in ([], [{"timestamp": "2026-11-22T06:05:00.123Z", "cpu_percent": 1.0}]):
            assert chart(records, RecordQuery("system", one), NOW, utc=False)


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59Z", "9999-12-31T23:30:00Z"])
def test_until_the_end_of_the_calendar_finds_what_is_there(tmp_path: Path, until: str) -> None:
    line = b'{"timestamp":"2026-11-22T06:05:00.123Z","host":"h"}'
    (tmp_path / "event_2026-11-22.jsonl").write_bytes(line + b"\n")
    question = RecordQuery("event", checked_span("2026-11-22", until, NOW))
    assert [found for batch in Scan(str(tmp_path), question).batches() for found, _ in batch] == [line]


PARSERS: list[Callable[[Any], object]] = [
    parse_timestamp,
    parse_duration,
    parse_size,
    epoch_of,
    number,
    count,
    percent,
    size,
    age,
    ago,
    duration,
    shown,
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(value=moments | values)
def test_any_value_is_read_or_refused_in_words(parse: Callable[[Any], object], value: Any) -> None:
    try:
        found = parse(value)
    except ValueError as error:
        assert len(str(error)) < 500
        return
    if isinstance(found, float):
        assert math.isfinite(found)


@given(moments | texts)
def test_what_is_read_can_be_written(value: Any) -> None:
    try:
        moment = parse_timestamp(value)
    except ValueError:
        moment = None
    assert moment is None or format_utc(moment)
    found = epoch_of(value)
    assert found is None or format_utc(within_calendar(found))
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = None
    assert seconds is None or format_duration(seconds)


@given(st.floats())
def test_any_moment_lies_within_the_calendar(epoch: float) -> None:
    assert format_utc(within_calendar(epoch))


@given(text=texts)
def test_any_option_of_the_command_line_is_refused_in_words(text: str) -> None:
    seconds = parse_timeout(text)
    assert seconds is None or 0 < seconds < math.inf
    for minimum in (False, True):
        try:
            parse_range(text, minimum=minimum)
        except ValueError as error:
            assert str(error)


FIELDS = {
    "system": ("cpu_percent", "memory_usage", "load_average", "agents", "host", "coord_mode"),
    "agent": ("agent_id", "active_tasks", "uptime", "rss", "sources", "workspace", "status"),
    "event": ("kind", "subject", "message", "detail", "host"),
}


@st.composite
def typed_records(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """Records of one type as a file may hold them that others wrote."""
    kind = draw(st.sampled_from(TYPES))
    one = st.fixed_dictionaries(
        {}, optional={"timestamp": values | st.sampled_from(TIMES)} | dict.fromkeys(FIELDS[kind], values)
    )
    return kind, draw(st.lists(one, max_size=5))


@given(
    typed=typed_records(), step=st.sampled_from([*NUMBERS, "1ms", "1h", "999999999w"]) | st.floats(1e-9, 1e9)
)
@example(typed=("system", [{"timestamp": "9999-12-31T23:59:59Z", "cpu_percent": {"Infinity": None}}]), step=1)
@example(typed=("system", [{"timestamp": "0001-01-01T00:00:00.000Z"}]), step=1e9)
@example(typed=("system", [{"timestamp": "0000-01-01T00:00:00.000Z"}]), step=60)
@example(typed=("system", [{"timestamp": "2026-01-01T00:00:00.000Z", "x": 1e308}] * 3), step=60)
@example(typed=("system", [{"timestamp": "2026-01-01T00:00:00.000Z"}]), step=5e-324)
def test_any_record_read_back_is_shown_in_every_form(
    typed: tuple[str, list[dict[str, Any]]], step: Any
) -> None:
    kind, records = typed
    question = RecordQuery(kind, Span(0.0, NOW))
    assert b"".join(csv_blocks(kind, records, thinned=False))
    assert b"".join(table_blocks(kind, records, thinned=False, with_workspace=True))
    assert chart(records, question, NOW, utc=False)
    assert series(records, RANGES["6h"], NOW)
    try:
        thinner = Thinner(kind, parse_duration(step))
    except ValueError:
        return
    thinned = [*thinner.add(records), *thinner.rest()]
    for one in thinned:
        json.dumps(one.get("cpu_percent"), allow_nan=False)  # raises ValueError for what is no number in JSON
    assert b"".join(csv_blocks(kind, thinned, thinned=True))
    assert b"".join(table_blocks(kind, thinned, thinned=True, with_workspace=False))
    assert series(thinned, RANGES["6h"], NOW)


@given(typed=typed_records())
def test_any_line_of_a_file_is_a_record_or_damage(
    tmp_path_factory: pytest.TempPathFactory, typed: tuple[str, list[dict[str, Any]]]
) -> None:
    kind, records = typed
    folder = tmp_path_factory.mktemp("lines")
    lines = [json.dumps(record).encode() for record in records]
    lines += [b'{"timestamp":"0000-00-00T00:00:00.000Z","x":1}', b'{"timestamp":"' + b"9" * 23 + b'Z"}']
    (folder / f"{kind}_2026-11-22.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    scan = Scan(str(folder), RecordQuery(kind, Span(None, None)))
    found = [record for batch in scan.batches() for _, record in batch]
    thinner = Thinner(kind, 60.0)
    assert len([*thinner.add(found), *thinner.rest()]) <= len(lines)


STRANGE_JSON = values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@given(
    content=st.binary(max_size=60)
    | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | STRANGE_JSON
    | st.dictionaries(
        st.sampled_from(
            ["agent_id", "claimed_at", "ttl", "expires_at", "progress", "timestamp", "started_at", "id"]
        ),
        values | moments,
    ).map(lambda fields: json.dumps(fields).encode("utf-8", "surrogatepass"))
)
def test_any_trace_gives_moments_that_can_be_written(content: bytes) -> None:
    claims = [parse_claim("t", content)[0]]
    progress = parse_progress("t", content)[0]
    registration = parse_registration(content)[0]
    beats = []
    with suppress(ValueError):
        beats.append(parse_heartbeat(content))
    moments_found = [one for claim in claims if claim for one in (claim.claimed_at, claim.expires_at)]
    moments_found += [progress.timestamp] if progress else []
    moments_found += [registration.started_at, registration.updated_at] if registration else []
    for moment in [*moments_found, *beats]:
        assert moment is None or format_utc(moment)


@given(raw=st.binary(max_size=80) | st.text("since=&%0123456789abcdefEF+;\x7f", max_size=60).map(str.encode))
def test_any_query_string_is_refused_in_words(raw: bytes) -> None:
    try:
        read_query(raw, {"since": str, "limit": int, "state": ("held",)})
    except BadRequest as error:
        assert str(error)


@given(text=texts | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
@example(text="http://[::1")
@example(text="http://a\u2100b")
def test_any_header_is_taken_or_refused(text: str) -> None:
    host_name(text)
    origin_host(text)
    cookie = cookie_of(f"coordd={text}")
    keys = Keys("0123456789abcdef")
    text = text.encode("latin-1", "replace").decode("latin-1")  # as headers come
    for value in (text, cookie_of(text) or "", f"{text}.{text}"):
        assert keys.takes_cookie(value, NOW) is False
    assert cookie is None or isinstance(cookie, str)
