"""When to look for what may appear without a word."""

from __future__ import annotations

from coordd.sources.sessions.looks import Looks


def test_pauses_grow_up_to_a_minute() -> None:
    looks, at = Looks(), 100.0
    looks.plan({"a"}, at)
    pauses = []
    for _ in range(9):
        assert looks.due is not None
        pauses.append(looks.due - at)
        at = looks.due
        assert looks.is_due(at)
        looks.looked(at, at)
        looks.plan({"a"}, at)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_another_name_is_looked_for_soon() -> None:
    looks = Looks()
    looks.plan({"a"}, 0.0)
    looks.looked(1.0, 1.0)
    looks.plan({"a"}, 1.0)
    assert looks.due == 3.0
    looks.plan({"a", "b"}, 1.5)
    assert looks.due == 2.5
    looks.plan({"b"}, 2.0)
    assert looks.due == 2.5


def test_a_look_that_takes_long_is_taken_seldom() -> None:
    looks = Looks()
    looks.plan({"a"}, 0.0)
    looks.looked(1.0, 2.0)
    assert looks.due == 22.0


def test_nothing_is_due_while_nothing_is_to_be_found() -> None:
    looks = Looks()
    assert looks.due is None
    looks.plan({"a"}, 0.0)
    looks.plan((), 0.0)
    assert (looks.due, looks.is_due(100.0)) == (None, False)
