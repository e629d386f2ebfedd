"""Find the placeholders of a command line that its program would take for code.

Pure. No shell is started for an action, but a person can name one: in ``["sh", "-c", "echo {title}"]``
whoever names an agent ``$(…)`` runs it. The table lists programs that are known to read arguments as code; a
program that is not in it is the affair of whoever names it.

=======================================  ==================================================================
program                                  where a placeholder is refused
=======================================  ==================================================================
shells, python, perl, ruby, node, php,   right after an option such as ``-c`` or ``-e``, or in one argument
osascript, lua                           with it
awk, sed, jq, bc                         anywhere: which argument is code depends on the others
ssh, su, watch, parallel, tmux, screen,  anywhere: they put arguments together for a shell, or expand
expect, eval                             ``#(…)`` in them
=======================================  ==================================================================

A wrapper such as ``env`` or ``timeout`` is looked through: behind it any argument may be the program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from coordd.alerts.actions.template import Argument

_BEHIND_OPTION = re.compile(
    r"(?:[a-z]*sh|pwsh|python[0-9.]*|pypy[0-9.]*|perl|ruby|node|nodejs|deno|bun|php|osascript|lua[0-9.]*)\Z"
)
_CODE_OPTION = re.compile(r"-[A-Za-z]*[ceErp]|--(?:eval|command|print|run|execute)(?:=|\Z)")
_ANYWHERE = frozenset(
    ("ssh", "autossh", "mosh", "su", "runuser", "watch", "parallel", "tmux", "screen", "expect", "eval")
)
_PROGRAM_TEXT = frozenset(("awk", "gawk", "mawk", "nawk", "sed", "bc", "jq"))
# fmt: off
_WRAPPERS = frozenset((
    "env", "sudo", "doas", "run0", "pkexec", "nice", "ionice", "chrt", "taskset", "timeout", "nohup",
    "setsid", "stdbuf", "unbuffer", "chronic", "flock", "xargs", "time", "caffeinate", "systemd-run",
    "systemd-cat", "flatpak-spawn", "toolbox", "distrobox-enter", "unshare", "nsenter", "firejail", "bwrap",
    "dbus-run-session", "busybox",
))
# fmt: on


def taken_for_code(template: Sequence[Argument]) -> str | None:
    """Return why a placeholder of this command line would be code, and what to do; None if none would."""
    names = [argument.parts[0].rpartition("/")[2] if argument.constant else "" for argument in template]
    looked = range(len(names)) if names and names[0] in _WRAPPERS else range(min(1, len(names)))
    for at in looked:
        rest = template[at + 1 :]
        if names[at] in _ANYWHERE and not all(argument.constant for argument in rest):
            return f"{names[at]} passes its arguments to a shell; have a script read the JSON on its stdin"
        if names[at] in _PROGRAM_TEXT and not all(argument.constant for argument in rest):
            return f"{names[at]} runs its arguments; have it read the JSON on its stdin"
        if _BEHIND_OPTION.match(names[at]) and _code_behind_option(rest):
            return (
                f"{names[at]} would run what stands there; pass it as an argument of its own: "
                '["sh", "-c", "echo \\"$1\\"", "sh", "{title}"]'
            )
    return None


def _code_behind_option(arguments: Sequence[Argument]) -> bool:
    """Return whether an interpreter finds a placeholder where it looks for code, before a script's name."""
    behind = after_option = False
    for argument in arguments:
        option = argument.parts[0].startswith("-")
        opens = option and _CODE_OPTION.match(argument.parts[0]) is not None
        if not argument.constant and (behind or opens):
            return True
        if option:
            behind = behind or opens
        elif behind:
            behind = False  # the code itself; there may be more of it, as with perl -e … -e …
        elif not after_option:
            return False  # a script, or an argument of the code
        # else it may be the option's value: bash -o pipefail -c CODE
        after_option = option
    return False
