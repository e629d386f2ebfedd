"""Test whose processes are, by what was seen and by what they say of themselves."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Verdict
from coordd.agents.observation import Observation
from coordd.agents.session import Session
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces
from coordd.host.forest import Survey, survey
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.trees import ProcessUse
from coordd.intake.lineage import Lineage

ROOT, NEXT = Process(10, 100), Process(20, 500)


def use(
    pid: int, parent: int = 1, start: int = 200, terminal: int | None = None, session: int = 0
) -> ProcessUse:
    return ProcessUse(pid, start, parent, 1.0, 10, terminal, session=session, group=session)


def new(pid: int, parent: int, start: int = 200, session: int | None = None) -> ProcessFacts:
    return ProcessFacts(Process(pid, start), parent, 0.0, session=session)


def agent(process: Process, agent_id: str, session_id: str | None = None, kind: str = "claude-code") -> Agent:
    return agent_of(Session(kind=kind, session_id=session_id or agent_id, process=process), agent_id)


def agent_of(session: Session, agent_id: str) -> Agent:
    key, source = AgentKey("/p", agent_id), SourceName(session.kind, "/h")
    one = Observation(source, key, AgentTraces(agent_id, session=session))
    return Agent(key, (one,), Verdict("active", "process"), "start", one.traces, None, None, None)


class Scene:
    """A lineage that is led through passes; ``says`` is what processes answer when they are asked."""

    def __init__(self, **says: str) -> None:
        self.lineage = Lineage(own_pid=99)
        self.says: dict[int, dict[str, str]] = {
            int(pid.removeprefix("p")): {"claude-code": said} for pid, said in says.items()
        }
        self.asked: list[int] = []

    def passes(self, *uses: ProcessUse, living: dict[Process, list[Any]]) -> Survey:
        every = [ProcessUse(1, 0, 0, 0.0, 0), *uses]
        self.lineage.know(living)
        found = survey(every, {}, agents=set(living), remembered=self.lineage.remembered)
        unasked = self.lineage.unasked(found)
        self.asked += [one.pid for one in unasked]
        self.lineage.told({one: self.says.get(one.pid, {}) for one in unasked})
        if self.lineage.take(found):
            found = survey(every, {}, agents=set(living), remembered=self.lineage.remembered)
            assert not self.lineage.take(found)
        return found

    def left(self, found: Survey) -> dict[int, str | None]:
        return {
            one.use.pid: one.owner.agent_id if one.owner else one.session_id
            for one in self.lineage.left(found)
            if one.certain
        }


TOP = use(10, 5, 100)


def test_one_that_nobody_saw_below_its_agent_says_whose_it_is_and_is_asked_once() -> None:
    scene = Scene(p30="s")
    living = {ROOT: [agent(ROOT, "s")]}
    for _ in range(3):
        found = scene.passes(TOP, use(30), use(31), living=living)
        assert scene.lineage.remembered.roots == {Process(30, 200): ROOT}
        assert scene.left(found) == {}
    assert scene.asked == [30, 31]
    assert scene.left(scene.passes(use(30), use(31), living={})) == {30: "s"}


def test_a_session_that_no_longer_lives_has_left_something_even_if_nobody_knew_it() -> None:
    scene = Scene(p30="gone", p31="s", p99="gone")
    found = scene.passes(TOP, use(30), use(31), use(99), living={ROOT: [agent(ROOT, "s")]})
    assert scene.left(found) == {30: "gone"}
    assert 99 not in scene.asked  # coordd itself


def test_what_runs_below_something_left_behind_was_left_with_it() -> None:
    scene = Scene(p30="gone")
    server = use(32, 31, start=220, terminal=7)  # of a terminal of its own, as below "script"
    every = (TOP, use(30), use(31, 30, start=210), server, use(33, 31, start=90))
    assert scene.left(scene.passes(*every, living={ROOT: [agent(ROOT, "s")]})) == {30: "gone", 31: "gone"}


def test_a_session_in_which_an_agent_was_before_is_its_own() -> None:
    scene = Scene(p30="s", p31="t")
    scene.passes(TOP, living={ROOT: [agent(ROOT, "s")]})
    living = {ROOT: [agent(ROOT, "s", "t")]}
    found = scene.passes(TOP, use(30), use(31), living=living)
    assert set(scene.lineage.remembered.roots) == {Process(30, 200), Process(31, 200)}
    assert scene.left(found) == {}


def test_of_a_session_that_nobody_knows_nothing_is_said_while_a_living_one_may_have_been_in_it() -> None:
    scene = Scene(p30="u", p31="u")
    found = scene.passes(TOP, use(30), use(31, start=50), living={ROOT: [agent(ROOT, "s", "t")]})
    assert scene.left(found) == {31: "u"}  # which is older than that agent
    assert scene.left(scene.passes(use(30), use(31, start=50), living={})) == {30: "u", 31: "u"}


def test_an_agent_of_another_kind_cannot_have_been_in_the_session_that_a_process_names() -> None:
    scene = Scene(p30="u")
    opencode = agent_of(Session(kind="opencode", session_id=None, process=ROOT), "opencode-10")
    assert scene.left(scene.passes(TOP, use(30), living={ROOT: [opencode]})) == {30: "u"}
    several = agent(ROOT, "s", "t", kind="codex")
    assert scene.left(scene.passes(TOP, use(30), living={ROOT: [several]})) == {30: "u"}
    of_another_user = agent_of(Session(kind="claude-code", session_id=None, process=ROOT), "claude-code-10")
    assert scene.left(scene.passes(TOP, use(30), living={ROOT: [of_another_user]})) == {}


def test_a_session_that_goes_on_in_another_process_has_left_nothing() -> None:
    scene = Scene(p11="s")
    scene.passes(TOP, use(11, 10), living={ROOT: [agent(ROOT, "s")]})
    again = use(20, 5, 500)
    found = scene.passes(again, use(11), living={NEXT: [agent(NEXT, "s~20", "s")]})
    assert scene.left(found) == {}
    assert scene.lineage.remembered.roots == {Process(11, 200): NEXT}


def test_one_that_says_nothing_is_known_by_what_was_seen() -> None:
    scene = Scene()
    codex = [agent(ROOT, "c", kind="codex")]
    scene.passes(TOP, use(11, 10), living={ROOT: codex})
    found = scene.passes(use(11), living={})
    (one,) = scene.lineage.left(found)
    assert one.owner is not None
    assert (one.owner.agent_id, one.owner.kind, one.owner.workspace) == ("c", "codex", "/p")


def test_one_that_says_nothing_is_known_by_its_session() -> None:
    scene = Scene(p41="elsewhere")
    codex = {ROOT: [agent(ROOT, "c", kind="codex")]}
    scene.passes(TOP, use(11, 10, session=11), living=codex)
    late, says = use(40, start=300, session=11), use(41, start=300, session=11)
    assert scene.left(scene.passes(late, says, living={})) == {40: "c", 41: "elsewhere"}


def test_one_that_has_another_terminal_is_not_known_by_its_session() -> None:
    scene = Scene()
    top = use(10, 5, 100, terminal=3)
    scene.passes(top, use(11, 10, session=11), living={ROOT: [agent(ROOT, "c", kind="codex")]})
    assert scene.left(scene.passes(use(40, start=300, terminal=7, session=11), living={})) == {}


def test_one_is_known_by_its_parent_when_it_was_new() -> None:
    scene = Scene()
    codex = {ROOT: [agent(ROOT, "c", kind="codex")]}
    scene.passes(TOP, living=codex)
    scene.lineage.started([new(12, 11, 210), new(11, 10, session=11), new(13, 99), new(14, 10, start=50)])
    assert scene.lineage.remembered.roots == {Process(11, 200): ROOT, Process(12, 210): ROOT}
    late = use(40, start=300, session=11)  # of the shell that has ended meanwhile
    assert scene.left(scene.passes(use(12, start=210), late, living={})) == {12: "c", 40: "c"}


def test_a_new_process_with_the_pid_of_one_that_is_gone_is_another() -> None:
    scene = Scene()
    codex = {ROOT: [agent(ROOT, "c", kind="codex")]}
    scene.passes(TOP, use(11, 10), living=codex)
    scene.lineage.started([new(11, 1, start=400), new(12, 11, start=410)])
    assert scene.lineage.remembered.roots == {Process(11, 200): ROOT}


def test_of_two_agents_one_of_which_started_the_other_the_inner_one_left_it() -> None:
    scene = Scene()
    inner = use(20, 11, 500)
    living = {ROOT: [agent(ROOT, "outer")], NEXT: [agent(NEXT, "inner", kind="codex")]}
    scene.passes(TOP, use(11, 10), inner, living=living)
    scene.says[40] = {"claude-code": "outer", "codex": "inner"}
    scene.says[41] = {"claude-code": "outer", "codex": "unknown"}
    del living[NEXT]
    found = scene.passes(TOP, use(11, 10), use(40, start=600), use(41, start=600), living=living)
    assert scene.left(found) == {40: "inner"}
    assert scene.lineage.remembered.roots[Process(41, 600)] == ROOT


def test_of_several_sessions_of_one_process_the_one_that_it_names_is_the_owner() -> None:
    scene = Scene()
    scene.says[40] = {"codex": "a"}
    both = {ROOT: [agent(ROOT, "a", kind="codex"), agent(ROOT, "b", kind="codex")]}
    scene.passes(TOP, use(40), use(11, 10), living=both)
    assert scene.left(scene.passes(use(40), use(11), living={})) == {40: "a", 11: "b"}


def test_an_id_that_may_be_a_subagents_names_nobody_and_hides_nobody() -> None:
    """Subagents of Copilot have ids of their own, which their processes say in place of the session's."""
    scene = Scene()
    scene.says |= {30: {"copilot": "s"}, 31: {"copilot": "sub"}, 32: {"copilot": "sub"}}
    scene.says[33] = {"codex": "other"}
    living = {ROOT: [agent(ROOT, "s", kind="copilot")]}
    scene.passes(TOP, use(11, 10, session=11), living=living)
    strays = use(30), use(31, session=11), use(32), use(33)
    found = scene.passes(TOP, use(11, 10, session=11), *strays, living=living)
    roots = scene.lineage.remembered.roots
    assert Process(30, 200) in roots and Process(31, 200) in roots and Process(32, 200) not in roots
    assert {one.use.pid: one.certain for one in scene.lineage.left(found)} == {32: False, 33: True}


