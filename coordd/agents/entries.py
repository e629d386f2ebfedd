"""Write the entries of what needs a human: what it is in words, what to type next, and what ``ack`` takes.

Pure. Ids and tasks are text of strangers: escaped in words, quoted for a shell in commands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from coordd.agents.key import AgentKey
from coordd.agents.mass import WINDOW, Mass
from coordd.agents.subject import OrphanedClaim, SplitClaim, Subject
from coordd.model import AttentionEntry, AttentionKind
from coordd.util.digest import sha256_hex
from coordd.util.shell import shell_word
from coordd.util.text import escape
from coordd.util.timestamps import format_utc, within_calendar

NAMED = 5
"""The number of entries of one kind that ``problems`` names; the rest is counted."""

KIND_WORDS: Mapping[AttentionKind, str] = {
    "waiting": "agents that wait",
    "mass": "groups of agents that fell together",
    "killed": "killed agents",
    "stalled": "stalled agents",
    "blocked": "agents that their providers refuse",
    "orphaned": "orphaned claims",
    "split": "tasks that several agents hold",
}
"""What several entries of a kind are called."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_BEGINNING = 8
"""Characters of a UUID that a person types."""

_ID_LENGTH = 12
"""Hexadecimal digits of an entry's id: few enough to type, too many for anybody to forge another's."""

_TYPED = 200
"""Characters of a path that a command names at most."""

REDIS = "redis"
"""The subject of agents that fell together and of which only Redis tells: they have no workspace."""


def several(agent_ids: Iterable[str]) -> set[str]:
    """Return the ids, and the beginnings of UUIDs, that more than one agent has.

    A command about such an id names the workspace, and one about such a UUID has all of it.
    """
    ids = list(agent_ids)
    begun = {one for one in ids if _UUID.fullmatch(one)}
    counts = Counter(ids) + Counter(one[:_BEGINNING] for one in begun)
    return {one for one, count in counts.items() if count > 1}


def of_agent(kind: AttentionKind, one: Subject, ambiguous: Collection[str]) -> AttentionEntry:
    """Return the entry of one agent: ``waiting``, ``killed``, ``stalled`` or ``blocked``."""
    killed = kind == "killed"
    since = one.inactive_since if killed else one.activity_since
    words = {"waiting": _waiting, "killed": _killed, "stalled": _stalled, "blocked": _blocked}[kind](one)
    about = {"waiting": one.waiting_for, "blocked": one.refusal}.get(kind)
    verb = "agent" if kind == "waiting" else "why"
    return _entry(
        kind,
        one.key,
        since=since,
        text=words,
        command=_command(verb, one.key, ambiguous),
        about=(about or "",),
    )


def of_mass(mass: Mass) -> AttentionEntry:
    """Return the entry of agents of one workspace that fell together."""
    reasons = {one.reason for one in mass.fallen}
    fell = "were killed" if reasons == {"killed"} else "went silent"
    if reasons > {"killed"}:
        fell = "were killed or went silent"
    return _entry(
        "mass",
        AgentKey(mass.workspace, mass.workspace or REDIS),
        since=mass.first,
        text=f"{len(mass.fallen)} of {mass.lived} agents {fell} within {WINDOW:.0f} s",
        command=f"coordctl agents --status inactive{_where(mass.workspace)}",
        about=(_moment(mass.last) or "",),
        # the one that fell first may be forgotten before the others
        dated=False,
    )


def of_orphaned(claim: OrphanedClaim) -> AttentionEntry:
    """Return the entry of a claim whose holder is gone."""
    holder = escape(claim.holder.agent_id)
    gone = "has left no trace" if claim.reason is None else f"is inactive ({claim.reason})"
    return _entry(
        "orphaned",
        AgentKey(claim.workspace, claim.task),
        since=claim.since,
        text=f"orphaned: its holder {holder} {gone}",
        command="coordctl tasks --state orphaned",
        about=claim.holder,
    )


