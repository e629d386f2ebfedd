"""Test what needs a human: which entries there are, in which order, in which words, and when that changes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.acknowledged import Acknowledged
from coordd.agents.attention import (
    ORDER,
    TABLE,
    Headline,
    attention,
    headline_counts,
    next_change,
    problems,
)
from coordd.agents.key import AgentKey
from coordd.agents.subject import OrphanedClaim, SplitClaim, Subject
from coordd.model import Activity, AttentionEntry, Reason

APP = "/src/app"
WALL = 1_800_000_000.0


def doing(agent_id: str, activity: Activity, held_for: float = 60.0, **fields: Any) -> Subject:
    fields = {"alive_since": 0.0, "activity_since": WALL} | fields
    return Subject(
        key=AgentKey(APP, agent_id),
        status="active",
        reason="process",
        activity=activity,
        held_for=held_for,
        **fields,
    )


def gone(name: str, reason: Reason = "killed", ago: float = 60.0, **fields: Any) -> Subject:
    return Subject(
        key=AgentKey(fields.pop("workspace", APP), name),
        status="inactive",
        reason=reason,
        inactive_since=WALL - ago,
        inactive_for=ago,
        alive_since=0.0,
        **fields,
    )


def kinds(listed: Sequence[AttentionEntry]) -> list[tuple[str, str]]:
    return [(one.kind, one.subject) for one in listed]


def words(*subjects: Subject, **claims: Any) -> list[str]:
    return [one.text for one in attention(subjects, **claims)]


def test_the_order_of_need_and_within_it_what_has_lasted_longest_first() -> None:
    killed = [gone("k", workspace="/k")]
    mass = [gone("m1", workspace="/m"), gone("m2", workspace="/m")]
    does = [
        doing("b", "blocked"),
        doing("s", "stalled"),
        doing("w1", "waiting"),
        doing("w0", "waiting", activity_since=WALL - 9),
        doing("w2", "waiting", activity_since=None),
        doing("x", "working"),
        doing("i", "idle"),
    ]
    listed = attention(
        [*killed, *mass, *does],
        [OrphanedClaim(workspace=APP, task="o", holder=AgentKey(APP, "h"))],
        [SplitClaim(workspace=APP, task="p", holders=(AgentKey(APP, "x"), AgentKey(APP, "i")))],
    )
    assert kinds(listed) == [
        ("waiting", "w0"),
        ("waiting", "w1"),
        ("waiting", "w2"),
        ("mass", "/m"),
        ("killed", "k"),
        ("stalled", "s"),
        ("blocked", "b"),
        ("orphaned", "o"),
        ("split", "p"),
    ]
    assert tuple(dict.fromkeys(one.kind for one in listed)) == ORDER


def test_words_and_the_next_thing_to_type() -> None:
    (one,) = attention([doing("w", "waiting", waiting_for="permission prompt", tty="pts/3", pid=4711)])
    assert one.text == "waits for you: permission prompt, in its terminal (pts/3, pid 4711)"
    assert (one.command, one.since, one.workspace) == ("coordctl agent w", "2027-01-15T08:00:00.000Z", APP)
    assert words(doing("w", "waiting", pid=4711)) == ["waits for you (pid 4711)"]
    assert words(doing("w", "waiting")) == ["waits for you"]
    (one,) = attention([gone("k", held="build-api")])
    assert (one.text, one.command) == ("killed, held build-api", "coordctl why k")
    assert words(gone("k")) == ["killed"]
    assert words(doing("s", "stalled", tool="Bash")) == ["stalled: Bash is open, its processes do nothing"]
    assert words(doing("s", "stalled", held="cart")) == ["stalled: no progress, holds cart"]
    assert words(doing("s", "stalled")) == ["stalled: no progress in its turn"]
    assert words(doing("b", "blocked", refusal="rate-limit")) == ["refused by its provider (rate limit)"]
    assert words(doing("b", "blocked", refusal="other")) == ["refused by its provider"]


def test_words_of_those_who_fell_together() -> None:
    (one,) = attention([*(gone(x, "silent") for x in "abc"), doing("d", "idle")])
    assert one.text == "3 of 4 agents went silent within 60 s"
    assert (one.workspace, one.subject) == (APP, APP)
    assert one.command == "coordctl agents --status inactive --workspace /src/app"
    assert words(gone("a"), gone("b")) == ["2 of 2 agents were killed within 60 s"]
    assert words(gone("a"), gone("b", "silent")) == ["2 of 2 agents were killed or went silent within 60 s"]
    (one,) = attention([gone("a", workspace=""), gone("b", workspace="")])
    assert (one.workspace, one.subject) == (None, "redis")
    assert one.command == "coordctl agents --status inactive --workspace ''"


def test_a_command_names_no_path_that_nobody_would_type() -> None:
    endless = "/" + "a" * 4000
    (one,) = attention([gone("a", workspace=endless), gone("b", workspace=endless)])
    assert (one.workspace, one.command) == (endless, "coordctl agents --status inactive")
    (one,) = attention([gone("a", workspace="/" + "a" * 199), gone("b", workspace="/" + "a" * 199)])
    assert one.command.endswith(" --workspace /" + "a" * 199)


def test_words_of_claims() -> None:
    holder = AgentKey(APP, "tester")
    claim = OrphanedClaim(workspace=APP, task="build", holder=holder, reason="silent", since=WALL)
    (one,) = attention([], [claim])
    assert one.text == "orphaned: its holder tester is inactive (silent)"
    assert one.command == "coordctl tasks --state orphaned"
    (one,) = attention([], [replace(claim, reason=None)])
    assert one.text == "orphaned: its holder tester has left no trace"
    holders = tuple(AgentKey("", x) for x in "cabdefg")
    (one,) = attention([], split=[SplitClaim(workspace="", task="t", holders=holders)])
    assert one.text == "split: held by a, b, c, d, e and 2 more at once"
    (one,) = attention([], split=[SplitClaim(workspace="", task="t", holders=holders[:2])])
    assert one.text == "split: held by a and c at once"


def test_an_orphaned_claim_is_told_with_its_killed_holder_and_by_itself_afterwards() -> None:
    claim = OrphanedClaim(workspace=APP, task="t", holder=AgentKey(APP, "k"), reason="killed")
    assert kinds(attention([gone("k", ago=599.0)], [claim])) == [("killed", "k")]
    assert kinds(attention([gone("k", ago=600.0)], [claim])) == [("orphaned", "t")]
    assert kinds(attention([gone("k", "silent")], [claim])) == [("orphaned", "t")]
    assert kinds(attention([gone("k"), gone("l")], [claim])) == [("mass", APP), ("orphaned", "t")]


def words_of(command: str) -> list[str]:
    """Return the words of a command as the shell into which it is typed has them."""
    script = b"printf '%s\\0' " + command.encode()
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return [word.decode("utf-8", "surrogateescape") for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("task", ["-x", "a b", "$(touch pwned)", "x'; rm -rf ~", "a\nb", "\x1b[2J", "\udc80"])
def test_what_strangers_wrote_stays_words_in_every_text_and_command(task: str) -> None:
    subjects = [
        doing(task, "waiting", waiting_for=task, tty=task),
        replace(gone("k", held=task), key=AgentKey("/other" + task, task)),
        doing("s", "stalled", tool=task),
    ]
    claim = OrphanedClaim(workspace=task, task=task, holder=AgentKey(APP, task), since=WALL)
    split = SplitClaim(workspace=APP, task=task, holders=(AgentKey(APP, task), AgentKey(APP, "x")))
    listed = attention(subjects, [claim], [split])
    assert len(listed) == 5
    for one in listed:
        assert one.text.isprintable()
        assert one.command is not None
        assert one.command.isprintable()
        argv = words_of(one.command)
        assert argv[0] == "coordctl"
        if one.kind in ("waiting", "killed"):
            assert argv[-1] == task
            assert argv[2:4] == ["--workspace", one.workspace]  # two agents have this id
            assert (argv[-2] == "--") == task.startswith("-")
    assert all(line.isprintable() for line in problems(listed, subjects))


def test_each_need_begins_and_ends_at_its_time() -> None:
    def is_listed(one: Subject) -> bool:
        return bool(attention([one]))

    assert [is_listed(doing("w", "waiting", held)) for held in (0.0, 2.9, 3.0, 1e9)] == [
        False,
        False,
        True,
        True,
    ]
    assert [is_listed(doing("s", "stalled", held)) for held in (0.9, 1.0, 1e9)] == [False, True, True]
    assert [is_listed(doing("b", "blocked", held)) for held in (0.9, 1.0, 1e9)] == [False, True, True]
    over = [doing("b", "blocked", 1e9, turn_over_for=age) for age in (0.0, 3599.0, 3600.0)]
    assert [is_listed(one) for one in over] == [True, True, False]
    assert [is_listed(gone("k", ago=ago)) for ago in (0.0, 599.0, 600.0)] == [True, True, False]


def test_only_who_is_active_waits_or_stalls() -> None:
    for activity in ("waiting", "stalled", "blocked"):
        one = doing("x", activity)  # type: ignore[arg-type]  # a word of the tuple
        assert attention([replace(one, status="unknown", reason="unreachable")]) == []
        quiet = attention([replace(one, status="unknown", reason="quiet")])
        assert kinds(quiet) == ([("waiting", "x")] if activity == "waiting" else [])
        assert attention([replace(one, status="inactive", reason="ended", inactive_since=1.0)]) == []


def test_who_survived_and_ended_later_makes_no_group_of_the_rest_when_forgotten() -> None:
    fallen = [gone("a", "silent", ago=4000.0), gone("b", "silent", ago=4000.0)]
    survivor = gone("c", "ended", ago=300.0)
    before = attention([*fallen, survivor], standing=[])
    assert before == []
    assert attention(fallen, standing=[one.id for one in before]) == []
    assert kinds(attention(fallen)) == [("mass", APP)]


def test_a_group_that_is_listed_stays_however_old_it_grows() -> None:
    listed = attention([gone("a"), gone("b")], standing=[])
    assert kinds(listed) == [("mass", APP)]
    later = [replace(one, inactive_for=90_000.0) for one in (gone("a"), gone("b"))]
    assert attention(later, standing=[one.id for one in listed]) == listed


def test_a_group_of_which_the_first_is_forgotten_stays_the_same_entry() -> None:
    fallen = [gone("a", ago=90.0), gone("b", ago=60.0), gone("c", ago=50.0)]
    (before,) = attention(fallen)
    (after,) = attention(fallen[1:])
    assert (before.text[:6], after.text[:6]) == ("3 of 3", "2 of 2")
    assert before.id == after.id
    (later,) = attention([*fallen, gone("d", ago=40.0)])
    assert later.id != before.id


def test_an_entry_is_another_one_when_it_is_about_something_else() -> None:
    def entry_id(one: Subject) -> str:
        (entry,) = attention([one])
        return entry.id

    waits = doing("w", "waiting", waiting_for="question")
    assert entry_id(waits) == entry_id(replace(waits, held_for=900.0, pid=1, held="x"))
    others = [
        replace(waits, activity_since=WALL + 5),
        replace(waits, waiting_for="input"),
        replace(waits, key=AgentKey(APP, "v")),
        replace(waits, key=AgentKey("/src", "w")),
        replace(waits, activity="stalled"),
        gone("w"),
        gone("w", ago=61.0),
    ]
    assert len({entry_id(one) for one in [waits, *others]}) == 8
    claim = OrphanedClaim(workspace=APP, task="t", holder=AgentKey(APP, "h"), since=WALL)
    claims = [
        claim,
        replace(claim, holder=AgentKey(APP, "i")),
        replace(claim, task="u"),
        replace(claim, since=1.0),
    ]
    assert len({one.id for one in attention([], claims)}) == 4


def test_problems_are_sentences_and_who_waits_is_none() -> None:
    subjects = [
        doing("w", "waiting"),
        doing("321e", "stalled", name="shop-7", held="cart"),
        *(gone(f"k{i}", workspace=f"/{i}") for i in range(7)),
    ]
    claim = OrphanedClaim(workspace=APP, task="t", holder=AgentKey(APP, "h"))
    split = SplitClaim(workspace=APP, task="t", holders=(AgentKey(APP, "a"), AgentKey(APP, "b")))
    mass = [gone("a", workspace=""), gone("b", workspace="")]
    assert problems(attention([*subjects, *mass], [claim], [split]), subjects) == [
        "Redis alone: 2 of 2 agents were killed within 60 s",
        *(f"agent k{i} in /{i}: killed" for i in range(5)),
        "2 more: killed agents",
        f"agent shop-7 (321e) in {APP}: stalled: no progress, holds cart",
        f"task t in {APP} is orphaned, its holder h has left no trace",
        f"task t in {APP} is split, held by a and b at once",
    ]
    assert problems(attention([doing("w", "waiting")])) == []


def test_the_headline_leaves_out_who_ended_in_order() -> None:
    subjects = [
        doing("a", "waiting"),
        doing("b", "idle"),
        gone("c"),
        gone("d", "silent", ago=900.0),
        gone("e", "ended"),
        Subject(key=AgentKey(APP, "f"), status="unknown", reason="quiet"),
    ]
    listed = attention(subjects)
    assert headline_counts(subjects, listed) == Headline(alive=2, dead=2, unknown=1, need_you=2)
    assert headline_counts([], []) == Headline(0, 0, 0, 0)


# Properties.

names = st.sampled_from("abcdef")
sixteenths = st.integers(min_value=0, max_value=16 * 4000).map(lambda n: n / 16)
ages = st.sampled_from([0.0, 0.9375, 1.0, 2.9375, 3.0, 599.9375, 600.0, 3599.9375, 3600.0]) | sixteenths


@st.composite
def subject(draw: st.DrawFn) -> Subject:
    key = AgentKey(draw(st.sampled_from(["", APP, "/b"])), draw(names))
    status, reason = draw(
        st.sampled_from(
            [
                ("active", "process"),
                ("active", "heartbeat"),
                ("inactive", "killed"),
                ("inactive", "silent"),
                ("inactive", "ended"),
                ("unknown", "quiet"),
            ]
        )
    )
    ago = draw(ages) if status == "inactive" else None
    return Subject(
        key=key,
        status=status,
        reason=reason,
        activity=draw(st.sampled_from(["waiting", "stalled", "blocked", "working", "idle", None])),
        activity_since=draw(st.sampled_from([None, WALL, WALL - 5])),
        held_for=draw(ages),
        waiting_for=draw(st.sampled_from([None, "question"])),
        turn_over_for=draw(st.none() | ages),
        inactive_since=None if ago is None else WALL - ago,
        inactive_for=ago,
        alive_since=draw(st.sampled_from([None, 0.0, WALL - 700, WALL])),
    )


rosters = st.lists(subject(), max_size=8, unique_by=lambda one: one.key)
keys = st.builds(AgentKey, st.sampled_from(["", APP]), names)
claims = st.lists(
    st.builds(OrphanedClaim, workspace=st.sampled_from(["", APP]), task=names, holder=keys),
    max_size=4,
    unique_by=lambda one: (one.workspace, one.task),
)


@given(rosters, claims, st.randoms())
def test_the_list_does_not_depend_on_the_order_of_what_it_is_made_of(
    roster: list[Subject], orphaned: list[OrphanedClaim], random: Any
) -> None:
    listed = attention(roster, orphaned)
    random.shuffle(roster)
    random.shuffle(orphaned)
    assert attention(roster, orphaned) == listed
    assert len({one.id for one in listed}) == len(listed)
    assert [ORDER.index(one.kind) for one in listed] == sorted(ORDER.index(one.kind) for one in listed)


@given(rosters, claims)
def test_who_needs_a_human_is_what_the_design_says(
    roster: list[Subject], orphaned: list[OrphanedClaim]
) -> None:
    listed = attention(roster, orphaned)
    told = {(one.kind, one.workspace or "", one.subject) for one in listed}
    folded = {one.workspace for one in listed if one.kind == "mass"}
    for one in roster:
        active, over = one.status == "active", one.turn_over_for
        expected = {
            "waiting": (active or one.reason == "quiet") and one.activity == "waiting" and one.held_for >= 3,
            "stalled": active and one.activity == "stalled" and one.held_for >= 1,
            "blocked": active
            and one.activity == "blocked"
            and one.held_for >= 1
            and (over is None or over < 3600),
        }
        for kind, is_expected in expected.items():
            assert ((kind, *one.key) in told) == is_expected
        fresh = one.reason == "killed" and (one.inactive_for or 0.0) < 600
        assert ((kind := ("killed", *one.key)) in told) <= fresh
        if fresh and one.key.recorded_workspace not in folded:
            assert kind in told
    for claim in orphaned:
        with_holder = ("killed", *claim.holder) in told
        assert (("orphaned", claim.workspace, claim.task) in told) != with_holder
    ended = {("killed", *one.key) for one in roster if one.reason == "ended"}
    assert not told & ended


def later(roster: list[Subject], by: float) -> list[Subject]:
    return [
        replace(
            one,
            held_for=one.held_for + by,
            turn_over_for=None if one.turn_over_for is None else one.turn_over_for + by,
            inactive_for=None if one.inactive_for is None else one.inactive_for + by,
        )
        for one in roster
    ]


@given(rosters, claims, sixteenths)
def test_nothing_changes_before_the_next_change(
    roster: list[Subject], orphaned: list[OrphanedClaim], by: float
) -> None:
    listed, wait = attention(roster, orphaned), next_change(roster)
    standing = [one.id for one in listed]
    if wait is None or by < wait:
        assert attention(later(roster, by), orphaned, standing=standing) == listed
    assert wait is None or wait > 0


@given(subject())
def test_of_one_agent_the_next_change_is_one(one: Subject) -> None:
    wait = next_change([one])
    if wait is not None and (
        one.turn_over_for is None or one.turn_over_for + wait < 3600 or attention([one])
    ):
        assert attention(later([one], wait)) != attention([one])


# What was seen.


@given(rosters, st.data())
def test_what_was_seen_stays_off_the_list_until_it_changes(
    roster: list[Subject], data: st.DataObject
) -> None:
    listed = attention(roster)
    seen = Acknowledged()
    assert seen.unseen(listed) == listed
    assert not seen.ack("0" * 12, listed)
    if not listed:
        return
    one = data.draw(st.sampled_from(listed))
    assert seen.ack(one.id, listed)
    others = [other for other in listed if other is not one]
    assert seen.unseen(listed) == others
    assert Acknowledged(seen.ids).unseen(listed) == others
    about_another = replace(one, id="f" * 12)
    changed = [about_another if other is one else other for other in listed]
    assert seen.unseen(changed) == changed
    assert seen.ids == ()
    assert seen.unseen(listed) == listed


def test_of_what_was_seen_the_oldest_gives_way() -> None:
    listed = attention([doing(x, "waiting") for x in "abcd"])
    seen = Acknowledged(most=2)
    for one in (*listed, listed[2]):
        assert seen.ack(one.id, listed)
    assert seen.ids == (listed[3].id, listed[2].id)
    assert seen.unseen(listed) == listed[:2]


def test_the_needs_are_in_the_order_of_need() -> None:
    of_agents = [row.kind for row in TABLE]
    assert of_agents == [kind for kind in ORDER if kind in of_agents]
