"""Implement ``coordctl completion SHELL``: print the script with which a shell completes ``coordctl``.

click writes the scripts and answers them (``_COORDCTL_COMPLETE``); what it completes comes from the commands
themselves, and the ids of agents from the daemon (complete.py).
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from coordd.cli.common import say

VARIABLE = "_COORDCTL_COMPLETE"
PROGRAM = "coordctl"


@click.command(
    "completion",
    epilog="""\b
Examples:
  eval "$(coordctl completion bash)"    try it in this shell

\b
To keep it, for bash (bash-completion loads it when it is needed):
  mkdir -p ~/.local/share/bash-completion/completions
  coordctl completion bash > ~/.local/share/bash-completion/completions/coordctl

\b
For zsh, with this in ~/.zshrc before compinit: fpath=(~/.zfunc $fpath)
  mkdir -p ~/.zfunc
  coordctl completion zsh > ~/.zfunc/_coordctl

\b
For fish:
  mkdir -p ~/.config/fish/completions
  coordctl completion fish > ~/.config/fish/completions/coordctl.fish

\b
Commands, options and their values are completed, and agent ids by asking the
daemon, for half a second at most. Ids that a shell could take for more than a
word are left out. bash must be 4.4 or later.""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script for bash, zsh or fish."""
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"this version of click knows no {shell}.")
    say(completer(ctx.find_root().command, {}, PROGRAM, VARIABLE).source().rstrip("\n"))
    return 0