def test_a_session_of_which_something_was_left_before_it_was_seen_is_one() -> None:
    scene = Scene()
    scene.says[40] = {"copilot": "s"}
    scene.passes(TOP, living={ROOT: [agent(ROOT, "s", kind="copilot")]})
    found = scene.passes(use(40), living={})
    assert {one.use.pid: (one.session_id, one.certain) for one in scene.lineage.left(found)} == {
        40: ("s", True)
    }


def test_nothing_is_kept_of_what_has_ended() -> None:
    scene = Scene(p30="gone", p11="s")
    scene.passes(TOP, use(11, 10), use(30), living={ROOT: [agent(ROOT, "s")]})
    scene.passes(use(11), use(30), living={})
    scene.passes(living={})
    scene.passes(living={})
    kept = scene.lineage
    assert (kept.remembered.roots, kept._owners, kept._sessions, kept._asked, kept._changed) == (
        {},
        {},
        {},
        {},
        {},
    )


@given(st.text(max_size=300))
def test_a_session_id_is_a_word_of_few_characters(said: str) -> None:
    scene = Scene(p30=said)
    left = scene.left(scene.passes(use(30), living={}))
    assert left in ({}, {30: said})
    assert all(len(one or "") <= 128 and (one or "").isascii() for one in left.values())
