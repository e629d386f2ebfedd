"""Write the status document as text for people. Pure: documents in, lines out.

One order everywhere: who needs a human, what ails coordd, who works on what, who is gone, how the machine is.
The document may come from another version of the daemon or from a stranger's file: whatever is missing or has
another type is shown as ``-``.
"""

from __future__ import annotations

from coordd.cli.agent_places import short_paths
from coordd.cli.agent_words import counts_of
from coordd.cli.status_agents import agent_lines
from coordd.cli.status_facts import LISTED, fact_lines
from coordd.cli.status_needs import needs_lines
from coordd.cli.watched import watched_lines
from coordd.util.text import ago, duration, epoch_of, escape, number, paint, shown, width, with_short_words
from coordd.util.untyped import as_dict, as_list, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from coordd.cli.look import Picture
    from coordd.cli.view import View

_GAP = 4  # blanks at least between the two halves of the first line


def running_text(picture: Picture, view: View, *, later: float = 0.0, note: str | None = None) -> str:
    """Return the text of a running daemon's answers, which are ``later`` seconds old.

    ``note`` says that this is not the daemon that was meant, where it is not: then it is the first line.
    """
    daemon = as_dict(picture.document.get("daemon"))
    up = number(daemon.get("uptime"))
    version = f"coordd {shown(daemon.get('version'))}"
    right = f"{version}, up {duration(None if up is None else up + later)}"
    first = [] if note is None else [paint(escape(note), "yellow", colour=view.colour), ""]
    lines = [_headline(picture.document, right, view), *_body(picture, view, later=later)]
    return "\n".join([*first, *lines])


def stopped_text(
    picture: Picture,
    tried: Sequence[tuple[str, str]],
    view: View,
    *,
    snapshot_age: float | None,
    hints: Sequence[str] = (),
) -> str:
    """Return the text of a stopped daemon's last snapshot, marked as old, and of the sockets tried.

    ``hints`` say how it ended and what to do; they come before the picture, which may be long.
    """
    when = ago(snapshot_age) if snapshot_age is not None else "of unknown age"
    first = paint("coordd is not running.", "red", colour=view.colour)
    lines = [
        f"{first} Last snapshot {when}; what follows was so then.",
        *map(escape, hints),
        *_as_it_was(picture, view.of_the_past(), age=snapshot_age),
        "",
        "Tried",
        *[f"  {path}: {reason}" for path, reason in tried],
    ]
    return "\n".join(lines)


def lost_text(
    picture: Picture | None, trouble: str, view: View, *, age: float | None, hints: Sequence[str] = ()
) -> str:
    """Return the text of a lost daemon: the trouble, then its last answer, ``age`` seconds old, if any.

    ``hints`` are as for :func:`stopped_text`.
    """
    first = paint(escape(trouble), "red", colour=view.colour)
    if picture is None:
        return "\n".join([first, *map(escape, hints)])
    when = ago(age) if age is not None else "at an unknown time"
    lines = [
        f"{first}  What follows was so {when}.",
        *map(escape, hints),
        *_as_it_was(picture, view.of_the_past(), age=age),
    ]
    return "\n".join(lines)


def _as_it_was(picture: Picture, view: View, *, age: float | None) -> list[str]:
    version = as_dict(picture.document.get("daemon")).get("version")
    headline = _headline(picture.document, f"coordd {shown(version)}", view)
    return ["", headline, *_body(picture, view, later=age)]


def _headline(document: dict[str, Any], right: str, view: View) -> str:
    host = shown(as_dict(document.get("daemon")).get("host"))
    attention = document.get("attention")
    need = len(dicts(attention))
    words = ("needed you" if view.old else "needs you" if need == 1 else "need you") if need else ""
    # In the past tense one cannot tell at a glance what is so now, hence the word.
    said = [f"was {alive_words(document)}" if view.old else alive_words(document)]
    if words:
        said.append(paint(f"{need} {words}", "yellow", colour=view.paints))
    left = f"{paint(host, 'bold', colour=view.colour)}  {', '.join(said)}"
    plain = width(f"{host}  {alive_words(document)}") + (width(f", {need} {words}") if words else 0)
    plain += 4 if view.old else 0
    blanks = _GAP if view.columns is None else max(view.columns - plain - width(right), _GAP)
    return left + " " * blanks + right


def alive_words(document: dict[str, Any]) -> str:
    """Return how many agents live; those that ended in order never count."""
    counts = counts_of(document)
    gone = counts.get("ended", 0.0)
    if counts.get("total", 1.0) - gone <= 0:
        return "no agents"
    known = [
        ("alive", counts.get("active")),
        ("dead", counts["inactive"] - gone if "inactive" in counts else None),
        ("unknown", counts.get("unknown")),
    ]
    return ", ".join(
        [f"{'-' if n is None else f'{n:.0f}'} {word}" for word, n in known if n or word == "alive"]
    )


def _body(picture: Picture, view: View, *, later: float | None) -> list[str]:
    document = picture.document
    asked = epoch_of(document.get("timestamp"))
    now = None if asked is None or later is None else asked + later
    agents = agent_lines(picture, view, now=now, later=later)
    blocks = [
        needs_lines(picture, view, now=now),
        _problems(document, view),
        _told("Warnings", as_list(document.get("warnings"))[:LISTED], view),
        agents,
        [] if agents else watched_lines(document, view),
        fact_lines(document, view, now=now, workspaces=bool(agents)),
    ]
    return [line for block in blocks if block for line in ("", *block)]


def _told(heading: str, sentences: Sequence[object], view: View) -> list[str]:
    if not sentences:
        return []
    words = f"{heading} then" if view.old else heading
    told = [f"  {with_short_words(short_paths(one, view.home), view.line - 2)}" for one in sentences]
    return [paint(words, "bold", colour=view.colour), *told]


def _problems(document: dict[str, Any], view: View) -> list[str]:
    lines = _told("Problems", _own_problems(document), view)
    return [*lines, "  What to do: coordctl doctor"] if lines and not view.old else lines


def _own_problems(document: dict[str, Any]) -> list[object]:
    """Return the problems that are not told as something that needs a human already."""
    own = document.get("own_problems")
    if isinstance(own, list):
        return own
    told = [(entry.get("subject"), entry.get("text")) for entry in dicts(document.get("attention"))]
    return [problem for problem in as_list(document.get("problems")) if not _is_told(problem, told)]


def _is_told(problem: object, told: Sequence[tuple[object, object]]) -> bool:
    if not isinstance(problem, str):
        return False
    return any(
        isinstance(subject, str) and isinstance(text, str) and text and subject in problem and text in problem
        for subject, text in told
    )
