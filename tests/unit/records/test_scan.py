"""Test that a scan finds exactly what a naive reading of the same record files finds."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.records import seek
from coordd.records.files import choose, open_part
from coordd.records.moments import Span
from coordd.records.names import Part, part_name
from coordd.records.scan import RecordQuery, Scan, needle
from coordd.util.timestamps import format_utc, parse_timestamp, utc_date

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
AGENTS = ("a", "ab", 'q"uote', "ümlaut", "tab\there", "-a")


def line(moment: float, agent: str = "a", **fields: Any) -> bytes:
    record = {"timestamp": format_utc(moment), "host": "h", "workspace": "/w", "agent_id": agent, **fields}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def found(directory: Path, question: RecordQuery) -> list[bytes]:
    return [line for batch in Scan(str(directory), question).batches() for line, _ in batch]


@dataclass
class Days:
    """Record files as a daemon with a clock that may be set, and a disk that may be full, writes them."""

    wall: float = NOON
    files: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    forms: dict[tuple[str, int], str] = field(default_factory=dict)
    backlog: list[bytes] | None = None
    made: int = 0

    def record(self, agent: str) -> None:
        self.made += 1
        one = line(self.wall, agent, n=self.made)
        if self.backlog is not None:
            self.backlog.append(one)
        else:
            self.write([one])

    def write(self, lines: list[bytes]) -> None:
        date = utc_date(self.wall)
        number = max((n for day, n in self.files if day == date), default=1)
        if self.forms.get((date, number), "plain") != "plain":
            number += 1
        self.files.setdefault((date, number), []).extend(lines)

    def rotate(self) -> None:
        if self.files:
            date = max(self.files)[0]
            number = max(n for day, n in self.files if day == date)
            self.files[date, number + 1] = []

    def put(self, directory: Path) -> None:
        for place, lines in self.files.items():
            data = b"".join(one + b"\n" for one in lines)
            plain = directory / part_name("agent", Part(*place), "jsonl")
            packed = directory / part_name("agent", Part(*place, True), "jsonl")
            form = self.forms.get(place, "plain")
            if form in ("plain", "both"):
                plain.write_bytes(data)
            if form in ("gz", "both"):
                packed.write_bytes(gzip.compress(data))
            if form == "members":
                half = len(data) // 2
                packed.write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]) + bytes(7))

    def naive(self, question: RecordQuery) -> list[bytes]:
        low, high = question.span.since, question.span.until
        chosen = []
        for place in sorted(self.files):
            for one in self.files[place]:
                record = json.loads(one)
                moment = record["timestamp"]
                if (
                    (low is None or moment >= format_utc(low))
                    and (high is None or moment < format_utc(high))
                    and question.agent_id in (None, record["agent_id"])
                    and question.workspace in (None, record["workspace"])
                ):
                    chosen.append(one)
        return chosen


OFFSETS = st.floats(-4 * 86400, 4 * 86400, allow_nan=False)


@st.composite
def days(draw: st.DrawFn) -> Days:
    made = Days(wall=NOON + draw(OFFSETS))
    troubles = draw(st.sampled_from(["clock", "disk"]))
    for _ in range(draw(st.integers(0, 60))):
        made.wall += draw(st.sampled_from([0.0, 0.001, 30.0, 3600.0, 30000.0]))
        what = draw(st.sampled_from(["record"] * 6 + ["rotate", "compress", troubles]))
        if what == "record":
            made.record(draw(st.sampled_from(AGENTS)))
        elif what == "rotate":
            made.rotate()
        elif what == "compress" and made.files:
            form = draw(st.sampled_from(["gz", "members", "both"]))
            made.forms[draw(st.sampled_from(sorted(made.files)))] = form
        elif what == "clock":
            made.wall += draw(st.sampled_from([-100_000.0, -7200.0, -1.0, 5.0, 200_000.0]))
        elif what == "disk":
            if made.backlog is None:
                made.backlog = []
            else:
                made.write(made.backlog)
                made.backlog = None
    return made


@given(
    made=days(),
    since=st.none() | OFFSETS,
    length=st.none() | st.floats(0, 3 * 86400),
    agent=st.none() | st.sampled_from(AGENTS),
    workspace=st.sampled_from([None, "/w", "/x"]),
)
@settings(max_examples=300, deadline=None)
def test_any_files_and_any_question(
    made: Days, since: float | None, length: float | None, agent: str | None, workspace: str | None
) -> None:
    start = None if since is None else NOON + since
    until = None if length is None else (NOON if start is None else start) + length
    question = RecordQuery("agent", Span(start, until), agent, workspace)
    with tempfile.TemporaryDirectory() as folder:
        made.put(Path(folder))
        assert found(Path(folder), question) == made.naive(question)


@given(
    steps=st.sampled_from([[0, 0, -500, -20_000], [0, 0, 9000]]).flatmap(
        lambda steps: st.lists(st.tuples(st.integers(1, 400), st.sampled_from(steps)), max_size=12)
    ),
    since=st.integers(-2000, 60_000),
    length=st.integers(0, 20_000),
    stride=st.sampled_from([700, 4096, 50_000]),
)
@settings(max_examples=200, deadline=None)
def test_stretches_of_a_file_whose_clock_was_set_hold_all_that_is_asked_for(
    steps: list[tuple[int, int]], since: int, length: int, stride: int
) -> None:
    wall, lines = NOON, []
    for count, step in steps:
        for _ in range(count):
            wall += 10
            lines.append(line(wall, pad="x" * (len(lines) % 5)) + b"\n")
        wall += step
    data = b"".join(lines)
    span = Span(NOON + since, NOON + since + length)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        kept = seek.WHOLE
        seek.WHOLE = 0
        try:
            ranges = seek.stretches(file.fileno(), len(data), span, stride=stride)
        finally:
            seek.WHOLE = kept
    assert ranges == sorted(ranges)
    taken = b"".join(data[start:end] for start, end in ranges)
    wanted = [one for one in lines if span.low <= one[14:38] < span.high]
    assert [one for one in taken.splitlines(keepends=True) if span.low <= one[14:38] < span.high] == wanted


def test_a_short_time_of_a_large_file_reads_little(tmp_path: Path) -> None:
    lines = [line(NOON + n, pad="x" * 300) for n in range(40_000)]
    path = tmp_path / "agent_2026-11-22.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    span = Span(NOON + 20_000, NOON + 20_060)
    with path.open("rb") as file:
        ranges = seek.stretches(file.fileno(), path.stat().st_size, span)
    assert sum(end - start for start, end in ranges) < path.stat().st_size / 20
    assert found(tmp_path, RecordQuery("agent", span)) == lines[20_000:20_060]


def test_the_worktrees_of_a_project_are_part_of_it_where_that_is_asked_for(tmp_path: Path) -> None:
    places = [("/shop", "/shop"), ("/wt-shop", "/shop"), ("/api", "/api")]
    lines = [line(NOON + n, workspace=w, project=p) for n, (w, p) in enumerate(places)]
    (tmp_path / f"agent_{utc_date(NOON)}.jsonl").write_bytes(b"".join(one + b"\n" for one in lines))
    assert found(tmp_path, RecordQuery("agent", workspace="/shop")) == lines[:1]
    assert found(tmp_path, RecordQuery("agent", workspace="/shop", worktrees=True)) == lines[:2]
    assert found(tmp_path, RecordQuery("agent", workspace="/wt-shop", worktrees=True)) == lines[1:2]


def test_damaged_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    good = [line(NOON + n) for n in range(4)]
    bad = [
        b'{"timestamp":"2026-11-22T12:00:01',
        b"\0\0\0",
        good[1][:-9],
        b"[" * 5000,
        b'"x"',
        b"{}",
        b"\xff\xfe",
    ]
    content = b"\n".join([good[0], *bad, good[1], b"", good[2]]) + b"\n" + good[3][:30]
    (tmp_path / "agent_2026-11-22.jsonl").write_bytes(content)
    (tmp_path / "agent_2026-11-21.jsonl.gz").write_bytes(
        gzip.compress(good[3] + b"\n" + good[2] + b"\n")[:-12]
    )
    scan = Scan(str(tmp_path), RecordQuery("agent"))
    lines = [one for batch in scan.batches() for one, _ in batch]
    assert lines[-3:] == good[:3]
    # and the plain file's tail, the stream that ends early, the line torn by that
    assert scan.damaged == len(bad) + 3


def spelled(own: bytes, how: str) -> bytes:
    """A line of ours as another program might write it anew."""
    record = json.loads(own)
    moment = record["timestamp"]
    if how == "own":
        return own
    if how == "reordered":
        record = {name: record[name] for name in reversed(record)}
    elif how == "zone":
        record["timestamp"] = moment.replace("Z", "+00:00")
    elif how == "number":
        record["timestamp"] = parse_timestamp(moment)
    separators = (",", ":") if how == "ascii" else None
    return json.dumps(record, ensure_ascii=how != "raw", separators=separators).encode()


SPELLINGS = ("own", "spaces", "raw", "ascii", "reordered", "zone", "number")


@given(
    written=st.lists(st.tuples(st.integers(0, 900), st.sampled_from(AGENTS)), max_size=30),
    how=st.sampled_from(SPELLINGS),
    since=st.none() | st.integers(0, 900),
    agent=st.none() | st.sampled_from(AGENTS),
)
@settings(max_examples=200, deadline=None)
def test_a_file_written_anew_by_another_program_is_read_like_ours(
    written: list[tuple[int, str]], how: str, since: int | None, agent: str | None
) -> None:
    ours = [line(NOON + moment, name, n=n) for n, (moment, name) in enumerate(written)]
    question = RecordQuery("agent", Span(None if since is None else NOON + since), agent)
    wanted = [
        n for n, (moment, name) in enumerate(written) if moment >= (since or 0) and agent in (None, name)
    ]
    with tempfile.TemporaryDirectory() as folder:
        content = b"".join(spelled(one, how) + b"\n" for one in ours)
        (Path(folder) / "agent_2026-11-22.jsonl").write_bytes(content)
        scan = Scan(folder, question)
        got = [record for batch in scan.batches() for _, record in batch]
    assert [record["n"] for record in got] == wanted
    assert [record["timestamp"] for record in got] == [format_utc(NOON + written[n][0]) for n in wanted]
    assert scan.damaged == 0


@given(
    written=st.lists(st.tuples(st.sampled_from(("a", "ab", "-a")), st.sampled_from(SPELLINGS)), max_size=30),
    agent=st.none() | st.sampled_from(("a", "ab", "-a")),
    compressed=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_lines_edited_by_hand_lie_amid_ours(
    written: list[tuple[str, str]], agent: str | None, compressed: bool
) -> None:
    lines = [spelled(line(NOON + n, name, n=n), how) for n, (name, how) in enumerate(written)]
    content = b"".join(one + b"\n" for one in lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("agent_2026-11-22.jsonl" + (".gz" if compressed else ""))
        path.write_bytes(gzip.compress(content) if compressed else content)
        scan = Scan(folder, RecordQuery("agent", agent_id=agent))
        got = [record["n"] for batch in scan.batches() for _, record in batch]
    assert got == [n for n, (name, _) in enumerate(written) if agent in (None, name)]
    assert scan.damaged == 0


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("how", SPELLINGS)
def test_every_id_is_found_in_every_spelling(tmp_path: Path, how: str, agent: str) -> None:
    one = spelled(line(NOON, agent), how)
    (tmp_path / "agent_2026-11-22.jsonl").write_bytes(one + b"\n")
    assert found(tmp_path, RecordQuery("agent", agent_id=agent)) == [one]


def test_a_short_time_of_a_large_file_written_anew(tmp_path: Path) -> None:
    lines = [spelled(line(NOON + n, n=n, pad="x" * 400), "spaces") for n in range(5000)]
    (tmp_path / "agent_2026-11-22.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert found(tmp_path, RecordQuery("agent", Span(NOON + 4000, NOON + 4003))) == lines[4000:4003]


def test_a_line_longer_than_a_block_costs_that_line_alone(tmp_path: Path) -> None:
    lines = [
        line(NOON),
        line(NOON + 1, pad="x" * 3_000_000),
        line(NOON + 2),
        line(NOON + 3, pad="y" * 900_000),
    ]
    data = b"\n".join(lines) + b"\n"
    (tmp_path / "agent_2026-11-22.jsonl").write_bytes(data)
    (tmp_path / "agent_2026-11-23.jsonl.gz").write_bytes(gzip.compress(data))
    scan = Scan(str(tmp_path), RecordQuery("agent"))
    assert [one for batch in scan.batches() for one, _ in batch] == [lines[0], *lines[2:]] * 2
    assert scan.damaged == 2


def test_a_last_line_without_its_newline_is_read(tmp_path: Path) -> None:
    (tmp_path / "agent_2026-11-22.jsonl").write_bytes(line(NOON) + b"\n" + line(NOON + 1))
    (tmp_path / "agent_2026-11-23.jsonl.gz").write_bytes(gzip.compress(line(NOON + 2)))
    assert found(tmp_path, RecordQuery("agent")) == [line(NOON), line(NOON + 1), line(NOON + 2)]


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent_2026-11-20.jsonl")
    (tmp_path / "secret").write_bytes(line(NOON) + b"\n")
    (tmp_path / "agent_2026-11-21.jsonl").symlink_to("secret")
    (tmp_path / "agent_2026-11-22.jsonl").mkdir()
    (tmp_path / "agent_2026-11-23.jsonl").write_bytes(line(NOON + 86400) + b"\n")
    assert found(tmp_path, RecordQuery("agent")) == [line(NOON + 86400)]
    assert found(tmp_path / "none", RecordQuery("agent")) == []


def test_a_part_compressed_after_the_listing_is_still_found(tmp_path: Path) -> None:
    path = tmp_path / "agent_2026-11-22.jsonl"
    path.write_bytes(line(NOON) + b"\n")
    (chosen,) = choose(str(tmp_path), "agent", Span())
    (tmp_path / "agent_2026-11-22.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    opened = open_part(str(tmp_path), "agent", chosen.part)
    assert opened is not None
    os.close(opened[0])
    assert opened[1].compressed


def test_days_that_cannot_hold_the_span_are_not_even_opened(tmp_path: Path) -> None:
    for day in range(10, 30):
        (tmp_path / f"agent_2026-11-{day}.jsonl").write_bytes(line(NOON + (day - 22) * 86400) + b"\n")
    chosen = choose(str(tmp_path), "agent", Span(NOON, NOON + 3600))
    assert [one.part.date for one in chosen if not one.late] == ["2026-11-22"]
    assert [one.part.date for one in chosen if one.late] == [f"2026-11-{day}" for day in range(23, 30)]


def test_events_of_an_agent_are_those_about_it(tmp_path: Path) -> None:
    lines = []
    for n, (subject, workspace) in enumerate([("a", "/w"), ("b", "/w"), ("a", "/x")]):
        event = {
            "timestamp": format_utc(NOON + n),
            "host": "h",
            "kind": "agent.inactive",
            "subject": subject,
            "message": 'about "subject":"a"',
            "detail": {"workspace": workspace},
        }
        lines.append(json.dumps(event, separators=(",", ":")).encode())
    (tmp_path / "event_2026-11-22.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert found(tmp_path, RecordQuery("event", agent_id="a")) == [lines[0], lines[2]]
    assert found(tmp_path, RecordQuery("event", agent_id="a", workspace="/w")) == [lines[0]]


def test_questions_that_mean_nothing() -> None:
    with pytest.raises(ValueError, match="type"):
        RecordQuery("performance")
    with pytest.raises(ValueError, match="no agent"):
        RecordQuery("system", agent_id="a")


def test_a_needle_is_only_made_where_json_has_one_way_to_write_it() -> None:
    import msgspec

    for value in ("plain", "a b", "\x7f", "/slash", "<&>"):
        made = needle(value)
        assert made is not None
        assert made in msgspec.json.encode({"agent_id": value})
    for value in ('"', "\\", "\n", "\x00", "\x1f", "ümläut", "日本", "\u2028", "\ud800"):
        assert needle(value) is None
