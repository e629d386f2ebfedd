"""Test the backlog and the waits between retries, against simple models."""

from hypothesis import given
from hypothesis import strategies as st

from coordd.runtime.backoff import Backoff
from coordd.sinks.backlog import Backlog

KEYS = ("system", "agent", "event")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 7)),
        st.tuples(st.just("done"), st.sampled_from(KEYS), st.integers(0, 7)),
        st.tuples(st.just("give_up"), st.just(""), st.just(0)),
    )
)


@given(limit=st.integers(0, 10), actions=ACTIONS)
def test_behaves_as_one_list_whose_oldest_gives_way(limit, actions):
    backlog: Backlog[int] = Backlog(limit=limit)
    model: list[tuple[str, int]] = []
    dropped = made = 0
    for action, key, count in actions:
        mine = [item for its_key, item in model if its_key == key]
        if action == "put":
            items = range(made, made + count)
            made += count
            model += [(key, item) for item in items]
            over = max(0, len(model) - limit)
            model = model[over:]
            dropped += over
            assert backlog.put(key, items) == over
        elif action == "done":
            taken = mine[:count]
            assert backlog.head(key, count) == taken
            backlog.done(key, len(taken))
            model = [entry for entry in model if entry not in {(key, item) for item in taken}]
        else:
            dropped += len(model)
            assert backlog.give_up() == len(model)
            model = []
        assert len(backlog) == len(model) <= limit
        assert backlog.dropped == dropped
        for each in KEYS:
            expected = [item for its_key, item in model if its_key == each]
            assert backlog.head(each, 1000) == expected
            assert backlog.count(each) == len(expected)


def test_backoff_doubles_to_its_longest_and_starts_again():
    backoff = Backoff(random=lambda: 0.0)
    assert [backoff.next() for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backoff.reset()
    assert backoff.next() == 0.1


@given(chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30))
def test_jitter_shortens_a_wait_by_up_to_half(chances):
    left = iter(chances)
    backoff = Backoff(random=lambda: next(left))
    full = 0.1
    for _ in chances:
        assert full / 2 <= backoff.next() <= full
        full = min(full * 2, 2.0)
