"""Recognise the programs of coding agents by their command lines: one table, a line for each kind.

Pure. Only the words that tell the kind are looked at, and none of them is kept: the name of the program, for
an interpreter that of its script, and the subcommand. What a row does not say:

=================================================  ===================================================
words                                              what they mean
=================================================  ===================================================
``--version``, ``--help``, ``--type=…`` anywhere   no agent: it says something and ends, or is a part of
                                                   a desktop program
``.app/Contents/`` in the program's path           no agent: a desktop program of the same name
a first word of :data:`SERVES`                     no agent: it serves an editor or another agent, or
                                                   sets something up
``-p``, ``--prompt``, … before any first word      an agent, whatever it is asked: what follows is a prompt
=================================================  ===================================================

The first word is the first that is neither an option nor the value of one in :data:`VALUED` or the row.

Editors' helpers and language servers have names of their own, ``copilot-language-server``, that no row has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SERVES = frozenset(
    b"auth completion completions config debug doctor export help import install login logout lsp mcp "
    b"mcp-server models stats uninstall update upgrade version".split()
)
"""First words after the name of any of these programs by which it is no agent."""
VALUED = frozenset(
    b"--add-dir --agent --allowed-tools --allowedTools --append-system-prompt --approval-mode --cd --config "
    b"--cwd --data-dir --disallowedTools --fallback-model --host --hostname --input-format --log-level "
    b"--mcp-config --model --name --output-format --permission-mode --port --profile --provider --sandbox "
    b"--session --session-id --setting-sources --settings --system-prompt -m".split()
)
"""Options of these programs whose value is the next word; rows have the short ones of their programs."""
PROMPTS = frozenset(
    b"-p --print --prompt -i --prompt-interactive --interactive --message --msg --message-file -".split()
) | {b"--"}
"""Words after which there is a prompt, and no first word."""
WORDS_READ = 4096
"""Bytes of a command line that are looked at."""


@dataclass(frozen=True, slots=True)
class Program:
    """How the processes of one kind of agent are recognised.

    Args:
        kind: the word for it.
        names: what the program, or the script of an interpreter, is called; a module for ``python -m``.
        packages: folders below ``node_modules/`` in the path of its script.
        folder: a part of the path of its program or script.
        not_first: further first words by which it is no agent.
        only_first: the first words by which alone it is one, "" for none; empty: whatever the first word is.
        valued: further options, most of them short, whose value is the next word.
        never: words by which it is no agent wherever they stand.
        child: where a parent and its child are both of this kind, the child is the agent, else the parent is.
        has_source: its own files are read by a source: it is listed only where that cannot see them.
    """

    kind: str
    names: tuple[str, ...]
    packages: tuple[str, ...] = ()
    folder: str | None = None
    not_first: tuple[str, ...] = ()
    only_first: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    child: bool = False
    has_source: bool = False


PROGRAMS: tuple[Program, ...] = (
    Program(
        "claude-code",
        ("claude", "claude.exe"),
        ("@anthropic-ai/claude-code",),
        not_first=("daemon", "setup-token", "plugin"),
        never=("--bg-pty-host", "bg-pty-host", "--bg-spare"),
        has_source=True,
    ),
    Program(
        "codex",
        ("codex",),
        ("@openai/codex",),
        not_first=("app-server", "sandbox", "apply", "responses-api-proxy", "stdio-to-uds"),
        valued=("-c", "-C", "-p", "-s", "-a", "-i", "--ask-for-approval", "--enable", "--disable", "--image"),
        child=True,
        has_source=True,
    ),
    Program("copilot", ("copilot",), ("@github/copilot",), child=True, has_source=True),
    Program("opencode", ("opencode",), ("opencode-ai",), not_first=("attach", "agent", "session")),
    Program("gemini", ("gemini",), ("@google/gemini-cli",), not_first=("extensions", "skills", "hooks")),
    Program("antigravity", ("agy", "antigravity-cli")),
    Program("cursor", ("cursor-agent",), folder="/cursor-agent/versions/", never=("worker-server",)),
    Program("aider", ("aider",)),
    Program("amp", ("amp",), ("@ampcode/cli", "@sourcegraph/amp"), not_first=("threads", "tools", "skill")),
    # a tool that migrates databases has the same name
    Program("goose", ("goose",), only_first=("", "session", "s", "run", "web", "acp", "term")),
    Program("qwen", ("qwen",), ("@qwen-code/qwen-code",), not_first=("extensions", "channel")),
    Program(
        "crush",
        ("crush",),
        ("@charmland/crush",),
        not_first=("logs", "dirs", "projects", "schema"),
        valued=("-c", "-D"),
    ),
    Program("droid", ("droid",)),
    Program("auggie", ("auggie",), ("@augmentcode/auggie",)),
    Program("cline", ("cline",), ("cline",)),
    Program("kiro", ("kiro-cli", "kiro-cli-chat")),
    Program("kimi", ("kimi", "kimi-cli")),
    Program("openhands", ("openhands",)),
)
"""Every kind that is known; a further one is one more line."""

_INTERPRETERS = re.compile(r"node|nodejs|MainThread|node-MainThread|bun|deno|python[0-9.]*|pypy[0-9.]*")
"""What interpreters are called, as a program and as a process: Node.js names its first thread."""
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+.{0,10}", re.ASCII)
_VALUED = frozenset(
    b"-r --require --import --loader --experimental-loader -C --conditions --env-file --title -W -X".split()
)
"""Options of interpreters whose value is the next word."""
_NO_SCRIPT = frozenset(b"-c -e --eval -p --print -".split())
_COMM = 15
"""The length to which the kernel cuts the name of a process."""
_NAMES = {name[:_COMM]: row for row in PROGRAMS for name in row.names}
_PACKAGE = re.compile(r"/node_modules/((?:@[^/]+/)?[^/]+)(?=/)")
_NEVER = frozenset((b"--version", b"--help"))


def may_be_agent(name: str | None) -> bool:
    """Return whether a process with this name may be an agent's, so that its command line is worth a look."""
    if name is None:
        return False
    return name in _NAMES or _INTERPRETERS.fullmatch(name) is not None or _VERSION.fullmatch(name) is not None


