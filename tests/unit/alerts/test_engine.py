"""What is told, when, and how often: the engine on a clock that is played."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from alert_play import NIGHT, START, Play, a_rule
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.alerts.conditions import Condition, Slot
from coordd.alerts.gathering import APART, BURST, GATHER, LONGEST, PER
from coordd.alerts.mutes import Mute

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=BERLIN).timestamp()  # type: ignore[arg-type,misc]  # year to minute


def test_what_holds_is_told_once_and_its_end_once() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("a")
    play.wait(29)
    assert play.drafts == []
    play.wait(2)
    assert play.states() == ["firing"]
    play.wait(3600)
    play.end("a")
    play.wait(3600)
    assert play.states() == ["firing", "resolved"]
    assert [draft.state for _, draft in play.drafts] == ["firing", "resolved"]


def test_what_is_over_before_is_told_by_no_word() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("a")
    play.wait(20)
    play.end("a")
    play.wait(7200)
    assert play.drafts == []


def test_a_prompt_is_told_within_two_seconds_of_for() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("a")
    play.wait(100)
    assert 30.0 <= play.drafts[0][0] - 1000.0 <= 32.0


def test_what_began_before_it_was_seen_has_held_since_then() -> None:
    play = Play([a_rule(hold=30.0)])
    play.engine.open(
        Condition(
            kind="waiting", workspace="/w", subject="a", id="1", since=START - 100, text="", command=None
        ),
        play.now,
    )
    play.wait(2)
    assert play.states() == ["firing"]


def test_what_comes_together_is_one_message() -> None:
    play = Play([a_rule()])
    for number in range(300):
        play.begin(f"a{number}", "killed")
        play.wait(1 / 300)
    play.wait(3600)
    assert len(play.drafts) == 1
    assert len(play.drafts[0][1].told) == 300


def killed(subject: str, since: float, workspace: str = "/w") -> Condition:
    return Condition(
        kind="killed", workspace=workspace, subject=subject, id="1", since=since, text="killed", command=None
    )


def test_who_was_told_as_one_of_a_group_is_not_told_again_when_somebody_lives_there_again() -> None:
    play = Play([a_rule()])
    play.begin("/w", "mass")
    play.wait(100)
    for number in range(300):
        play.engine.open(killed(f"a{number}", START + number / 10), play.now)
    play.engine.open(killed("earlier", START - 20), play.now)
    play.engine.open(killed("later", START + 80), play.now)
    play.engine.open(killed("elsewhere", START, "/x"), play.now)
    play.end("/w", "mass")
    play.wait(3600)
    firing = [one.condition.subject for one in play.told if one.state == "firing"]
    assert sorted(firing) == ["/w", "earlier", "elsewhere", "later"]
    play.end("a7", "killed")
    play.wait(100)
    assert play.states("a7") == ["resolved"]


def test_a_group_of_which_nobody_was_told_leaves_its_dead_to_be_told() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("/w", "mass")
    play.wait(10)
    play.engine.open(killed("a", START), play.now)
    play.end("/w", "mass")
    play.wait(100)
    assert [one.condition.subject for one in play.told] == ["a"]


@pytest.mark.parametrize(("kind", "subject"), [("killed", "a"), ("mass", "/w")])
def test_that_the_killed_wait_no_longer_is_told_with_their_death(kind: str, subject: str) -> None:
    play = Play([a_rule(hold=30.0), a_rule("other", kinds=frozenset({"waiting"}))])
    play.begin("a")
    play.wait(100)
    play.end("a")
    play.begin(subject, kind)
    play.wait(100)
    told = [
        [(one.condition.kind, one.state) for one in draft.told]
        for _, draft in play.drafts
        if draft.rule.name == "r"
    ]
    assert [sorted(one) for one in told] == [
        [("waiting", "firing")],
        sorted([(kind, "firing"), ("waiting", "resolved")]),
    ]
    assert play.states("a").count("resolved") == 2  # the rule that hears of no deaths tells the end at once


def test_that_somebody_waits_no_longer_is_told_when_its_death_was_none() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("a")
    play.wait(100)
    play.end("a")
    play.begin("a", "killed")
    play.wait(10)
    play.end("a", "killed")
    play.wait(10)
    assert [(one.condition.kind, one.state) for one in play.told][1:] == [("waiting", "resolved")]


def test_a_crowd_that_keeps_coming_is_not_waited_for() -> None:
    play = Play([a_rule()])
    for number in range(100):
        play.begin(f"a{number}", "killed")
        play.wait(0.1)
    assert play.drafts[0][0] - 1000.0 <= LONGEST + 0.1


def test_a_mass_that_takes_the_place_of_single_ones_is_one_thing() -> None:
    play = Play([a_rule(hold=30.0)])
    for number in range(4):
        play.begin(f"a{number}", "killed")
    for number in range(4):
        play.end(f"a{number}", "killed", how="left")
    play.begin("/w", "mass")
    play.wait(3600)
    assert [one.condition.kind for one in play.told] == ["mass"]


def test_another_prompt_of_the_same_agent_is_told_and_has_one_end() -> None:
    play = Play([a_rule(hold=30.0)])
    play.begin("a")
    play.wait(60)
    play.begin("a")  # another id: answered, and the next one
    play.wait(1000)
    play.end("a")
    play.wait(1000)
    assert play.states() == ["firing", "firing", "resolved"]


def test_every_gathers_the_rest() -> None:
    play = Play([a_rule(every=300.0)])
    for number in range(20):
        play.begin(f"a{number}")
        play.wait(10)
    play.wait(3600)
    assert [len(draft.told) for _, draft in play.drafts] == [1, 19]
    assert play.drafts[1][0] - play.drafts[0][0] >= 300.0


def test_what_is_over_by_then_is_told_as_over() -> None:
    play = Play([a_rule(every=300.0)])
    play.begin("a")
    play.wait(10)
    play.begin("b")
    play.wait(10)
    play.end("b")
    play.wait(3600)
    assert play.states("b") == ["resolved"]


def test_ten_minutes_of_flapping_make_few_messages() -> None:
    play = Play([a_rule()])
    for _ in range(60):
        play.begin("a")
        play.wait(5)
        play.end("a")
        play.wait(5)
    play.wait(3600)
    assert len(play.drafts) <= 6
    assert sum(one.times for one in play.told) == 60  # none is lost: what was not told is counted
    assert play.states()[-1] == "resolved"


def test_fast_flapping_makes_few_messages_and_is_told() -> None:
    play = Play([a_rule()])
    for _ in range(600):
        play.begin("a")
        play.wait(0.5)
        play.end("a")
        play.wait(0.5)
    assert 1 <= len(play.drafts) <= 6


def test_many_agents_one_after_the_other_are_no_flood() -> None:
    play = Play([a_rule()])
    for number in range(300):
        play.begin(f"a{number}")
        play.wait(2)
    play.wait(3600)
    times = [at for at, _ in play.drafts]
    assert all(sum(start <= at < start + PER for at in times) <= BURST + 1 for start in times)
    assert len(play.told) == 300


def test_muted_is_not_told_and_what_still_fires_is_told_at_its_end() -> None:
    play = Play([a_rule()])
    play.engine.mute(Mute(START + 7200, agent="a"))
    play.begin("a")
    play.begin("b")
    play.begin("c")
    play.wait(60)
    assert sorted(one.condition.subject for one in play.told) == ["b", "c"]
    play.end("b")
    play.wait(7200)
    assert play.states("a") == ["firing"]
    assert play.states("b") == ["firing", "resolved"]


@pytest.mark.parametrize(
    ("agent", "mutes", "not_"),
    [
        ("reviewer", ["reviewer"], ["reviewer-2", "reviewer-security"]),
        ("6b4e1f02", ["6b4e1f02-0000-4000-8000-000000000001"], ["6b4e1f02-and-more"]),
        ("6b4e1f", [], ["6b4e1f02-0000-4000-8000-000000000001"]),
    ],
)
def test_a_mute_of_one_agent_is_of_no_other_whose_id_begins_alike(
    agent: str, mutes: list[str], not_: list[str]
) -> None:
    play = Play([a_rule()])
    play.engine.mute(Mute(START + 7200, agent=agent))
    for one in [*mutes, *not_]:
        play.begin(one)
    play.wait(60)
    assert sorted(one.condition.subject for one in play.told) == sorted(not_)


def test_the_beginning_of_a_uuid_ends_its_mute() -> None:
    play = Play([a_rule()])
    play.engine.mute(Mute(START + 7200, agent="6b4e1f02-0000-4000-8000-000000000001"))
    play.engine.mute(Mute(START + 7200, agent="reviewer-2"))
    assert play.engine.unmute(None, "reviewer") == 0
    assert play.engine.unmute(None, "6b4e1f02") == 1
    assert play.engine.unmute(None, "reviewer-2") == 1


def test_what_ends_while_it_is_muted_stays_unsaid() -> None:
    play = Play([a_rule()])
    play.begin("told")
    play.wait(10)
    play.engine.mute(Mute(START + 7200))
    play.begin("short")
    play.wait(10)
    play.end("short")
    play.end("told")
    play.wait(20_000)
    assert play.states("told") == ["firing"]
    assert play.states("short") == []


def test_unmuted_is_told() -> None:
    play = Play([a_rule()])
    play.engine.mute(Mute(START + 7200, rule="r"))
    play.begin("a")
    play.wait(60)
    assert play.drafts == []
    assert play.engine.unmute(None, None) == 1
    play.wait(5)
    assert play.states() == ["firing"]


def test_acknowledged_is_over_without_a_word() -> None:
    play = Play([a_rule()])
    play.begin("a")
    play.wait(10)
    play.end("a", how="left")
    play.wait(10_000)
    assert play.states() == ["firing"]


def test_finished_is_told_at_once_each_time() -> None:
    play = Play([a_rule(hold=30.0)])
    for _ in range(3):
        done = Condition(
            kind="finished",
            workspace="/w",
            subject="a",
            id=str(play.wall),
            since=play.wall,
            text="",
            command=None,
        )
        play.engine.happen(done, play.now)
        play.wait(60)
    assert play.states() == ["happened"] * 3


@pytest.mark.parametrize("kind", ["waiting", "killed", "mass"])
def test_a_rule_of_a_project_tells_what_turns_out_to_be_of_its_worktree(kind: str) -> None:
    play = Play([a_rule(workspaces=("/src/shop",)), a_rule("other", workspaces=("/src/api",))])
    play.begin("a", kind, workspace="/elsewhere/wt")
    play.wait(0.5)
    play.engine.describe(Slot(kind, "/elsewhere/wt", "a"), "name", "/src/shop", play.now)
    play.wait(5)
    play.end("a", kind, workspace="/elsewhere/wt")
    play.wait(3600)
    assert [draft.rule.name for _, draft in play.drafts] == ["r", "r"]
    assert play.states("a") == ["firing", "resolved"]


def test_a_rule_of_some_workspaces_hears_of_no_other() -> None:
    play = Play([a_rule(workspaces=("/w",)), a_rule("other", workspaces=("/x/*",))])
    play.begin("a")
    play.begin("b", workspace="/x/y")
    play.wait(100)
    assert {(draft.rule.name, one.condition.subject) for _, draft in play.drafts for one in draft.told} == {
        ("r", "a"),
        ("other", "b"),
    }


def test_a_new_rule_is_told_what_fires_and_an_old_one_nothing_twice() -> None:
    play = Play([a_rule()])
    play.begin("a")
    play.wait(60)
    play.engine.replace_rules([a_rule(), a_rule("new")], play.now)
    play.wait(60)
    assert [draft.rule.name for _, draft in play.drafts] == ["r", "new"]


@pytest.mark.usefixtures("in_berlin")
def test_a_night_is_quiet_and_its_morning_one_digest() -> None:
    play = Play([a_rule(quiet=NIGHT)], wall=at(2026, 11, 20, 21, 0))
    play.begin("evening")
    play.wait(3600)
    assert play.states() == ["firing"]
    play.wait(1800)  # 22:30
    for number in range(5):
        play.begin(f"a{number}", "killed")
        play.wait(600)
    play.begin("short")
    play.wait(600)
    play.end("short")
    play.end("a0", "killed", how="left")
    play.end("evening")
    play.wait(at(2026, 11, 21, 6, 59) - play.wall)
    assert len(play.drafts) == 1
    play.wait(120)
    assert len(play.drafts) == 2
    digest = play.drafts[1][1]
    assert digest.state == "digest"
    stood = {one.condition.subject: one.state for one in digest.told}
    assert stood == {
        "evening": "resolved",
        "short": "resolved",
        "a0": "happened",
        **{f"a{number}": "firing" for number in range(1, 5)},
    }
    play.wait(86_400 - 3600)
    assert len(play.drafts) == 2


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize("evening", [(2026, 3, 28), (2026, 10, 24)], ids=["spring", "autumn"])
def test_a_night_in_which_clocks_change_is_one_night(evening: tuple[int, int, int]) -> None:
    play = Play([a_rule(quiet=NIGHT)], wall=at(*evening, 22, 30))
    for number in range(12):
        play.begin(f"a{number}")
        play.wait(1800)
    morning = at(evening[0], evening[1], evening[2] + 1, 7, 0)
    assert play.drafts == []
    play.wait(morning - play.wall - 1)
    assert play.drafts == []
    play.wait(3)
    assert [draft.state for _, draft in play.drafts] == ["digest"]


@pytest.mark.usefixtures("in_berlin")
def test_a_night_that_the_machine_slept_through_has_its_digest_when_somebody_looks() -> None:
    play = Play([a_rule(quiet=NIGHT)], wall=at(2026, 11, 20, 22, 30))
    play.begin("a")
    play.wait(60)
    play.sleep(10 * 3600)
    play.poll()
    assert [draft.state for _, draft in play.drafts] == ["digest"]


STEP = st.tuples(
    st.sampled_from([0.05, 0.7, 3.0, 10.0, 29.0, 31.0, 100.0, 301.0]),
    st.sampled_from("abcd"),
    st.sampled_from(["begin", "change", "end", "left"]),
)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(STEP, max_size=60),
    hold=st.sampled_from([0.0, 5.0, 30.0]),
    every=st.sampled_from([None, 60.0, 300.0]),
)
def test_nothing_is_told_twice_and_nothing_lost(
    steps: list[tuple[float, str, str]], hold: float, every: float | None
) -> None:
    play = Play([a_rule(hold=hold, every=every)])
    fires: dict[str, float] = {}  # since when
    held: dict[str, int] = dict.fromkeys("abcd", 0)  # how many held, whatever is made of borders
    began: dict[str, int] = dict.fromkeys("abcd", 0)
    left: set[str] = set()

    def close(subject: str) -> None:
        held[subject] += play.mono - fires.pop(subject) >= hold + GATHER

    for pause, subject, what in steps:
        play.wait(pause)
        if what in ("begin", "change"):
            if subject in fires:
                if what == "begin":
                    continue
                close(subject)
            began[subject] += 1
            fires[subject] = play.mono
            play.begin(subject)
        elif subject in fires:
            close(subject)
            left |= {subject} if what == "left" else set()
            play.end(subject, how="over" if what == "end" else "left")
    play.wait(5000)
    for subject in "abcd":
        if subject in fires:
            held[subject] += 1
        told = sum(one.times for one in play.told if one.condition.subject == subject)
        assert held[subject] <= told <= began[subject]
        states = play.states(subject)
        if subject in fires:
            assert states[-1:] == ["firing"]
        elif subject not in left:
            assert states[-1:] != ["firing"]  # its end was told, or it was told as over
        # an end is told once: each one follows something that was told untold before
        ended = [one for one in play.told if one.condition.subject == subject and not one.times]
        firing = [one for one in play.told if one.condition.subject == subject and one.state == "firing"]
        assert len(ended) <= len(firing)
    times = [at for at, _ in play.drafts]
    for first, second in pairwise(times):
        assert every is None or second - first >= every - 0.01
    for start in times:
        assert sum(start <= at < start + PER - 0.01 for at in times) <= BURST


@settings(max_examples=100, deadline=None)
@given(
    pauses=st.lists(st.sampled_from([0.1, 1.0, 7.0, 45.0]), min_size=1, max_size=200),
    hold=st.sampled_from([0.0, 5.0]),
)
def test_one_that_flaps_makes_two_messages_in_its_time_at_most(pauses: list[float], hold: float) -> None:
    play = Play([a_rule(hold=hold)])
    for number, pause in enumerate(pauses):
        if number % 2:
            play.end("a")
        else:
            play.begin("a")
        play.wait(pause)
    firing = [at for at, draft in play.drafts for one in draft.told if one.times]
    assert all(second - first >= APART - 0.01 for first, second in pairwise(firing))
    assert len(play.drafts) <= 2 * (sum(pauses) / APART + 1)


def test_ends_of_many_are_gathered_and_the_first_is_told_at_once() -> None:
    play = Play([a_rule()])
    for number in range(10):
        play.begin(f"a{number}")
    play.wait(60)
    began = play.mono
    for number in range(10):
        play.end(f"a{number}")
        play.wait(5)
    play.wait(600)
    ends = [at - began for at, draft in play.drafts if draft.state == "resolved"]
    assert ends[0] < 3
    assert len(ends) == 2
    assert play.states().count("resolved") == 10
