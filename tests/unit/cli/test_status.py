import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import agent, status_document
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli import app, plain_status
from coordd.cli.agent_places import is_at, short_path
from coordd.cli.agent_words import ORDER, claims_by_holder, in_order, tokens
from coordd.cli.fitting import fitted
from coordd.cli.grid import Column, grid
from coordd.cli.look import Picture
from coordd.cli.screen import Screen
from coordd.cli.status_text import lost_text, running_text, stopped_text
from coordd.cli.tables import agent_table
from coordd.cli.task_table import task_lines
from coordd.cli.times import local_time
from coordd.cli.view import View
from coordd.protocol.left_behind import last_snapshot
from coordd.protocol.paths import DaemonLocation
from coordd.protocol.snapshot import MAX_BYTES, read_snapshot
from coordd.util.text import epoch_of, middle, width

WRITTEN = "2026-11-22T06:05:00.000Z"
NOW = epoch_of(WRITTEN)
assert NOW is not None


def seen_at(seconds: int) -> str:
    """The timestamp so many seconds before that of the document."""
    at = 6 * 3600 + 5 * 60 - seconds
    return f"2026-11-22T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.123Z"


def text_of(document: dict[str, Any], agents: list[dict[str, Any]] | None = None, **view: Any) -> str:
    return running_text(Picture(document, agents or []), View(home="/home/me", **view))


def session(agent_id: str, activity: str | None, since: int = 60, **fields: Any) -> dict[str, Any]:
    known = {
        "reason": "process",
        "project": "/home/me/src/shop",
        "workspace": "/home/me/src/shop",
        "activity": activity,
        "activity_since": seen_at(since),
        "active_tasks": 0,
    }
    return agent(agent_id, **{**known, **fields})


SHOP, API = "/home/me/src/shop", "/home/me/src/api"
SCENE = [
    session(
        "321e2ec7-0000",
        "waiting",
        240,
        name="shop-12",
        waiting_for="permission prompt",
        context_tokens=84_123,
        cpu_percent=0.3,
        rss=410 * 2**20,
        active_tasks=1,
    ),
    session(
        "77777777-0000", "working", 180, name="shop-7", tool="Bash", cpu_percent=96.1, context_tokens=120_000
    ),
    session("coder-1", "idle", 720, active_tasks=None),
    session(
        "api-3",
        None,
        status="inactive",
        reason="killed",
        workspace=API,
        project=API,
        last_heartbeat_age=120.0,
    ),
    session("docs-1", "unknown", 800, workspace=API, project=API),
    session("gone", None, status="inactive", reason="ended", workspace=API, project=API),
]
HELD = [
    {
        "task_id": "checkout",
        "workspace": SHOP,
        "agent_id": "321e2ec7-0000",
        "state": "held",
        "progress": 60.0,
    },
    {"task_id": "build-api", "workspace": API, "agent_id": "api-3", "state": "orphaned", "progress": None},
    {"task_id": "free", "workspace": API, "agent_id": None, "state": "available", "progress": None},
]
ATTENTION = [
    {
        "kind": "waiting",
        "workspace": SHOP,
        "subject": "321e2ec7-0000",
        "since": seen_at(240),
        "text": "waits for you: permission prompt",
        "command": "in its terminal (tmux 2:claude, pid 4711)",
        "id": "w1",
    },
    {
        "kind": "killed",
        "workspace": API,
        "subject": "api-3",
        "since": seen_at(120),
        "text": "killed, held build-api",
        "command": "coordctl why api-3",
        "id": "k1",
    },
]
COUNTS = {"total": 6, "active": 4, "inactive": 2, "unknown": 0, "stalled": 0, "ended": 1, "ended_today": 30}


def scene(**fields: Any) -> dict[str, Any]:
    tasks = {"available": 2, "claimed": 3, "expired": 0, "orphaned": 1}
    return status_document(**{"attention": ATTENTION, "agents": COUNTS, "tasks": tasks, **fields})


def test_one_look_says_who_needs_me_and_who_works_on_what() -> None:
    text = running_text(Picture(scene(), SCENE, HELD), View(home="/home/me"))
    assert text.splitlines() == [
        "box  4 alive, 1 dead, 2 need you    coordd 0.1.0, up 2 h 13 min",
        "",
        "Needs you",
        "  shop-12  waits for you: permission prompt  4 min  ~/src/shop  "
        "in its terminal (tmux 2:claude, pid 4711)",
        "  api-3    killed, held build-api            2 min  ~/src/api   coordctl why api-3",
        "",
        "~/src/shop",
        "  shop-12  waiting  permission prompt   4 min  checkout 60 %   ctx 84k   0.3 %  410 MiB",
        "  shop-7   working  Bash                3 min                 ctx 120k  96.1 %        -",
        "  coder-1  idle                        12 min  -                     -       -        -",
        "~/src/api",
        "  api-3    killed                       2 min  build-api             -       -        -",
        "  docs-1   active   seen 12 s ago      13 min                        -       -        -",
        "30 ended today (coordctl agents --all)",
        "",
        "Tasks      2 available, 3 claimed (1 orphaned)",
        "Host       cpu 12 %  memory 45 %  disk 71 %  load 0.5",
        "Redis      not configured",
    ]


