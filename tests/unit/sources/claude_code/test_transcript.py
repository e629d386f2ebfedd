"""What a transcript's lines say of its session: turns, calls, background work, refusals, tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.session import OpenCall, Refused, TokenCounts, Turn
from coordd.sources.claude_code.transcript import MAX_CALLS, UNRECOGNISED, TranscriptReducer

T0 = 1_795_800_000.0
WALL = T0 + 1000


def stamp(second: float) -> str:
    return datetime.fromtimestamp(T0 + second, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(kind: str, second: float | None = 0.0, **more: Any) -> bytes:
    one = {"type": kind, "sessionId": "s", "isSidechain": False, **more}
    if second is not None:
        one["timestamp"] = stamp(second)
    return json.dumps(one).encode()


def prompt(text: Any = "do it", second: float = 0.0, **more: Any) -> bytes:
    return line("user", second, message={"role": "user", "content": text}, **more)


def answer(second: float, *blocks: Any, stop: str | None = "tool_use", **more: Any) -> bytes:
    message = {
        "id": more.pop("id", f"msg_{second}"),
        "model": more.pop("model", "claude-opus-4-8"),
        "stop_reason": stop,
        "content": list(blocks),
        "usage": more.pop("usage", usage()),
    }
    return line("assistant", second, message=message, **more)


def usage(into: int = 120, out: int = 30, read: int = 5000, write: int = 1000) -> dict[str, int]:
    return {
        "input_tokens": into,
        "output_tokens": out,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
    }


TEXT = {"type": "text", "text": "ok"}


def call(name: str, tool: str = "Bash", second: float = 1.0, **more: Any) -> bytes:
    block = {"type": "tool_use", "id": name, "name": tool, "input": {"command": "secret"}}
    return answer(second, block, **more)


def result(name: str, second: float = 2.0, told: Any = None, **more: Any) -> bytes:
    block = {"type": "tool_result", "tool_use_id": name, "content": "secret"}
    return line("user", second, message={"content": [block]}, toolUseResult=told or {}, **more)


def done(second: float = 9.0) -> bytes:
    return answer(second, TEXT, stop="end_turn")


def notification(task: str, second: float = 20.0, status: str = "completed") -> bytes:
    text = f"<task-notification>\n<task-id>{task}</task-id>\n<status>{status}</status>\n</task-notification>"
    return prompt(text, second, origin={"kind": "task-notification"})


def after(*lines: bytes, since: float = T0, born: float | None = None) -> Turn:
    reducer = TranscriptReducer(since)
    reducer.feed(lines, WALL)
    return reducer.turn(born)


def test_nothing_is_known_of_an_empty_transcript() -> None:
    assert after() == Turn(tokens=TokenCounts(since=T0))


def test_a_prompt_opens_a_turn_and_the_last_answer_ends_it() -> None:
    assert (after(prompt(second=3)).open, after(prompt(second=3)).since) == (True, T0 + 3)
    over = after(prompt(second=3), done(7))
    assert (over.open, over.since, over.last) == (False, T0 + 7, T0 + 7)


@pytest.mark.parametrize("stop", ["tool_use", None, "max_tokens", "pause_turn"])
def test_an_answer_that_goes_on_keeps_the_turn_open(stop: str | None) -> None:
    assert after(prompt(), answer(1, TEXT, stop=stop)).open is True


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence", "refusal"])
def test_an_answer_that_stops_ends_the_turn(stop: str) -> None:
    assert after(prompt(), answer(1, TEXT, stop=stop)).open is False


def test_the_duration_of_a_turn_ends_it() -> None:
    turn = after(prompt(), call("t"), line("system", 5, subtype="turn_duration", durationMs=5000))
    assert (turn.open, turn.calls, turn.since) == (False, (), T0 + 5)


def test_an_answer_after_the_end_opens_the_turn_again() -> None:
    """A hook may send the model back to work."""
    turn = after(prompt(), done(3), prompt("hook said no", 4, isMeta=True), answer(5, TEXT))
    assert (turn.open, turn.since) == (True, T0 + 5)


def test_a_call_is_open_from_its_line_to_its_result() -> None:
    begun = after(prompt(), call("t1", second=1), call("t2", "Read", second=2))
    assert begun.calls == (OpenCall("Bash", T0 + 1), OpenCall("Read", T0 + 2))
    assert after(prompt(), call("t1"), call("t2", "Read"), result("t1")).calls == (OpenCall("Read", T0 + 1),)
    assert after(prompt(), call("t1"), result("t1")).open is True


@pytest.mark.parametrize("tool", ["AskUserQuestion", "ExitPlanMode"])
def test_a_call_that_asks_a_human_is_one(tool: str) -> None:
    (asked,) = after(prompt(), call("t", tool)).calls
    assert asked.asks
    (other,) = after(prompt(), call("t", "Bash")).calls
    assert not other.asks


def test_a_permission_that_is_refused_ends_the_turn() -> None:
    """As the real program writes it: a result, and a line of its own."""
    turn = after(
        prompt(),
        call("t"),
        result("t", 5, "User rejected tool use"),
        prompt([{"type": "text", "text": "[Request interrupted by user for tool use]"}], 5.1),
    )
    assert (turn.open, turn.calls) == (False, ())


def test_a_prompt_that_was_taken_back_leaves_nothing_behind() -> None:
    """Esc before the first answer writes nothing: the next prompt begins a turn of its own."""
    assert after(prompt(second=1), prompt(second=50)).since == T0 + 50


def test_a_prompt_that_is_written_after_its_answer_changes_nothing() -> None:
    """The first prompt of a session, on a loaded machine."""
    late = after(call("t1", second=1.2), prompt(second=1.0))
    assert late.open and late.since == T0 + 1.0 and late.calls == (OpenCall("Bash", T0 + 1.2),)
    over = after(answer(1.2, TEXT, stop="end_turn"), done(1.3), prompt(second=1.0))
    assert over.open is False and over.calls == ()


def test_a_prompt_of_a_clock_that_was_set_back_is_one() -> None:
    assert after(answer(3600.0, TEXT, stop="end_turn"), prompt(second=1.0)).open is True


def test_a_prompt_gives_up_what_was_open_and_a_notification_does_not() -> None:
    """A killed process leaves a call open in the transcript that the next one goes on with."""
    turn = after(prompt(), call("t"), prompt(second=50))
    assert (turn.open, turn.since, turn.calls) == (True, T0 + 50, ())
    turn = after(prompt(second=1), call("t"), notification("b"))
    assert (turn.open, turn.since, len(turn.calls)) == (True, T0 + 1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"isMeta": True},
        {"isCompactSummary": True},
        {"isSidechain": True},
        {"message": {"content": "<command-name>/clear</command-name>"}},
        {"message": {"content": "<local-command-stdout></local-command-stdout>"}},
        {"message": {"content": "<bash-input>ls</bash-input>"}},
        {"message": {"content": []}},
        {"message": None},
    ],
)
def test_what_only_looks_like_a_prompt_is_no_turn(fields: dict[str, Any]) -> None:
    fields = {"message": {"content": "text"}, **fields}
    assert after(line("user", 1, **fields)).open is None
    assert after(prompt(), done(), line("user", 10, **fields)).open is False


def test_a_prompt_may_be_an_image() -> None:
    assert after(prompt([{"type": "image", "source": {"data": "x"}}])).open is True


def test_the_end_of_a_transcript_that_begins_in_a_turn_tells_that_one_is_open() -> None:
    assert (after(result("t", 4)).open, after(result("t", 4)).since) == (True, None)
    assert after(call("t")).open is True


def test_a_shell_in_the_background_works_until_it_is_notified() -> None:
    opened = (prompt(), call("t"), result("t", 4, {"backgroundTaskId": "b1"}), done(5))
    (work,) = after(*opened).background
    assert (work.kind, work.since) == ("shell", T0 + 4)
    assert after(*opened).open is False
    told = after(*opened, notification("b1"))
    assert (told.background, told.open) == ((), True)
    queued = json.dumps({"type": "queue-operation", "operation": "enqueue", "content": "CONTENT"}).replace(
        "CONTENT", "<task-notification><task-id>b1</task-id>"
    )
    assert after(*opened, queued.encode()).background == ()
    assert after(*opened, notification("b1", status="running")).background == (work,)
    assert after(*opened, notification("other")).background == (work,)


@pytest.mark.parametrize(("tool", "key"), [("TaskStop", "task_id"), ("KillShell", "shell_id")])
def test_a_shell_that_is_stopped_by_a_call_has_ended(tool: str, key: str) -> None:
    opened = (prompt(), call("t"), result("t", 4, {"backgroundTaskId": "b1"}), call("k", tool))
    assert after(*opened, result("k", 6, {key: "b1"})).background == ()
    assert len(after(*opened, result("k", 6, {key: "b2"})).background) == 1


def test_a_subagent_in_the_background_works_until_it_is_notified() -> None:
    launched = {"isAsync": True, "status": "async_launched", "agentId": "a1"}
    opened = (prompt(), call("t", "Agent"), result("t", 4, launched), done(5))
    (work,) = after(*opened).background
    assert (work.kind, work.since, work.seen) == ("subagent", T0 + 4, T0 + 4)
    assert after(*opened, notification("a1")).background == ()
    assert after(*opened, line("system", 6, subtype="agents_killed")).background == ()


@pytest.mark.parametrize("tool", ["Agent", "Task"])
def test_a_subagent_that_is_waited_for_works_as_long_as_its_call(tool: str) -> None:
    opened = (prompt(), call("t", tool, 3))
    (work,) = after(*opened).background
    assert (work.kind, work.since, work.seen) == ("subagent", T0 + 3, T0 + 3)
    side = line("assistant", 8, isSidechain=True, message={"content": [TEXT], "stop_reason": "end_turn"})
    (work,) = after(*opened, side).background
    assert (work.seen, after(*opened, side).open) == (T0 + 8, True)
    assert after(*opened, result("t", 9, {"status": "completed", "agentId": "a1"})).background == ()


def test_progress_of_subagents_is_noted_by_their_ids() -> None:
    reducer = TranscriptReducer(T0)
    launched = {"isAsync": True, "agentId": "a1"}
    reducer.feed([prompt(), call("t", "Agent"), result("t", 4, launched), call("u", "Agent", 5)], WALL)
    assert (reducer.subagents, reducer.subagent_calls) == ({"a1"}, {"u"})
    reducer.subagent_seen("a1", T0 + 10)
    reducer.subagent_seen("a1", T0 + 9)
    reducer.subagent_seen("u", T0 + 11)
    reducer.subagent_seen("nobody", T0 + 12)
    assert [one.seen for one in reducer.turn().background] == [T0 + 10, T0 + 11]


def refused(second: float, **more: Any) -> bytes:
    content = [{"type": "text", "text": more.pop("text", "API Error")}]
    return line(
        "assistant",
        second,
        message={
            "model": "<synthetic>",
            "stop_reason": "stop_sequence",
            "content": content,
            "usage": usage(),
        },
        **more,
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"error": "rate_limit", "apiErrorStatus": 429}, "rate-limit"),
        ({"error": "server_error", "apiErrorStatus": 529}, "overload"),
        ({"error": "server_error", "apiErrorStatus": 503}, "overload"),
        ({"error": "overloaded"}, "overload"),
        ({"error": "server_error", "apiErrorStatus": 500}, "other"),
        ({"error": "authentication_failed", "apiErrorStatus": 401}, "authentication"),
        ({"error": "authentication_failed", "apiErrorStatus": 403}, "authentication"),
        ({"error": "billing_error", "apiErrorStatus": 400}, "billing"),
        ({"text": "API Error: Request rejected (429) - nope"}, "rate-limit"),
        ({"text": "API Error: 529 {}"}, "overload"),
        ({"text": "Credit balance is too low"}, "billing"),
        ({"text": "Please run /login"}, "authentication"),
        ({"text": "Claude AI usage limit reached|1795813332"}, "rate-limit"),
        ({"error": {"odd": 1}, "apiErrorStatus": "429"}, "other"),
    ],
)
def test_an_error_in_place_of_an_answer_is_a_refusal_and_ends_the_turn(
    fields: dict[str, Any], why: str
) -> None:
    turn = after(prompt(), refused(5, isApiErrorMessage=True, **fields))
    assert turn.refused == Refused(why, T0 + 5, T0 + 5)  # type: ignore[arg-type]
    assert turn.open is False
    assert (turn.model, turn.context_tokens, turn.tokens) == (None, None, TokenCounts(since=T0))


def test_an_answer_that_was_too_long_is_no_refusal() -> None:
    assert after(refused(5, isApiErrorMessage=True, error="max_output_tokens")).refused is None


def test_synthetic_lines_are_no_answers() -> None:
    turn = after(prompt(), call("t"), refused(5, text="No response requested."))
    assert (turn.open, len(turn.calls), turn.refused, turn.model) == (True, 1, None, "claude-opus-4-8")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ({"status": 429}, "rate-limit"),
        ({"status": 529}, "overload"),
        ({"status": 401}, "authentication"),
        ({"status": 400, "error": {"type": "error", "error": {"type": "overloaded_error"}}}, "overload"),
        ({"cause": {"code": "ECONNRESET"}}, "other"),
        ("odd", "other"),
    ],
)
def test_a_request_that_is_tried_again_is_refused_in_an_open_turn(error: Any, why: str) -> None:
    lines = [line("system", 5 + n, subtype="api_error", error=error, retryAttempt=n) for n in (1, 2)]
    turn = after(prompt(), *lines)
    assert turn.refused == Refused(why, T0 + 6, T0 + 7)  # type: ignore[arg-type]
    assert turn.open is True


def test_a_refusal_lasts_until_the_provider_answers_again() -> None:
    lines = (prompt(), refused(5, isApiErrorMessage=True, error="rate_limit"), prompt(second=100))
    assert after(*lines).refused is not None
    again = after(*lines, refused(105, isApiErrorMessage=True, error="overloaded"))
    assert again.refused == Refused("overload", T0 + 5, T0 + 105)
    assert after(*lines, done(110)).refused is None


def test_model_and_context_are_those_of_the_last_answer() -> None:
    turn = after(
        prompt(),
        done(1),
        answer(2, TEXT, model="m2", usage=usage(into=1, read=2, write=4)),
        answer(3, TEXT, model="m3", isSidechain=True),
    )
    assert (turn.model, turn.context_tokens) == ("m2", 7)
    assert after(done(1), line("system", 2, subtype="compact_boundary")).context_tokens is None


def test_tokens_of_a_message_count_once_however_many_lines_it_spans() -> None:
    lines = [
        answer(1, TEXT, id="m1"),
        answer(2, TEXT, id="m1", usage=usage(out=50)),
        answer(3, TEXT, id="m2"),
    ]
    assert after(*lines).tokens == TokenCounts(240, 80, 10_000, 2000, T0)


def test_tokens_count_from_the_moment_at_which_the_transcript_was_first_read() -> None:
    lines = [answer(1, TEXT, id="m1"), answer(20, TEXT, id="m2")]
    assert after(*lines, since=T0 + 10).tokens == TokenCounts(120, 30, 5000, 1000, T0 + 10)


def test_tokens_are_not_counted_twice_when_the_transcript_is_read_again() -> None:
    reducer = TranscriptReducer(T0)
    lines = [answer(second, TEXT, id=f"m{second}") for second in range(1, 200)]
    reducer.feed(lines, WALL)
    before = reducer.turn().tokens
    reducer.restart()
    reducer.feed([prompt(), *lines, answer(300, TEXT, id="new", usage=usage(1, 1, 1, 1))], WALL)
    after_it = reducer.turn().tokens
    assert before is not None
    assert after_it == TokenCounts(
        before.input + 1, before.output + 1, before.cache_read + 1, before.cache_write + 1, T0
    )
    assert reducer.turn().open is True


def test_what_is_older_than_the_process_is_of_one_before_it() -> None:
    """A killed process leaves a call open in the transcript that its session is resumed with."""
    old = (
        prompt(second=1),
        call("t0"),
        result("t0", 2, {"backgroundTaskId": "b"}),
        refused(3, isApiErrorMessage=True),
        prompt(second=4),
        call("t1", second=5),
    )
    turn = after(*old, born=T0 + 10)
    assert (turn.open, turn.since, turn.calls, turn.background, turn.refused) == (None, None, (), (), None)
    turn = after(*old, prompt(second=12), born=T0 + 10)
    assert (turn.open, turn.since) == (True, T0 + 12)
    turn = after(prompt(second=1), done(2), born=T0 + 10)
    assert (turn.open, turn.since) == (False, T0 + 2)


def test_lines_of_other_kinds_are_passed_over() -> None:
    others = [line("mode", None), line("last-prompt", None), line("attachment", 7), line("ai-title", None)]
    turn = after(prompt(), call("t"), *others * 10)
    assert (turn.open, len(turn.calls), turn.last, turn.recognised) == (True, 1, T0 + 7, True)


def test_a_format_in_which_nothing_is_known_is_not_recognised() -> None:
    strange = [line("event.turn", 5)] * UNRECOGNISED
    assert after(*strange[1:]).recognised
    assert not after(*strange).recognised
    assert not after(*[b"{not json"] * UNRECOGNISED).recognised
    assert after(*strange, line("mode", None)).recognised
    assert after(*strange).last == T0 + 5


def test_half_a_character_is_no_reason_to_miss_a_line() -> None:
    """JavaScript writes what it has cut in two as the escape of a lone surrogate."""
    broken = result("t", 4).replace(b'"secret"', rb'"\ud83d"')
    assert after(prompt(), call("t"), broken).calls == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": []},
        {"message": "text"},
        {"message": {"content": {"a": 1}}},
        {"message": {"content": [1, "a", None]}},
        {"message": {"content": [{"type": "tool_use", "id": 5, "name": ["Bash"]}]}},
        {"message": {"content": [{"type": "tool_use", "id": "x" * 300, "name": "Bash"}]}},
        {"message": {"usage": 5}},
        {"message": {"id": 5, "usage": {"input_tokens": "many", "output_tokens": -5}}},
        {"message": {"stop_reason": {"end_turn": 1}, "model": 7}},
        {"timestamp": 5},
        {"timestamp": "yesterday"},
        {"toolUseResult": "text", "origin": [], "error": 5},
        {"content": {"a": 1}, "operation": []},
        {"subtype": ["turn_duration"]},
    ],
)
@pytest.mark.parametrize("kind", ["user", "assistant", "system", "queue-operation"])
def test_fields_of_any_other_type_count_as_absent(kind: str, wrong: dict[str, Any]) -> None:
    turn = after(prompt(), line(kind, 5, **wrong))
    assert (turn.open, turn.calls, turn.refused) == (True, (), None)


def test_a_time_that_cannot_be_is_none() -> None:
    turn = after(prompt(second=1), prompt(second=100_000 + 86_400))
    assert turn.last == T0 + 1
    assert after(line("attachment", None, timestamp="1970-01-01T00:00:01Z")).last is None
    assert after(line("attachment", None, timestamp="2026-11-27T22:00:00+01:00")).last is not None


def test_what_is_kept_is_bounded() -> None:
    calls = [call(f"t{n}") for n in range(2 * MAX_CALLS)]
    assert len(after(prompt(), *calls).calls) == MAX_CALLS
    shells = [result(f"t{n}", 4, {"backgroundTaskId": f"b{n}"}) for n in range(1000)]
    assert len(after(prompt(), *shells).background) == 256


def test_no_word_of_prompts_answers_or_commands_is_kept() -> None:
    turn = after(
        prompt("secret"),
        call("t"),
        result("t", 3, {"stdout": "secret", "backgroundTaskId": "b"}),
        refused(4, isApiErrorMessage=True, text="secret 429"),
    )
    assert "secret" not in repr(turn)


LINES = st.sampled_from(
    [
        prompt(),
        prompt(second=30),
        call("t"),
        call("u", "Agent"),
        result("t"),
        result("u", 5, {"isAsync": True, "agentId": "a"}),
        result("t", 5, {"backgroundTaskId": "b"}),
        done(),
        notification("a"),
        notification("b"),
        refused(7, isApiErrorMessage=True, error="rate_limit"),
        line("system", 8, subtype="turn_duration"),
        line("system", 8, subtype="api_error", error={"status": 529}),
        line("mode", None),
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "id", "type", "usage", "error", "status"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["type", "timestamp", "message", "toolUseResult", "origin", "subtype", "error", "isMeta", "content"]
)
GARBAGE = st.dictionaries(KEYS, VALUES).map(lambda one: json.dumps(one).encode()) | st.binary(max_size=40)


@given(st.lists(LINES, max_size=40), st.data())
def test_it_does_not_matter_where_a_transcript_is_split(lines: list[bytes], data: st.DataObject) -> None:
    whole, parts = TranscriptReducer(T0), TranscriptReducer(T0)
    whole.feed(lines, WALL)
    cut = data.draw(st.integers(0, len(lines)))
    parts.feed(lines[:cut], WALL)
    parts.turn()
    parts.feed(lines[cut:], WALL)
    assert parts.turn() == whole.turn()


@given(st.lists(LINES | GARBAGE, max_size=30))
def test_whatever_is_fed_the_result_is_sound(lines: list[bytes]) -> None:
    turn = after(*lines)
    assert turn.open in (None, True, False)
    assert not (turn.open is False and turn.calls)
    assert all(one.kind in ("shell", "subagent") for one in turn.background)
    json.dumps([turn.model, [one.name for one in turn.calls]]).encode()


@given(st.lists(LINES, max_size=30), st.lists(GARBAGE, max_size=10))
def test_after_a_prompt_and_its_end_nothing_is_open(lines: list[bytes], garbage: list[bytes]) -> None:
    turn = after(*lines, *garbage, prompt(second=50), done(60))
    assert (turn.open, turn.calls, turn.refused) == (False, (), None)


def test_free_text_in_place_of_a_word_is_not_passed_on() -> None:
    reducer = TranscriptReducer(T0)
    reducer.feed([prompt(), call("t1", "SECRET rm -rf /"), call("t2", "Read", model="a SECRET")], WALL)
    reducer.feed([answer(3, {"type": "tool_use", "id": "t3", "name": "n" * 500})], WALL)
    turn = reducer.turn()
    assert [one.name for one in turn.calls] == ["other", "Read", "other"]
    assert turn.model == "claude-opus-4-8"
    assert "SECRET" not in repr(turn)
