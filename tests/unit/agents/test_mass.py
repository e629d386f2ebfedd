"""Test which agents fell together, against a slow reading of the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.key import AgentKey
from coordd.agents.mass import masses
from coordd.agents.subject import Subject
from coordd.model import Reason

APP = "/src/app"


def lives(name: str, since: float | None = 0.0, workspace: str = APP) -> Subject:
    return Subject(key=AgentKey(workspace, name), status="active", reason="heartbeat", alive_since=since)


def fell(
    name: str, at: float, reason: Reason = "killed", since: float = 0.0, workspace: str = APP
) -> Subject:
    return Subject(
        key=AgentKey(workspace, name),
        status="inactive",
        reason=reason,
        alive_since=since,
        inactive_since=at,
        inactive_for=5000.0 - at,
    )


def found(*subjects: Subject) -> list[tuple[str, int]]:
    """Return who fell together as letters, with how many lived there."""
    return [("".join(one.key.agent_id for one in mass.fallen), mass.lived) for mass in masses(subjects)]


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        ([fell("a", 100), fell("b", 100)], [("ab", 2)]),
        ([fell("a", 100), fell("b", 160)], [("ab", 2)]),
        ([fell("a", 100), fell("b", 160.5)], []),
        ([fell("a", 100)], []),
        ([fell("a", 100), fell("b", 100), lives("c")], []),
        ([fell("a", 100), fell("b", 100), lives("c"), lives("d")], [("ab", 4)]),
        ([fell("a", 100), fell("b", 100, "silent"), lives("c"), lives("d"), lives("e")], []),
        ([fell("a", 100), lives("b"), lives("c"), lives("d")], []),
        # one is back, or a new one came
        ([fell("a", 100), fell("b", 100), fell("c", 100), lives("d", 150)], []),
        # somebody came while they fell: one who lived there
        ([fell("a", 100), fell("b", 140), fell("c", 150), lives("d", 120)], [("abc", 4)]),
        # orderly ends: before and within the fall they do not count, after it they lived through it
        ([fell("a", 100), fell("b", 100), fell("c", 90, "ended")], [("ab", 2)]),
        ([fell("a", 100), fell("b", 100), fell("c", 200, "ended")], []),
        ([fell("a", 100, "ended"), fell("b", 100, "ended")], []),
        # who fell long before does not count, and who fell later lived through it
        ([fell("x", 10), fell("a", 100), fell("b", 120)], [("ab", 2)]),
        ([fell("x", 300), fell("a", 100), fell("b", 120)], []),
        # twice in one place
        (
            [fell(x, at) for x, at in zip("abcdefgh", [100] * 4 + [900] * 4, strict=True)],
            [("abcd", 8), ("efgh", 4)],
        ),
        # a crash loop: they came back, and fell again
        ([fell(x, 150, since=120) for x in "abcd"], [("abcd", 4)]),
        # many agents that fall one by one
        ([fell(x, i * 30.0) for i, x in enumerate("abcdefghij")], [("efg", 6), ("hij", 3)]),
    ],
)
def test_each_case_of_falling_together(subjects: list[Subject], expected: list[tuple[str, int]]) -> None:
    assert found(*subjects) == expected


def test_workspaces_are_judged_apart_and_redis_alone_is_one() -> None:
    apart = [fell("a", 100, workspace="/x"), fell("b", 100, workspace="/y")]
    assert found(*apart) == []
    assert found(
        *apart, fell("c", 100, workspace="/x"), fell("d", 1, workspace=""), fell("e", 2, workspace="")
    ) == [
        ("de", 2),
        ("ac", 2),
    ]


def test_an_agent_that_never_lived_does_not_count_and_one_that_cannot_be_read_does() -> None:
    never = Subject(key=AgentKey(APP, "n"), status="unknown", reason="no-heartbeat")
    unreachable = replace(lives("u"), status="unknown", reason="unreachable")
    assert found(fell("a", 100), fell("b", 100), never) == [("ab", 2)]
    assert found(fell("a", 100), fell("b", 100), unreachable) == []


times = st.integers(min_value=0, max_value=12).map(lambda n: n * 20.0)


@st.composite
def subject(draw: st.DrawFn) -> Subject:
    key = AgentKey(draw(st.sampled_from(["", APP])), draw(st.sampled_from("abcdefgh")))
    status, reason = draw(
        st.sampled_from(
            [
                ("active", "process"),
                ("inactive", "killed"),
                ("inactive", "killed"),
                ("inactive", "silent"),
                ("inactive", "ended"),
                ("unknown", "unreachable"),
            ]
        )
    )
    fields: dict[str, Any] = {"alive_since": draw(st.none() | st.just(0.0) | times)}
    if status == "inactive":
        fields["inactive_since"] = draw(times)
        fields["inactive_for"] = 5000.0 - fields["inactive_since"]
    return Subject(key=key, status=status, reason=reason, **fields)


subjects = st.lists(subject(), max_size=9, unique_by=lambda one: one.key)


def slowly(every: list[Subject]) -> set[tuple[str, frozenset[AgentKey], int]]:
    """Return who fell together, by trying all moments again and again."""
    answer = set()
    for workspace in {one.key.workspace for one in every}:
        here = [one for one in every if one.key.workspace == workspace]
        taken: set[AgentKey] = set()
        while True:
            options = []
            for moment in {one.inactive_since for one in here if one.fell}:
                assert moment is not None
                fallen = [
                    one
                    for one in here
                    if one.fell
                    and one.key not in taken
                    and one.inactive_since is not None
                    and moment - 60 <= one.inactive_since <= moment
                ]
                lived = [one for one in here if lived_then(one, moment)]
                later = any(came(one) > moment for one in here)
                enough = len(fallen) == len(lived) >= 2 or (len(lived) >= 4 and len(fallen) >= len(lived) / 2)
                if enough and not later and max(one.inactive_since or 0 for one in fallen) == moment:
                    options.append((len(fallen), moment, frozenset(one.key for one in fallen), len(lived)))
            if not options:
                break
            _, _, keys, count = max(options, key=lambda option: option[:2])
            answer.add((workspace, keys, count))
            taken |= keys
    return answer


def came(one: Subject) -> float:
    since = -1e9 if one.alive_since is None else one.alive_since
    return since if one.inactive_since is None else min(since, one.inactive_since)


def lived_then(one: Subject, moment: float) -> bool:
    if one.status == "unknown":
        return one.alive_since is not None
    if one.status == "active":
        return True
    assert one.inactive_since is not None
    return one.inactive_since > moment if one.ended else one.inactive_since >= moment - 60


@given(subjects, st.randoms())
def test_who_fell_together_is_what_the_rule_says_in_any_order(every: list[Subject], random: Any) -> None:
    shuffled = list(every)
    random.shuffle(shuffled)
    answer = masses(shuffled)
    assert answer == masses(every)
    told = {(mass.workspace, frozenset(one.key for one in mass.fallen), mass.lived) for mass in answer}
    assert told == slowly(every)


@given(subjects)
def test_who_ended_in_order_never_fell_and_nobody_falls_twice(every: list[Subject]) -> None:
    fallen = [one for mass in masses(every) for one in mass.fallen]
    assert all(one.fell for one in fallen)
    assert len({one.key for one in fallen}) == len(fallen)


@given(subjects, st.data())
def test_it_is_over_when_anybody_comes_later(every: list[Subject], data: st.DataObject) -> None:
    here = [mass for mass in masses(every) if mass.workspace == APP]
    if here:
        back = data.draw(st.sampled_from([one for mass in here for one in mass.fallen]))
        latest = max(one.inactive_since or 0.0 for one in every)
        returned = replace(
            lives("x", latest + 1), key=data.draw(st.sampled_from([back.key, AgentKey(APP, "z")]))
        )
        after = [one for one in every if one.key != returned.key] + [returned]
        assert [mass for mass in masses(after) if mass.workspace == APP] == []
