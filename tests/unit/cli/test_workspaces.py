"""Test what coordctl workspaces, and status without agents, say of what is watched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.view import View
from coordd.cli.watched import watched_lines
from coordd.cli.workspace_words import entry_lines
from coordd.cli.workspaces import workspace_lines

VIEW = View(colour=False, columns=None, home="/home/me")


def pattern(**fields: Any) -> dict[str, Any]:
    known = {
        "entry": "/home/me/src/*",
        "pattern": True,
        "directories": 2,
        "workspaces": 1,
        "unreadable": [],
        "unreadable_more": 0,
    }
    return {**known, **fields}


def workspace(path: str, **fields: Any) -> dict[str, Any]:
    known = {
        "path": path,
        "state": "inotify",
        "error": None,
        "project": path,
        "aliases": [],
        "entry": "/home/me/src/*",
    }
    return {**known, **fields}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "2 directories, 1 workspace"),
        ({"directories": 1, "workspaces": 1}, "1 directory, 1 workspace"),
        ({"directories": 0, "workspaces": 0}, "no directory matches yet; new ones are noticed"),
        ({"directories": 1, "workspaces": 0}, "1 directory, without .claude/coordination yet; it is awaited"),
        ({"workspaces": 0}, "2 directories, none with .claude/coordination yet; it is awaited"),
        ({"pattern": False}, "one project"),
    ],
)
def test_what_an_entry_stands_for(fields: dict[str, Any], words: str) -> None:
    assert entry_lines(pattern(**fields), "/home/me") == [f"~/src/*: {words}"]


def test_what_cannot_be_looked_into_is_named_and_counted() -> None:
    places = [{"path": f"/h/{n}", "reason": f"Permission denied: /h/{n}", "named": True} for n in range(7)]
    lines = entry_lines(pattern(unreadable=places, unreadable_more=3), None)
    assert lines[1] == "  cannot be looked into: Permission denied: /h/0"
    assert lines[-1] == "  … and 5 more"
    assert len(lines) == 7


def test_all_that_is_watched() -> None:
    document = {
        "daemon": {"layout": "user"},
        "workspaces": [
            workspace("/home/me/src/shop", aliases=["/home/me/wt-pay"]),
            workspace("/home/me/src/shop/.worktrees/cart", project="/home/me/src/shop"),
            workspace("/srv/x", state="waiting", entry="/srv/x"),
            workspace("/srv/y", state="unreadable", error="Permission denied: /srv", entry=None),
            workspace("/srv/z", state="poll", error="nfs"),
        ],
        "workspace_entries": [pattern()],
        "sources": [{"kind": "claude-code", "path": "/home/me/.claude", "state": "inotify", "error": None}],
    }
    assert workspace_lines(document, VIEW) == [
        "WORKSPACE                   HOW         NAMED BY         PROJECT",
        "~/src/shop                  inotify     ~/src/*",
        "~/src/shop/.worktrees/cart  inotify     ~/src/*          ~/src/shop",
        "/srv/x                      waiting     /srv/x",
        "/srv/y                      unreadable  a session there",
        "/srv/z                      polled      ~/src/*",
        "",
        "Aliases",
        "  ~/wt-pay is ~/src/shop",
        "",
        "Reasons",
        "  /srv/x: no heartbeats yet (.claude/coordination is awaited)",
        "  /srv/y: cannot be read (Permission denied: /srv)",
        "  /srv/z: polled: nfs",
        "",
        "Configuration",
        "  ~/src/*: 2 directories, 1 workspace",
        "",
        "Agents' own files",
        "  claude-code ~/.claude",
    ]


def test_with_nothing_it_says_what_to_do_and_for_the_system_the_ways_out() -> None:
    lines = workspace_lines({}, VIEW)
    assert lines[0] == "No workspace is watched."
    assert any("coordd run --workspace DIR" in line for line in lines)
    system = "\n".join(workspace_lines({"daemon": {"layout": "system"}}, VIEW))
    assert "coordd service install --user" in system
    assert "--run-as USER" in system
    given = workspace_lines({"daemon": {"layout": "system", "reads_homes": True}}, VIEW)
    assert given[-1].endswith("homes of coding agents of all users are read (--read-homes).")


def test_without_agents_status_says_what_each_pattern_matched() -> None:
    document = {
        "workspace_entries": [pattern(directories=0, workspaces=0), pattern(entry="/x", pattern=False)]
    }
    lines = watched_lines(document, VIEW)
    assert lines[:2] == ["Watched", "  ~/src/*: no directory matches yet; new ones are noticed"]
    assert not any("Name a project" in line for line in lines)


def test_agents_that_are_known_by_their_processes_alone_are_told_of_in_words() -> None:
    one = {"kind": "process", "path": None, "state": "read", "error": None}
    home = {"kind": "claude-code", "path": "/home/ann/.claude", "state": "inotify", "error": None}
    assert "  other coding agents by their processes" in workspace_lines({"sources": [one]}, VIEW)
    broken = one | {"state": "unreadable", "error": "the system shows no processes"}
    assert any(
        "the system shows no processes" in line for line in workspace_lines({"sources": [broken]}, VIEW)
    )
    lines = watched_lines({"sources": [one]}, VIEW)
    assert lines[:2] == ["Watched", "  nothing"]
    assert any("Name a project" in line for line in lines)
    assert "Other coding agents appear by their processes." in watched_lines({"sources": [home, one]}, VIEW)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def fields(*names: str) -> Any:
    return ANYTHING | st.lists(ANYTHING | st.fixed_dictionaries({}, optional=dict.fromkeys(names, ANYTHING)))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "daemon": ANYTHING,
            "workspaces": fields("path", "state", "error", "project", "aliases", "entry"),
            "workspace_entries": fields(
                "entry", "pattern", "directories", "workspaces", "unreadable", "unreadable_more"
            ),
            "sources": fields("kind", "path", "state", "error"),
        },
    )
)
def test_a_stranger_document_breaks_nothing(document: dict[str, Any]) -> None:
    for lines in (workspace_lines(document, VIEW), watched_lines(document, VIEW)):
        assert not any(
            "\x1b" in line or "\n" in line.removesuffix("\n") for line in lines if "Ways out" not in line
        )
