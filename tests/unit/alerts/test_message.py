"""What programs and webhooks are given."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st
from messages import ENTRY, message

from coordd.alerts.message import LISTED, Entry, Message


def test_every_field_is_in_the_json() -> None:
    document = json.loads(message().to_json())
    assert document.pop("schema") == 1
    assert set(document) == {field.name for field in dataclasses.fields(Message)}
    assert set(document["entries"][0]) == {field.name for field in dataclasses.fields(Entry)}
    assert document["entries"][0]["subject"] == ENTRY.subject


def test_the_first_entries_are_listed_and_all_are_counted() -> None:
    document = json.loads(message(entries=(ENTRY,) * (LISTED + 50), count=300).to_json())
    assert (len(document["entries"]), document["count"]) == (LISTED, 300)


@given(st.text(st.characters()))
def test_it_is_one_line_of_ascii_that_says_what_was_said(text: str) -> None:
    line = message(title=text, entries=(dataclasses.replace(ENTRY, name=text),)).to_json()
    assert line.isascii()
    assert line.count(b"\n") == 1
    document = json.loads(line)
    said = text if text.isprintable() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert document["title"] == document["entries"][0]["name"] == said
    json.dumps(document, ensure_ascii=False).encode()  # no lone surrogate is left
