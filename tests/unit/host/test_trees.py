"""Test what belongs to the tree of an agent, and the shares of a processor that it used."""

from __future__ import annotations

import os
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_processes import process_of, python
from waiting import eventually

from coordd.host import processes
from coordd.host.forest import measure_trees
from coordd.host.process_facts import Process
from coordd.host.trees import LEAST_SPAN, ProcessUse, TreeMeter, TreeUse

ROOT = Process(10, 100)
AGENT = ProcessUse(10, 100, 1, 5.0, 1000, 3)


def child(
    pid: int, parent: int = 10, *, start: int = 200, terminal: int | None = 3, cpu: float = 1.0
) -> ProcessUse:
    return ProcessUse(pid, start, parent, cpu, 10, terminal)


def tree(*uses: ProcessUse, roots: dict[Process, int | None] | None = None) -> TreeUse:
    return measure_trees([AGENT, *uses], roots or {ROOT: None})[ROOT]


def test_children_and_their_children_add_up_in_whatever_order() -> None:
    uses = [child(13, 12), child(12, 11), child(11), child(20, 1)]
    assert tree(*uses) == TreeUse(4, 8.0, 1030)


def test_an_agent_that_another_started_is_no_part_of_it() -> None:
    uses = [child(11), child(12, 11), child(13, 12)]
    found = measure_trees([AGENT, *uses], {ROOT: None, Process(12, 200): None})
    assert found[ROOT].processes == 2
    assert found[Process(12, 200)].processes == 2


@pytest.mark.parametrize(
    ("uses", "count"),
    [
        ([child(11, terminal=None), child(12, 11, terminal=3)], 3),  # shells of tools have no terminal
        ([child(11, terminal=None), child(12, 11, terminal=7), child(13, 12, terminal=7)], 2),  # tmux's panes
        ([child(11, terminal=7), child(12, 11, terminal=7)], 3),  # a command that it runs in a terminal
        ([child(11, terminal=7), child(12, 11, terminal=8)], 2),
    ],
)
def test_a_process_with_another_terminal_is_no_part_of_it_unless_the_agent_started_it(
    uses: list[ProcessUse], count: int
) -> None:
    assert tree(*uses).processes == count


def test_a_process_older_than_its_parent_is_not_its_child() -> None:
    """The parent's pid has been used again between two looks of one pass."""
    assert tree(child(11, start=99)).processes == 1


def test_a_pid_used_again_is_no_root() -> None:
    assert measure_trees([AGENT], {Process(10, 99): None, Process(11, 1): None}) == {}


def test_a_zombie_counts_with_its_time_alone_and_is_no_root() -> None:
    dead = ProcessUse(11, 200, 10, 2.0, 0, None, ended=True)
    assert tree(dead) == TreeUse(1, 7.0, 1000)
    assert measure_trees([dead], {Process(11, 200): None}) == {}


def test_the_time_of_young_processes_is_without_the_root_and_the_older_ones() -> None:
    uses = [child(11, start=150, cpu=4.0), child(12, start=300, cpu=2.0), child(13, 12, start=301, cpu=0.5)]
    assert tree(*uses, roots={ROOT: 300}).young_cpu == 2.5
    assert tree(*uses, roots={ROOT: 50}).young_cpu == 6.5
    assert tree(*uses, roots={ROOT: 999}).young_cpu == 0
    assert tree(*uses).young_cpu is None


def test_a_circle_of_parents_ends() -> None:
    """Two looks of one pass can tell of one, as pids are used again."""
    assert tree(child(11, 12), child(12, 11), child(11, 10)).processes == 3


def shares(
    meter: TreeMeter, uses: list[ProcessUse], mono: float, *roots: Process, agents: Collection[Process] = ()
) -> dict[Process, float | None]:
    found = measure_trees(uses, dict.fromkeys(roots), agents=agents)
    return {root: use.cpu_percent for root, use in meter.with_shares(found, mono).items()}


def test_an_agent_that_is_known_is_nested_whether_or_not_it_is_measured_too() -> None:
    uses = [child(11), child(12, 11, cpu=7.0), child(13, 12)]
    inner = Process(12, 200)
    alone = measure_trees([AGENT, *uses], {ROOT: 150}, agents={ROOT, inner})[ROOT]
    both = measure_trees([AGENT, *uses], {ROOT: 150, inner: None})[ROOT]
    assert alone == both == TreeUse(2, 6.0, 1010, young_cpu=1.0, nested=(inner,))
    assert measure_trees([AGENT, *uses], {ROOT: 201}, agents={inner})[ROOT].nested == ()