@pytest.mark.parametrize(
    ("counts", "attention", "words"),
    [
        ({"total": 12, "active": 12, "inactive": 0, "unknown": 0}, [], "12 alive"),
        (
            {"total": 9, "active": 7, "inactive": 1, "unknown": 1},
            ATTENTION,
            "7 alive, 1 dead, 1 unknown, 2 need you",
        ),
        (
            {"total": 9, "active": 8, "inactive": 1, "unknown": 0, "ended": 1},
            ATTENTION[:1],
            "8 alive, 1 needs you",
        ),
        ({"total": 3, "active": 0, "inactive": 3, "unknown": 0, "ended": 3}, [], "no agents"),
        ({"total": 3, "active": 0, "inactive": 3, "unknown": 0}, None, "0 alive, 3 dead"),
        ({}, None, "- alive"),
        ({"total": "many", "active": None, "inactive": -4}, "x", "- alive"),
    ],
)
def test_the_headline_counts_who_lives_and_never_who_ended(counts: Any, attention: Any, words: str) -> None:
    text = text_of(status_document(agents=counts, attention=attention), [session("a", "idle")])
    assert text.splitlines()[0] == f"box  {words}    coordd 0.1.0, up 2 h 13 min"


def test_nobody_is_a_line_and_not_knowing_is_none() -> None:
    assert "\n\nNobody needs you.\n\n" in text_of(status_document(attention=[]), [agent("a")])
    assert "needs you" not in text_of(status_document(), [agent("a")])


def test_problems_are_those_that_are_not_told_already() -> None:
    problems = ["api-3 in ~/src/api: killed, held build-api", "sink jsonl: No space left", 7]
    text = text_of(scene(problems=problems, health="degraded"), SCENE)
    assert "\nProblems\n  sink jsonl: No space left\n  7\n  What to do: coordctl doctor\n\n" in text
    assert text.count("held build-api") == 1
    assert "degraded" not in text


def test_redis_tasks_workspaces_limits_and_malformed_traces() -> None:
    text = text_of(
        status_document(
            redis={
                "configured": True,
                "connected": True,
                "url": "redis://h/0",
                "used_memory": 1258291,
                "keys": 345,
                "latency_ms": 0.21,
                "feed": "push",
            },
            tasks={"available": 4, "claimed": 3, "expired": 0, "orphaned": None},
            limits=[
                {
                    "kind": "codex",
                    "window": "5 h",
                    "used_percent": 83.2,
                    "resets_at": "2026-11-22T06:20:00.000Z",
                },
                {
                    "kind": "codex",
                    "window": 604800,
                    "used_percent": None,
                    "resets_at": "2026-11-22T05:20:00.000Z",
                },
            ],
            workspaces=[
                {"path": "/a", "state": "inotify", "error": None},
                {"path": "/home/me/b", "state": "waiting", "error": None},
                {"path": "/c", "state": "unreadable", "error": "Permission denied"},
            ],
            traces_malformed={"count": 7},
            restart_required=["control.socket"],
        ),
        [agent("a")],
    )
    assert "Redis      connected  redis://h/0  memory 1.2 MiB  345 keys  latency 0.2 ms  feed push\n" in text
    assert "Tasks      4 available, 3 claimed (- orphaned)\n" in text
    assert "Workspaces 1 of 3 not read\n" in text
    assert "~/b" not in text  # that it waits for heartbeats is no trouble
    assert "           /c: Permission denied\n" in text
    assert "Traces     7 malformed" in text
    assert "Limits     codex 5 h: 83 %, resets " in text
    assert "           codex 7 d: -, was reset " in text
    assert "Restart    needed for control.socket" in text


def test_times_are_local_and_say_the_zone_and_the_day_unless_it_is_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = epoch_of(seen_at(0))
    try:
        monkeypatch.setenv("TZ", "XYZ-5:30")
        time.tzset()
        assert local_time("2026-11-22T14:20:00.000Z", now) == "19:50 XYZ"
        assert local_time("2026-11-22T20:20:00.000Z", now) == "2026-11-23 01:50 XYZ"
        assert local_time("soon", now) == "-"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_redis_that_is_down_says_why() -> None:
    redis = {"configured": True, "connected": False, "url": "redis://h/0", "error": "refused"}
    assert "Redis      down  redis://h/0  refused" in text_of(status_document(redis=redis))


def test_unknown_is_a_dash_and_never_zero() -> None:
    system = {"timestamp": None, "cpu_percent": None, "memory_usage": None, "load_average": None}
    text = text_of(status_document(system=system))
    assert "Host       cpu -  memory -  disk -  load -  sampled -\n" in text
    assert "Host       no sample yet\n" in text_of(status_document(system=None))
    row = text_of(status_document(), [{"agent_id": "bare"}, SCENE[0]]).splitlines()[-4]
    assert row.split() == ["bare", "unknown", "-", "-", "-", "-", "-"]


