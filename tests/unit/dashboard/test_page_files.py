"""Test the files of the page: none is dead, all addresses are relative, and what is sent stays small."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from coordd.dashboard.assets import MANY, load_assets

STATIC = resources.files("coordd.dashboard") / "static"
SCRIPTS = sorted(file.name for file in STATIC.iterdir() if file.name.endswith(".js"))


def imported(name: str) -> set[str]:
    text = (STATIC / name).read_text(encoding="utf-8")
    return set(
        re.findall(r'(?:from|import\() ?"\./([\w.]+)"', text) + re.findall(r'^import "\./([\w.]+)"', text)
    )


def test_every_script_is_reached_from_the_page() -> None:
    page = load_assets()["index.html"].body.decode()
    seen: set[str] = set()
    open_ends = set(re.findall(r'<script[^>]* src="static/([\w.]+)"', page))
    while open_ends:
        name = open_ends.pop()
        seen.add(name)
        open_ends |= imported(name) - seen
    assert seen == set(SCRIPTS)
    named = set(re.findall(r'modulepreload" href="static/([\w.]+)"', page))
    assert named == seen - {"app.js", "theme.js", "host.js", "chart.js"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_what_it_imports_and_what_it_imports_is_there(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8")
    for names, source in re.findall(r'^import \{ ([^}]*) \} from "\./([\w.]+)"', text, re.MULTILINE):
        exported = (STATIC / source).read_text(encoding="utf-8")
        for one in names.split(", "):
            original, _, alias = one.partition(" as ")
            assert re.search(rf"^export [^(=]*\b{original}\b", exported, re.MULTILINE), (source, original)
            assert (
                len(re.findall(rf"(?:(?<![\w.$])|(?<=\.\.\.)){re.escape(alias or original)}\b", text)) > 1
            ), f"{one} is not used"


def test_no_text_becomes_html_and_no_address_is_absolute() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text
        ), file.name
        assert not re.search(r"""(href|src|action)=["']/|["'`]/(api|static|login)\b""", text), file.name
        # but for the name space of SVG nothing names another host
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, file.name


def test_what_is_sent_is_at_most_80_kilobytes() -> None:
    assets = load_assets()
    sent = {name: one for name, one in assets.items() if not name.startswith(("favicon-", "login"))}
    assert sum(len(one.packed) for one in sent.values()) <= 60_000  # the rest is for headers


def test_icons_bear_their_number() -> None:
    assets = load_assets()
    for number in range(1, MANY + 1):
        body = assets[f"favicon-{number}.svg"].body
        assert (f">{number}<" if number < MANY else ">9+<").encode() in body
        assert body.endswith(b"</svg>") or body.rstrip().endswith(b"</svg>")
