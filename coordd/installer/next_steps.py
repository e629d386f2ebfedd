"""Say what to type once services are installed: a command and what it does, a line each."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence

from coordd.config.layout import Layout
from coordd.installer.dashboard import token_file
from coordd.installer.managers import Manager, Setting
from coordd.installer.services import ALERT, COORDD, DASHBOARD, GROUP, Service

Lines = list[tuple[str, str]]


def next_lines(
    setting: Setting, manager: Manager, layout: Layout, services: Sequence[Service], *, dashboard: str | None
) -> Lines:
    """Return the commands and what they do; ``dashboard`` is where it answers, None if that is not known."""
    lines = [
        (f"{setting.shown('coordctl')} status", "who is alive, who is not"),
        *manager.hints(COORDD),
        (manager.reload_command(COORDD), f"after a change of {layout.config_file}"),
    ]
    if setting.scope == "system":
        person = setting.environ.get("SUDO_USER") or "NAME"
        if not _is_member(person):
            lines.insert(0, (manager.member_command(person), f"{person} may ask, from the next login on"))
    if DASHBOARD in services:
        lines[1:1] = _of_dashboard(setting, layout, dashboard or " ".join(manager.command(DASHBOARD)))
    return [*lines, *(_of_alerts(setting, manager, layout) if ALERT in services else [])]


def _of_dashboard(setting: Setting, layout: Layout, place: str) -> Lines:
    if setting.scope == "user":
        return [(place, "the dashboard, for whoever uses this machine")]
    return [
        (place, "the dashboard, which asks for its token"),
        (f"cat {token_file(layout)}", f"the token, for root and the group {GROUP}"),
    ]


def _of_alerts(setting: Setting, manager: Manager, layout: Layout) -> Lines:
    system = " --layout system" if setting.scope == "system" else ""
    return [
        (f"{setting.shown('coordctl')} alerts{system}", "what is told, and how it went"),
        (manager.reload_command(ALERT), f"after a change of [[alert]] in {layout.config_file}"),
    ]


def _is_member(person: str) -> bool:
    try:
        entry = pwd.getpwnam(person)
        return grp.getgrnam(GROUP).gr_gid in os.getgrouplist(person, entry.pw_gid)
    except KeyError:
        return False
