"""Offer a ``.gitignore`` for the traces of agents in git work trees; nothing is written here.

coordd never runs git. The doctor does, once for a project, without what its configuration could have run, and
believes it only where it is sure: in another user's repository git refuses to answer, and nothing is offered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from coordd.cli.doctor.findings import Finding
from coordd.util.shell import shell_word
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

AGENTS = ".claude/coordination/agents"
_MOST = 50
"""Projects that are asked about at most."""
_DEADLINE = 2.0
_NOT_IGNORED = 1  # git-check-ignore(1): none of the paths is


def check_ignoring(facts: DoctorFacts) -> Iterator[Finding]:
    """Check whether git would show the agents' traces as untracked files."""
    listed = facts.status.get("workspaces")
    paths = [as_dict(one).get("path") for one in (listed if isinstance(listed, list) else [])[:_MOST]]
    shown = [path for path in paths if isinstance(path, str) and os.path.isabs(path) and _is_shown(path)]
    if not shown:
        return
    more = f", and in {len(shown) - 1} more projects" if len(shown) > 1 else ""
    traces = os.path.join(shown[0], AGENTS)
    yield Finding(
        "git",
        "ok",
        f"git does not ignore {traces}: each beat shows up in 'git status' there{more}",
        f"if that is unwanted: echo '*' >{shell_word(os.path.join(traces, '.gitignore'))}",
    )


def _is_shown(workspace: str) -> bool:
    """Return whether a project is in a git work tree that does not ignore its agents' traces."""
    git = shutil.which("git")
    if git is None or not os.path.isdir(os.path.join(workspace, AGENTS)):
        return False
    try:
        done = subprocess.run(
            [
                git,
                "-C",
                workspace,
                "-c",
                "core.fsmonitor=false",
                "check-ignore",
                "-q",
                f"{AGENTS}/a.heartbeat",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_DEADLINE,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return done.returncode == _NOT_IGNORED
