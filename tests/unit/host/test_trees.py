"""Test what belongs to the tree of an agent, and the shares of a processor that it used."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_processes import process_of, python
from waiting import eventually

from coordd.host import processes
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse, TreeMeter, TreeUse, measure_trees

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
        ([child(11, terminal=7), child(12, 11, terminal=7)], 2),  # a command that it runs in a terminal
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


def test_the_share_is_of_one_processor_between_two_passes() -> None:
    meter = TreeMeter(processors=8)
    first = meter.measure([AGENT, child(11)], {ROOT: None}, 50.0)
    assert first[ROOT].cpu_percent is None
    second = meter.measure([AGENT, child(11, cpu=16.0)], {ROOT: None}, 60.0)
    assert second[ROOT].cpu_percent == 150.0


def test_the_share_is_never_negative_nor_more_than_there_is() -> None:
    meter = TreeMeter(processors=2)
    meter.measure([AGENT, child(11, cpu=100.0)], {ROOT: None}, 50.0)
    assert meter.measure([AGENT], {ROOT: None}, 60.0)[ROOT].cpu_percent == 0.0  # nobody waited for it
    nested_ended = [AGENT, child(11, cpu=100_000.0)]
    assert meter.measure(nested_ended, {ROOT: None}, 70.0)[ROOT].cpu_percent == 200.0


def test_a_root_with_a_pid_used_again_has_no_share_yet() -> None:
    meter = TreeMeter(processors=2)
    meter.measure([AGENT], {ROOT: None}, 50.0)
    again = Process(10, 5000)
    found = meter.measure([ProcessUse(10, 5000, 1, 0.0, 1)], {ROOT: None, again: None}, 60.0)
    assert found == {again: TreeUse(1, 0.0, 1)}


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
    for mono, told in ((1.0, first), (2.0, second)):
        uses = list({use.pid: use for use in told}.values())
        found = meter.measure(uses, roots, mono)
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
