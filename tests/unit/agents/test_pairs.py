"""Test that agents seen by Redis and workspaces are paired and counted once, against a naive model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from coordd.agents.merge import merge
from coordd.agents.reducer import Key, KnownAgent
from coordd.agents.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces, Registration
from coordd.model import AgentCounts
from coordd.runtime.clocks import LoopMonitor, ObservedClock

TIMEOUT = 120.0
PATHS = ("", "/a", "/b")
IDS = ("x", "y")
keys = st.tuples(st.sampled_from((None, "/a", "/b")), st.sampled_from(IDS))
ages = st.none() | st.integers(min_value=0, max_value=16 * 300).map(lambda n: n / 16)


def shown_keys_of(known: set[Key]) -> dict[Key, list[Key]]:
    """Return the shown keys by the naive rule, each with the observations behind it."""
    found: dict[Key, list[Key]] = {key: [key] for key in known if key[0] is not None}
    for key in known:
        if key[0] is None:
            workspaces_of = [other for other in known if other[1] == key[1] and other[0] is not None]
            if len(workspaces_of) == 1:
                found[workspaces_of[0]].append(key)
            else:
                found[key] = [key]
    return found


class Model(RuleBasedStateMachine):
    """Let observations come, go, age and be lost in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.mono = 1000.0
        self.loop_monitor = LoopMonitor()
        self.store = AgentStore(timeout=TIMEOUT, loop_monitor=self.loop_monitor)
        self.known: dict[Key, KnownAgent] = {}
        self.recorded: dict[Key, Verdict] = {}
        self.told: set[Key] = set()
        self.store.on_change = self.told.add
        for path in PATHS:
            self.store.workspaces[path] = Workspace(path=path, clock=ObservedClock())

    def evidence(self, key: Key) -> Evidence:
        clock = self.store.workspaces[key[0] or ""].clock
        return self.known[key].evidence(clock.now(self.mono), timeout=TIMEOUT, readable=clock.readable)

    def verdict(self, observations: list[Key]) -> Verdict:
        every = [self.evidence(key) for key in observations]
        silences = [one.silence for one in every if one.silence is not None]
        return judge(
            Evidence(
                silence=min(silences, default=None),
                timeout=TIMEOUT,
                readable=all(one.readable for one in every),
            )
        )

    @rule(key=keys, age=ages)
    def publish(self, key: Key, age: float | None) -> None:
        at = None if age is None else self.store.workspaces[key[0] or ""].clock.now(self.mono) - age
        agent = KnownAgent(
            key=key,
            verdict=Verdict("active", "heartbeat"),
            cause="heartbeat",
            traces=AgentTraces(key[1]),
            beat_at=at,
            beat_wall=at,
            sources=("file",) if key[0] else ("redis",),
        )
        before = set(shown_keys_of(set(self.known)))
        foretold = None if key in self.known else self.store.would_move(key, there=True)
        self.known[key] = agent
        place = next(place for place, behind in shown_keys_of(set(self.known)).items() if key in behind)
        agent = replace(agent, verdict=self.verdict(shown_keys_of(set(self.known))[place]))
        assert self.store.shown_as(agent, self.mono).key == place
        self.store.publish(agent, self.mono)
        self.moved(before, key, foretold)

    @rule(key=keys)
    def remove(self, key: Key) -> None:
        before = set(shown_keys_of(set(self.known)))
        foretold = self.store.would_move(key, there=False) if key in self.known else None
        self.known.pop(key, None)
        self.store.remove(key, self.mono)
        self.moved(before, key, foretold)

    def moved(self, before: set[Key], own: Key, foretold: tuple[KnownAgent, bool] | None) -> None:
        """Check that moves of other keys were predicted, and are returned to be recorded."""
        after = set(shown_keys_of(set(self.known)))
        expected = {key: key in after for key in (before ^ after) - {own}}
        assert ({} if foretold is None else {foretold[0].key: foretold[1]}) == expected
        assert dict(self.store.take_moved()) == expected

    @rule(seconds=st.integers(min_value=1, max_value=130))
    def wait(self, seconds: int) -> None:
        self.mono += seconds

    @rule(path=st.sampled_from(PATHS))
    def lost(self, path: str) -> None:
        self.store.workspaces[path].clock.lost(self.mono)
        self.store.rejudge(path or None, self.mono)

    @rule(path=st.sampled_from(PATHS))
    def regained(self, path: str) -> None:
        self.store.workspaces[path].clock.regained(self.mono)
        self.store.rejudge(path or None, self.mono)

    @rule()
    def record_what_is_outdated(self) -> None:
        for key in self.store.take_unrecorded(self.mono):
            agent = self.store.get(key)
            assert agent is not None
            now = self.store.look(agent, self.mono).verdict
            assert now.status != agent.verdict.status
            self.store.recorded(key, now, "verdict", self.mono)
        assert not self.store.has_unrecorded

    @invariant()
    def every_agent_is_shown_once(self) -> None:
        keys = shown_keys_of(set(self.known))
        shown = list(self.store.shown(self.mono))
        assert [one.agent.key for one in shown] == sorted(keys, key=lambda key: (key[0] or "", key[1]))
        for one in shown:
            behind = keys[one.agent.key]
            assert one.verdict == self.verdict(behind)
            assert len(one.agent.sources) == len(behind)
            beats = [self.known[key].beat_at for key in behind]
            known = [self.evidence(key).silence for key in behind if self.known[key].beat_at is not None]
            assert (one.age is None) == (not [beat for beat in beats if beat is not None])
            assert one.evidence.silence == min(known, default=None)
            assert self.store.status_of(one.agent.key) == one.verdict.status
        assert self.store.counts(self.mono) == AgentCounts(
            **Counter(self.verdict(behind).status for behind in keys.values())
        )
        assert len(self.store) == len(keys)

    @invariant()
    def both_observations_of_an_agent_have_its_last_record(self) -> None:
        for behind in shown_keys_of(set(self.known)).values():
            observations = [self.store.observation(key) for key in behind]
            assert len({one.verdict for one in observations if one}) == 1

    @invariant()
    def each_source_has_what_it_sees(self) -> None:
        for path in PATHS:
            mine = {key for key in self.known if (key[0] or "") == path}
            assert {agent.key for agent in self.store.in_workspace(path or None)} == mine

    @invariant()
    def a_name_is_resolved_to_the_agent_that_is_shown(self) -> None:
        keys = shown_keys_of(set(self.known))
        for path in PATHS:
            for agent_id in IDS:
                key = self.store.resolve(path, agent_id)
                assert (self.store.status_of(key) is not None) == (key in keys)
                if (path or None, agent_id) in self.known:
                    assert key in keys

    @invariant()
    def no_deadline_is_missed(self) -> None:
        due = self.store.next_deadline()
        for place, behind in shown_keys_of(set(self.known)).items():
            silence = self.evidence_of(behind)
            if self.verdict(behind).status == "active" and silence is not None:
                assert due is not None, place
                assert due <= self.mono + max(0.001, TIMEOUT - silence) + 1e-9

    def evidence_of(self, behind: list[Key]) -> float | None:
        silences = [self.evidence(key).silence for key in behind]
        return min((silence for silence in silences if silence is not None), default=None)


