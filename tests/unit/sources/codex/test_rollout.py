"""What the lines of a rollout say: each kind of line, and whatever a stranger writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.limits import ToldLimit
from coordd.agents.session import BackgroundWork, OpenCall, Refused, Turn
from coordd.sources.codex.rollout import MAX_CALLS, UNRECOGNISED, RolloutReducer
from coordd.util.timestamps import format_utc

NOW = 1_795_826_700.0


def line(kind: str, at: float, **payload: Any) -> bytes:
    return json.dumps({"timestamp": format_utc(at), "type": kind, "payload": payload}).encode()


def event(kind: str, at: float, **more: Any) -> bytes:
    return line("event_msg", at, type=kind, **more)


def item(kind: str, at: float, **more: Any) -> bytes:
    return line("response_item", at, type=kind, **more)


def begin(at: float) -> bytes:
    return event("task_started", at)


def end(at: float, **more: Any) -> bytes:
    return event("task_complete", at, **more)


def call(at: float, name: str = "c", tool: str = "exec_command") -> bytes:
    return item("function_call", at, call_id=name, name=tool, arguments="{}")


def result(at: float, name: str = "c", output: object = "x") -> bytes:
    return item("function_call_output", at, call_id=name, output=output)


def reduced(*lines: bytes, since: float = 0.0) -> RolloutReducer:
    reducer = RolloutReducer(since)
    reducer.feed(lines, NOW)
    return reducer


def turn(*lines: bytes, born: float | None = None) -> Turn:
    return reduced(*lines).turn(born)


def test_nothing_is_known_of_an_empty_one() -> None:
    assert turn() == Turn(tokens=RolloutReducer(0.0).turn().tokens)
    assert not reduced().began


@pytest.mark.parametrize("over", ["task_complete", "turn_complete", "turn_aborted"])
def test_a_turn_with_a_call(over: str) -> None:
    lines = [begin(NOW - 9), line("turn_context", NOW - 9, model="m-1", cwd="/p"), call(NOW - 8)]
    working = turn(*lines)
    assert (working.open, working.since, working.model) == (True, NOW - 9, "m-1")
    assert working.calls == (OpenCall("exec_command", NOW - 8),)
    assert turn(*lines, result(NOW - 2)).calls == ()
    done = turn(*lines, event(over, NOW - 1))
    assert (done.open, done.since, done.last, done.calls) == (False, NOW - 1, NOW - 1, ())


@pytest.mark.parametrize(
    ("kind", "named", "tool"),
    [
        ("custom_tool_call", {"call_id": "c", "name": "apply_patch"}, "apply_patch"),
        ("local_shell_call", {"call_id": "c", "action": {"command": ["zq"]}}, "shell"),
        ("local_shell_call", {"id": "c"}, "shell"),
        ("tool_search_call", {"call_id": "c"}, "tool_search"),
        ("function_call", {"call_id": "c", "name": "rm -rf /"}, "other"),
        ("function_call", {"call_id": "c", "name": 7}, "other"),
    ],
)
def test_calls_of_every_kind(kind: str, named: dict[str, Any], tool: str) -> None:
    lines = [begin(NOW - 9), item(kind, NOW - 8, **named)]
    assert [one.name for one in turn(*lines).calls] == [tool]
    output = kind.replace("local_shell_call", "function_call") + "_output"
    assert turn(*lines, item(output, NOW - 7, call_id="c", output="x")).calls == ()


def test_who_asks_a_human_is_told_apart() -> None:
    (asking,) = turn(begin(NOW - 9), call(NOW - 8, tool="request_user_input")).calls
    assert asking.asks


def test_a_call_after_an_end_is_of_another_turn() -> None:
    assert turn(end(NOW - 9), call(NOW - 8)).open is True
    assert turn(call(NOW - 8)).open is True


def test_a_command_that_runs_on_is_background_work_until_it_is_completed() -> None:
    says = "Chunk ID: 1\nProcess running with session ID 24443\n"
    lines = [begin(NOW - 9), call(NOW - 8), result(NOW - 7, output=says), end(NOW - 6)]
    assert turn(*lines).background == (BackgroundWork("shell", NOW - 8),)
    completed = event("item_completed", NOW - 1, item={"type": "CommandExecution", "id": "c"})
    assert turn(*lines, completed).background == ()
    assert turn(*lines, event("exec_command_end", NOW - 1, call_id="c")).background == ()
    other = event("item_completed", NOW - 1, item={"type": "CommandExecution", "id": "d"})
    assert len(turn(*lines, other).background) == 1


def test_what_is_older_than_its_process_is_over() -> None:
    lines = [begin(NOW - 900), call(NOW - 899)]
    resumed = turn(*lines, born=NOW - 60)
    assert (resumed.open, resumed.since, resumed.calls) == (False, NOW - 60, ())
    assert turn(*lines, begin(NOW - 50), born=NOW - 60).open is True


REFUSALS = [
    ("usage_limit_exceeded", "rate-limit"),
    ({"response_too_many_failed_attempts": {"http_status_code": 429}}, "rate-limit"),
    ({"http_connection_failed": {"http_status_code": 401}}, "authentication"),
    ({"http_connection_failed": {"http_status_code": 503}}, "overload"),
    ("server_overloaded", "overload"),
    ("unauthorized", "authentication"),
    ("usage_not_included", "billing"),
]


@pytest.mark.parametrize(("info", "why"), REFUSALS)
def test_a_refusal_lasts_until_the_next_answer(info: object, why: str) -> None:
    refused = [begin(NOW - 9), end(NOW - 8, error={"message": "zq", "codex_error_info": info})]
    found = turn(*refused)
    assert (found.open, found.refused) == (False, Refused(why, NOW - 8, NOW - 8))  # type: ignore[arg-type]
    again = end(NOW - 3, error={"message": "zq", "codex_error_info": info})
    assert turn(*refused, begin(NOW - 4), again).refused == Refused(why, NOW - 8, NOW - 3)  # type: ignore[arg-type]
    assert turn(*refused, event("error", NOW - 1, codex_error_info=info)).refused is not None
    for answer in (call(NOW - 1), item("reasoning", NOW - 1), used(NOW - 1, 10)):
        assert turn(*refused, begin(NOW - 2), answer).refused is None


@pytest.mark.parametrize("info", ["context_window_exceeded", {"other": 7}, {"a": {}, "b": {}}, None, 7, []])
def test_an_error_that_is_no_refusal(info: object) -> None:
    assert turn(begin(NOW - 9), end(NOW - 8, error={"codex_error_info": info})).refused is None


def used(at: float, total: int, limits: object = None, *, last: int | None = None) -> bytes:
    def usage(input_tokens: int) -> dict[str, int]:
        return {"input_tokens": input_tokens, "cached_input_tokens": input_tokens // 2, "output_tokens": 1}

    info = {"total_token_usage": usage(total), "last_token_usage": usage(total if last is None else last)}
    return event("token_count", at, info=info, rate_limits=limits)


def test_tokens_are_counted_from_a_moment_on_and_once() -> None:
    reducer = reduced(used(NOW - 90, 100), used(NOW - 50, 300), used(NOW - 50, 300), since=NOW - 60)
    counts = reducer.turn().tokens
    assert counts is not None
    assert (counts.input, counts.cache_read, counts.since) == (100, 100, NOW - 60)
    assert reducer.turn().context_tokens == 300
    reducer.restart()
    reducer.feed([used(NOW - 90, 100), used(NOW - 50, 300), used(NOW - 40, 500, last=200)], NOW)
    counts = reducer.turn().tokens
    assert counts is not None and (counts.input, counts.cache_read) == (200, 200)


def test_limits_are_the_newest_of_each_window() -> None:
    def told(percent: object, **more: Any) -> dict[str, Any]:
        hour = {"used_percent": percent, "window_minutes": 300, "resets_at": NOW + 600}
        return {"limit_id": "codex", "primary": hour, "secondary": None, **more}

    day = {"used_percent": 0.5, "window_minutes": 1440, "resets_in_seconds": 60}
    lines = [used(NOW - 9, 1, told(80)), used(NOW - 8, 2, told(83.5, secondary=day)), used(NOW - 7, 3)]
    assert reduced(*lines).limits == [
        ToldLimit(None, 18_000.0, 83.5, NOW + 600, NOW - 8),
        ToldLimit(None, 86_400.0, 0.5, NOW + 52, NOW - 8),
    ]
    (odd,) = reduced(used(NOW - 9, 1, told("much", limit_id="a b"))).limits
    assert (odd.name, odd.used_percent) == (None, None), "what is unknown is not 0"


def test_many_limits_are_not_all_kept() -> None:
    lines = [
        used(NOW - 900 + n, n, {"limit_id": f"l{n}", "primary": {"used_percent": n}}) for n in range(100)
    ]
    found = reduced(*lines).limits
    assert len(found) == 16 and {one.used_percent for one in found} == set(range(84, 100))


def test_calls_and_shells_are_bounded() -> None:
    calls = [call(NOW - 9, f"c{n}") for n in range(MAX_CALLS + 9)]
    assert [one.since for one in turn(begin(NOW - 9), *calls).calls] == [NOW - 9] * MAX_CALLS
    shells: list[bytes] = []
    for n in range(MAX_CALLS + 9):
        shells += [call(NOW - 9, f"s{n}"), result(NOW - 8, f"s{n}", "Process running with session ID 1")]
    assert len(turn(begin(NOW - 9), *shells).background) == MAX_CALLS


@pytest.mark.parametrize(
    "strange", [b"{", b"7", b'{"type": 7}', line("new kind", NOW), event("new event", NOW), item("new", NOW)]
)
def test_a_format_in_which_nothing_is_known(strange: bytes) -> None:
    known = [begin(NOW - 9), line("session_meta", NOW, id="x")]
    assert turn(*known, *[strange] * (UNRECOGNISED - 1)).recognised
    assert not turn(*known, *[strange] * UNRECOGNISED).recognised
    assert turn(*known, *[strange] * UNRECOGNISED, event("agent_message", NOW)).recognised


def test_enough_was_read_once_the_turn_and_the_model_are_known() -> None:
    context = line("turn_context", NOW - 9, model="m")
    assert not reduced(begin(NOW - 9)).began and not reduced(context).began
    assert reduced(begin(NOW - 9), context).began and reduced(context, end(NOW - 8)).began


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = ["event_msg", "response_item", "turn_context", "compacted", "session_meta", "x"]
PAYLOADS = [
    *("task_started", "task_complete", "turn_aborted", "error", "item_completed", "token_count"),
    *("function_call", "function_call_output", "local_shell_call", "message"),
]
FIELDS = [
    *("type", "id", "call_id", "name", "output", "item", "info", "rate_limits", "error", "cwd", "model"),
    *("codex_error_info", "timestamp", "source"),
]
STRANGE = st.builds(
    lambda kind, at, payload: json.dumps({"type": kind, "timestamp": at, "payload": payload}).encode(),
    st.sampled_from(KINDS) | JSON,
    st.sampled_from([format_utc(NOW - 5), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "x", None]) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(PAYLOADS), max_size=6) | JSON,
)


@given(st.lists(STRANGE | st.binary(max_size=60), max_size=20), st.none() | st.just(NOW - 60))
def test_whatever_is_written_is_taken(lines: list[bytes], born: float | None) -> None:
    reducer = reduced(*lines)
    found = reducer.turn(born)
    times: Iterable[float | None] = [found.since, found.last, *(one.since for one in found.calls)]
    assert all(at is None or 978_307_200.0 <= at <= NOW + 86_400 for at in times)
    assert all(one.used_percent is None or 0 <= one.used_percent <= 1000 for one in reducer.limits)
    counts = found.tokens
    assert counts is not None and min(counts.input, counts.output, counts.cache_read, counts.cache_write) >= 0


@given(st.lists(st.sampled_from("bceru"), max_size=30), st.integers(0, 30))
def test_lines_may_come_in_any_pieces(kinds: list[str], cut: int) -> None:
    make = {
        "b": begin,
        "c": call,
        "e": end,
        "r": result,
        "u": lambda at: used(at, int(at - NOW + 1000)),
    }
    lines = [make[kind](NOW - 100 + n) for n, kind in enumerate(kinds)]
    whole, pieces = reduced(*lines), reduced(*lines[:cut])
    pieces.feed(lines[cut:], NOW)
    assert whole.turn() == pieces.turn()
    again = reduced(*lines)
    again.restart()
    again.feed(lines, NOW)
    assert again.turn() == whole.turn() or "u" in kinds  # tokens that were counted are not counted twice
