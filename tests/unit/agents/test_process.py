"""Test which processes count as an agent's: every rule by itself, and what a registration claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordd.agents.process import TABLE, Counts, Here, Later, Look, Refused, judge_claim
from coordd.agents.process_claim import ProcessClaim, claim_of_registration, claim_of_session
from coordd.agents.session import Session
from coordd.agents.traces import Registration
from coordd.host.process_facts import Process, ProcessFacts

T0 = 1_795_262_400.0
PID, START = 4711, 98032
HERE = Here(frozenset({"box", "box.example.org"}), own_pid=999)
FACTS = ProcessFacts(
    Process(PID, START),
    parent=1,
    started=T0 - 60,
    uid=1000,
    inner_pid=PID,
    name="bash",
    commanded=True,
    cwd="/p/src",
)
CLAIM = ProcessClaim(PID, owner=1000, written=T0, folders=("/p", "/tree"))
EXACT = replace(CLAIM, proc_start=START)
CONTAINED = replace(FACTS, process=Process(90210, START), inner_pid=PID, inner=True, uid=100_000, cwd="/w")
OF_REDIS = ProcessClaim(PID, proc_start=START, hostname="box")


def judged(
    claim: ProcessClaim,
    facts: ProcessFacts | None = FACTS,
    *,
    wall: float = T0 + 100,
    waited: Process | None = None,
) -> Counts | Refused | Later:
    return judge_claim(Look(claim, facts, HERE, wall, waited))


def refusal(claim: ProcessClaim, facts: ProcessFacts | None = FACTS) -> str:
    verdict = judged(claim, facts)
    assert isinstance(verdict, Refused)
    return verdict.reason


def test_a_process_of_the_owner_in_the_workspace_that_began_before_counts() -> None:
    assert judged(CLAIM) == Counts(FACTS.process)
    assert judged(replace(CLAIM, hostname="box")) == Counts(FACTS.process)
    assert judged(CLAIM, replace(FACTS, cwd=None)) == Counts(FACTS.process)
    assert judged(CLAIM, replace(FACTS, cwd="/tree")) == Counts(FACTS.process)


@pytest.mark.parametrize(
    ("claim", "facts", "reason"),
    [
        (CLAIM, None, "no such process"),
        (CLAIM, replace(FACTS, uid=1001), "another user"),
        (replace(CLAIM, owner=0), FACTS, "another user"),
        (CLAIM, replace(FACTS, uid=None), "another user"),
        (CLAIM, replace(FACTS, commanded=False), "no command line"),
        (CLAIM, replace(FACTS, commanded=None), "no command line"),
        (replace(CLAIM, pid=1), replace(FACTS, process=Process(1, START)), "pid 1"),
        (CLAIM, replace(FACTS, started=T0 + 2), "started after"),
        (replace(CLAIM, written=None), FACTS, "started after"),
        (CLAIM, replace(FACTS, cwd="/pp"), "outside"),
        (CLAIM, replace(FACTS, cwd="/"), "outside"),
        (replace(CLAIM, folders=()), FACTS, "outside"),
        (replace(CLAIM, hostname="other"), FACTS, "another machine"),
        (replace(CLAIM, proc_start=START + 1), FACTS, "another time"),
    ],
)
def test_without_a_start_that_fits_each_doubt_refuses(
    claim: ProcessClaim, facts: ProcessFacts | None, reason: str
) -> None:
    assert reason in refusal(claim, facts)


def test_a_file_that_counts_whole_seconds_may_seem_older_than_its_writer() -> None:
    assert judged(CLAIM, replace(FACTS, started=T0 + 0.99)) == Counts(FACTS.process)


def test_a_start_that_fits_is_enough() -> None:
    doubtful = replace(FACTS, uid=1001, commanded=False, started=T0 + 50, cwd="/elsewhere")
    assert judged(EXACT, doubtful) == Counts(FACTS.process)
    assert judged(replace(EXACT, hostname="other"), doubtful) == Counts(FACTS.process)


def test_a_pid_of_a_container_counts_by_its_start_alone() -> None:
    assert judged(replace(EXACT, hostname="f3a9c1"), CONTAINED) == Counts(Process(90210, START))
    assert "another time" in refusal(replace(EXACT, proc_start=START - 1), CONTAINED)
    assert "another time" in refusal(EXACT, replace(CONTAINED, inner_pid=7))
    assert "another time" in refusal(EXACT, replace(CONTAINED, inner=False))


def test_pid_1_of_a_container_counts() -> None:
    facts = replace(CONTAINED, inner_pid=1)
    assert judged(replace(EXACT, pid=1), facts) == Counts(facts.process)


def test_coordd_itself_never_counts() -> None:
    own = replace(FACTS, process=Process(999, START))
    assert "coordd itself" in refusal(replace(CLAIM, pid=999), own)
    assert "coordd itself" in refusal(replace(EXACT, pid=999), own)
    assert "coordd itself" in refusal(replace(EXACT, pid=5), replace(own, inner=True, inner_pid=5))


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (replace(OF_REDIS, hostname=None), "only with proc_start and hostname"),
        (replace(OF_REDIS, hostname="localhost"), "only with proc_start and hostname"),
        (replace(OF_REDIS, proc_start=None), "only with proc_start and hostname"),
        (replace(OF_REDIS, hostname="other"), "another machine"),
        (replace(OF_REDIS, proc_start=START + 1), "another time"),
    ],
)
def test_an_entry_of_redis_needs_start_and_hostname(claim: ProcessClaim, reason: str) -> None:
    assert reason in refusal(claim)


def test_an_entry_of_redis_with_both_counts() -> None:
    assert judged(OF_REDIS) == Counts(FACTS.process)


@pytest.mark.parametrize(
    ("age", "after"), [(0.0, 1.0), (0.25, 0.75), (1.0, None), (3600.0, None), (-3600.0, 1.0)]
)
def test_a_process_has_to_live_a_second_longer_than_its_registration(age: float, after: float | None) -> None:
    expected = Counts(FACTS.process) if after is None else Later(FACTS.process, after)
    assert judged(CLAIM, wall=T0 + age) == expected


def test_one_that_is_there_again_counts_and_one_that_is_gone_does_not() -> None:
    assert judged(CLAIM, wall=T0, waited=FACTS.process) == Counts(FACTS.process)
    assert judged(CLAIM, None, waited=FACTS.process) == Refused("it is gone a moment later")
    other = replace(FACTS, process=Process(PID, START + 50))
    assert judged(CLAIM, other, wall=T0, waited=FACTS.process) == Later(other.process, 1.0)


@pytest.mark.parametrize(
    ("hostname", "fits"),
    [
        ("box", True),
        ("BOX", True),
        (" box. ", True),
        ("box.local", True),
        ("box.example.org", True),
        ("boxer", False),
        ("other.example.org", False),
        (None, None),
        ("", None),
        ("localhost", None),
    ],
)
def test_the_names_of_this_machine(hostname: str | None, fits: bool | None) -> None:
    assert HERE.fits(hostname) is fits


def test_two_machines_of_one_name_in_two_domains_are_two() -> None:
    assert Here(frozenset({"box.example.org"}), own_pid=1).fits("box.example.com") is False


def test_what_a_registration_claims() -> None:
    assert claim_of_registration(None, "/p") is None
    assert claim_of_registration(Registration(status="busy"), "/p") is None
    full = Registration(pid=7, proc_start=3.0, hostname="h", owner=1, written=T0)
    assert claim_of_registration(full, "/p", ("/q",)) == ProcessClaim(7, 3, "h", 1, T0, ("/p", "/q"))
    assert claim_of_registration(Registration(pid=7), "") == ProcessClaim(7)


@pytest.mark.parametrize("start", [3.5, float("nan"), float("inf")])
def test_a_start_that_no_process_has_is_not_taken_for_an_absent_one(start: float) -> None:
    claim = claim_of_registration(Registration(pid=PID, proc_start=start, owner=1000, written=T0), "/p")
    assert claim is not None
    assert "another time" in refusal(claim)


def test_a_session_claims_the_process_that_its_source_saw() -> None:
    assert claim_of_session(None) is None
    assert claim_of_session(Session("claude-code", "s", None)) is None
    claim = claim_of_session(Session("claude-code", "s", Process(7, 3)))
    assert claim == ProcessClaim(7, process=Process(7, 3))


def test_a_claim_written_again_renews_and_any_other_does_not() -> None:
    assert replace(CLAIM, written=T0 + 30).renews(CLAIM)
    for other in (
        replace(CLAIM, pid=8),
        replace(CLAIM, proc_start=1),
        replace(CLAIM, hostname="h"),
        replace(CLAIM, owner=1),
        replace(CLAIM, folders=("/q",)),
        replace(CLAIM, process=Process(1, 1)),
    ):
        assert not other.renews(CLAIM)


def test_the_rows_are_numbered_and_only_those_that_refuse_have_a_reason() -> None:
    assert [row.number for row in TABLE] == list(range(1, len(TABLE) + 1))
    assert [row.number for row in TABLE if row.reason is None] == [4, 12]
