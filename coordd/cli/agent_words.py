"""Say in words what an agent does, and put agents in the order of need. Pure: entries of ``agents.list``.

| state | is |
|---|---|
| waiting, stalled, blocked, working, idle | the activity of an active agent; a quiet one may be waiting |
| active | an active agent of which nothing tells what it does |
| killed, silent, ended | the reason why an agent is inactive |
| unknown | an agent of which nobody can say whether it lives |

Entries may come from another version or from a stranger's file. ``coordctl status`` imports this module and
has to start fast.
"""

from __future__ import annotations

from coordd.cli.agent_places import place_of
from coordd.util.text import UNKNOWN, ago, clipped, epoch_of, number, shown
from coordd.util.untyped import as_dict, as_list

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Agent = Mapping[str, Any]
    Key = tuple[str, str]

ORDER = (
    "waiting",
    "killed",
    "stalled",
    "blocked",
    "silent",
    "inactive",
    "unknown",
    "active",
    "working",
    "idle",
    "ended",
)
"""All states in the order of need; ``inactive`` stands for a reason that this version does not know."""
STYLE = {
    "waiting": "yellow",
    "killed": "red",
    "stalled": "red",
    "blocked": "yellow",
    "silent": "red",
    "inactive": "red",
    "unknown": "yellow",
    "working": "green",
    "active": "green",
    "idle": "dim",
    "ended": "dim",
}
NEEDING = 4
"""The first so many states of ``ORDER`` need a human."""
LIVING = ORDER.index("active")
"""From this place of ``ORDER`` on an agent lives or has ended in order: nothing is wrong with it."""

_RANK = {state: rank for rank, state in enumerate(ORDER)}
_WHY_UNKNOWN = {"unreachable": "its source cannot be read", "quiet": "nothing new since its last hook"}
_LATE = ("unknown", "inactive", "silent", "killed", "ended")
"""The states for which it counts when they began, or else its last sign."""
_DOING = {"blocked": "refused by its provider"}
_BEGINNING = 8  # columns of an id beside a name that several agents have


def key_of(agent: Agent) -> Key:
    """Return what tells an agent from all others: its workspace ("" without one) and its id."""
    workspace = agent.get("workspace")
    return (workspace if isinstance(workspace, str) else "", str(agent.get("agent_id")))


def state_of(agent: Agent) -> str:
    """Return the state of an agent in one word."""
    status, reason, activity = agent.get("status"), agent.get("reason"), agent.get("activity")
    if status == "inactive":
        return str(reason) if reason in ("killed", "silent", "ended") else "inactive"
    if status == "active":
        return (
            activity
            if isinstance(activity, str) and activity in STYLE and activity != "unknown"
            else "active"
        )
    return "waiting" if activity == "waiting" and reason == "quiet" else "unknown"


def rank_of(agent: Agent) -> int:
    """Return the place of its state in :data:`ORDER`."""
    return _RANK[state_of(agent)]