def program_of(words: Sequence[bytes]) -> Program | None:
    """Return the kind of agent that a command line starts; None: of none.

    Args:
        words: the command line, see proc_pid_cmdline(5).
    """
    path, rest = _program(words)
    row = _row(path)
    if row is None or ".app/Contents/" in path:
        return None
    if any(word in _NEVER or word.startswith(b"--type=") or _text(word) in row.never for word in rest):
        return None
    first = _first(rest, row)
    if row.only_first:
        return row if _text(first) in row.only_first else None
    return None if first in SERVES or _text(first) in row.not_first else row


def _first(words: Sequence[bytes], row: Program) -> bytes:
    """Return the first word that is no option's, "" where there is none before a prompt."""
    following = iter(words)
    for word in following:
        if word in VALUED or _text(word) in row.valued:
            next(following, None)
        elif word in PROMPTS:
            break
        elif not word.startswith(b"-"):
            return word
    return b""


def _program(words: Sequence[bytes]) -> tuple[str, Sequence[bytes]]:
    """Return the path of what runs, and the words after it: for an interpreter that of its script."""
    path = _text(words[0]) if words else ""
    name = path.rpartition("/")[2]
    if _INTERPRETERS.fullmatch(name) is None:
        return path, words[1:]
    place = 1
    while place < len(words) and words[place].startswith(b"-"):
        word = words[place]
        if word == b"-m" and place + 1 < len(words):
            return _text(words[place + 1]), words[place + 2 :]
        if word in _NO_SCRIPT:
            return path, ()
        place += 2 if word in _VALUED else 1
    if name == "bun" and words[place : place + 1] == [b"run"]:
        place += 1
    return (_text(words[place]), words[place + 1 :]) if place < len(words) else (path, ())


def _row(path: str) -> Program | None:
    name = path.rpartition("/")[2]
    packages = _PACKAGE.findall(path)
    for row in PROGRAMS:
        if name in row.names or (row.folder is not None and row.folder in path):
            return row
        if packages and packages[-1] in row.packages:
            return row
    return None


def _text(word: bytes) -> str:
    return word.decode("utf-8", "replace")
