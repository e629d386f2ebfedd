"""Titles and lines of messages, and what of a stranger's text is in them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from alert_play import START, a_rule
from hypothesis import given
from hypothesis import strategies as st

from coordd.alerts.conditions import Condition, daemon_gone
from coordd.alerts.gathering import Draft, Told
from coordd.alerts.message import LISTED, EntryState, Message, MessageState
from coordd.alerts.moment import Moment
from coordd.alerts.texts import AGAIN, LINES, again, message_of, trial

NOW = Moment(START + 60, 100.0)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def told(
    kind: str = "waiting", subject: str = "a", *, state: EntryState = "firing", times: int = 1, **more: object
) -> Told:
    values: dict[str, object] = {
        "workspace": "/home/me/src/shop",
        "id": "1",
        "since": START,
        "text": "waits for you: permission prompt, in its terminal (pts/3, pid 7)",
        "command": f"coordctl agent {subject}",
        **more,
    }
    condition = Condition(kind=kind, subject=subject, **values)  # type: ignore[arg-type]  # what a test names
    return Told(condition, state, START, times)


def message(*entries: Told, state: MessageState = "firing", uncounted: int = 0) -> Message:
    draft = Draft(a_rule(), state, entries, uncounted)
    return message_of(draft, serial=1, now=NOW, host="h", home="/home/me")


def test_one_that_waits() -> None:
    one = message(told(subject="6b4e1f02-0000-4000-8000-000000000001", name="shop-12"))
    assert one.title == "shop-12 waits for you: permission prompt"
    clock = time.strftime("%H:%M", time.gmtime(START))
    assert one.text == (
        "shop-12 (~/src/shop) waits for you: permission prompt, in its terminal (pts/3, pid 7), "
        f"since {clock}; coordctl agent 6b4e1f02-0000-4000-8000-000000000001"
    )


def test_a_daemon_that_does_not_answer_is_a_sentence_without_a_stop_in_it() -> None:
    gone = daemon_gone("does not answer: /run/x.sock: no answer within 10 s.", START)
    clock = time.strftime("%H:%M", time.gmtime(START))
    assert message(Told(gone, "firing", START, 1)).text == (
        f"coordd does not answer: /run/x.sock: no answer within 10 s, since {clock}; coordctl doctor"
    )


def test_without_a_name_it_is_the_beginning_of_the_id() -> None:
    assert message(told(subject="6b4e1f02-0000-4000-8000-000000000001")).title.startswith("6b4e1f02 waits")
    assert message(told(subject="reviewer-7")).title.startswith("reviewer-7 waits")


def test_what_needs_a_person_stands_first_after_a_night_of_finished_turns() -> None:
    done = [told("finished", f"d{n}", state="happened", text="has finished") for n in range(LISTED)]
    over = [told("stalled", f"o{n}", state="resolved", text="stalled") for n in range(LISTED)]
    late = [
        told("killed", "gone", state="happened", text="killed", since=START + 40),
        told("waiting", "w", since=START + 50),
    ]
    one = message(*done, *over, *(Told(t.condition, t.state, START + 50, 1) for t in late), state="digest")
    assert one.title.partition(": ")[2].partition(": ")[2].startswith("w waits, gone killed, d0 has finished")
    assert [line.partition(" ")[0] for line in one.text.split("\n")[:3]] == ["w", "gone", "d0"]
    assert [entry.subject for entry in one.entries[:2]] == ["w", "gone"]


def test_several() -> None:
    some = [
        told(name="shop-12"),
        told("killed", "api-3", text="killed"),
        told("finished", "web-1", state="happened", text="has finished, after 9 min"),
        told("stalled", "old-1", state="resolved", text="stalled"),
    ]
    one = message(*some)
    assert one.title == (
        "2 need you, 1 has finished, 1 is over: shop-12 waits, api-3 killed, web-1 has finished, …"
    )
    assert len(one.text.split("\n")) == 4
    assert "old-1 (~/src/shop) is stalled no longer (had since" in one.text


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("waiting", "a waits no longer"),
        ("killed", "a is back"),
        ("redis", "a answers again"),
        ("cpu>90", "a is back to normal"),
    ],
)
def test_what_is_over(kind: str, title: str) -> None:
    assert message(told(kind, state="resolved"), state="resolved").title == title


def test_a_digest_says_so() -> None:
    assert message(told(), state="digest").title == "Quiet hours: 1 needs you: a waits"


def test_many_are_counted() -> None:
    one = message(*[told("killed", f"a{n}", text="killed") for n in range(300)], uncounted=7)
    assert one.count == 307
    assert len(one.entries) == LISTED
    assert one.text.split("\n")[LINES] == f"… and {307 - LINES} more: coordctl status"
    assert one.title.startswith("307 need you: ")


def test_a_group_is_called_by_its_project() -> None:
    one = message(told("mass", "/home/me/src/shop", text="7 of 8 agents were killed within 60 s"))
    assert one.title == "shop fell: 7 of 8 agents were killed within 60 s"


def test_what_flapped_says_how_often() -> None:
    assert ", 12 times, since" in message(told(times=12)).text


def test_again_is_said_once() -> None:
    one = again(again(message(told())))
    assert one.again
    assert one.text.count(AGAIN) == 1
    assert one.id == message(told()).id


def test_a_trial_says_so() -> None:
    one = trial(a_rule("needs-me"), serial=1, now=NOW, host="h")
    assert one.state == "test"
    assert "a trial of the rule needs-me" in one.title


@given(
    kind=st.sampled_from(["waiting", "killed", "mass", "finished", "sink", "orphaned", "cpu>90"]),
    texts=st.lists(st.text(max_size=60), min_size=6, max_size=6),
    state=st.sampled_from(["firing", "resolved", "happened"]),
)
def test_no_text_of_a_stranger_breaks_a_line(kind: str, texts: list[str], state: EntryState) -> None:
    subject, name, workspace, project, words, command = texts
    one = message(
        told(
            kind,
            subject,
            state=state,
            name=name,
            workspace=workspace,
            project=project,
            text=words,
            command=command,
        )
    )
    assert one.title.isprintable()
    assert len(one.text.split("\n")) == 1
    assert one.text.isprintable()
    assert not re.search(r"[\x00-\x1f\x7f]", one.title + one.text)
    assert one.entries[0].subject == subject  # as data it is what it is
    one.to_json()