GROUP = {
    "memory_current": 330 << 20,
    "memory_used": 300 << 20,
    "memory_max": 512 << 20,
    "memory_percent": 58.6,
}
GROUP |= {"cpu_max": 1.5, "cpu_percent": 40.0}
HOST = {"cpu_percent": 7.0, "memory_usage": {"percent": 12.0, "used": 1}, "timestamp": None}


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (None, "cpu 7 %  memory 12 %"),
        (GROUP, "cpu 40 % of 1.5 CPUs  memory 300 MiB of 512 MiB in this container"),
        ({**GROUP, "cpu_max": None}, "cpu 7 %  memory 300 MiB of 512 MiB in this container"),
        ({**GROUP, "memory_max": None}, "cpu 40 % of 1.5 CPUs  memory 12 %"),
        ({**GROUP, "cpu_percent": None}, "cpu - of 1.5 CPUs  memory 300 MiB of 512 MiB in this container"),
        ("odd", "cpu 7 %  memory 12 %"),
        ({"memory_max": "much", "cpu_max": []}, "cpu -  memory -"),
    ],
)
def test_a_container_is_shown_by_its_own_limits(group: object, words: str) -> None:
    assert f"Host       {words}  disk" in text_of(status_document(system={**HOST, "cgroup": group}))


def test_what_is_the_same_everywhere_takes_no_room() -> None:
    text = text_of(status_document(), [agent("builder-1", active_tasks=0)])
    assert "Tasks" not in text
    assert "Workspaces" not in text
    assert "\n  builder-1  active  seen 12 s ago\n" in text


def test_an_old_sample_of_the_host_says_so() -> None:
    stale = {**status_document()["system"], "timestamp": seen_at(300)}
    assert "sampled 5 min ago" in text_of(status_document(system=stale))
    assert "sampled" not in text_of(status_document())


def test_an_old_daemon_has_states_and_dashes() -> None:
    agents = [
        agent("a"),
        agent("b", "inactive", reason="silent"),
        agent("c", "unknown", reason="no-heartbeat"),
    ]
    counts = {"total": 3, "active": 1, "inactive": 1, "unknown": 1, "stalled": 0}
    text = text_of(status_document(agents=counts), agents)
    assert text.splitlines()[0].startswith("box  1 alive, 1 dead, 1 unknown    coordd")
    rows = [row.split()[:2] for row in text.splitlines() if row.startswith("  ")]
    assert rows == [["b", "silent"], ["c", "unknown"], ["a", "active"]]


def test_rows_are_bounded_and_the_hidden_ones_are_counted() -> None:
    agents = [session(f"w{n:02}", "working") for n in range(30)] + [session("asks", "waiting")]
    agents += [session(f"d{n:02}", None, status="inactive", reason="silent") for n in range(30)]
    text = text_of(scene(agents={"total": 61, "active": 31, "inactive": 30, "unknown": 0}), agents)
    rows = [line.split()[0] for line in text.split("~/src/shop\n")[-1].splitlines() if line.startswith("  ")]
    assert len(rows) == 20
    assert rows[0] == "asks"
    # Those that have fallen silent leave half of the room to who works.
    assert [sum(row.startswith(letter) for row in rows) for letter in "dw"] == [9, 10]
    assert "\n… and 41 more: coordctl agents\n" in text


def test_hidden_agents_are_counted_by_need() -> None:
    agents = [session(f"w{n:02}", "working") for n in range(300)] + [session("asks", "waiting")]
    does = {"waiting": 3, "stalled": 1, "blocked": 0, "working": 300, "idle": 7, "unknown": 2}
    counts = {"total": 320, "active": 313, "inactive": 6, "killed": 1, "ended": 2, "unknown": 1}
    text = text_of(scene(agents={**counts, "activities": does}), agents)
    hidden = "2 waiting, 1 killed, 1 stalled, 3 silent, 1 unknown, 2 active, 281 working, 7 idle"
    assert f"\n… and 298 more ({hidden}): coordctl agents\n" in text
    narrow = text_of(scene(agents={**counts, "activities": does}), agents, columns=60)
    (line,) = [line for line in narrow.splitlines() if line.startswith("… and 298")]
    assert line == "… and 298 more (2 waiting, 1 killed, …): coordctl agents"
    # Counts that do not fit the list are of another moment: nothing is invented.
    assert "… and 298 more: coordctl" in text_of(
        scene(agents={**counts, "activities": {**does, "idle": 8}}), agents
    )


