"""What the lines of events.jsonl say of a session."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.session import OpenCall, Refused
from coordd.sources.copilot.transcript import GOES_ON, MAX_CALLS, UNRECOGNISED, TranscriptReducer
from coordd.util.timestamps import format_utc

T0 = 1_795_837_860.0
SINCE = T0 - 10


def line(kind: str, after: float = 0.0, agent: str | None = None, /, **data: Any) -> bytes:
    one: dict[str, Any] = {"type": kind, "data": data, "timestamp": format_utc(T0 + after)}
    return json.dumps({**one, **({"agentId": agent} if agent else {})}).encode()


def fed(*lines: bytes) -> TranscriptReducer:
    reducer = TranscriptReducer(SINCE)
    reducer.feed(lines, T0 + 1000)
    return reducer


STARTED = line("session.start", 0, selectedModel="gpt-5.4", context={"cwd": "/p"})
PROMPT = (line("user.message", 1, content="x"), line("assistant.turn_start", 1, turnId="0"))
CALL = line("tool.execution_start", 2, toolCallId="c1", toolName="bash", arguments={"command": "x"})
RESULT = line("tool.execution_complete", 3, toolCallId="c1", success=True, result={"content": "x"})
END = line("assistant.turn_end", 4, turnId="0")


def test_a_turn_and_its_call() -> None:
    assert fed(STARTED).turn().open is False
    open_turn = fed(STARTED, *PROMPT).turn()
    assert (open_turn.open, open_turn.since, open_turn.model) == (True, T0 + 1, "gpt-5.4")
    assert fed(STARTED, *PROMPT, CALL).turn().calls == (OpenCall("bash", T0 + 2),)
    assert fed(STARTED, *PROMPT, CALL, RESULT).turn().calls == ()
    over = fed(STARTED, *PROMPT, CALL, RESULT, END).turn()
    assert (over.open, over.since, over.last) == (False, T0 + 4, T0 + 4)


def test_a_turn_that_goes_on_after_its_calls_began_with_the_prompt() -> None:
    on = line("assistant.turn_start", 4 + GOES_ON / 2, turnId="1")
    assert fed(STARTED, *PROMPT, CALL, RESULT, END, on).turn().since == T0 + 1
    later = line("assistant.turn_start", 4 + 2 * GOES_ON, turnId="0")
    assert fed(STARTED, *PROMPT, END, later).turn().since == T0 + 4 + 2 * GOES_ON
    aborted = line("abort", 4, reason="user_initiated")
    assert fed(STARTED, *PROMPT, END, aborted, on).turn().since == T0 + 4 + GOES_ON / 2


def test_what_is_aborted_asks_nobody_any_more() -> None:
    asks = line("permission.requested", 3, requestId="r1", permissionRequest={"fullCommandText": "x"})
    waiting = fed(STARTED, *PROMPT, CALL, asks)
    assert waiting.asked_since() == (True, T0 + 3)
    assert waiting.turn().calls
    aborted = fed(STARTED, *PROMPT, CALL, asks, line("abort", 5))
    assert aborted.asked_since() == (False, None)
    assert (aborted.turn().open, aborted.turn().calls) == (False, ())


def test_a_permission_waits_until_it_is_completed_whoever_needs_it() -> None:
    first = line("permission.requested", 3, "sub", requestId="r1")
    second = line("permission.requested", 4, requestId="r2")
    done = line("permission.completed", 5, "sub", requestId="r1", result={"kind": "approved"})
    assert fed(STARTED, first, second).asked_since() == (True, T0 + 3)
    assert fed(STARTED, first, second, done).asked_since() == (True, T0 + 4)
    assert fed(STARTED, first, second).asked_since(T0 + 5) == (False, None)  # of a process before it


@pytest.mark.parametrize("tool", ["ask_user", "exit_plan_mode"])
def test_tools_that_ask(tool: str) -> None:
    asks = line("tool.execution_start", 2, toolCallId="c1", toolName=tool)
    assert fed(STARTED, *PROMPT, asks).turn().calls[0].asks


@pytest.mark.parametrize("kind", ["session.start", "session.resume", "session.shutdown"])
def test_another_process_has_nothing_open(kind: str) -> None:
    sent = line("subagent.started", 2, "sub", toolCallId="c2", executionMode="background")
    turn = fed(STARTED, *PROMPT, CALL, sent, line(kind, 9)).turn()
    assert (turn.open, turn.since, turn.calls, turn.background) == (False, T0 + 9, (), ())
    kept = fed(STARTED, *PROMPT, CALL, line(kind, 9, continuePendingWork=True)).turn()
    assert (kept.open, len(kept.calls)) == (True, 1)


def test_a_turn_older_than_its_process_is_over() -> None:
    turn = fed(STARTED, *PROMPT, CALL).turn(T0 + 50)
    assert (turn.open, turn.since, turn.calls) == (False, T0 + 50, ())
    assert fed(STARTED, *PROMPT, CALL).turn(T0).open


def test_lines_of_a_subagent_are_its_own() -> None:
    sent = line("subagent.started", 2, "sub", toolCallId="c1", executionMode="background")
    its = [
        line("user.message", 5, "sub"),
        line("assistant.turn_start", 5, "sub"),
        line("session.model_change", 5, "sub", newModel="another"),
        line("tool.execution_start", 6, "sub", toolCallId="c9", toolName="bash"),
    ]
    turn = fed(STARTED, *PROMPT, sent, END, *its).turn()
    assert (turn.open, turn.calls, turn.model) == (False, (), "gpt-5.4")
    (work,) = turn.background
    assert (work.kind, work.since, work.seen) == ("subagent", T0 + 2, T0 + 6)
    back = line("subagent.completed", 8, "sub", toolCallId="c1")
    assert fed(STARTED, *PROMPT, sent, END, *its, back).turn().background == ()
    assert fed(STARTED, *PROMPT, sent, line("abort", 9)).turn().background  # it goes on
    waited = line("subagent.started", 2, "sub", toolCallId="c1", executionMode="sync")
    assert fed(STARTED, *PROMPT, waited, line("abort", 9)).turn().background == ()


def test_a_shell_goes_on_until_it_is_noticed_that_it_ended() -> None:
    telemetry = {"properties": {"executionMode": "async"}}
    aside = line("tool.execution_complete", 3, toolCallId="c1", toolTelemetry=telemetry)
    (shell,) = fed(STARTED, *PROMPT, CALL, aside, END).turn().background
    assert (shell.kind, shell.since) == ("shell", T0 + 2)
    noticed = line("system.notification", 9, kind={"type": "shell_completed", "shellId": "0"})
    assert fed(STARTED, *PROMPT, CALL, aside, END, noticed).turn().background == ()
    other = line("system.notification", 9, kind={"type": "agent_idle"})
    assert fed(STARTED, *PROMPT, CALL, aside, END, other).turn().background


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"errorType": "rate_limit"}, "rate-limit"),
        ({"errorType": "quota"}, "billing"),
        ({"errorType": "authentication", "statusCode": 401}, "authentication"),
        ({"errorType": "query", "statusCode": 503}, "overload"),
        ({"errorType": "query"}, None),
        ({"errorType": "context_limit", "statusCode": 400}, None),
        ({"errorType": 7, "statusCode": "x"}, None),
    ],
)
def test_refusals(told: dict[str, object], why: str | None) -> None:
    refused = fed(STARTED, *PROMPT, END, line("session.error", 5, **told)).turn().refused
    assert refused == (Refused(why, T0 + 5, T0 + 5) if why else None)  # type: ignore[arg-type]  # of the table
    answered = line("assistant.message", 6, model="gpt-5.4", content="x")
    assert fed(STARTED, line("session.error", 5, **told), answered).turn().refused is None


def test_each_request_counts_once() -> None:
    usage = {"inputTokens": 1200, "outputTokens": 30, "cacheReadTokens": 500, "cacheWriteTokens": 100}
    own, its = line("session.usage_record", 2, usage=usage), line("session.usage_record", 3, "s", usage=usage)
    old = line("session.usage_record", -20, usage=usage)
    reducer = fed(STARTED, old, own, its)
    turn = reducer.turn()
    assert turn.tokens is not None and turn.context_tokens == 1200
    counts = turn.tokens
    assert (counts.input, counts.output, counts.cache_read, counts.cache_write) == (1200, 60, 1000, 200)
    reducer.restart()
    reducer.feed([STARTED, old, own, its, line("session.usage_record", 9, usage=usage)], T0 + 1000)
    again = reducer.turn().tokens
    assert again is not None and again.output == 90


def test_where_it_works_is_as_it_said_last() -> None:
    assert fed(STARTED).cwd == "/p"
    assert fed(STARTED, line("session.context_changed", 3, cwd="/q")).cwd == "/q"
    assert fed(STARTED, line("session.context_changed", 3, cwd="q")).cwd == "/p"
    assert fed(STARTED, line("session.resume", 3, context={"cwd": "/r"})).cwd == "/r"


def test_a_format_in_which_nothing_is_known() -> None:
    strange = [b'{"type": "something"}', b"[7]", b'{"type": 7}', b"not json"] * (UNRECOGNISED // 4)
    assert not fed(STARTED, *strange).turn().recognised
    assert fed(STARTED, *strange[1:]).turn().recognised
    assert fed(STARTED, *strange, line("hook.start", 3)).turn().recognised


def test_what_is_kept_is_bounded() -> None:
    reducer = TranscriptReducer(SINCE)
    telemetry = {"properties": {"executionMode": "async"}}
    for n in range(3 * MAX_CALLS):
        name = f"c{n}"
        reducer.feed(
            [
                line("tool.execution_start", 1, toolCallId=name, toolName="bash"),
                line("tool.execution_complete", 1, toolCallId=name, toolTelemetry=telemetry),
                line("tool.execution_start", 1, toolCallId=f"d{n}", toolName="bash"),
                line("permission.requested", 1, requestId=name),
                line("subagent.started", 1, name, toolCallId=name),
            ],
            T0 + 1000,
        )
    turn = reducer.turn()
    assert len(turn.calls) == MAX_CALLS and len(turn.background) == 2 * MAX_CALLS
    assert len(reducer._permissions) == MAX_CALLS


def test_free_text_in_place_of_a_word_is_not_kept() -> None:
    secret = "rm -rf / # zqsecret"
    asked = line("permission.requested", 2, requestId="r", permissionRequest={"fullCommandText": secret})
    called = line("tool.execution_start", 2, toolCallId=secret, toolName=secret, arguments={"c": secret})
    model = line("assistant.turn_start", 2, model=secret)
    reducer = fed(STARTED, *PROMPT, asked, called, model)
    assert "zqsecret" not in repr((reducer.turn(), reducer.cwd))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["toolCallId", "toolName", "requestId", "usage", "kind", "context", "cwd", "toolTelemetry", "errorType",
     "statusCode", "model", "newModel", "selectedModel", "executionMode"]
)  # fmt: skip
TYPES = st.sampled_from(
    ["session.start", "user.message", "assistant.turn_start", "assistant.turn_end", "abort", "session.error",
     "tool.execution_start", "tool.execution_complete", "permission.requested", "permission.completed",
     "subagent.started", "system.notification", "session.usage_record", "session.context_changed"]
)  # fmt: skip
LINES = st.lists(
    st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda kind, data, agent, at: json.dumps(
            {"type": kind, "data": data, "agentId": agent, "timestamp": at}
        ).encode(),
        TYPES | JSON,
        st.dictionaries(FIELDS, JSON, max_size=4) | JSON,
        JSON,
        st.just(format_utc(T0)) | JSON,
    ),
    max_size=20,
)


@given(LINES)
def test_nothing_that_can_be_written_is_more_than_strange(lines: list[bytes]) -> None:
    reducer = fed(*lines)
    turn = reducer.turn()
    assert turn.open in (None, True, False)
    assert reducer.cwd is None or reducer.cwd.startswith("/")
    assert reducer.asked_since()[0] in (True, False)
