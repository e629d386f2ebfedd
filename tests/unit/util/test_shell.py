"""Words of commands as they are shown: a shell that gets them typed has the very same words."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordd.util.shell import shell_word, shell_words
from coordd.util.text import escape

NAMES = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=150, deadline=None)
@given(NAMES | TEXTS)
@example("a\nb\t'\\1")
@example("\x1b[31m7")
@example("\u202eevil")
@example("\udcff8")
@example("")
def test_bash_reads_the_same_word(word: str) -> None:
    shown = shell_word(word)
    assert shown == escape(shown), "what is shown is escaped before"
    command = b"printf %s " + os.fsencode(shown)
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == os.fsencode(word)


@pytest.mark.parametrize("word", ["/home/ann/src/app", "a b", "it's", "~/x", "$HOME", "-w", "é"])
def test_a_plain_word_stays_readable(word: str) -> None:
    assert shell_word(word) == shlex.quote(word)
    assert shlex.split(shell_words([word, word])) == [word, word]
