"""Test that names and lists are parsed, and that bad parts leave the others valid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Rival
from coordd.sources.file.claims import claimed_task_of, merge_claims, progress_task_of, task_names_of
from coordd.sources.file.parse import TaskIds, agent_id_of, parse_active_list, parse_ids, parse_tasks
from coordd.util.fields import Malformed, jsonable

LITTER = (".a", "#a", ".#a", "#a#", "a~", "a#", "a.tmp", "a.bak", "a.swp", "a.orig", "a.rej", "tmp.a")
"""Names that editors and writers leave behind."""


def test_tasks_are_counted_once_each_in_their_order_without_blank_lines() -> None:
    assert parse_tasks(b"t2\n\n  t1  \r\nt2\n\t\n").value == TaskIds(("t2", "t1"))
    assert parse_tasks(b"") == (TaskIds(), None)


def test_of_a_long_list_the_first_tasks_are_named_and_the_rest_is_counted() -> None:
    content = b"\xef\xbb\xbfa\nb\n\nc\r\n  a\nd\nb\n" + b"y" * 257 + b"\n" + "é".encode() * 200 + b"\n"
    assert parse_tasks(content, 2) == (
        TaskIds(("a", "b"), 3),
        "holds an id longer than 256 characters, which was skipped",
    )
    full = b"".join(b"%d\n" % number for number in range(150_000))
    ids = parse_tasks(full).value
    assert (len(ids.named), ids.unnamed) == (10_000, 140_000)


def test_an_overlong_id_is_skipped_and_reported_and_its_neighbours_stay() -> None:
    ids, problem = parse_tasks(b"a\n" + b"x" * 256 + b"\n" + b"y" * 257 + b"\nb")
    assert ids == TaskIds(("a", "x" * 256, "b"))
    assert problem is not None
    assert "256" in problem


def test_the_active_list_is_a_set_of_ids() -> None:
    assert parse_active_list(b"a\nb\na\n") == (frozenset({"a", "b"}), None)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.heartbeat", "a"),
        ("a.b.heartbeat", "a.b"),
        ("a.heartbeat.tmp", None),
        (".a.heartbeat", None),
        (".heartbeat", None),
        ("a.tasks", None),
        ("a\nb\x1b[31m.heartbeat", "a\nb\x1b[31m"),
        ("\udcff\udc80é.heartbeat", "\\xff\\x80é"),
    ],
)
def test_the_agent_of_a_file_name(filename: str, expected: str | None) -> None:
    assert agent_id_of(filename, ".heartbeat") == expected


def test_a_file_name_whose_escapes_grow_too_long_is_malformed() -> None:
    with pytest.raises(Malformed):
        agent_id_of("\udcff" * 65 + ".heartbeat", ".heartbeat")


def test_names_of_work() -> None:
    assert claimed_task_of("t.claim") == claimed_task_of("t.json") == "t"
    assert claimed_task_of("t.txt") is None
    assert progress_task_of("t.progress") == "t"
    assert task_names_of("fix.md") == ("fix", "fix.md")
    assert task_names_of("v1.2") == ("v1.2", "v1.2")
    assert task_names_of("fix") == ("fix", "fix")
    assert task_names_of("fix.swp") is None
    assert task_names_of(".gitkeep") is None
    for name in (*LITTER, "README", "README.md", "Thumbs.db", "desktop.ini", "  "):
        assert task_names_of(name) is None, name
    assert task_names_of(" fix .md") == ("fix", "fix .md")


@pytest.mark.parametrize("name", LITTER)
def test_litter_is_no_trace_of_an_agent_or_a_task(name: str) -> None:
    for suffix in (".heartbeat", ".claim"):
        whole = f"a{suffix}{name[1:]}" if name[0] == "a" else f"{name}{suffix}"
        assert agent_id_of(whole, suffix) is None
        assert claimed_task_of(whole) is None
        assert task_names_of(whole) is None


def test_white_space_around_an_id_is_no_part_of_it() -> None:
    assert agent_id_of(" a b .heartbeat", ".heartbeat") == "a b"
    assert agent_id_of("  .heartbeat", ".heartbeat") is None
    assert parse_ids(b" a \n\t7\r\n").value == ("a", "7")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_mark_tells_how_a_list_is_encoded(encoding: str) -> None:
    assert parse_tasks("é1\r\nt2\r\n".encode(encoding)) == (TaskIds(("é1", "t2")), None)
    assert parse_active_list("é1\nt2\n".encode(encoding)).value == {"é1", "t2"}


@pytest.mark.parametrize("content", ["t1\nt2\n".encode("utf-16-le"), b"\xff\xfea", b"t1\0\n"])
def test_a_list_that_is_no_text_names_nobody(content: bytes) -> None:
    with pytest.raises(Malformed, match="not UTF-8 text"):
        parse_tasks(content)
    with pytest.raises(Malformed, match="not UTF-8 text"):
        parse_active_list(content)


def test_a_line_that_is_not_utf_8_is_left_out_and_reported() -> None:
    assert parse_tasks(b"t1\ncaf\xe9\n") == (TaskIds(("t1",)), "not UTF-8 text")


def test_of_two_claims_on_a_task_the_later_counts() -> None:
    early, late = Claim("t", "a", 1.0), Claim("t", "b", 2.0)
    both = replace(late, rivals=(Rival("a", 1.0, None),))
    assert merge_claims([early, late]) == merge_claims([late, early]) == {"t": both}
    assert merge_claims([Claim("t", "a"), Claim("t", "b")])["t"].agent_id == "a"
    assert merge_claims([late, replace(early, status="done")]) == {"t": late}
    assert merge_claims([late, Claim("t", "b"), Claim("t")]) == {"t": late}


@given(st.binary())
def test_any_file_name_becomes_text_that_json_can_carry(name: bytes) -> None:
    text = jsonable(name.decode("utf-8", "surrogateescape"))
    assert text == name.decode("utf-8", "backslashreplace")
