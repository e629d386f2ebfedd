"""Test which connection is dropped for which: the rules alone, without sockets."""

from __future__ import annotations

import resource

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordd.protocol.admission import GRACE, Admission, Caller, allowed_connections
from coordd.protocol.memory_shares import Memory

LONG = GRACE * 10


class One:
    """A connection as the rules see it."""

    def __init__(
        self,
        caller: Caller,
        since: float = 0.0,
        *,
        incomplete: bool = False,
        waits: bool = True,
        silent: bool = False,
        subscribed: bool = False,
    ) -> None:
        self.caller = caller
        self.since = since
        self.incomplete = incomplete
        self.waits = waits
        self.silent = silent
        self.subscribed = subscribed


ME = Caller(1000, 1)
OTHER = Caller(1001, 2)
ROOT = Caller(0, 3, privileged=True)


def admission(limit: int, *connections: One, reserved: int = 0) -> Admission[One]:
    made: Admission[One] = Admission(limit=limit, reserved=reserved)
    for connection in connections:
        made.add(connection)
        if connection.subscribed:
            assert made.subscribe(connection)
    return made


def test_incomplete_ones_go_first_then_the_longest_idle_and_subscribers_stay() -> None:
    old, older = One(ME, 5), One(ME, 4)
    half, elder_half = One(ME, 7, incomplete=True), One(ME, 6, incomplete=True)
    subscriber, busy = One(ME, 1, subscribed=True), One(ME, 2, waits=False)
    admitted = admission(6, old, subscriber, older, half, busy, elder_half)
    for expected in (elder_half, half, older, old):
        assert admitted.full(ME)
        assert admitted.connection_to_drop(ME, LONG) is expected
        admitted.remove(expected)
        admitted.remove(expected)  # once more is harmless
        admitted.add(One(ME, 50, waits=False))
    assert admitted.connection_to_drop(ME, LONG) is None


def test_the_user_with_most_connections_loses_one_first() -> None:
    honest = One(OTHER, 0)
    admitted = admission(4, honest, One(ME, 3), One(ME, 2), One(Caller(1000, 9), 1))
    found = admitted.connection_to_drop(OTHER, LONG)
    assert found is not None
    assert (found.caller, found.since) == (ME, 2)  # of the larger user the larger process, of it the older


def test_a_half_request_of_one_who_holds_little_is_spared_while_it_is_young() -> None:
    young = One(OTHER, 10, incomplete=True)
    idle = One(ME, 3)
    admitted = admission(4, young, idle, One(ME, 4), One(ME, 5))
    assert admitted.connection_to_drop(ME, 10 + GRACE / 2) is idle
    assert admitted.connection_to_drop(ME, 10 + GRACE * 2) is young


def test_a_newcomer_may_be_silent_for_a_moment_and_no_longer() -> None:
    idle, newcomer = One(ME, 1), One(ME, 10, incomplete=True, silent=True)
    admitted = admission(2, idle, newcomer)
    assert admitted.connection_to_drop(ME, 10) is idle
    assert admitted.connection_to_drop(ME, 10 + GRACE) is newcomer
    admitted.remove(idle)
    admitted.add(One(ME, 10, incomplete=True, silent=True))
    assert admitted.connection_to_drop(ME, 10) is newcomer  # a rush of them: the oldest


def test_places_are_kept_for_the_privileged() -> None:
    admitted = admission(16, *(One(ME, number, waits=False) for number in range(12)), reserved=4)
    assert admitted.full(ME)
    assert not admitted.full(ROOT)
    roots = [One(ROOT, 0) for _ in range(4)]
    for one in roots:
        admitted.add(one)
    assert admitted.full(ROOT)
    assert (
        admitted.connection_to_drop(Caller(7, 7), 1.0) in admitted.connections()[:12]
    )  # never one of those kept
    idle = One(ME, 3)
    admitted.remove(admitted.connections()[0])
    admitted.add(idle)
    assert admitted.connection_to_drop(ROOT, LONG) is idle


