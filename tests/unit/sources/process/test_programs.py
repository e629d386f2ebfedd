"""Recognise agents by command lines as real programs have them, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sources.process.programs import PROGRAMS, may_be_agent, program_of

AGENTS = {
    # as npm's programs were seen to run
    "node /home/ann/p/node_modules/.bin/copilot": "copilot",
    "/home/ann/p/node_modules/@github/copilot-linux-x64/copilot": "copilot",
    "node /usr/lib/node_modules/@github/copilot/npm-loader.js -p x": "copilot",
    "node /home/ann/p/node_modules/.bin/gemini": "gemini",
    "/usr/bin/node --max-old-space-size=12052 /home/ann/p/node_modules/.bin/gemini": "gemini",
    "node --no-warnings=DEP0040 /usr/lib/node_modules/@google/gemini-cli/dist/index.js -i x": "gemini",
    "node /home/ann/p/node_modules/.bin/qwen": "qwen",
    "/home/ann/p/node_modules/.bin/opencode": "opencode",
    "opencode run x": "opencode",
    "/home/ann/p/node_modules/.bin/amp": "amp",
    # as others are reported to run
    "/home/ann/.local/share/cursor-agent/versions/2025.09.12-4852336/node"
    "/home/ann/.local/share/cursor-agent/versions/2025.09.12-4852336/index.js": "cursor",
    "/home/ann/.local/bin/cursor-agent --use-system-ca /x/index.js": "cursor",
    "/usr/local/bin/agy --app_data_dir /home/ann/.gemini": "antigravity",
    "/home/ann/.venv/bin/python /home/ann/.venv/bin/aider --model x": "aider",
    "python3.12 -m aider": "aider",
    "aider --message x": "aider",
    "goose": "goose",
    "goose session --resume": "goose",
    "claude": "claude-code",
    "node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js -p x": "claude-code",
    "/usr/bin/node -r x.js /usr/bin/codex exec x": "codex",
    # what looks like a subcommand, and is what somebody asked
    "claude -p mcp": "claude-code",
    "claude --model opus --print debug it": "claude-code",
    "claude -- mcp": "claude-code",
    "claude --settings mcp": "claude-code",
    "gemini -p debug": "gemini",
    "gemini -m pro -i update": "gemini",
    "aider --message debug": "aider",
    "aider --model debug": "aider",
    "codex -p mcp": "codex",
    "codex -c a=b exec mcp": "codex",
    "opencode --prompt serve": "opencode",
    "opencode --session serve": "opencode",
    "gemini update": "gemini",
    "gemini -e mcp": "gemini",
    "qwen --resume mcp": "qwen",
    "aider config": "aider",
    "aider --lint": "aider",
    "claude --resume mcp": "claude-code",
    "claude -w config": "claude-code",
    "codex --remote mcp": "codex",
    "amp -x mcp": "amp",
    "goose --provider up session": "goose",
    "bun run /home/ann/p/node_modules/opencode-ai/bin/x.ts": "opencode",
}
OTHERS = (
    "",
    "node",
    "node -e gemini",
    "python3 -c aider",
    "vim aider",
    "grep -r copilot .",
    "bash -c gemini",
    "node /home/ann/gemini.js",
    "copilot-language-server --stdio",
    "node /x/copilot-language-server/dist/language-server.js",
    "/usr/share/cursor/cursor --type=renderer",
    "/usr/share/antigravity/antigravity --type=zygote",
    "/opt/x/language_server_linux_x64 --app_data_dir antigravity",
    "/Applications/Codex.app/Contents/MacOS/codex",
    "node /x/node_modules/antigravity-cli/build/mcp-server.cjs",
    "/x/cursor-agent/versions/1/node /x/cursor-agent/versions/1/index.js worker-server",
    "claude --version",
    "claude mcp serve",
    "claude daemon run",
    "claude --bg-pty-host x",
    "codex mcp-server",
    "codex app-server",
    "codex -c a=b app-server",
    "codex -c a=b -c c=d -C /x mcp-server",
    "codex -p work -m x app-server",
    "codex --config=a app-server",
    "claude --settings x mcp serve",
    "claude --verbose --model opus mcp serve",
    "gemini -m pro mcp list",
    "opencode --port 3 serve",
    "gemini -s mcp list",
    "crush -c /x logs",
    "opencode upgrade",
    "gemini --help",
    "copilot --version",
    "goose up",
    "goose postgres dsn status",
    "node /x/node_modules/@google/gemini-cli/node_modules/other/index.js",
)


P = "/home/ann/p/node_modules"
CODEX = f"{P}/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
CLAUDE = f"{P}/@anthropic-ai/claude-code-linux-x64/claude"
SEEN = {
    # all that lived for seconds in /proc, with the name of the process, when programs of npm and PyPI ran:
    # gemini-cli 0.61.0, opencode-ai 1.18.33, copilot 1.0.102, amp 0.0.1790142911, qwen-code 0.15.10,
    # codex 0.171.0, claude-code 2.1.197, aider-chat
    ("node", f"node {P}/.bin/gemini"): "gemini",
    ("node", f"/usr/bin/node --max-old-space-size=12052 {P}/.bin/gemini"): "gemini",
    ("node", f"node {P}/.bin/gemini --acp"): "gemini",
    ("node", f"/usr/bin/node --max-old-space-size=12052 {P}/.bin/gemini --acp"): "gemini",
    ("node", f"/usr/bin/node --max-old-space-size=12052 {P}/.bin/gemini -p hello"): "gemini",
    ("node", f"/usr/bin/node --max-old-space-size=12052 {P}/.bin/gemini mcp list"): None,
    ("opencode", f"{P}/.bin/opencode"): "opencode",
    ("opencode", f"{P}/.bin/opencode serve"): None,
    ("opencode", f"{P}/.bin/opencode web"): None,
    ("opencode", f"{P}/.bin/opencode acp"): "opencode",
    ("opencode", f"{P}/.bin/opencode run hello"): "opencode",
    ("opencode", f"{P}/.bin/opencode attach http://127.0.0.1:9"): "opencode",
    ("opencode", f"{P}/.bin/opencode --version"): None,
    ("node", f"node {P}/.bin/copilot"): "copilot",
    ("MainThread", f"{P}/@github/copilot-linux-x64/copilot"): "copilot",
    ("MainThread", f"{P}/@github/copilot-linux-x64/copilot --acp"): "copilot",
    ("node", f"node {P}/.bin/copilot login"): None,
    ("MainThread", f"{P}/@github/copilot-linux-x64/copilot login"): None,
    ("amp", f"{P}/.bin/amp"): "amp",
    ("amp", f"{P}/.bin/amp threads list"): None,
    ("amp", f"{P}/.bin/amp -x hi"): "amp",
    ("node", f"node {P}/.bin/qwen"): "qwen",
    ("node", f"/usr/bin/node {P}/.bin/qwen"): "qwen",
    ("node", f"node {P}/.bin/qwen channel start"): None,
    ("node", f"node {P}/.bin/codex"): "codex",
    ("codex", CODEX): "codex",
    ("codex", f"{CODEX} app-server"): None,
    ("codex", f"{CODEX} exec-server"): None,
    ("codex", f"{CODEX} remote-control"): None,
    ("claude", CLAUDE): "claude-code",
    ("claude", f"{CLAUDE} gateway"): None,
    ("claude", f"{CLAUDE} agents"): None,
    ("claude", f"{CLAUDE} daemon run --origin transient --spawned-by x"): None,
    ("claude", f"{CLAUDE} --bg-pty-host /tmp/x.sock 200 50 -- {CLAUDE}"): None,
    ("claude", f"{CLAUDE} --session-id ebe60cec-46a0-4240-943a-9a132f37e7d9 --agent claude"): "claude-code",
    ("claude", f"{CLAUDE} mcp serve"): None,
    ("npm", "npm"): None,
    ("npm view @anthr", "npm view @anthropic-ai/claude-code@latest version"): None,
    ("aider", "/home/ann/v/bin/python3 /home/ann/v/bin/aider --no-git --model gpt-4o"): "aider",
    ("aider", "/home/ann/v/bin/python3 /home/ann/v/bin/aider --browser"): "aider",
}
HELPED = {
    # the commands in the --help of these versions: those whose processes are no agents, and the others
    "gemini": ("mcp, extensions, extension, skills, skill, hooks, hook, gemma", ""),
    "opencode": (
        "completion, mcp, debug, providers, auth, agent, upgrade, uninstall, serve, web, models, stats, "
        "export, import, session, plugin, plug, db, github install",
        "acp, attach, run, pr, github run",
    ),
    "copilot": (
        "app, login, help, config, update, version, sessions, memories, plugin, mcp, skill, instruction, "
        "lsp, sandbox, completion",
        "init, workflow",
    ),
    "codex": (
        "agents, login, logout, mcp, plugin, app-server, remote-control, completion, update, doctor, "
        "sandbox, debug, apply, a, queue, archive, delete, migrate-rollouts, migrate-nfs-db, unarchive, "
        "cloud, exec-server, features, help",
        "exec, e, review, resume, fork",
    ),
    "claude": (
        "agents, auth, auto-mode, doctor, gateway, install, mcp, plugin, plugins, project, setup-token, "
        "ultrareview, update, upgrade",
        "",
    ),
    "amp": (
        "version, logout, login, orb, orb-spawner, portal, net, runner, clone, git-setup, files, top, "
        "report-bug, report, diagnostics, threads list, threads new, t ls, tools, tool, plugins, plugin, "
        "skill, skills, permissions, permission, mcp, config, external-agents, domains, projects, apps, "
        "oauth-clients, secrets, svc, usage, update, up, completions, --no-tui",
        "last, l, threads continue, thread c, t c",
    ),
    "qwen": ("mcp, extensions, auth, hooks, hook, channel, review", ""),
    "aider": ("--list-models gpt, --upgrade, --just-check-update", "--message x, config, --lint, --browser"),
}


def kind_of(line: str) -> str | None:
    row = program_of([word.encode() for word in line.split(" ")])
    return row.kind if row is not None else None


@pytest.mark.parametrize("line", AGENTS)
def test_an_agent_is_recognised(line: str) -> None:
    assert kind_of(line) == AGENTS[line]


@pytest.mark.parametrize("line", OTHERS)
def test_nothing_else_is(line: str) -> None:
    assert kind_of(line) is None


@pytest.mark.parametrize(("name", "line"), SEEN)
def test_what_ran_is_told_from_its_helpers(name: str, line: str) -> None:
    expected = SEEN[name, line]
    assert kind_of(line) == expected
    assert expected is None or may_be_agent(name)


@pytest.mark.parametrize("program", HELPED)
def test_every_command_of_a_program_is_an_agent_or_a_helper(program: str) -> None:
    helpers, agents = (words.split(", ") if words else [] for words in HELPED[program])
    kind = kind_of(program)
    assert kind is not None
    assert [one for one in helpers if kind_of(f"{program} {one}") is not None] == []
    assert [one for one in agents if kind_of(f"{program} {one}") != kind] == []


def test_every_kind_is_recognised_by_its_first_name_and_is_one_row() -> None:
    for row in PROGRAMS:
        assert kind_of(f"/usr/bin/{row.names[0]}") == row.kind
    assert len({row.kind for row in PROGRAMS}) == len(PROGRAMS)
    names = [name for row in PROGRAMS for name in row.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", ["claude", "2.1.289", "node", "MainThread", "node-MainThread", "python3.11", "agy"]
)
def test_the_names_of_processes_that_are_worth_a_look(name: str) -> None:
    assert may_be_agent(name)


@pytest.mark.parametrize("name", [None, "", "bash", "tmux: server", "claude-desktop", "2.1", "nodemon"])
def test_the_names_of_those_that_are_not(name: str | None) -> None:
    assert not may_be_agent(name)


def test_the_name_of_every_program_is_worth_a_look_as_the_kernel_cuts_it() -> None:
    assert all(may_be_agent(name[:15]) for row in PROGRAMS for name in row.names)


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_whatever_a_stranger_calls_itself_is_looked_at_without_an_error(words: list[bytes]) -> None:
    program_of(words)


@given(st.lists(st.text(alphabet="abc /.-é", max_size=12).map(str.encode), max_size=6))
def test_what_is_asked_of_an_agent_does_not_change_what_it_is(prompt: list[bytes]) -> None:
    row = program_of([b"claude", b"-p", b"say", *prompt])
    assert row is not None
    assert row.kind == "claude-code"
