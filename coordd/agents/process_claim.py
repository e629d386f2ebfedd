"""Say which process an agent names as its own: by a registration, or by what a session's files say. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.session import Session
from coordd.agents.traces import Registration
from coordd.host.process_facts import Process


@dataclass(frozen=True, slots=True)
class ProcessClaim:
    """A process that is said to be an agent's.

    ``process`` is known where its source saw it alive: then no rule asks further. Else ``pid`` is as the
    registration has it, which may be that of a container, and ``proc_start`` its start, None where it is not
    given. ``owner`` is the uid of the registration's file and ``written`` its mtime, None for an entry of
    Redis. ``folders`` are the paths of the workspace, the first of which names it.
    """

    pid: int
    proc_start: int | None = None
    hostname: str | None = None
    owner: int | None = None
    written: float | None = None
    folders: tuple[str, ...] = ()
    process: Process | None = None

    def renews(self, other: ProcessClaim) -> bool:
        """Return whether this says the same as another one that was written at another time."""
        return (
            self.pid == other.pid
            and self.proc_start == other.proc_start
            and self.hostname == other.hostname
            and self.owner == other.owner
            and self.folders == other.folders
            and self.process == other.process
        )


def claim_of_registration(
    registration: Registration | None, workspace: str, aliases: tuple[str, ...] = ()
) -> ProcessClaim | None:
    """Return what one source's registration claims; None where it names no process.

    Args:
        registration: of one source: what several say is not to be mixed.
        workspace: the workspace that the source names for it.
        aliases: further paths of the workspace.
    """
    if registration is None or registration.pid is None:
        return None
    start = registration.proc_start
    return ProcessClaim(
        pid=registration.pid,
        # a start that is no whole number fits no process, and is not to count as absent
        proc_start=None if start is None else int(start) if float(start).is_integer() else -1,
        hostname=registration.hostname,
        owner=registration.owner,
        written=registration.written,
        folders=(workspace, *aliases) if workspace != NO_WORKSPACE else (),
    )


def claim_of_session(session: Session | None) -> ProcessClaim | None:
    """Return what a session claims, whose process its source saw alive; None where it knows of none."""
    if session is None or session.process is None:
        return None
    return ProcessClaim(pid=session.process.pid, process=session.process)
