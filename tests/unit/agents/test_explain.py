"""Test that an explanation says what decided, what was looked at, and what would change it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents import activity, liveness
from coordd.agents.activity import ActivityEvidence, judge_activity
from coordd.agents.explain import explain_activity, explain_verdict
from coordd.agents.liveness import Evidence, judge

FIELDS = ["row", "when", "verdict", "fits", "decides", "value", "age", "threshold", "change"]
maybe = st.none() | st.booleans()
ages = st.none() | st.floats(min_value=0, max_value=1e5)
verdict_evidence = st.builds(
    Evidence,
    silence=ages,
    timeout=st.just(120.0),
    readable=st.booleans(),
    process=st.sampled_from(["alive", "killed", None]),
    end_age=ages,
    beat_age=ages,
    quiet=st.booleans(),
)
activity_evidence = st.builds(
    ActivityEvidence,
    stall_after=st.just(900.0),
    call_stall_after=st.just(7200.0),
    declares_waiting=st.booleans(),
    call_asks=st.booleans(),
    hook_asks=st.booleans(),
    waiting_for=st.sampled_from([None, "question"]),
    refused=ages,
    call_age=ages,
    call_progress=maybe,
    in_turn=maybe,
    turn_age=ages,
    tells_turns=st.booleans(),
    holds_task=maybe,
    task_progress=ages,
    transcript_progress=ages,
    subagent=st.booleans(),
    shell_age=ages,
    says_idle=st.booleans(),
)


def told(**fields: Any) -> dict[int, dict[str, Any]]:
    found = ActivityEvidence(stall_after=900.0, call_stall_after=7200.0, **fields)
    return {int(str(entry["row"])): entry for entry in explain_activity(found, tool="Bash")}


def check(entries: list[dict[str, Any]], table: tuple[Any, ...]) -> dict[str, Any]:
    """Check what holds for every explanation; return the entry that decides."""
    assert json.loads(json.dumps(entries)) == entries
    assert [list(entry) for entry in entries] == [FIELDS] * len(table)
    assert [(entry["row"], entry["when"]) for entry in entries] == [(row.number, row.when) for row in table]
    assert all(entry["change"] for entry in entries)
    (decides,) = [entry for entry in entries if entry["decides"]]
    assert decides is next(entry for entry in entries if entry["fits"])
    return decides


@given(verdict_evidence)
def test_every_verdict_is_explained_by_the_row_that_decides(found: Evidence) -> None:
    decides = check(explain_verdict(found), liveness.TABLE)
    verdict = judge(found)
    assert decides["verdict"] == f"{verdict.status} / {verdict.reason}"


@given(activity_evidence, st.sampled_from([None, "Bash"]))
def test_every_activity_is_explained_by_the_row_that_decides(
    found: ActivityEvidence, tool: str | None
) -> None:
    decides = check(explain_activity(found, tool=tool), activity.TABLE)
    assert (decides["verdict"], decides["row"]) == (judge_activity(found).activity, judge_activity(found).row)


def test_the_last_activity_fits_only_where_it_decides() -> None:
    assert [told()[9][name] for name in ("fits", "decides")] == [True, True]
    assert [told(in_turn=False)[9][name] for name in ("fits", "decides")] == [False, False]


@given(verdict_evidence)
def test_no_two_rows_of_silence_fit(found: Evidence) -> None:
    fits = {entry["row"] for entry in explain_verdict(found) if entry["fits"]}
    assert len(fits & {4, 7, 8}) == 1


@pytest.mark.parametrize(
    ("found", "row", "value", "change"),
    [
        (Evidence(30.0, 120.0), 4, "its last beat", "another 1 min 30 s without a beat"),
        (Evidence(150.0, 120.0), 4, "its last beat", "a beat"),
        (Evidence(150.0, 120.0), 7, "its last beat", "a beat"),
        (Evidence(None, 120.0), 7, "no beat was ever seen", "a beat, and silence after it"),
        (Evidence(None, 120.0), 8, "no beat was ever seen", "its first beat"),
        (Evidence(9.0, 120.0, end_age=9.0), 1, "ended in order", "a later beat, or a live process of it"),
        (
            Evidence(9.0, 120.0, end_age=60.0),
            1,
            "ended in order, and a beat came after that",
            "another orderly end",
        ),
        (Evidence(9.0, 120.0, process="killed"), 2, "gone without an orderly end", "a live process of it"),
        (Evidence(9.0, 120.0, process="alive"), 3, "its process lives", "the end of its process"),
        (Evidence(9.0, 120.0, readable=False), 5, "unreadable", "that its source can be read again"),
        (Evidence(999.0, 120.0, quiet=True), 6, "a quiet hook was its last word", "any other sign of it"),
    ],
)
def test_words_of_a_verdict(found: Evidence, row: int, value: str, change: str) -> None:
    entry = explain_verdict(found)[row - 1]
    assert (entry["value"], entry["change"]) == (value, change)


def test_a_verdict_shows_ages_and_thresholds() -> None:
    entries = explain_verdict(Evidence(30.00049, 120.0, end_age=60.0))
    assert [(entry["age"], entry["threshold"]) for entry in entries[:5]] == [
        (60.0, None),
        (None, None),
        (None, None),
        (30.0, 120.0),
        (None, None),
    ]


def test_words_of_an_activity() -> None:
    waits = told(declares_waiting=True, call_asks=True, waiting_for="question")
    assert waits[1]["value"] == "it says that it waits, Bash asks a human: question"
    assert told()[1]["value"] == "nothing says so"
    assert told(refused=10.0)[2]["change"] == "another 20 s of refusals"
    assert told(refused=40.0)[2]["change"] == "an answer of its provider"
    young = told(call_age=3600.0, call_progress=False, in_turn=True)
    assert young[3]["value"] == "Bash is open, its processes do nothing"
    assert (young[3]["age"], young[3]["threshold"]) == (3600.0, 7200.0)
    assert young[3]["change"] == "the end of the call, or another 1 h"
    assert young[4]["change"] == "another 1 h while its processes do nothing"
    old = told(call_age=8000.0, call_progress=False)
    assert old[4]["change"] == "the end of the call, or work of its processes"
    unseen = told(call_age=8000.0, in_turn=True, transcript_progress=8000.0)
    assert unseen[4]["value"] == "Bash is open, what its processes do cannot be seen"
    assert unseen[7]["change"] == "the end of the open call"
    works = told(in_turn=True, transcript_progress=600.0)
    assert (works[5]["value"], works[5]["change"]) == ("it is in a turn", "another 5 min without progress")
    blind = told(in_turn=True, turn_age=1000.0)
    assert blind[7]["value"] == "it is in a turn; its progress cannot be seen"
    assert told(shell_age=60.0)[6]["change"] == "the end of the shell, or another 1 h 59 min"
    idle = told(holds_task=False, says_idle=True)
    assert idle[8]["value"] == "nothing tells of a turn, it holds nothing, and it says that it is idle"
    assert told(in_turn=False)[8]["value"] == "its turn is over, what it holds cannot be read"
