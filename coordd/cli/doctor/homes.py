"""Check the homes of coding agents: whether they are read, and whether what lies there is understood."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import short_path
from coordd.cli.doctor.findings import Finding
from coordd.util.shell import shell_word
from coordd.util.text import count, number, shown
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

_PROGRAMS = {
    "claude-code": ("Claude Code", "sessions"),
    "codex": ("Codex", "sessions"),
    "copilot": ("Copilot", "session-state"),
}
"""What people call a program, and the folder of its home in which its sessions are, by their kind."""
_LISTED = 20  # homes, and things not recognised in each, that are named at most


_OF_THE_SYSTEM = (
    "the system's coordd does not see what only its owner may read, such as sessions of Claude Code, "
    "Codex and Copilot; ways out: 'coordd service install --user' as that user, --system --run-as USER, "
    "--system --read-homes, or heartbeats in .claude/coordination"
)
_OF_EVERYBODY = (
    "homes of all users are read: this coordd has CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, and may read every "
    "file of this machine (systemd-analyze security coordd); "
    "back: 'coordd service install --system --no-read-homes'"
)


def check_homes(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that the homes of coding agents are read, and that all that lies there is understood.

    A format may change without a word: a status or a transcript that coordd does not know makes its agent
    ``unknown``, and is named here with the program and its version.
    """
    if not facts.alive:
        return
    daemon = facts.section("daemon")
    if daemon.get("layout") == "system":
        yield Finding("home", "ok", _OF_EVERYBODY if daemon.get("reads_homes") is True else _OF_THE_SYSTEM)
    for source in dicts(facts.status.get("sources"))[:_LISTED]:
        if source.get("kind") == "process":
            yield _programs(source)
        elif source.get("kind") != "redis":
            yield _home(source, facts)
            yield from _unrecognised(source)


def _home(source: dict[str, Any], facts: DoctorFacts) -> Finding:
    kind, path, state = source.get("kind"), source.get("path"), source.get("state")
    named = shown(kind) + (f" {short_path(path, os.environ.get('HOME'))}" if isinstance(path, str) else "")
    agents = number(source.get("agents"))
    seen = "" if agents is None else f"; {count(agents)} {'agent' if agents == 1 else 'agents'} seen there"
    if state == "unreadable":
        fix = "its owner's own coordd sees it: 'coordd service install' as that user"
        if "does not answer" in str(source.get("error")):  # nor would it answer this process, or ls
            fix = "see what is mounted there, and why it hangs: cat /proc/self/mounts"
        elif isinstance(path, str) and facts.me.uid == facts.daemon.uid:
            program = _PROGRAMS.get(str(kind))
            rights = f"look at its rights: ls -ld {shell_word(path)}"
            fix = rights if program is None else _way_out(path, *program)
        return Finding("home", "warn", f"{named} cannot be read: {shown(source.get('error'))}", fix)
    if state == "waiting":
        return Finding("home", "ok", f"{named} does not exist yet; it is watched as soon as it does")
    if state == "inotify":
        return Finding("home", "ok", f"{named} is followed by inotify{seen}")
    why = f": {shown(source.get('error'))}" if source.get("error") is not None else ""
    how = "is polled" if state == "poll" else f"is watched ({shown(state)})"
    return Finding("home", "ok", f"{named} {how}{why}{seen}")


def _programs(source: dict[str, Any]) -> Finding:
    """Return what there is to say of agents that are known by their processes alone."""
    if source.get("state") == "unreadable":
        words = f"other coding agents cannot be seen by their processes: {shown(source.get('error'))}"
        return Finding("programs", "warn", words, "see whether /proc shows them: ls /proc")
    return Finding(
        "programs", "ok", f"other coding agents are seen by their processes: {count(source.get('agents'))}"
    )


def _way_out(home: str, program: str, sessions: str) -> str:
    """Return what to do about a home of the own user: its folder of sessions may be gone, or be closed."""
    folder = os.path.join(home, sessions)
    try:
        os.lstat(home)
        os.lstat(folder)
    except FileNotFoundError:
        return f"start {program}: it makes this folder again; until then nothing is known of its sessions"
    except (OSError, ValueError):
        pass  # the rights are what is to be looked at
    return f"look at its rights: ls -ld {shell_word(home)} {shell_word(folder)}"


def _unrecognised(source: dict[str, Any]) -> Iterator[Finding]:
    listed = dicts(source.get("unrecognised"))
    for one in listed[:_LISTED]:
        program, version = shown(one.get("program", source.get("kind"))), shown(one.get("version"))
        yield Finding(
            "home",
            "warn",
            f"{program} {version}: {shown(one.get('what'))} is not known to this coordd; "
            "agents of which nothing else tells are unknown",
            "install a newer coordd; if there is none, tell its authors the program and version named here",
        )
    if len(listed) > _LISTED:
        yield Finding("home", "warn", f"{len(listed) - _LISTED} more such things are not known")
