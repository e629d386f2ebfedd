"""Define the options that several commands of ``coordd service`` have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from coordd.installer.services import USER

Decorated = Callable[..., Any]


def scope_options(function: Decorated) -> Decorated:
    """Add --user and --system to a command."""
    for option in (
        click.option(
            "--system",
            "scope",
            flag_value="system",
            type=click.Choice(["user", "system"]),
            help="The service of the whole machine; needs root.",
        ),
        click.option(
            "--user",
            "scope",
            flag_value="user",
            default="user",
            type=click.Choice(["user", "system"]),
            help="Your own service (the default): agents and their files belong to a person.",
        ),
    ):
        function = option(function)
    return function


run_as_option = click.option(
    "--run-as",
    metavar="USER",
    help=f"With --system: run as this user, who must exist; else as before, or as {USER}, who is made.",
)
listen_option = click.option(
    "--listen",
    metavar="ADDRESS",
    help="With --dashboard: HOST:PORT or PORT on this machine; else as before, or 127.0.0.1:8000.",
)
read_homes_option = click.option(
    "--read-homes/--no-read-homes",
    default=None,
    help="With --system: let it read everybody's files and look into everybody's processes, to see the "
    "sessions of all users; or not. Off by default, else as before.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