def in_order(agents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort agents by need; of one state who has been in it for longest comes first, then by name.

    Each of them is kept once, as it needs most.
    """
    ranked = sorted(agents, key=_need)
    unique: dict[Key, dict[str, Any]] = {}
    for agent in ranked:
        unique.setdefault(key_of(agent), agent)
    return list(unique.values())


def _need(agent: Agent) -> tuple[int, float, str, Key]:
    began = _began(agent)
    return rank_of(agent), float("inf") if began is None else began, name_of(agent), key_of(agent)


def _began(agent: Agent) -> float | None:
    """Return since when it has been in its state, in epoch seconds; what :func:`since` counts from.

    Only timestamps count: an age is older in each answer, and would let agents change places.
    """
    if state_of(agent) not in _LATE:
        return epoch_of(agent.get("activity_since"))
    fell = epoch_of(agent.get("inactive_since"))
    signs = [epoch_of(agent.get(name)) for name in ("last_heartbeat", "last_progress")]
    return max((one for one in signs if one is not None), default=None) if fell is None else fell


def name_of(agent: Agent) -> str:
    """Return its name, escaped; its id where it has none."""
    name = agent.get("name")
    return shown(name if isinstance(name, str) and name.strip() else agent.get("agent_id"))


def labels(agents: Sequence[Agent]) -> dict[Key, str]:
    """Return the name of each agent, with the beginning of its id where several of a project share a name."""
    counts: dict[tuple[str, str], int] = {}
    for agent in agents:
        name = (place_of(agent), name_of(agent))
        counts[name] = counts.get(name, 0) + 1
    found = {}
    for agent in agents:
        label, identity = name_of(agent), shown(agent.get("agent_id"))
        if counts[(place_of(agent), label)] > 1 and label != identity:
            label = f"{label} {clipped(identity, _BEGINNING + 1)}"
        found[key_of(agent)] = label
    return found


def doing(agent: Agent, *, later: float | None) -> str:
    """Return what makes the state more precise: what it waits for, its open tool; "" for nothing.

    The entry is ``later`` seconds old; None if nobody knows.
    """
    state = state_of(agent)
    if state == "waiting":
        return _text(agent.get("waiting_for"))
    if state == "active":
        last = last_sign_age(agent, later=later)
        return "" if last is None else f"seen {ago(last)}"
    if state in ("working", "stalled", "idle"):
        return _open_work(agent)
    return _why_unknown(agent) if state == "unknown" else _DOING.get(state, "")


def _why_unknown(agent: Agent) -> str:
    reason = agent.get("reason")
    if reason == "no-heartbeat":
        return {
            "contradiction": "its times contradict each other",
            "unchanged": "not changed since coordd first saw it",
        }.get(no_beat(agent), "no sign of life can be read")
    return _WHY_UNKNOWN.get(str(reason), "")


def no_beat(agent: Agent) -> str:
    """Return what is meant by ``no-heartbeat``: ``contradiction``, ``unchanged``, or ``unreadable``.

    A beat that is known and does not count has another time than its file; a key of Redis has no time of its
    own, so that without one in it only a change tells.
    """
    if agent.get("last_heartbeat") is not None:
        return "contradiction"
    return "unchanged" if "redis" in as_list(agent.get("sources")) else "unreadable"


def since(agent: Agent, now: float | None, *, later: float | None) -> float | None:
    """Return for how many seconds it has been in its state; None if unknown.

    Of one that is not active and of which no end is known that is the time since its last sign. ``now`` is
    epoch seconds.
    """
    if state_of(agent) in _LATE:
        fell = seconds_since(agent.get("inactive_since"), now)
        return last_sign_age(agent, later=later) if fell is None else fell
    return seconds_since(agent.get("activity_since"), now)


def last_sign_age(agent: Agent, *, later: float | None) -> float | None:
    """Return the seconds since its last heartbeat or progress, whatever came last; None if unknown."""
    if later is None:
        return None
    ages = [number(agent.get("last_heartbeat_age"))]
    progress = seconds_since(agent.get("last_progress"), epoch_of(agent.get("timestamp")))
    known = [one for one in (*ages, progress) if one is not None]
    return min(known) + later if known else None


def seconds_since(timestamp: object, now: float | None) -> float | None:
    """Return the seconds from a timestamp to ``now``; never negative, None if either is unknown."""
    then = epoch_of(timestamp)
    return None if then is None or now is None else max(now - then, 0.0)


def task_words(agent: Agent, claims: Sequence[Mapping[str, Any]]) -> str:
    """Return the first of its claimed tasks with progress, and how many more it has.

    ``claims`` are those of ``tasks.list`` that it holds, as far as they are known.
    """
    total = number(agent.get("active_tasks"))
    if not claims:
        return (
            UNKNOWN
            if total is None
            else ""
            if total == 0
            else f"{total:.0f} {'task' if total == 1 else 'tasks'}"
        )
    progress = number(claims[0].get("progress"))
    words = clipped(shown(claims[0].get("task_id")), 24)
    if progress is not None:
        words += " failed" if progress < 0 else f" {progress:.0f} %"
    more = max(len(claims), int(total or 0)) - 1
    return f"{words} +{more}" if more > 0 else words


def claims_by_holder(tasks: Iterable[Mapping[str, Any]]) -> dict[Key, list[Mapping[str, Any]]]:
    """Return the claims among the entries of ``tasks.list`` by the agent that holds them."""
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for task in tasks:
        if task.get("agent_id") is not None and task.get("state") != "available":
            found.setdefault(key_of(task), []).append(task)
    return found


def tokens(value: object) -> str:
    """Format a number of tokens: ``950``, ``84k``, ``1.2M``."""
    known = number(value)
    if known is None or known < 0:
        return UNKNOWN
    if known < 1000:
        return f"{known:.0f}"
    return f"{known / 1000:.0f}k" if known < 999_500 else f"{known / 1e6:.1f}M"


def ended(agent: Agent) -> bool:
    """Return whether an agent ended in order."""
    return state_of(agent) == "ended"


def counts_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the counts of a status document that are known, by name."""
    agents = as_dict(document.get("agents"))
    known = {name: number(value) for name, value in agents.items()}
    return {name: value for name, value in known.items() if value is not None and value >= 0}


def _open_work(agent: Agent) -> str:
    tool, background = agent.get("tool"), number(agent.get("background"))
    if isinstance(tool, str) and tool:
        return shown(tool)
    return f"{background:.0f} in the background" if background else ""


def _text(value: object) -> str:
    return shown(value) if isinstance(value, str) else ""
