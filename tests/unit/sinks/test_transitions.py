"""Each change of a sink's state is told once."""

from __future__ import annotations

from coordd.sinks.base import Notice
from coordd.sinks.transitions import Transitions


def test_each_change_is_told_once_and_the_end_says_what_is_lost() -> None:
    said: list[Notice] = []
    transitions = Transitions("csv", said.append, unexplained="it is closed")

    def told(error: str | None, *, dropped: int, recovered: bool = True) -> list[str]:
        said.clear()
        for _ in range(2):
            transitions.note(error, dropped=dropped, recovered=recovered)
        return [f"{notice.kind}: {notice.message}" for notice in said]

    assert told(None, dropped=0) == []
    assert told("full", dropped=0) == ["sink.failed: the csv sink cannot record: full"]
    assert transitions.failing
    assert told("full", dropped=2) == ["sink.dropping: the csv sink gives up records: full"]
    assert told("full", dropped=3) == []
    assert told(None, dropped=3, recovered=False) == []
    assert transitions.failing
    recovered = ["sink.recovered: the csv sink records again; 3 records were dropped meanwhile"]
    assert told(None, dropped=3) == recovered
    assert not transitions.failing
    assert told(None, dropped=4) == ["sink.dropping: the csv sink gives up records: it is closed"]
    assert told("full", dropped=4) == ["sink.failed: the csv sink cannot record: full"]
    assert told(None, dropped=4)[0].endswith("; 1 records were dropped meanwhile")
    assert (said[0].subject, said[0].detail) == ("csv", {"dropped": 1})