def test_a_status_that_does_not_fit_has_fewer_agents_and_then_fewer_needs() -> None:
    agents = [session(f"w{n:02}", "working") for n in range(30)]
    needs = [{**ATTENTION[1], "subject": f"s{n}", "id": str(n)} for n in range(12)]
    document = scene(agents={"total": 30, "active": 30}, attention=needs)

    def lines(rows: int) -> list[str]:
        return fitted(lambda view: running_text(Picture(document, agents), view), View(home="/home/me"), rows)

    whole = lines(100)
    assert sum(line.startswith("  w") for line in whole) == 20
    for rows in range(len(whole) - 1, 12, -1):
        found = lines(rows)
        assert len(found) <= rows
        assert whole[0] == found[0]
        assert "Redis      not configured" in "\n".join(found)
        hidden = 30 - sum(line.startswith("  w") for line in found)
        assert f"… and {hidden} more: coordctl agents" in found or "30 agents: coordctl agents" in found
    assert sum(line.startswith("  s") for line in lines(13)) < 12


def test_needs_are_bounded_too() -> None:
    many = [{**ATTENTION[1], "subject": f"s{n}", "id": str(n)} for n in range(50)]
    text = text_of(status_document(attention=many), [agent("a")])
    assert text.count("killed, held") == 20
    assert "\n  … and 30 more: " in text


def test_the_ended_are_folded_into_a_count() -> None:
    text = text_of(scene(), SCENE)
    assert "gone" not in text
    assert "\n30 ended today (coordctl agents --all)\n" in text
    alone = text_of(scene(agents={"total": 1, "active": 0, "inactive": 1, "ended": 1}), SCENE[-1:])
    assert "\n1 ended (coordctl agents)\n" in alone


def test_worktrees_stand_under_their_project() -> None:
    trees = [session("a", "idle"), session("b", "working", workspace="/home/me/wt")]
    text = text_of(scene(attention=[]), trees)
    assert "\n~/src/shop (worktrees: 1)\n  b  working" in text


