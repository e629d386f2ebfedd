"""Write a message: its title, a line for each entry, and the entries as programs get them.

Pure, but for the local time zone. Names, ids and paths are text of strangers: escaped in title and text, and
as they are in the entries, where they are data. A line has who it is (the name before the id), the project,
what is the matter, since when in local time, and the next thing to type.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from coordd.alerts.conditions import OF_AGENTS, Condition
from coordd.alerts.gathering import Draft, Told
from coordd.alerts.message import LISTED, Entry, Message
from coordd.alerts.moment import Moment
from coordd.alerts.rules import Rule
from coordd.util.text import clipped, escape
from coordd.util.timestamps import format_utc, within_calendar

LINES = 20
"""Lines of a text at most; more entries are counted."""
NAMED = 3
"""Entries that the title of several names."""
_WHO = 40
_TITLE = 200

AGAIN = "This may have been told before: coordd-alert came to no orderly end while it was told."
"""The last line of a message that may have been told already."""

_SHORT = {
    "waiting": "waits",
    "blocked": "is refused",
    "stalled": "stalled",
    "killed": "killed",
    "mass": "fell together",
    "orphaned": "orphaned",
    "split": "split",
    "finished": "has finished",
    "redis": "is down",
    "sink": "fails",
    "daemon": "does not answer",
}
_OVER = {
    "waiting": "waits no longer",
    "blocked": "is refused no longer",
    "stalled": "is stalled no longer",
    "killed": "is back",
    "mass": "is back: not all are gone",
    "orphaned": "is orphaned no longer",
    "split": "is held by several no longer",
    "redis": "answers again",
    "sink": "records again",
    "daemon": "answers again",
}
_NO_TERMINAL = re.compile(r"(, in its terminal)? \([^()]*\)$")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def message_of(draft: Draft, *, serial: int, now: Moment, host: str, home: str | None) -> Message:
    """Return the message that a draft makes.

    Args:
        draft: what a rule tells at once.
        serial: a number that no message had before.
        now: when it is made.
        host: the name of this machine.
        home: what ``~`` stands for in paths; None shortens none.
    """
    told = sorted(draft.told, key=lambda one: (_rank(one), one.since))
    count = len(told) + draft.uncounted
    return Message(
        id=f"{int(now.wall):x}-{serial}",
        rule=draft.rule.name,
        state=draft.state,
        at=_utc(now.wall),
        host=host,
        title=clipped(_title(draft, told, count), _TITLE),
        text=_text(told, count, now.wall, home),
        entries=tuple(_entry(one) for one in told[:LISTED]),
        count=count,
        again=False,
    )


def trial(rule: Rule, *, serial: int, now: Moment, host: str) -> Message:
    """Return the message with which a person tries a rule."""
    return Message(
        id=f"{int(now.wall):x}-{serial}",
        rule=rule.name,
        state="test",
        at=_utc(now.wall),
        host=host,
        title=f"coordd on {escape(host)}: a trial of the rule {rule.name}",
        text=f"Somebody typed: coordctl alerts test {rule.name}\nNothing needs you because of this.",
        entries=(),
        count=0,
        again=False,
    )


def again(message: Message) -> Message:
    """Return a message that may have been told already, marked as such."""
    text = message.text if message.text.endswith(AGAIN) else f"{message.text}\n{AGAIN}"
    return Message(
        id=message.id,
        rule=message.rule,
        state=message.state,
        at=message.at,
        host=message.host,
        title=message.title,
        text=text,
        entries=message.entries,
        count=message.count,
        again=True,
    )


def who(condition: Condition) -> str:
    """Return what something is about in few words, escaped: a name before an id, a project before a path."""
    subject = condition.subject
    if condition.kind in OF_AGENTS:
        if condition.name:
            return clipped(escape(condition.name), _WHO)
        if _UUID.fullmatch(subject):
            return subject[:8]
    if condition.kind == "mass":
        return clipped(escape(subject.rstrip("/").rpartition("/")[2] or subject), _WHO)
    if condition.kind in ("orphaned", "split"):
        return f"task {clipped(escape(subject), _WHO)}"
    if condition.kind == "sink":
        return f"sink {clipped(escape(subject), _WHO)}"
    return clipped(escape(subject), _WHO)


def _rank(told: Told) -> int:
    """Return where it stands among others: who reads may see the first lines alone."""
    if told.state == "resolved":
        return 3
    if told.condition.kind == "finished":
        return 2
    return 0 if told.state == "firing" else 1


def _title(draft: Draft, told: Sequence[Told], count: int) -> str:
    if count == 1 and draft.state != "digest":
        return f"{who(told[0].condition)} {_words(told[0], short=True)}"
    over = sum(one.state == "resolved" for one in told)
    done = sum(one.condition.kind == "finished" for one in told)
    parts = [(count - over - done, "need you", "needs you"), (done, "have finished", "has finished")]
    parts.append((over, "are over", "is over"))
    counts = ", ".join(f"{number} {one if number == 1 else many}" for number, many, one in parts if number)
    named = ", ".join(f"{who(one.condition)} {_short(one)}" for one in told[:NAMED])
    more = ", …" if count > NAMED else ""
    begin = "Quiet hours: " if draft.state == "digest" else ""
    return f"{begin}{counts}: {named}{more}"


def _short(told: Told) -> str:
    kind = told.condition.kind
    if told.state == "resolved":
        return _OVER.get(kind, "is back to normal").partition(":")[0]
    return _SHORT.get(kind, "is high")


def _words(told: Told, *, short: bool = False) -> str:
    condition = told.condition
    if told.state == "resolved":
        return _OVER.get(condition.kind, "is back to normal")
    words = escape(condition.text)
    if condition.kind == "mass":
        words = f"fell: {words}"
    return _NO_TERMINAL.sub("", words) if short else words


def _text(told: Sequence[Told], count: int, wall: float, home: str | None) -> str:
    lines = [_line(one, wall, home) for one in told[:LINES]]
    if count > len(lines):
        lines.append(f"… and {count - len(lines)} more: coordctl status")
    return "\n".join(lines)


def _line(told: Told, wall: float, home: str | None) -> str:
    condition = told.condition
    place = condition.project or condition.workspace
    where = f" ({_path(place, home)})" if place is not None and condition.kind != "mass" else ""
    times = f", {told.times} times" if told.times > 1 else ""
    since = f", since {_local(told.since, wall)}"
    if told.state == "resolved":
        since = f" (had since {_local(told.since, wall)}: {escape(condition.text)})"
    elif told.state == "happened":
        since = f", at {_local(told.since, wall)}"
    command = f"; {condition.command}" if condition.command and told.state != "resolved" else ""
    return f"{who(condition)}{where} {_words(told)}{times}{since}{escape(command)}"


def _entry(told: Told) -> Entry:
    condition = told.condition
    return Entry(
        kind=condition.kind,
        subject=condition.subject,
        name=condition.name,
        workspace=condition.workspace,
        project=condition.project,
        since=_utc(told.since if condition.since is None else condition.since),
        text=_words(told) if told.state == "resolved" else condition.text,
        command=condition.command,
        state=told.state,
    )


def _path(path: str, home: str | None) -> str:
    if home and (path == home or path.startswith(home.rstrip("/") + "/")):
        path = "~" + path[len(home.rstrip("/")) :]
    return escape(path)


def _local(epoch: float, wall: float) -> str:
    """Return a time as a person reads it: of today the time alone."""
    then, today = time.localtime(within_calendar(epoch)), time.localtime(wall)
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", then)


def _utc(epoch: float) -> str:
    return format_utc(within_calendar(epoch))
