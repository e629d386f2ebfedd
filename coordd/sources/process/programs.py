"""Recognise the programs of coding agents by their command lines: one table, a line for each kind.

Pure. Only the words that tell the kind are looked at, and none of them is kept: the name of the program, for
an interpreter that of its script, and the subcommand. What a row does not say:

=================================================  ===================================================
words                                              what they mean
=================================================  ===================================================
``--version``, ``--help``, ``-h``, ``--type=…``    no agent: it says something and ends, or is a part of
anywhere                                           a desktop program
``.app/Contents/`` in the program's path           no agent: a desktop program of the same name
a first word of the row's ``helpers``              no agent: it sets something up, tells something, or is
                                                   a server for the agents of others (``opencode serve``)
``-p``, ``--prompt``, … before any first word      an agent, whatever it is asked: what follows is a prompt
=================================================  ===================================================

The first word is the first that is neither an option nor the value of one in :data:`VALUED` or the row. An
agent whose terminal is an editor (``acp``) is one, and so is a terminal at somebody's server (``attach``).

Editors' helpers and language servers have names of their own, ``copilot-language-server``, that no row has.
Where a row names a version, its words are those of that version's ``--help``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


USUAL = (
    "auth completion completions config debug doctor export help import install login logout lsp mcp "
    "mcp-server models serve stats uninstall update upgrade version web"
)
"""First words by which programs of this sort are usually no agents: for those whose own are not known."""
VALUED = _words(
    "--add-dir --agent --allowed-tools --allowedTools --append-system-prompt --approval-mode --cd --config "
    "--cwd --data-dir --disallowedTools --disallowed-tools --fallback-model --host --hostname "
    "--input-format --log-level --mcp-config --model --name --output-format --permission-mode --plugin-dir "
    "--port --profile --provider --session --session-id --setting-sources --settings --system-prompt -m"
)
"""Options of these programs whose value is the next word; rows have the short ones of their programs."""
PROMPTS = _words(
    "-p --print --prompt -i --prompt-interactive --interactive --message --msg --message-file - --"
)
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
        helpers: the first words by which it is no agent.
        agents: of these the ones by which it is one after all, with the word that follows.
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
    helpers: frozenset[str] = _words(USUAL)
    agents: tuple[str, ...] = ()
    only_first: tuple[str, ...] = ()
    valued: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    child: bool = False
    has_source: bool = False


PROGRAMS: tuple[Program, ...] = (
    Program(  # 2.1.197, and words of others
        "claude-code",
        ("claude", "claude.exe"),
        ("@anthropic-ai/claude-code",),
        helpers=_words(
            "agents auth auto-mode config daemon doctor gateway install mcp migrate-installer plugin "
            "plugins project remote-control setup-token ultrareview update upgrade"
        ),
        valued=_words(
            "-d --debug -r --resume -w --worktree -n --agents --betas --debug-file --effort --file "
            "--from-pr --json-schema --max-budget-usd --plugin-url --prompt-suggestions --remote-control "
            "--tools"
        ),
        never=_words("-v --bg-pty-host bg-pty-host --bg-spare"),
        has_source=True,
    ),
    Program(  # 0.171.0, and words of others
        "codex",
        ("codex",),
        ("@openai/codex",),
        helpers=_words(
            "agents login logout mcp mcp-server plugin app-server remote-control completion update doctor "
            "sandbox debug apply a queue archive delete migrate-rollouts migrate-nfs-db unarchive cloud "
            "exec-server features help responses-api-proxy stdio-to-uds"
        ),
        valued=_words(
            "-c -C -p -s -a -i --ask-for-approval --enable --disable --image --sandbox --remote "
            "--remote-auth-token-env --local-provider"
        ),
        never=_words("-V"),
        child=True,
        has_source=True,
    ),
    Program(  # 1.0.102
        "copilot",
        ("copilot",),
        ("@github/copilot",),
        helpers=_words(
            "app login logout help config update version sessions memories plugin mcp skill instruction lsp "
            "sandbox completion"
        ),
        valued=_words(
            "-C -n -r --resume --connect --reasoning-effort --context --auto-tier --log-dir --stream "
            "--attachment --disable-mcp-server --enable-mcp-server --additional-mcp-config --allow-tool "
            "--deny-tool --available-tools --excluded-tools --allow-url --deny-url --mode --share "
            "--usage-output-file"
        ),
        never=_words("-v --environment-host"),
        child=True,
        has_source=True,
    ),
    Program(  # 1.18.33; what follows its name may be a directory as well
        "opencode",
        ("opencode",),
        ("opencode-ai",),
        helpers=_words(
            "completion mcp debug providers auth agent upgrade uninstall serve web models stats export "
            "import github session plugin plug db help"
        ),
        agents=("github run",),
        valued=_words("-s --mdns-domain --cors --replay-limit"),
        never=_words("-v"),
    ),
    Program(  # 0.61.0; what else follows its name is a prompt
        "gemini",
        ("gemini",),
        ("@google/gemini-cli",),
        helpers=_words("mcp extensions extension skills skill hooks hook gemma"),
        valued=_words(
            "-e --extensions -o -r --resume -w --worktree --policy --admin-policy "
            "--allowed-mcp-server-names --session-file --include-directories"
        ),
        never=_words("-v -l --list-extensions --list-sessions --delete-session"),
    ),
    Program("antigravity", ("agy", "antigravity-cli")),
    Program("cursor", ("cursor-agent",), folder="/cursor-agent/versions/", never=_words("worker-server")),
    Program(  # what follows its name are files
        "aider",
        ("aider",),
        helpers=frozenset(),
        never=_words(
            "--list-models --models --just-check-update --upgrade --update --install-main-branch "
            "--show-repo-map --show-prompts --shell-completions --exit"
        ),
    ),
    Program(  # 0.0.1790142911
        "amp",
        ("amp",),
        ("@ampcode/cli", "@sourcegraph/amp"),
        helpers=_words(
            "version logout login orb orb-spawner portal net runner clone git-setup files top report-bug "
            "report diagnostics threads t thread tools tool plugins plugin skill skills permissions "
            "permission mcp config external-agents domains projects apps oauth-clients secrets svc usage "
            "update up completions doctor help"
        ),
        agents=tuple(f"{one} {other}" for one in ("threads", "thread", "t") for other in ("continue", "c")),
        valued=_words(
            "-x --execute --visibility --settings-file --log-file --mode --features --executor --runner-dir "
            "--runner-id --attach --project --orb-size --title -l --label"
        ),
        never=_words("-v -V --no-tui"),
    ),
    # a tool that migrates databases has the same name
    Program("goose", ("goose",), only_first=("", "session", "s", "run", "acp", "term")),
    Program(  # 0.15.10; what else follows its name is a prompt
        "qwen",
        ("qwen",),
        ("@qwen-code/qwen-code",),
        helpers=_words("mcp extensions auth hooks hook channel review"),
        valued=_words("-e --extensions -o -r --resume --proxy --auth-type --channel --include-directories"),
        never=_words("-v -l --list-extensions"),
    ),
    Program(
        "crush",
        ("crush",),
        ("@charmland/crush",),
        helpers=_words(f"{USUAL} logs dirs projects schema"),
        valued=_words("-c -D"),
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
_NEVER = _words("--version --help -h")


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
    said = [_text(word) for word in rest]
    if any(word in _NEVER or word.startswith("--type=") or word in row.never for word in said):
        return None
    first, second = _first_words(said, row)
    if row.only_first:
        return row if first in row.only_first else None
    return None if first in row.helpers and f"{first} {second}" not in row.agents else row


def _first_words(words: Sequence[str], row: Program) -> tuple[str, str]:
    """Return the first word that belongs to no option, and the next; "" if a prompt comes before it."""
    following = iter(words)
    for word in following:
        if word in VALUED or word in row.valued:
            next(following, None)
        elif word in PROMPTS:
            break
        elif not word.startswith("-"):
            return word, next(following, "")
    return "", ""


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
