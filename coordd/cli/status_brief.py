"""Write the status as one line, for a shell's prompt or a status bar. Pure; imports little.

What needs a human stands first, for a status bar cuts its end off.
"""

from __future__ import annotations

from coordd.cli.status_needs import need_rows
from coordd.cli.status_text import alive_words
from coordd.util.text import clipped, epoch_of
from coordd.util.untyped import as_list, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from coordd.cli.look import Picture
    from coordd.cli.view import View

_NAME, _TEXT = 20, 30
"""Columns at most of a name, and of what it needs."""


def brief_line(picture: Picture, view: View) -> str:
    """Return who needs a human and for how long, how many live, and how many problems are coordd's own."""
    document = picture.document
    entries = dicts(document.get("attention"))
    parts = []
    if entries:
        now = epoch_of(document.get("timestamp"))
        name, text, age, _ = need_rows(entries[:1], picture.agents, view, now)[0]
        verb = "needs" if len(entries) == 1 else "need"
        parts.append(f"{len(entries)} {verb} you: {clipped(name, _NAME)} {clipped(text, _TEXT)} {age}")
    parts.append(alive_words(document))
    told = sum(entry.get("kind") != "waiting" for entry in entries)  # these are problems as well
    own = len(as_list(document.get("problems"))) - told
    if own > 0:
        parts.append(f"{own} {'problem' if own == 1 else 'problems'}")
    # tmux expands #{…} and #[…] in what a command prints for its status bar, and names are anybody's
    return ", ".join(parts).replace("#", "_")