def test_the_share_is_of_one_processor_between_two_passes() -> None:
    meter = TreeMeter(processors=8)
    assert shares(meter, [AGENT, child(11)], 50.0, ROOT) == {ROOT: None}
    assert shares(meter, [AGENT, child(11, cpu=16.0)], 60.0, ROOT) == {ROOT: 150.0}


def test_the_share_of_each_root_is_since_its_own_pass_before() -> None:
    """One is measured each minute, another each five, and a third appears between them."""
    meter = TreeMeter(processors=8)
    idle, new = Process(20, 100), Process(30, 100)

    def at(mono: float, *roots: Process) -> dict[Process, float | None]:
        uses = [ProcessUse(one.pid, 100, 1, one.pid * mono / 1000, 1) for one in (ROOT, idle, new)]
        return shares(meter, uses, mono, *roots)

    assert at(0.0, ROOT, idle) == {ROOT: None, idle: None}
    assert at(60.0, ROOT) == {ROOT: 1.0}
    assert at(90.0, new) == {new: None}
    assert at(120.0, ROOT) == {ROOT: 1.0}
    assert at(300.0, ROOT, idle, new) == {ROOT: 1.0, idle: 2.0, new: 3.0}


def test_a_pass_right_after_another_keeps_the_share_that_was_known() -> None:
    meter = TreeMeter(processors=8)
    shares(meter, [AGENT], 0.0, ROOT)
    assert shares(meter, [AGENT, child(11, cpu=6.0)], 60.0, ROOT) == {ROOT: 10.0}
    assert shares(meter, [AGENT, child(11, cpu=6.4)], 60.0 + LEAST_SPAN / 2, ROOT) == {ROOT: 10.0}
    assert shares(meter, [AGENT, child(11, cpu=8.0)], 60.0 + 2 * LEAST_SPAN, ROOT) == {ROOT: 20.0}


def test_the_share_is_never_negative_nor_more_than_there_is() -> None:
    meter = TreeMeter(processors=2)
    shares(meter, [AGENT, child(11, cpu=100.0)], 50.0, ROOT)
    assert shares(meter, [AGENT], 60.0, ROOT) == {ROOT: 0.0}  # nobody waited for it
    nested_ended = [AGENT, child(11, cpu=100_000.0)]
    assert shares(meter, nested_ended, 70.0, ROOT) == {ROOT: 200.0}


def test_a_root_with_a_pid_used_again_has_no_share_yet() -> None:
    meter = TreeMeter(processors=2)
    shares(meter, [AGENT], 50.0, ROOT)
    again = Process(10, 5000)
    assert shares(meter, [ProcessUse(10, 5000, 1, 0.0, 1)], 60.0, ROOT, again) == {again: None}


uses_of_few = st.lists(
    st.builds(
        ProcessUse,
        pid=st.integers(1, 9),
        start=st.integers(0, 3),
        parent=st.integers(0, 9),
        cpu=st.floats(0, 100),
        rss=st.integers(0, 100),
        terminal=st.none() | st.integers(1, 2),
        ended=st.booleans(),
    )
)


@given(
    uses_of_few,
    uses_of_few,
    st.dictionaries(st.builds(Process, st.integers(1, 9), st.integers(0, 3)), st.none()),
)
def test_whatever_a_pass_tells_no_process_counts_twice(
    first: list[ProcessUse], second: list[ProcessUse], roots: dict[Process, int | None]
) -> None:
    meter = TreeMeter(processors=2)
    for mono, told in ((1.0, first), (9.0, second)):
        uses = list({use.pid: use for use in told}.values())
        found = meter.with_shares(measure_trees(uses, roots), mono)
        assert sum(use.processes for use in found.values()) <= len(uses)
        assert sum(use.rss for use in found.values()) <= sum(use.rss for use in uses)
        assert all(0 <= (use.cpu_percent or 0) <= 200 for use in found.values())


def test_real_processes_add_up_and_the_time_of_one_that_ended_is_kept() -> None:
    """A child uses 0.3 s of a processor, ends and is waited for; its time stays that of the tree."""
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint('used', flush=True); input()"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {busy!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print('used', flush=True)
input()
child.communicate(b'\\n')
print('waited', flush=True)
input()
"""

    def measured() -> TreeUse:
        return measure_trees(processes.uses(), {root: root.start})[root]

    with python(code) as agent:
        root = process_of(agent.pid)
        before = measured()
        assert before.processes == 2
        assert before.young_cpu is not None
        assert before.young_cpu >= 0.28
        assert before.rss > 2_000_000
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write("\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == "waited\n"
        eventually(lambda: measured().processes == 1)
        assert measured().cpu_seconds >= before.cpu_seconds
    assert measure_trees(processes.uses(), {root: None}) == {}
    assert os.getpid() in {use.pid for use in processes.uses()}