def test_a_worktree_is_named_beside_its_project_everywhere() -> None:
    alone = session("a", "waiting", 60, workspace="/home/me/src/wt-shop", waiting_for="plan approval")
    alike = session("b", "idle", workspace="/tmp/shop")
    entry = {**ATTENTION[0], "subject": "a", "workspace": "/home/me/src/wt-shop"}
    fell = {**entry, "kind": "mass", "subject": "/home/me/src/wt-shop", "text": "2 of 2 agents were killed"}
    text = text_of(scene(attention=[entry, fell]), [alone, alike])
    assert "  a                     waits for you: permission prompt  4 min  ~/src/shop (wt-shop)  in" in text
    assert "  ~/src/shop (wt-shop)  2 of 2 agents were killed         4 min" in text
    assert "\n~/src/shop (worktrees: 2)\n" in text
    table = agent_table([alone, alike], {}, View(home="/home/me"), asked=seen_at(0))
    assert "  ~/src/shop (wt-shop)    waiting" in table[1]
    assert "  ~/src/shop (/tmp/shop)  idle" in table[2]
    assert [is_at(alone, place) for place in (SHOP, "/home/me/src/wt-shop", "/home/me/src", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert is_at(session("r", "idle", workspace=None, project=None), "")


@pytest.mark.parametrize("columns", [60, 70, 80, 90, 100, 120, 140])
def test_what_needs_a_human_is_never_cut(columns: int) -> None:
    text = "waits for you: permission prompt, in its terminal (pts/0, pid 30564)"
    orphaned = "orphaned: its holder 72e236f1-1a81-4179-8441-90ae2941767b is inactive (killed)"
    entries = [
        {**ATTENTION[0], "text": text, "command": "coordctl agent 94c04d07"},
        {**ATTENTION[1], "text": orphaned},
    ]
    lines = text_of(scene(attention=entries), SCENE, columns=columns).split("\n\n")[1].splitlines()
    assert max(map(width, lines)) <= columns
    told = " ".join("\n".join(lines).split())
    for words in [*text.split(), *orphaned.split(), "coordctl agent 94c04d07", "coordctl why api-3"]:
        assert words in told
    assert "…" not in told


def test_where_an_agent_waits_stands_in_one_piece_below() -> None:
    text = "waits for you: permission prompt, in its terminal (pts/0, pid 30564)"
    entries = [{**ATTENTION[0], "text": text, "command": "coordctl agent 94c04d07"}]
    assert text_of(scene(attention=entries), SCENE, columns=80).split("\n\n")[1].splitlines() == [
        "Needs you",
        "  shop-12  waits for you: permission prompt,  4 min  ~/src/shop",
        "    in its terminal (pts/0, pid 30564)  coordctl agent 94c04d07",
    ]


def test_a_name_that_several_have_is_told_apart_by_the_id() -> None:
    agents = [session("aaaaaaaaaaaa", "idle", name="x"), session("bbbbbbbbbbbb", "idle", name="x")]
    text = text_of(scene(attention=[]), agents)
    assert "  x aaaaaaaa…  idle" in text
    assert "  x bbbbbbbb…  idle" in text


def test_with_nothing_at_all_it_says_what_is_watched_and_what_to_do() -> None:
    document = status_document(
        agents={"total": 0},
        attention=[],
        workspaces=[{"path": "/home/me/app", "state": "waiting"}],
        sources=[
            {
                "kind": "claude-code",
                "path": "/home/me/.claude",
                "state": "inotify",
                "error": None,
                "agents": 0,
            },
            {"kind": "codex", "path": "/home/me/.codex", "state": "unreadable", "error": "Permission denied"},
        ],
    )
    text = text_of(document)
    assert text.startswith("box  no agents    coordd 0.1.0")
    assert text.split("\n\n")[2].splitlines() == [
        "Watched",
        "  ~/app: no heartbeats yet (.claude/coordination is awaited)",
        "  claude-code ~/.claude",
        "  codex ~/.codex: cannot be read (Permission denied)",
        "Claude Code and Codex sessions appear here by themselves.",
        "If an agent runs and is not here, try: coordctl doctor",
    ]
    alone = text_of(status_document(agents={"total": 0}))
    assert "Watched\n  nothing\nName a project with 'coordd run --workspace DIR'" in alone
    assert "Claude Code" not in alone


def test_an_agent_whose_state_changed_between_two_answers_is_shown_once() -> None:
    assert [a["status"] for a in in_order([agent("a"), agent("a", "inactive")])] == ["inactive"]
    assert len(in_order([agent("a"), agent("a", workspace="/other"), agent("a", workspace=None)])) == 3


def test_of_one_state_who_has_been_in_it_for_longest_comes_first() -> None:
    agents = [
        session("a", "waiting", 4),
        session("b", "waiting", 600),
        session("c", "waiting", activity_since=None),
        agent("d", "inactive", reason="killed", inactive_since=seen_at(5)),
        agent("e", "inactive", reason="killed", inactive_since=seen_at(90)),
        agent("f", "unknown", reason="quiet", last_heartbeat=seen_at(9)),
        agent("g", "unknown", reason="quiet", last_heartbeat=seen_at(99), last_progress=seen_at(50)),
        session("h", "unknown", 10),
        session("i", "working", 20),
    ]
    assert [one["agent_id"] for one in in_order(agents)] == list("bacedgfhi")


def test_the_table_of_agents_names_project_and_last_sign() -> None:
    lines = agent_table(
        in_order([*SCENE, session("r", "idle", workspace=None, project=None, sources=["redis"])]),
        claims_by_holder(HELD),
        View(home="/home/me"),
        asked=seen_at(0),
    )
    assert lines[0].split() == [
        "AGENT",
        "PROJECT",
        "DOES",
        "FOR",
        "TASKS",
        "CTX",
        "CPU",
        "MEM",
        "LAST",
        "SIGN",
    ]
    assert [line.split()[0] for line in lines[1:]] == [
        "shop-12",
        "api-3",
        "docs-1",
        "shop-7",
        "coder-1",
        "r",
        "gone",
    ]
    assert "  Redis alone  " in lines[6]
    assert "  ~/src/api    killed   " in lines[2]
    assert lines[2].endswith("2 min ago")


def test_strangers_cannot_reach_the_terminal() -> None:
    evil = "\x1b[2J\x9b31m\u202e\nok"
    entry = dict.fromkeys(ATTENTION[0], evil)
    document = status_document(
        problems=[evil],
        health=evil,
        workspaces=[{"path": evil, "state": "waiting"}],
        attention=[entry, {**entry, "workspace": None}],
        limits=[{"kind": evil, "window": evil, "used_percent": evil, "resets_at": evil}],
        sources=[{"kind": evil, "path": evil, "state": "unreadable", "error": evil}],
        restart_required=[evil],
    )
    document["daemon"]["host"] = evil
    document["redis"] = {"configured": True, "connected": False, "url": evil, "error": evil}
    strange = agent(evil, evil, **dict.fromkeys(("reason", "workspace", "project", "name", "tool"), evil))
    for agents in (
        [strange, session("b", "waiting", waiting_for=evil), session("c", "working", tool=evil)],
        [],
    ):
        for columns in (None, 40):
            picture = Picture(document, agents, [{**HELD[0], "task_id": evil, "agent_id": "b"}])
            text = running_text(picture, View(columns=columns))
            assert all(line.isprintable() for line in text.splitlines())
            assert "\nok" not in text


def test_limits_of_several_accounts_are_told_apart_and_old_words_have_their_age() -> None:
    def limit(account: str, age: float, **more: object) -> dict[str, object]:
        told = {"kind": "codex", "account": account, "window": 18000.0, "used_percent": 5.0}
        return {**told, "resets_at": None, "seen_at": seen_at(age), **more}

    one = [limit("/home/me/.codex", 5), limit("/home/me/.codex", 5, name="mini", window=None)]
    text = text_of(status_document(limits=one), [agent("a")])
    assert "Limits     codex 5 h: 5 %\n           codex mini: 5 %\n" in text
    two = [limit("/home/me/.codex", 7200), limit("/home/me/work", 5)]
    text = text_of(status_document(limits=two), [agent("a")])
    assert "Limits     codex 5 h (~/.codex): 5 %, told 2 h ago\n" in text
    assert "           codex 5 h (~/work): 5 %\n" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
LISTS = ("attention", "limits", "sources", "workspaces", "problems", "warnings", "restart_required")
PLACES = [(key,) for key in (*status_document(), *LISTS)] + [
    (outer, inner)
    for outer in ("daemon", "redis", "system", "agents", "tasks")
    for inner in {**status_document()[outer], "ended": 0, "ended_today": 0, "cpu_count": 1}
]
ENTRIES = {
    "attention": sorted(ATTENTION[0]),
    "limits": ["kind", "account", "name", "window", "used_percent", "resets_at", "seen_at"],
    "sources": ["kind", "path", "state", "error", "agents"],
    "workspaces": ["path", "state", "error"],
}
WORDS = st.sampled_from(
    [*ORDER, "active", "inactive", "unknown", "/home/me/x", seen_at(5), "9999-12-31T23:59:59Z"]
)


@given(
    st.dictionaries(st.sampled_from(PLACES), JSON),
    st.fixed_dictionaries(
        {
            name: st.lists(st.dictionaries(st.sampled_from(fields), JSON | WORDS), max_size=3)
            for name, fields in ENTRIES.items()
        }
    ),
    st.lists(st.dictionaries(st.sampled_from(sorted(SCENE[0])), JSON | WORDS), max_size=3),
    st.lists(st.dictionaries(st.sampled_from(sorted(HELD[0])), JSON | WORDS), max_size=3),
    st.none() | st.integers(1, 200),
)
def test_a_document_of_any_shape_is_shown(
    changes: dict[tuple[str, ...], Any],
    lists: dict[str, Any],
    agents: list[dict[str, Any]],
    tasks: list[dict[str, Any]],
    columns: int | None,
) -> None:
    document = status_document(**lists)
    for place, value in changes.items():
        at = document
        for key in place[:-1]:
            at = at[key] if isinstance(at.get(key), dict) else {}
        at[place[-1]] = value
    picture, view = Picture(document, [*agents, SCENE[0]], tasks), View(columns=columns, home="/home/me")
    for text in (
        running_text(picture, view),
        stopped_text(picture, [], view, snapshot_age=None),
        lost_text(picture, "lost", view, age=3.0),
        "\n".join(agent_table(in_order(picture.agents), claims_by_holder(tasks), view, asked=None)),
    ):
        assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("columns", range(80, 161, 10))
def test_blocks_of_rows_fit_the_window(columns: int) -> None:
    long = session("x" * 240, "working", tool="T" * 100, project="/p" * 80, active_tasks=3)
    wide = session("你" * 120, "waiting", waiting_for="w" * 90)
    text = running_text(Picture(scene(), [*SCENE, long, wide], HELD), View(columns=columns, home="/home/me"))
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert max(map(width, rows)) <= columns
    assert any(line.startswith("  xx") and "…" in line for line in rows)
    assert width(text.splitlines()[0]) == columns
    table = agent_table([*SCENE, long, wide], {}, View(columns=columns), asked=None)
    assert max(map(width, table)) <= columns


def test_a_path_loses_its_middle_and_does_so_before_anything_else_is_cut() -> None:
    rows = [["a", "~/src/very/long/way/to/app"], ["b", "~/x"]]
    assert grid(rows, (Column(), Column(least=4, path=True)), room=12) == ["a  ~/…to/app", "b  ~/x"]
    rows = [["a" * 12, "~/src/very/long/way/to/app"]]
    assert grid(rows, (Column(least=4), Column(least=4, path=True)), room=20) == [f"{'a' * 12}  ~…/app"]


@given(st.text(st.sampled_from("ab/你é")), st.integers(10, 30))
def test_what_loses_its_middle_fits_and_keeps_both_ends(text: str, columns: int) -> None:
    short = middle(text, columns)
    assert width(short) <= columns
    begin, mark, end = short.partition("…")
    if mark:
        assert text.startswith(begin)
        assert text.endswith(end)
        assert begin
        assert end
        assert width(short) >= columns - 2
    else:
        assert short == text


ENDLESS = "/" + "a" * 4000


@pytest.mark.parametrize("columns", [60, 80, 120, None])
def test_a_path_without_end_takes_no_more_than_a_line(columns: int | None) -> None:
    agents = [session("x", "working", project=ENDLESS, workspace=ENDLESS), *SCENE]
    unreadable = {"path": ENDLESS, "state": "unreadable", "error": f"{ENDLESS}/x: it hangs"}
    source = {"kind": "claude-code", "path": ENDLESS, "state": "unreadable", "error": "it hangs"}
    mass = {**ATTENTION[1], "kind": "mass", "subject": ENDLESS, "workspace": ENDLESS, "text": "2 of 3 fell"}
    document = scene(
        own_problems=[f"{ENDLESS}/.claude/coordination cannot be read: it hangs"],
        warnings=[f"{ENDLESS} is odd"],
        workspaces=[unreadable],
        sources=[source],
        attention=[*ATTENTION, {**ATTENTION[1], "subject": "x", "workspace": ENDLESS}, mass],
    )
    for text in (
        text_of(document, agents, columns=columns),
        text_of(document, [], columns=columns),
        "\n".join(agent_table(agents, {}, View(columns=columns), asked=None)),
    ):
        # a sentence goes on after the path that it begins with
        assert max(map(width, text.splitlines())) <= 2 * (columns or 200)
        assert "aaa…aaa" in text
        assert "a" * 201 not in text
    assert len(json.dumps(document)) > 4 * 4000  # what --json prints is the document itself


@pytest.mark.parametrize("columns", [78, 80, 100])
def test_a_window_of_eighty_columns_has_room_for_who_needs_me_and_what_to_type(columns: int) -> None:
    """With long paths and texts, names of the usual lengths, and many that ended."""
    names = ["321e2ec7-0a1b-4c2d-8e3f-444455556666", "a" * 40, "api-3", "n" * 100]
    known = {"status": "inactive", "reason": "killed", "workspace": ENDLESS, "project": ENDLESS}
    agents = [session(f"id-{n}", None, name=name, **known) for n, name in enumerate(names)]
    agents += [session(f"ended-{n}", None, status="inactive", reason="ended") for n in range(35)]
    entries = [
        {
            **ATTENTION[1],
            "workspace": ENDLESS,
            "subject": f"id-{n}",
            "text": "killed, held checkout-of-the-new-shop-with-a-long-name",
            "command": f"coordctl why id-{n}",
        }
        for n in range(4)
    ]
    counts = {"total": 39, "active": 0, "inactive": 39, "unknown": 0, "ended": 35, "ended_today": 40}
    text = text_of(scene(attention=entries, agents=counts), agents, columns=columns)
    lines = text.split("\n\n")[1].splitlines()
    assert max(map(width, lines)) <= columns
    heads = [line for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert [head.split()[0] for head in heads] == [*names[:3], "n" * 39 + "…"]
    assert all("2 min" in head for head in heads)
    for n in range(4):
        assert sum(line.endswith(f"coordctl why id-{n}") for line in lines) == 1
    assert "\n40 ended today (coordctl agents --all)\n" in text
    assert "ended-" not in text
    assert "0 alive, 4 dead, 4 need you" in text


def test_killed_agents_say_since_when_they_are_dead_not_when_they_last_did_something() -> None:
    known = {"status": "inactive", "reason": "killed", "last_heartbeat_age": 9000.0}
    one = session("x", None, inactive_since=seen_at(300), **known)
    assert text_of(scene(), [one]).count("x  killed  5 min") == 1
    assert (
        agent_table([one], {}, View(), asked=WRITTEN)[1].split()
        == "x ~ killed 4 min 2 h ago".replace("~", SHOP).split()
    )


def test_where_a_command_does_not_fit_it_stands_below() -> None:
    text = running_text(Picture(scene(), SCENE, HELD), View(columns=80, home="/home/me"))
    assert "\n    in its terminal (tmux 2:claude, pid 4711)\n" in text
    assert "waits for you: permission prompt" in text


def test_the_own_home_is_a_tilde_and_no_other_directory_is() -> None:
    assert short_path("/home/me", "/home/me") == "~"
    assert short_path("/home/me/x", "/home/me/") == "~/x"
    assert short_path("/home/mean", "/home/me") == "/home/mean"
    assert short_path("/x", None) == short_path("/x", "/") == "/x"
    assert short_path(None, "/home/me") == "-"


@pytest.mark.parametrize(
    ("value", "words"), [(950, "950"), (84_123, "84k"), (999_700, "1.0M"), (-1, "-"), (None, "-"), ("9", "-")]
)
def test_tokens_are_short(value: object, words: str) -> None:
    assert tokens(value) == words


def test_a_snapshot_is_marked_as_old_and_its_ages_grow() -> None:
    picture = Picture(scene(problems=["p"], agents={"total": 25, "active": 25}), SCENE)
    tried, view = [("/run/x", "nothing there")], View(home="/home/me")
    text = stopped_text(picture, tried, view, snapshot_age=240.0, hints=["It crashed\x1b.", "Start it: x"])
    assert text.splitlines()[0] == "coordd is not running. Last snapshot 4 min ago; what follows was so then."
    assert "\nbox  was 25 alive, 2 needed you    coordd 0.1.0\n" in text
    assert "\nNeeded you then\n  shop-12  waits for you: permission prompt  8 min  ~/src/shop\n" in text
    assert "coordctl why" not in text
    assert "Problems then" in text
    assert "sampled 4 min ago" in text
    assert "  docs-1   active   seen 4 min ago" in text
    assert "… and 20 more\n" in text
    assert text.splitlines()[1:3] == ["It crashed\\x1b.", "Start it: x"], "what to do comes before what was"
    assert text.endswith("\nTried\n  /run/x: nothing there")


def test_colour_marks_the_states_of_the_living_only() -> None:
    dead = [session("a", None, status="inactive", reason="killed")]
    picture = Picture(status_document(), dead)
    assert "\x1b[31mkilled\x1b[0m" in running_text(picture, View(colour=True))
    assert "\x1b[31mkilled" not in stopped_text(picture, [], View(colour=True), snapshot_age=1.0)


def write_snapshot(path: Path, **fields: Any) -> None:
    document = {
        "schema": 1,
        "written_at": WRITTEN,
        "status": status_document(),
        "agents": [agent("a")],
        **fields,
    }
    path.write_text(json.dumps(document))


def test_a_snapshot_has_an_age(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    write_snapshot(path)
    found = read_snapshot(str(path), NOW + 180)
    assert found is not None
    assert found.age == 180
    assert found.agents == [agent("a")]
    ahead = read_snapshot(str(path), NOW - 5)
    assert ahead is not None and ahead.age == 0
    write_snapshot(path, written_at="then", agents=["x", agent("a")])
    unknown = read_snapshot(str(path), NOW)
    assert unknown is not None and unknown.age is None and len(unknown.agents) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"schema":1}',
        b'{"schema":1,"status":[]}',
        b'{"schema":2,"status":{}}',
    ],
)
def test_what_is_no_snapshot_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(content)
    assert read_snapshot(str(path), NOW) is None


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "real.json"
    write_snapshot(path)
    (tmp_path / "link.json").symlink_to(path)
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "dir.json").mkdir()
    with (tmp_path / "big.json").open("wb") as big:
        big.truncate(MAX_BYTES + 1)
    for name in ("link", "fifo", "dir", "big", "missing"):
        assert read_snapshot(str(tmp_path / f"{name}.json"), NOW) is None


