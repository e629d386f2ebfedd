"""Test what stays the tree of an agent when its processes are re-parented, and what is left when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.host import forest
from coordd.host.forest import NOTHING, Remembered, Survey, survey
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse

INIT = ProcessUse(1, 1, 0, 0.0, 0, None, name="init")
ROOT, OTHER = Process(10, 100), Process(20, 100)


def use(
    pid: int,
    parent: int = 1,
    *,
    start: int = 200,
    terminal: int | None = None,
    name: str = "",
    ended: bool = False,
) -> ProcessUse:
    return ProcessUse(pid, start, parent, 1.0, 10, terminal, ended, name)


def agent(root: Process = ROOT, terminal: int | None = 3, parent: int = 5) -> ProcessUse:
    return use(root.pid, parent, start=root.start, terminal=terminal)


def passed(*uses: ProcessUse, before: Survey | None = None, agents: tuple[Process, ...] = (ROOT,)) -> Survey:
    remembered = NOTHING if before is None else before.remembered
    return survey([INIT, *uses], dict.fromkeys(agents), remembered=remembered)


def claimed(process: Process, root: Process = ROOT) -> Survey:
    return Survey({}, Remembered({process: root}), {}, (), ())


def test_what_was_seen_below_an_agent_stays_its_own_with_all_that_it_starts() -> None:
    first = passed(agent(), use(11, 10), use(12, 11), use(13, 12))
    second = passed(agent(), use(12), use(13, 12), use(14, 13, start=300), before=first)  # 11 has ended
    assert first.trees[ROOT].processes == 4
    assert second.trees[ROOT].processes == 4
    third = passed(agent(), use(14, start=300), before=second)
    assert third.trees[ROOT].processes == 2
    assert third.left == {}


def test_it_outlives_its_agent_and_is_remembered_as_long_as_it_lives() -> None:
    first = passed(agent(), use(11, 10), use(12, 11))
    second = passed(use(11), use(12, 11), before=first)
    assert [one.pid for one in second.left[ROOT]] == [11, 12]
    assert second.trees == {}
    third = passed(use(12), use(13, 12), before=second, agents=())
    assert [one.pid for one in third.left[ROOT]] == [12, 13]
    assert passed(before=third, agents=()).remembered.roots == {}


def test_a_pid_that_was_used_again_is_nobodys() -> None:
    first = passed(agent(), use(11, 10))
    second = passed(agent(), use(11, start=999), before=first)
    assert second.trees[ROOT].processes == 1
    third = passed(use(10, start=999), use(11), before=first, agents=())
    assert [one.pid for one in third.left[ROOT]] == [11]


def test_an_agent_that_is_known_no_more_but_lives_has_left_nothing() -> None:
    first = passed(agent(), use(11, 10))
    assert passed(agent(), use(11), before=first, agents=()).left == {}


def test_what_is_below_another_agent_now_is_that_ones() -> None:
    first = passed(agent(), use(20, 10, start=100), use(21, 20))  # nobody knew that it is an agent
    second = passed(agent(), agent(OTHER, parent=10), use(21, 20), before=first, agents=(ROOT, OTHER))
    assert (second.trees[ROOT].processes, second.trees[OTHER].processes) == (1, 2)
    third = passed(agent(), use(21), before=second)
    assert (third.trees[ROOT].processes, [one.pid for one in third.left[OTHER]]) == (1, [21])


@pytest.mark.parametrize(
    ("loose", "count"),
    [
        ([use(30)], 2),
        ([use(30, terminal=3)], 2),
        ([use(30, terminal=7)], 1),
        ([use(30), use(31, 30, terminal=7)], 1),  # a tmux server with a pane
        ([use(30), use(31, 30, terminal=3)], 3),
        ([use(30), use(31, 30), use(32, 31, terminal=7)], 3),
    ],
)
def test_what_is_claimed_belongs_unless_it_has_or_holds_another_terminal(
    loose: list[ProcessUse], count: int
) -> None:
    found = passed(agent(), *loose, before=claimed(Process(30, 200)))
    assert found.trees[ROOT].processes == count


def test_a_command_in_a_terminal_of_its_own_stays_when_its_shell_has_ended() -> None:
    """Codex runs commands so."""
    first = passed(agent(terminal=None), use(11, 10, terminal=7), use(12, 11, terminal=7))
    assert first.trees[ROOT].processes == 3
    second = passed(agent(terminal=None), use(12, terminal=7), before=first)
    assert second.trees[ROOT].processes == 2
    third = passed(use(12, terminal=7), before=second)
    assert [one.pid for one in third.left[ROOT]] == [12]
    assert passed(agent(terminal=None), use(12, terminal=8), before=second).trees[ROOT].processes == 1


def test_who_may_have_been_re_parented_is_a_stray() -> None:
    manager = use(2, name="systemd")
    above, shell = use(4, 1), use(5, 4)
    found = passed(
        agent(), above, shell, manager, use(30), use(31, 2), use(32, 4), use(33, 31), use(34, ended=True)
    )
    assert {one.pid for one in found.strays} == {30, 31, 32}


def test_what_holds_terminals_is_no_stray_nor_is_what_belongs() -> None:
    first = passed(agent(), use(11, 10))
    found = passed(agent(), use(11), use(30), use(31, 30, terminal=7), before=first)
    assert found.strays == ()


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "MOST_REMEMBERED", 3)
    found = passed(agent(), *(use(11 + number, 10) for number in range(9)))
    assert len(found.remembered.roots) == 3
    assert found.trees[ROOT].processes == 10


# Whatever happens: processes are born below others, end, and are re-parented.

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.just(0)),
    ),
    max_size=40,
)


class Machine:
    """Processes with a truth of whose they are, as long as terminals do not matter."""

    def __init__(self) -> None:
        self.now = 1000
        self.uses = {10: agent(), 20: agent(OTHER)}
        self.truth = {Process(10, 100): ROOT, Process(20, 100): OTHER}

    def start(self, parent: int) -> None:
        self.now += 1
        above = self.uses[parent]
        self.uses[self.now] = use(self.now, parent, start=self.now)
        self.truth[Process(self.now, self.now)] = self.truth[Process(above.pid, above.start)]

    def end(self, pid: int) -> None:
        del self.uses[pid]
        for one in [one for one in self.uses.values() if one.parent == pid]:
            self.uses[one.pid] = use(one.pid, start=one.start)


@given(STEPS)
def test_nobody_is_given_to_the_wrong_agent_and_who_was_seen_is_not_forgotten(
    steps: list[tuple[str, int]],
) -> None:
    machine, before = Machine(), None
    seen: set[Process] = set()
    for what, which in [*steps, ("pass", 0)]:
        pids = sorted(machine.uses)
        if what == "start" and pids:
            machine.start(pids[which % len(pids)])
        elif what == "end" and pids:
            machine.end(pids[which % len(pids)])
        else:
            before = passed(*machine.uses.values(), before=before, agents=(ROOT, OTHER))
            alive = {Process(one.pid, one.start) for one in machine.uses.values()} - {ROOT, OTHER}
            known = before.remembered.roots
            assert known.items() <= machine.truth.items()
            assert known.keys() <= alive
            seen = (seen | known.keys()) & alive
            assert seen <= known.keys()
            assert {one.pid for one in before.strays}.isdisjoint({one.pid for one in known})
            for root, left in before.left.items():
                assert root.pid not in machine.uses
                assert all(known[Process(one.pid, one.start)] == root for one in left)


@given(
    st.lists(
        st.builds(
            use,
            st.integers(1, 15),
            st.integers(0, 15),
            start=st.integers(0, 5),
            terminal=st.sampled_from([None, 3, 7]),
            ended=st.booleans(),
            name=st.sampled_from(["", "systemd"]),
        ),
        max_size=15,
        unique_by=lambda one: one.pid,
    ),
    st.dictionaries(
        st.builds(Process, st.integers(1, 15), st.integers(0, 5)),
        st.builds(Process, st.integers(1, 15), st.integers(0, 5)),
        max_size=6,
    ),
)
def test_any_pass_ends_and_counts_nobody_twice(uses: list[ProcessUse], known: dict[Process, Process]) -> None:
    roots = dict.fromkeys([Process(1, 0), Process(2, 1), Process(3, 2)])
    found = survey(uses, roots, remembered=Remembered(known))
    counted = sum(tree.processes for tree in found.trees.values()) + sum(map(len, found.left.values()))
    assert counted <= len(uses)
    assert {Process(one.pid, one.start) for one in found.strays}.isdisjoint(found.remembered.roots)
