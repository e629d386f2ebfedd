"""Turn what needs a human, and what agents are and do, into Prometheus metrics. Pure.

The status document tells of what needs a human and of activities, ``agents.list`` of kinds, of how long
agents have waited, and of tokens. Labels have few values, whatever strangers write: a name that is not known
here counts as ``other``. No label ever holds an agent's name or id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
from prometheus_client.core import CounterMetricFamily, Metric

from coordd.dashboard.families import gauge, gauges_by
from coordd.dashboard.token_totals import TYPES, Key, TokenTotals
from coordd.model import ACTIVITIES, AttentionKind
from coordd.util.text import epoch_of
from coordd.util.untyped import as_dict, dicts

KINDS = ("claude-code", "codex", "copilot")
"""The kinds of agents with a label of their own: those that a source of this version tells of."""
PROCESS_KINDS = frozenset(
    [
        "aider",
        "amp",
        "antigravity",
        "auggie",
        "claude-code",
        "cline",
        "codex",
        "copilot",
        "crush",
        "cursor",
        "droid",
        "gemini",
        "goose",
        "kimi",
        "kiro",
        "opencode",
        "openhands",
        "qwen",
    ]
)
"""Those that are known by their processes alone, or may be: each has a label while there is one."""
OTHER, UNKNOWN = "other", "unknown"

_NEEDS: tuple[str, ...] = get_args(AttentionKind)


class _Agent(msgspec.Struct):
    """An entry of ``agents.list``, as far as metrics tell of it; another version may answer other types."""

    workspace: Any = None
    agent_id: Any = None
    status: Any = None
    kind: Any = None
    activity: Any = None
    activity_since: Any = None
    tokens: Any = None


class _Page(msgspec.Struct):
    agents: list[_Agent]
    timestamp: Any = None


_decoder = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True)
class AgentNumbers:
    """What the list of agents tells: active ones by kind, seconds waited now, tokens by kind and type."""

    kinds: Mapping[str, int]
    waited: tuple[float, ...]
    tokens: Mapping[str, tuple[float, ...]]


def read_agents(raw: bytes, totals: TokenTotals) -> AgentNumbers:
    """Return the numbers of an answer of ``agents.list``, after ``totals`` has taken its tokens.

    Raises:
        msgspec.DecodeError: it is no such answer.
    """
    page = _decoder.decode(raw)
    now = epoch_of(page.timestamp)
    totals.look(((_key(one), kind_of(one.kind), one.tokens) for one in page.agents), now)
    kinds: dict[str, int] = dict.fromkeys((*KINDS, UNKNOWN), 0)
    waited = []
    for one in page.agents:
        if one.status == "active":
            kind = kind_of(one.kind)
            kinds[kind] = kinds.get(kind, 0) + 1
        since = epoch_of(one.activity_since)
        if one.status != "inactive" and one.activity == "waiting" and since is not None and now is not None:
            waited.append(max(now - since, 0.0))
    return AgentNumbers(kinds, tuple(waited), {kind: tuple(sums) for kind, sums in totals.totals.items()})


def _key(agent: _Agent) -> Key:
    return str(agent.workspace or ""), str(agent.agent_id)


def kind_of(kind: object) -> str:
    """Return the label of a kind: one of few."""
    if kind is None or kind == "":
        return UNKNOWN
    return kind if isinstance(kind, str) and (kind in KINDS or kind in PROCESS_KINDS) else OTHER


def needs_families(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield what the status document tells of activities and of what needs a human."""
    activities = as_dict(as_dict(status.get("agents")).get("activities"))
    yield gauges_by(
        "activity",
        "coordd_agents_activity",
        "Active agents by what they do; unknown: nothing tells.",
        {name: activities.get(name) for name in ACTIVITIES},
    )
    attention = status.get("attention")
    counts: dict[str, int] = dict.fromkeys(_NEEDS, 0) if isinstance(attention, list) else {}
    for entry in dicts(attention):
        kind = entry.get("kind")
        name = kind if isinstance(kind, str) and kind in _NEEDS else OTHER
        counts[name] = counts.get(name, 0) + 1
    yield gauges_by(
        "kind", "coordd_attention", "What needs a human and was not acknowledged, by kind.", counts
    )


def agent_families(agents: AgentNumbers) -> Iterator[Metric]:
    """Yield what the list of agents tells."""
    yield gauges_by("kind", "coordd_agents_kind", "Active agents by kind.", agents.kinds)
    yield gauge(
        "coordd_waiting_seconds",
        "Seconds that the agents which wait for a human now have waited, all together.",
        sum(agents.waited),
    )
    yield gauge(
        "coordd_waiting_seconds_max",
        "Seconds that the agent has waited which has waited longest for a human; 0 if none waits.",
        max(agents.waited, default=0.0),
    )
    tokens = CounterMetricFamily(
        "coordd_tokens",
        "Tokens that agents have used since this dashboard was first asked for metrics.",
        labels=["kind", "type"],
    )
    for kind, sums in agents.tokens.items():
        for name, value in zip(TYPES, sums, strict=True):
            tokens.add_metric([kind, name], value)
    yield tokens