def test_a_user_with_more_than_half_of_all_loses_one_whatever_it_does() -> None:
    mine = [One(ME, 0, waits=False) for _ in range(3)]
    admitted = admission(5, *mine, One(Caller(1002, 8), 0, waits=False), One(ME, 0, subscribed=True))
    assert admitted.connection_to_drop(ME, LONG) is None
    assert admitted.connection_to_drop(OTHER, LONG) is mine[-1]
    assert admitted.connection_to_drop(Caller(1000, 77), LONG) is mine[-1]  # another process of the same user


def test_subscribers_have_half_of_the_places() -> None:
    ones = [One(Caller(1000, pid), 0) for pid in range(8)]
    admitted = admission(8, *ones)
    assert [admitted.subscribe(one) for one in ones] == [True] * 4 + [False] * 4
    assert admitted.subscribe(ones[0])  # it is one already
    admitted.unsubscribe(ones[0])
    assert admitted.subscribe(ones[7])
    assert admitted.subscriber_to_drop(Caller(1000, 99)) is None
    assert admitted.subscriber_to_drop(OTHER) is ones[7]  # one user has all of them


def test_a_process_with_more_than_half_of_the_subscriptions_gives_one_up() -> None:
    mine = [One(ME, 0) for _ in range(4)]
    admitted = admission(8, *mine, *(One(ROOT, 0) for _ in range(4)))
    assert all(admitted.subscribe(one) for one in mine)
    assert admitted.subscriber_to_drop(ME) is None
    assert admitted.subscriber_to_drop(Caller(1000, 2)) is mine[-1]


def test_subscriptions_are_kept_for_the_privileged_too() -> None:
    strangers = [One(ME, 0) for _ in range(16)]
    admitted = admission(32, *strangers, reserved=4)
    assert sum(admitted.subscribe(one) for one in strangers) == 12
    root = One(ROOT, 0)
    admitted.add(root)
    assert admitted.subscribe(root)
    roots = admission(32, *(One(ROOT, 0) for _ in range(16)), reserved=4)
    assert all(roots.subscribe(one) for one in roots.connections())
    assert roots.subscriber_to_drop(ME) is None  # a stranger ends nobody's who is privileged


callers = st.builds(Caller, st.integers(0, 2), st.integers(0, 2))
ones = st.builds(
    One,
    callers,
    st.floats(0, 100),
    incomplete=st.booleans(),
    waits=st.booleans(),
    silent=st.booleans(),
)


@given(arrivals=st.lists(ones, max_size=60), limit=st.integers(1, 12))
@example(
    arrivals=[
        One(Caller(0, 0)),
        One(Caller(0, 0), 100.0, incomplete=True, silent=True),
        One(Caller(1, 0), waits=False),
        One(Caller(0, 0), waits=False),
        One(Caller(1, 0), waits=False),
        One(Caller(1, 0), waits=False),
    ],
    limit=3,
)
def test_the_limit_holds_and_no_process_can_shut_out_another(arrivals: list[One], limit: int) -> None:
    admitted: Admission[One] = admission(limit)
    for one in arrivals:
        if admitted.full(one.caller):
            other = admitted.connection_to_drop(one.caller, 100.0)
            if other is None:
                there = [connection.caller for connection in admitted.connections()]
                holders = [caller.key for caller in there]
                users = [caller.user for caller in there]

                def held(caller: Caller, users: list[object], keys: list[object]) -> tuple[int, int]:
                    return users.count(caller.user), keys.count(caller.key)

                # who holds most is refused rather than that one who has hardly come is dropped for it
                own = held(one.caller, users, list(holders))
                assert not any(
                    connection.waits and held(connection.caller, users, list(holders)) >= own
                    for connection in admitted.connections()
                )
                assert not [
                    who for who in set(holders) if who != one.caller.key and holders.count(who) * 2 > limit
                ]
                continue
            admitted.remove(other)
        admitted.add(one)
        assert len(admitted) <= limit


@pytest.mark.parametrize(
    ("soft", "allowed"),
    [(256, 128), (1024, 512), (2048, 1024), (1_000_000, 1024), (4, 4), (resource.RLIM_INFINITY, 1024)],
)
def test_connections_have_half_of_the_descriptors(
    monkeypatch: pytest.MonkeyPatch, soft: int, allowed: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, soft))
    assert allowed_connections() == allowed


