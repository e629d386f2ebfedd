"""Watch the real Claude Code of one user with the real coordd of that user, which was told nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_code import ClaudeCode, Gate, model
from live import Coordd, running
from waiting import PATIENCE, NotYet, eventually

Agent = dict[str, Any]


@contextlib.contextmanager
def claude_code(directory: Path, config: Path | None = None) -> Iterator[ClaudeCode]:
    """Run a model, and give a Claude Code that trusts what lies in this directory; end all of it."""
    with model(directory / "model") as answering:
        claude = ClaudeCode(directory / "home", answering, trusted=directory, config=config)
        try:
            yield claude
        finally:
            claude.close()


@contextlib.contextmanager
def users_coordd(home: Path, **environ: str) -> Iterator[Coordd]:
    """Run coordd in the user layout, with no configuration and no argument."""
    sock = home / ".local/state/coordd/run/coordd.sock"
    with running([], sock=sock, home=home, cwd=home, **environ) as daemon:
        yield daemon


class Watched:
    """What coordd says of the agents of some projects; agents of others may be there too."""

    def __init__(self, directory: Path, claude: ClaudeCode, daemon: Coordd) -> None:
        self.directory = directory
        self.claude = claude
        self.daemon = daemon

    def project(self, name: str) -> Path:
        """Make a project."""
        path = self.directory / name
        path.mkdir()
        return path

    def gate(self, name: str) -> Gate:
        """Make a gate, outside the projects."""
        return Gate(self.directory / f"{name}.gate")

    def agents(self, project: Path) -> list[Agent]:
        """Return the agents of a project."""
        listed: list[Agent] = self.daemon.rpc("agents.list")["agents"]
        return [one for one in listed if one["project"] == str(project)]

    def of_process(self, pid: int, **expected: object) -> Agent:
        """Wait until the agent of a living process is shown like this; return it."""

        def found() -> Agent:
            listed = self.daemon.rpc("agents.list")["agents"]
            agents = [one for one in listed if one["pid"] == pid and one["status"] == "active"]
            if len(agents) != 1:
                raise NotYet(f"{len(agents)} active agents of process {pid}")
            return _compared(agents[0], expected)

        return eventually(found, what=f"process {pid}: {expected}")

    def becomes(self, agent: Agent, *, within: float = PATIENCE, **expected: object) -> Agent:
        """Wait until an agent is shown like this; return it."""
        key = agent["agent_id"], agent["workspace"]
        what = f"{agent['agent_id']}: {expected}"
        return eventually(lambda: _compared(self.daemon.agent(*key), expected), what=what, within=within)

    def attention(self, agent: Agent) -> list[str]:
        """Return for what an agent needs a human, as ``coordctl status --json`` tells."""
        status = json.loads(self.daemon.ctl("status", "--json").stdout)
        return [one["kind"] for one in status["attention"] if one["subject"] == agent["agent_id"]]

    def needs_human(self, agent: Agent, *kinds: str) -> None:
        """Wait until an agent needs a human for exactly this."""
        eventually(lambda: self.attention(agent) == list(kinds), what=f"attention: {kinds}")


def _compared(agent: Agent, expected: dict[str, object]) -> Agent:
    differing = {name: agent[name] for name, value in expected.items() if agent[name] != value}
    if differing:
        raise NotYet(f"{agent['agent_id']} has {differing}")
    return agent


@contextlib.contextmanager
def watched(directory: Path) -> Iterator[Watched]:
    """Run all of it: coordd first, in a home in which Claude Code was never started."""
    with claude_code(directory) as claude, users_coordd(claude.home) as daemon:
        yield Watched(directory, claude, daemon)