TestPairs: Any = Model.TestCase
TestPairs.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)


def observation(workspace: str | None, **fields: Any) -> KnownAgent:
    return KnownAgent(
        key=(workspace, "x"), verdict=Verdict("active", "heartbeat"), cause="heartbeat", **fields
    )


def test_tasks_that_both_list_count_once_and_the_fresher_beat_wins() -> None:
    file = observation("/a", traces=AgentTraces("x", tasks=("t1", "t2")), beat_wall=100.0, run_since=50.0)
    redis = observation(
        None, traces=AgentTraces("x", tasks=("t2", "t3"), unnamed_tasks=2), beat_wall=130.0, run_since=120.0
    )
    merged = merge(file, redis, redis_fresher=True)
    assert merged.key == ("/a", "x")
    assert merged.active_tasks == 5
    assert merged.beat_wall == 130.0
    assert merged.run_since == 120.0  # the file's run had ended before
    assert merged.sources == ("file", "redis")
    joined = merge(replace(file, beat_wall=125.0), redis, redis_fresher=True)
    assert joined.run_since == 50.0


def test_what_one_source_cannot_tell_of_tasks_is_unknown_for_both() -> None:
    file = observation("/a", traces=AgentTraces("x", tasks=("t1",)))
    redis = observation(None, traces=AgentTraces("x", tasks=None))
    assert merge(file, redis, redis_fresher=False).active_tasks is None


def test_a_registration_in_a_file_counts_before_the_registry_field_by_field() -> None:
    file = observation("/a", traces=AgentTraces("x", registration=Registration(status="busy")))
    redis = observation(
        None, traces=AgentTraces("x", registration=Registration(status="idle", hostname="h", pid=7))
    )
    merged = merge(file, redis, redis_fresher=False)
    assert merged.traces is not None
    assert merged.traces.registration == Registration(status="busy", hostname="h", pid=7)


@given(st.booleans())
def test_before_either_was_read_again_what_was_recorded_stands(fresher: bool) -> None:
    file = observation("/a", traces=None, restored_tasks=3)
    redis = observation(None, traces=AgentTraces("x", tasks=("t1",)))
    assert merge(file, redis, redis_fresher=fresher).active_tasks == 3
