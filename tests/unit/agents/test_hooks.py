"""Test what hooks say together: the table, what may come late, and what is quiet."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.hooks import EVENTS, LAST, LATE, Hooks

T = 1_000_000.0


def told(*order: str, step: float = 10.0, **times: float) -> Hooks:
    """Hooks that ran one after the other, ten seconds apart."""
    return Hooks("s", **{name: T + step * at for at, name in enumerate(order)} | times)


def test_each_event_has_a_field() -> None:
    assert {field.name for field in fields(Hooks)} - {"session_id"} == set(EVENTS.values())


@pytest.mark.parametrize(
    ("order", "word", "since", "quiet"),
    [
        (["start"], "over", "start", True),
        (["start", "call"], "call", "call", True),
        (["start", "call", "beat", "batch"], "works", None, False),
        (["start", "call", "beat"], "call", "call", True),  # of two calls one is over, and one lasts
        (["start", "beat", "batch"], "works", None, False),
        (["start", "call", "permission"], "asks", "permission", True),
        (["start", "call", "permission", "beat", "batch"], "works", None, False),
        (["start", "question"], "asks", "question", True),
        (["start", "question", "permission"], "asks", "permission", True),
        (["start", "beat", "batch", "stop"], "over", "stop", True),
        (["start", "call", "failure"], "over", "failure", True),
        (["start", "call", "beat", "batch", "stop", "end"], "ended", "end", False),
        (["start", "end"], "ended", "end", False),
        (["end", "start"], "over", "start", True),
        (["end", "beat"], "works", None, False),
        (["stop", "call"], "call", "call", True),
        (["stop", "beat"], "works", None, False),
        (["permission", "stop"], "over", "stop", True),
        (["beat"], "works", None, False),
        ([], "works", None, False),
    ],
)
def test_the_table(order: list[str], word: str, since: str | None, quiet: bool) -> None:
    hooks = told(*order)
    assert (hooks.word, hooks.quiet) == (word, quiet)
    assert hooks.since == (None if since is None else getattr(hooks, since))


@pytest.mark.parametrize("word", ["stop", "failure", "start", "permission", "question"])
@pytest.mark.parametrize("late", ["beat", "batch"])
def test_what_runs_beside_the_agent_may_come_late(word: str, late: str) -> None:
    before = told("call", word)
    at = getattr(before, word)
    soon = told("call", word, **{late: at + LATE})
    assert (soon.word, soon.quiet) == (before.word, True)
    later = told("call", word, **{late: at + LATE + 0.1})
    assert later.word in ("works", "call")


def test_what_comes_with_the_end_does_not_undo_it() -> None:
    assert told("end", stop=T + LAST, beat=T + LAST).word == "ended"
    assert told("end", failure=T + LAST + 0.1).word == "over"
    assert told("end", start=T + 0.1).word == "over"  # resumed at once


def test_a_call_whose_time_is_that_of_the_batch_before_is_open() -> None:
    assert told(call=T, batch=T).word == "call"


def test_heartbeats_alone_are_those_of_any_agent() -> None:
    assert not told("beat").told
    assert told("beat", "stop").told
    assert not told().told


@pytest.mark.parametrize(
    ("order", "phrase"),
    [
        (["question"], "question"),
        (["permission"], "permission prompt"),
        (["permission", "question"], "question"),
        (["question", "permission"], "permission prompt"),
        (["question", "stop"], None),
        (["call"], None),
    ],
)
def test_what_it_waits_for_is_a_known_phrase(order: list[str], phrase: str | None) -> None:
    assert told(*order).waiting_for == phrase


@given(st.dictionaries(st.sampled_from(sorted(EVENTS.values())), st.floats(0, 100)))
def test_any_times_have_a_word_and_what_is_quiet_is_no_end(times: dict[str, float]) -> None:
    hooks = Hooks("s", **times)
    if hooks.word != "works":
        assert hooks.quiet is (hooks.told and hooks.word in ("over", "asks", "call"))
    assert (hooks.ended is not None) is (hooks.word == "ended")
    assert (hooks.since is None) is (hooks.word == "works")
    assert hooks.last == max(times.values(), default=None)
    if hooks.since is not None and hooks.last is not None:
        assert hooks.since <= hooks.last


def test_a_beat_beside_a_question_is_no_answer_as_long_as_its_batch_is_open() -> None:
    asked = Hooks("s", call=80.0, batch=90.0, permission=100.0, beat=110.0)
    assert (asked.word, asked.quiet) == ("works", True)
    assert not replace(asked, batch=111.0).quiet
    assert replace(asked, call=111.0).word == "call"
    assert replace(asked, stop=111.0).word == "over"


@pytest.mark.parametrize("name", sorted(EVENTS.values()))
def test_a_time_ahead_of_the_clock_is_none(name: str) -> None:
    told = Hooks("s", beat=100.0, stop=90.0)
    assert replace(told, **{name: 3600.0}).until(105.0) == replace(told, **{name: None})
    assert told.until(105.0) is told
