"""Say which observations are of one agent: the rules, in order, as a table.

Pure: a function of the observations alone, whatever the order in which they came. A rule with ``link`` joins
all observations for which it names the same thing. The last step gives what names no workspace a home.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordd.agents.hooks import KIND as HOOKED
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation
from coordd.host.process_facts import Process


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: when observations are of one agent, in words and in code.

    ``link`` returns what an observation names; two that name the same are of one agent. None: it names
    nothing of this kind.
    """

    number: int
    when: str
    link: Callable[[Observation], Hashable | None]


def _session_link(one: Observation) -> Hashable | None:
    session = one.session
    if session is None:
        return None if one.hooks is None else (HOOKED, one.hooks.session_id)
    if not session.ties or session.process_only:
        return None
    return session.kind, session.session_id


RULES: tuple[Rule, ...] = (
    Rule(
        1,
        "they name the same workspace and id",
        lambda one: one.key if one.workspace != NO_WORKSPACE else None,
    ),
    Rule(
        2,
        "they name no workspace, and the same id; one of a workspace as well, if only one has that id",
        lambda one: one.key if one.workspace == NO_WORKSPACE else None,
    ),
    Rule(
        3,
        "they name the same process, which no source names for several ids",
        lambda one: one.process.process if one.process and not one.process.shared else None,
    ),
    Rule(
        4,
        "they name the same session, in whatever workspace",
        _session_link,
    ),
)
_TIES = tuple(rule for rule in RULES if rule.number > 2)


def yields(one: Observation) -> bool:
    """Return whether nothing is known but a process: then what others say of that process goes before."""
    return one.session is not None and one.session.process_only


def without_yielding(observations: Sequence[Observation]) -> Sequence[Observation]:
    """Return the observations of one agent without those that yield to another one of the same process."""
    if len(observations) == 1 or not any(map(yields, observations)):  # each beat comes by here
        return observations
    told = {process_of(one) for one in observations if not yields(one)}
    return [one for one in observations if not yields(one) or process_of(one) not in told]


def without_strangers(observations: Sequence[Observation]) -> Sequence[Observation]:
    """Return the observations of one agent without what a project tells of a session that works elsewhere.

    Whoever may write to a project can name any session's id there. Where the session's own files are read,
    and say where it works, hooks and traces in other projects are of its agent, for it may have begun there,
    and say nothing of it.
    """
    if len(observations) == 1 or not any(map(_names_a_session, observations)):  # each beat comes by here
        return observations
    homes: set[str | None] = set()
    processes: set[Process | None] = set()
    for one in observations:
        if one.session is not None and not one.session.process_only and not one.dormant:
            homes |= {one.workspace, one.session.project}
            processes.add(process_of(one))
    if not homes or NO_WORKSPACE in homes:
        return observations
    return [
        one
        for one in observations
        if not _names_a_session(one) or one.workspace in homes or process_of(one) in processes - {None}
    ]


def _names_a_session(one: Observation) -> bool:
    """Return whether a project's traces are of a session for no other reason than that they name its id."""
    return one.session is None and one.hooks is not None and one.workspace != NO_WORKSPACE


def process_of(one: Observation) -> Process | None:
    """Return the process that an observation names."""
    return one.process.process if one.process else None


Tie = tuple[int, Hashable]
"""(number of the rule, what it names): of observations with whatever ids."""


def ties(one: Observation) -> tuple[Tie, ...]:
    """Return what an observation names that may join it with one of another id."""
    if one.process is None and one.session is None and one.hooks is None:
        return ()  # the usual case: each beat comes by here
    return tuple((rule.number, link) for rule in _TIES if (link := rule.link(one)) is not None)


def is_local(observations: Iterable[Observation]) -> bool:
    """Return whether rule 1 alone can join these, for each names a workspace: then each key is an agent."""
    return all(one.workspace != NO_WORKSPACE for one in observations)


def agents_among(observations: Collection[Observation]) -> dict[AgentKey, tuple[Observation, ...]]:
    """Return the agents that these observations are of, each with its observations in the order given.

    The key is that of the first observation with a workspace, with the id that a registration chose where
    there is one; what hooks alone tell comes last. All observations that any rule could join with one of
    these have to be among them.
    """
    order = {one.place: index for index, one in enumerate(observations)}
    homes: dict[AgentKey, list[Observation]] = {}
    homeless: dict[AgentKey, list[Observation]] = {}
    for linked in _linked(observations):
        group = sorted(linked, key=lambda one: order[one.place])
        # hooks know a session by its present id, and write where it began: others know better
        counted = without_strangers(group)
        known = [one for one in counted if one.session or _chooses_id(one)] or counted
        agent_id = next((one.agent_id for one in counted if _chooses_id(one)), known[0].agent_id)
        placed = [one.workspace for one in (*known, *counted) if one.workspace != NO_WORKSPACE]
        home = placed[0] if placed else NO_WORKSPACE
        agents = homes if home != NO_WORKSPACE else homeless
        agents.setdefault(AgentKey(home, agent_id), []).extend(group)
    found = {key: [*group] for key, group in homes.items()}
    for key, group in homeless.items():
        found.setdefault(_only_home(key.agent_id, homes) or key, []).extend(group)
    return {key: tuple(sorted(group, key=lambda one: order[one.place])) for key, group in found.items()}


def _chooses_id(one: Observation) -> bool:
    """Return whether an observation has the id that somebody chose for the agent, not that of its session."""
    if one.session is not None:
        return False
    return one.hooks is None or (one.traces is not None and one.traces.registration is not None)


def _linked(observations: Iterable[Observation]) -> list[list[Observation]]:
    """Return the observations in groups: two that name the same thing are in one."""
    group_of: dict[Hashable, tuple[list[Observation], set[Hashable]]] = {}
    for one in observations:
        members = [one]
        links: set[Hashable] = {(rule.number, link) for rule in RULES if (link := rule.link(one)) is not None}
        for others, other_links in {id(met): met for link in links if (met := group_of.get(link))}.values():
            members = [*others, *members]
            links = links | other_links
        group_of.update(dict.fromkeys(links, (members, links)))
    return [members for members, _ in {id(group): group for group in group_of.values()}.values()]


def _only_home(agent_id: str, homes: Mapping[AgentKey, Sequence[Observation]]) -> AgentKey | None:
    """Return the only agent of a workspace with this id; a forgotten one counts where there is no other."""
    keys = [key for key in homes if key.agent_id == agent_id]
    awake = [key for key in keys if not all(one.dormant for one in homes[key])]
    choice = awake or keys
    return choice[0] if len(choice) == 1 else None
