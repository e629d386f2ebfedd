"""Which records are about an agent or a project, and what of torn ones may be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.records.selection import RecordSelection

APP, TREE = "/home/me/src/app", "/home/me/src/app-wt"


def agent(**fields: Any) -> dict[str, Any]:
    return {"agent_id": "a1", "workspace": APP, "project": APP, "cause": "start", **fields}


def event(kind: str = "agent.active", subject: str = "a1", **detail: Any) -> dict[str, Any]:
    return {"kind": kind, "subject": subject, "message": "", "detail": detail}


def test_something_has_to_be_named() -> None:
    with pytest.raises(ValueError, match="an agent or a project"):
        RecordSelection()


def test_records_of_an_agent() -> None:
    chosen = RecordSelection(agent_id="a1")
    assert chosen.fits("agent", agent())
    assert chosen.fits("agent", agent(workspace=None, project=None))
    assert not chosen.fits("agent", agent(agent_id="a11"))
    assert chosen.fits("event", event(workspace=APP))
    assert not chosen.fits("event", event(subject="a2"))
    assert chosen.fits("event", event("task.claimed", "t-1", workspace=APP, agent_id="a1"))
    assert not chosen.fits("event", event("task.claimed", "a1", workspace=APP, agent_id="a2"))
    assert chosen.fits("event", event("orphan.found", "p", of={"agents": ["a2", "a1"]}))


@pytest.mark.parametrize("name", ["redis", "coordd", "file"])
def test_what_coordd_says_of_itself_is_of_no_agent(name: str) -> None:
    chosen = RecordSelection(agent_id=name)
    assert not chosen.fits("event", event("mode.changed", "file", mode=name))
    assert not chosen.fits("event", event("daemon.started", "coordd"))


def test_records_of_a_project_and_of_its_worktrees() -> None:
    chosen = RecordSelection(place=APP)
    assert chosen.fits("agent", agent(agent_id="x"))
    assert chosen.fits("agent", agent(workspace=TREE))
    assert not chosen.fits("agent", agent(workspace=TREE, project=TREE))
    assert not chosen.fits("event", event(workspace=TREE))
    chosen.learn(agent(workspace=TREE))
    assert chosen.fits("event", event(workspace=TREE))
    assert chosen.fits("event", event("agents.mass", APP, workspace=APP))
    assert not chosen.fits("event", event("agents.mass", f"{APP}2", workspace=f"{APP}2"))
    assert chosen.places == [APP, TREE]


def test_an_agent_in_one_place_alone() -> None:
    chosen = RecordSelection(agent_id="a1", place=APP)
    assert chosen.fits("agent", agent())
    assert not chosen.fits("agent", agent(workspace="/other", project="/other"))
    assert not chosen.fits("agent", agent(workspace=None, project=None))
    assert not chosen.fits("agent", agent(agent_id="a2"))


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() or True))
def test_no_record_is_missed_however_it_is_written(name: str) -> None:
    try:
        line = msgspec.json.encode(agent(agent_id=name))
    except UnicodeEncodeError:
        return
    chosen = RecordSelection(agent_id=name)
    assert chosen.may_fit(line)
    assert chosen.may_fit(json.dumps(agent(agent_id=name)).encode())
    assert chosen.fits("agent", msgspec.json.decode(line))


def test_a_torn_record_goes_where_it_may_be_theirs() -> None:
    chosen = RecordSelection(agent_id="reviewer-7")
    whole = msgspec.json.encode(agent(agent_id="reviewer-7"))
    at = whole.index(b"reviewer-7")
    for end in range(len(whole)):
        torn = whole[:end]
        assert chosen.fits_torn(torn) == (end > at), torn
    assert not chosen.fits_torn(msgspec.json.encode(agent(agent_id="other"))[:-1])
    assert RecordSelection(place=APP).fits_torn(b'{"workspace":"/home/me/sr')
    assert not RecordSelection(place=APP).fits_torn(b'{"workspace":"/srv')
