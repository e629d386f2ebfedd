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
    "opencode serve --port 4096": "opencode",
    "opencode run x": "opencode",
    "/home/ann/p/node_modules/.bin/amp": "amp",
    # as others are reported to run
    "/home/ann/.local/share/cursor-agent/versions/2025.09.12-4852336/node "
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
    "opencode --port 4096 serve": "opencode",
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
    "opencode --port 3 attach http://localhost:4096",
    "crush -c /x logs",
    "opencode attach http://localhost:4096",
    "opencode upgrade",
    "gemini --help",
    "copilot --version",
    "goose up",
    "goose postgres dsn status",
    "node /x/node_modules/@google/gemini-cli/node_modules/other/index.js",
)


def kind_of(line: str) -> str | None:
    row = program_of([word.encode() for word in line.split(" ")])
    return row.kind if row is not None else None


@pytest.mark.parametrize("line", AGENTS)
def test_an_agent_is_recognised(line: str) -> None:
    assert kind_of(line) == AGENTS[line]


@pytest.mark.parametrize("line", OTHERS)
def test_nothing_else_is(line: str) -> None:
    assert kind_of(line) is None


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