def of_split(claim: SplitClaim) -> AttentionEntry:
    """Return the entry of a task that several agents hold."""
    holders = sorted(claim.holders)
    named = [escape(one.agent_id) for one in holders[:NAMED]]
    more = [f"{len(holders) - NAMED} more"] if len(holders) > NAMED else []
    *first, last = named + more
    return _entry(
        "split",
        AgentKey(claim.workspace, claim.task),
        since=claim.since,
        text=f"split: held by {', '.join(first)} and {last} at once",
        command="coordctl tasks",
        about=[part for one in holders for part in one],
        dated=False,  # who renews a claim changes its time, and nothing else
    )


def sentence(entry: AttentionEntry, names: Mapping[AgentKey, str]) -> str:
    """Return an entry as a sentence that stands alone."""
    subject = escape(entry.subject)
    if entry.kind == "mass":
        return f"{'Redis alone' if entry.workspace is None else subject}: {entry.text}"
    key = AgentKey(entry.workspace or "", entry.subject)
    place = escape(key.place_words)
    if entry.kind in ("orphaned", "split"):
        return f"task {subject} {place} is {entry.text.replace(':', ',', 1)}"
    name = names.get(key)
    called = f"{escape(name)} ({subject})" if name and name != entry.subject else subject
    return f"agent {called} {place}: {entry.text}"


def _waiting(one: Subject) -> str:
    what = f": {escape(one.waiting_for)}" if one.waiting_for else ""
    place = [escape(one.tty)] if one.tty else []
    place += [f"pid {one.pid}"] if one.pid is not None else []
    where = f", in its terminal ({', '.join(place)})" if one.tty else f" ({place[0]})" if place else ""
    return f"waits for you{what}{where}"


def _killed(one: Subject) -> str:
    return f"killed, held {escape(one.held)}" if one.held else "killed"


def _stalled(one: Subject) -> str:
    if one.tool:
        return f"stalled: {escape(one.tool)} is open, its processes do nothing"
    return (
        f"stalled: no progress, holds {escape(one.held)}" if one.held else "stalled: no progress in its turn"
    )


def _blocked(one: Subject) -> str:
    why = f" ({one.refusal.replace('-', ' ')})" if one.refusal and one.refusal != "other" else ""
    return f"refused by its provider{why}"


def _command(verb: str, key: AgentKey, ambiguous: Collection[str]) -> str:
    where = _where(key.workspace) if key.agent_id in ambiguous else ""
    end = " --" if key.agent_id.startswith("-") else ""
    agent_id = key.agent_id
    if _UUID.fullmatch(agent_id) and agent_id[:_BEGINNING] not in ambiguous:
        agent_id = agent_id[:_BEGINNING]  # coordctl takes the beginning of an id
    return f"coordctl {verb}{where}{end} {shell_word(agent_id)}"


def _where(workspace: str) -> str:
    """Return the option that names a workspace; "" for one whose path nobody would type."""
    return f" --workspace {shell_word(workspace)}" if len(workspace) <= _TYPED else ""


def _entry(
    kind: AttentionKind,
    subject: AgentKey,
    *,
    since: float | None,
    text: str,
    command: str,
    about: Iterable[str],
    dated: bool = True,
) -> AttentionEntry:
    """Return an entry; its id follows from kind, subject, ``about``, and ``since`` where ``dated``."""
    moment = _moment(since)
    parts = [kind, *subject, *about, (moment or "") if dated else ""]
    told = "".join([f"{len(part)}:{part}" for part in parts])
    return AttentionEntry(
        kind=kind,
        workspace=subject.recorded_workspace,
        subject=subject.agent_id,
        since=moment,
        text=text,
        command=command,
        id=sha256_hex(told.encode("utf-8", "surrogatepass"))[:_ID_LENGTH],
    )


def _moment(epoch: float | None) -> str | None:
    return None if epoch is None else format_utc(within_calendar(epoch))