def test_the_first_place_with_a_sound_snapshot_counts(tmp_path: Path) -> None:
    places = [
        DaemonLocation("user", "/s", str(tmp_path / f"{name}.json"), "/m", "/l")
        for name in ("bad", "good", "later")
    ]
    (tmp_path / "bad.json").write_text("{")
    write_snapshot(tmp_path / "good.json")
    write_snapshot(tmp_path / "later.json")
    found = last_snapshot(places, {}, None, NOW)
    assert found is not None and found.path == str(tmp_path / "good.json")


def test_a_named_socket_takes_the_snapshot_of_its_own_daemon_only(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    own = tmp_path / "own.sock"
    place = DaemonLocation("--socket", str(own), None, None, None)
    state = tmp_path / ".local" / "state" / "coordd"
    state.mkdir(parents=True)
    write_snapshot(state / "snapshot.json")
    write_snapshot(tmp_path / "snapshot.json")
    assert last_snapshot([place], environ, None, NOW) is None
    status = status_document()
    status["daemon"]["socket"] = str(own)
    write_snapshot(state / "snapshot.json", status=status)
    found = last_snapshot([place], environ, None, NOW)
    assert found is not None and found.path == str(state / "snapshot.json")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status"], (None, 5.0, "")),
        (["status", "--json"], (None, 5.0, "--json")),
        (["status", "--brief"], (None, 5.0, "--brief")),
        (["--socket", "/s", "status", "--timeout=2"], ("/s", 2.0, "")),
        (["--timeout", "1", "status", "--timeout", "3", "--json", "--socket=/a=b"], ("/a=b", 3.0, "--json")),
    ],
)
def test_a_plain_status_needs_no_click(arguments: list[str], expected: tuple[object, ...]) -> None:
    plain = plain_status(arguments)
    assert plain is not None
    assert (plain[0].socket, plain[0].timeout, plain[1]) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json", "status"],
        ["status", "--help"],
        ["status", "status"],
        ["status", "--jso"],
        ["status", "--brief", "--json"],
        ["--brief", "status"],
        ["status", "--json=1"],
        ["status", "--timeout"],
        ["status", "--timeout", "0"],
        ["status", "--timeout", "nan"],
        ["status", "--timeout", "inf"],
        ["status", "--timeout", "x"],
        ["status", "--socket", "--json"],
        ["status", "--socket="],
        ["--", "status"],
        ["agents"],
        ["status", "extra"],
    ],
)
def test_anything_else_is_for_click(arguments: list[str]) -> None:
    assert plain_status(arguments) is None


def test_a_long_id_does_not_push_the_table_off_the_screen() -> None:
    lines = agent_table([agent("a"), agent("x" * 240)], {}, View(), asked=None)
    assert max(map(len, lines)) < 120
    assert any(line.startswith("x" * 39 + "…  ") for line in lines)
    tasks = [{"task_id": "t" * 240, "state": "held", "agent_id": "你" * 120, "message": "m" * 500}]
    assert max(width(line) for line in task_lines(tasks, WRITTEN, View())) < 200


def test_choices_stand_in_one_line_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["history"]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("coordctl: Missing argument")
    assert "system, agent, event" in first
    assert "\\t" not in first


def test_a_terminal_without_a_size_is_taken_for_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()  # its size is 0 by 0
    try:
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            Screen().draw([f"line {n}" for n in range(20)], "the end")
            shown = os.read(ours, 65536).decode()
            assert "line 19" in shown
            assert "more than this window" not in shown
    finally:
        os.close(ours)
