"""A parent and its child of one kind are one agent, whichever of them the table names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordd.host.process_facts import Process
from coordd.sources.process.families import SeenProgram, agents_among
from coordd.sources.process.programs import PROGRAMS

ROWS = {row.kind: row for row in PROGRAMS}


def seen(kind: str, pid: int, parent: int = 1, start: int | None = None) -> SeenProgram:
    return SeenProgram(ROWS[kind], Process(pid, pid if start is None else start), parent, 0.0)


def ids(*every: SeenProgram) -> set[str]:
    return {one.agent_id for one in agents_among(every)}


def test_a_script_and_the_program_that_it_starts_are_one() -> None:
    assert ids(seen("gemini", 10), seen("gemini", 11, 10)) == {"gemini-10"}
    assert ids(seen("codex", 10), seen("codex", 11, 10)) == {"codex-11"}
    assert ids(seen("gemini", 10), seen("gemini", 11, 10), seen("gemini", 12, 11)) == {"gemini-10"}
    assert ids(seen("codex", 10), seen("codex", 11, 10), seen("codex", 12, 11)) == {"codex-12"}


def test_an_agent_that_another_started_is_one_of_its_own() -> None:
    assert ids(seen("gemini", 10), seen("codex", 11, 10)) == {"gemini-10", "codex-11"}
    assert ids(seen("gemini", 10), seen("gemini", 12, 11)) == {"gemini-10", "gemini-12"}  # by a shell


def test_a_parent_whose_pid_was_used_again_is_none() -> None:
    assert ids(seen("gemini", 10, start=99), seen("gemini", 11, 10)) == {"gemini-10", "gemini-11"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["codex", "gemini"]), st.integers(1, 12), st.integers(0, 12)),
        max_size=12,
        unique_by=lambda one: one[1],
    )
)
def test_every_family_has_an_agent_and_none_is_made_up(drawn: list[tuple[str, int, int]]) -> None:
    every = [seen(kind, pid, parent) for kind, pid, parent in drawn]
    agents = agents_among(every)
    assert {one.process for one in agents} <= {one.process for one in every}
    for kind in ("codex", "gemini"):
        assert any(one.program.kind == kind for one in agents) == any(drew[0] == kind for drew in drawn)