def test_without_word_of_the_limit_there_is_room_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_what: int) -> tuple[int, int]:
        raise OSError(1, "refused")

    monkeypatch.setattr(resource, "getrlimit", refuse)
    assert allowed_connections() == 128


def test_the_heaviest_of_the_process_that_holds_most_lets_go() -> None:
    memory: Memory[One] = Memory(100)
    honest, small, large = One(OTHER), One(ME), One(ME)
    memory.holds(honest, 50)
    memory.holds(small, 20)
    memory.holds(large, 30)
    assert memory.heaviest() is None
    memory.holds(large, 40)
    assert memory.heaviest() is large
    memory.holds(large, 0)
    assert memory.heaviest() is None


def test_several_processes_that_share_all_places_give_one_up_to_another() -> None:
    """None of them has half of all, and each has more than an equal share."""
    many = [One(Caller(1000, 10 + number % 3), 0, waits=False) for number in range(12)]
    admitted = admission(12, *many)
    assert admitted.connection_to_drop(Caller(1000, 99), LONG) is many[-1]
    assert admitted.connection_to_drop(OTHER, LONG) is many[-1]
    assert admitted.connection_to_drop(Caller(1000, 10), LONG) is None


def test_subscribers_that_share_all_places_give_one_up_to_another() -> None:
    many = [One(Caller(1000 + number % 3, 7), 0) for number in range(12)]
    admitted = admission(24, *many)
    assert all(admitted.subscribe(one) for one in many)
    assert admitted.subscriber_to_drop(Caller(99, 99)) is many[-1]
    assert admitted.subscriber_to_drop(many[0].caller) is None


def test_processes_that_have_one_place_each_keep_it() -> None:
    admitted = admission(12, *(One(Caller(1000, number), 0, waits=False) for number in range(12)))
    assert admitted.connection_to_drop(Caller(1000, 99), LONG) is None


def test_one_who_holds_little_is_not_sent_away_before_those_who_hold_much() -> None:
    """In a rush of theirs its request lies unread in the kernel for longer than the moment of grace."""
    honest = One(OTHER, 1, incomplete=True, silent=True)
    idle = [One(ME, number) for number in range(8)]
    admitted = admission(9, honest, *idle)
    assert admitted.connection_to_drop(ME, LONG) is idle[0]
    same_user = One(Caller(1000, 9), 1, incomplete=True, silent=True)
    admitted = admission(9, same_user, *idle)
    assert admitted.connection_to_drop(ME, LONG) is idle[0]


def test_an_order_that_is_used_again_knows_what_happened_meanwhile() -> None:
    idle = [One(ME, number) for number in range(1024)]
    admitted = admission(1024, *idle)
    assert admitted.connection_to_drop(OTHER, LONG) is idle[0]
    admitted.remove(idle[0])
    admitted.remove(idle[1])
    idle[2].since = LONG  # it has spoken
    idle[3].waits = False
    idle[4].subscribed = True
    assert admitted.connection_to_drop(OTHER, LONG) is idle[5]
    assert admitted.connection_to_drop(OTHER, LONG + 1) is idle[2]  # looked at anew


def test_a_privileged_one_that_nobody_gives_way_for_leaves_the_order_of_others_alone() -> None:
    root, idle = One(ROOT, 0), [One(ME, number) for number in range(1, 12)]
    admitted = admission(12, root, *idle, reserved=3)
    assert admitted.connection_to_drop(OTHER, LONG) is idle[0]
    assert admitted.connection_to_drop(ROOT, LONG) is not None
    admitted = admission(4, *(One(ROOT, 0) for _ in range(4)), reserved=4)
    assert admitted.connection_to_drop(ROOT, LONG) is not None


def test_one_who_has_hardly_come_is_not_pushed_out_by_who_holds_most() -> None:
    """All others are being answered: their next connection is refused, and another's takes one of theirs."""
    honest = One(OTHER, LONG, incomplete=True, silent=True)
    busy = [One(Caller(1000, 10 + number % 3), 0, waits=False) for number in range(11)]
    admitted = admission(12, *busy, honest)
    assert admitted.connection_to_drop(busy[0].caller, LONG * 2) is None
    assert admitted.connection_to_drop(Caller(1002, 5), LONG * 2) is busy[-1]
