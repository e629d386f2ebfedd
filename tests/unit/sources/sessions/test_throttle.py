"""When a transcript that changes all the time is read."""

from __future__ import annotations

from coordd.sources.sessions.throttle import PERIOD, Throttle


def test_the_first_change_is_read_at_once() -> None:
    throttle: Throttle[str] = Throttle()
    assert throttle.changed("a", 100.0)
    assert throttle.due is None


def test_after_that_a_change_waits_for_a_second() -> None:
    throttle: Throttle[str] = Throttle()
    throttle.was_read(["a"], 100.0)
    assert not throttle.changed("a", 100.1)
    assert throttle.due is not None
    assert 0.85 <= throttle.due - 100.0 <= 1.5
    assert throttle.take(100.2) == set()
    assert throttle.take(throttle.due) == {"a"}
    assert throttle.due is None
    assert throttle.changed("b", 100.1)
    throttle.was_read(["a"], 102.0)
    assert throttle.changed("a", 104.0)


def test_a_reading_is_no_change() -> None:
    throttle: Throttle[str] = Throttle()
    throttle.changed("a", 100.0)
    throttle.was_read(["a"], 100.0)
    throttle.changed("a", 100.1)
    throttle.was_read(["a"], 100.2)
    assert throttle.due is None


def test_what_has_more_waits_as_well() -> None:
    throttle: Throttle[str] = Throttle()
    throttle.was_read(["a"], 100.0)
    throttle.wait(["a"])
    assert throttle.due is not None


def test_many_that_are_busy_come_to_be_read_together() -> None:
    """A busy minute of fifty: one reading a second each, and few wake-ups in all."""
    throttle: Throttle[int] = Throttle()
    at = {}
    mono, wakes = 1000.0, 0
    for key in range(50):
        throttle.was_read([key], mono + key * 0.02)
        throttle.changed(key, mono + key * 0.02)
        at[key] = [mono + key * 0.02]
    while (due := throttle.due) is not None and due < mono + 60:
        taken = throttle.take(due + 0.003)  # a little late, as timers are
        wakes += 1
        throttle.was_read(taken, due + 0.003)
        for key in taken:
            at[key].append(due)
            throttle.changed(key, due + 0.1)
    assert wakes <= 2 * 60 / PERIOD + 2
    assert all(55 <= len(times) <= 62 for times in at.values())


def test_others_are_forgotten() -> None:
    throttle: Throttle[str] = Throttle()
    throttle.was_read(["a", "b"], 100.0)
    throttle.changed("a", 100.0)
    throttle.keep(["b"])
    assert throttle.due is None
    assert throttle.changed("a", 100.0)
    assert not throttle.changed("b", 100.0)
