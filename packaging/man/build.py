#!/usr/bin/env python3
"""Write the manual pages from the help of the commands and the table of configuration keys.

``coordctl.1`` and ``coordd.1`` come from click's commands, the very texts that ``--help`` shows, and
``coordd-alert.1`` from the text of its own;
``coordd.toml.5`` from the table of configuration keys. After a change of either::

    python packaging/man/build.py

The pages use the macros of man(7) alone and no date, so that the same source gives the same page.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from coordd import __version__
from coordd.alerts.main import HELP as ALERT_HELP
from coordd.alerts.rules import REFERENCE as ALERT_KEYS
from coordd.cli.app import app as coordctl
from coordd.commands.app import app as coordd
from coordd.config.schema import KEYS, OTHER_VARIABLES, SECTIONS, ConfigKey
from coordd.protocol.paths import project_paths, system_paths, user_paths

HERE = Path(__file__).resolve().parent

_SPECIAL = {
    "\\": "\\e",
    "-": "\\-",  # a hyphen would not be found by a search, nor work when pasted into a shell
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    '"': "\\(dq",
}
_ENVIRONMENT = {
    "COORDD_SOCKET": "The socket to ask, where --socket names none.",
    "COORDD_DEBUG": "Not empty: an error that is a fault of coordctl itself shows its traceback.",
    "NO_COLOR": "Not empty: no colours, on a terminal either.",
}
_SECTIONS = {"Examples:": "EXAMPLES", "Exit codes:": "EXIT STATUS"}
_FILES = {
    "config_file": "configuration",
    "socket": "socket",
    "metrics_dir": "records",
    "log_dir": "CSV and logs",
}


def pages() -> dict[str, str]:
    """Return every page by the name of its file."""
    return {
        "coordctl.1": _program(
            coordctl, "coordctl", "coordd(1), coordd-alert(1), coordd.toml(5)", _ENVIRONMENT
        ),
        "coordd.1": _program(
            coordd, "coordd", "coordctl(1), coordd-alert(1), coordd.toml(5)", _daemon_environment()
        ),
        "coordd-alert.1": _alert(),
        "coordd.toml.5": _configuration(),
    }


def _alert() -> str:
    """Return the page of coordd-alert, which has no click: from its help, and the keys of rules."""
    usage, first, rest = ALERT_HELP.split("\n\n", 2)
    blocks = {block.split(":\n")[0]: block for block in rest.strip().split("\n\n")}
    commands = re.findall(r"^  (run|check) +(.*(?:\n {10}.*)*)", rest, re.MULTILINE)
    rule = ("  [[", "  name", "  on", "  exec")
    options = re.findall(r"^  (-.*?)  +(.*(?:\n {23}.*)*)", blocks["Options of run"], re.MULTILINE)
    lines = [
        *_heading("coordd-alert", 1),
        f"coordd-alert \\- {escaped(first[0].lower() + first[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".nf",
        *[escaped(line.removeprefix("Usage:").strip()) for line in usage.split("\n")],
        ".fi",
        ".SH DESCRIPTION",
    ]
    for name, words in [*commands, *options]:
        if (name, words) == options[0]:
            lines.append(".SH OPTIONS")
        lines += [".TP", f"\\fB{escaped(name)}\\fR", escaped(" ".join(words.split()))]
    lines += [
        ".SH RULES",
        ".PP",
        escaped(
            "Tables [[alert]] in your own coordd.toml, never a project's. The file, each folder above it and "
            "each link on the way have to be yours or root's, and nobody else may be able to write there. "
            "Without any rule the desktop is told who waits, was killed or is stalled, and which agents fell "
            "together."
        ),
    ]
    for name, words in ALERT_KEYS.items():
        lines += [".TP", f"\\fB{escaped(name)}\\fR", escaped(words)]
    lines += [
        ".SH EXAMPLES",
        ".EX",
        *[escaped(line[2:]) for line in blocks["Examples"].split("\n")[1:]],
        "",
        *[escaped(line[2:]) for line in rest.split("\n") if line.startswith(rule)],
        ".EE",
        ".SH EXIT STATUS",
        ".PP",
        escaped(
            blocks["Exit codes: 0 done, 1 it cannot run, 2 usage, 78 bad rules."].removeprefix("Exit codes: ")
        ),
        ".SH FILES",
        ".TP",
        f"\\fB{escaped('~/.config/coordd/coordd.toml')}\\fR, \\fB{escaped('/etc/coordd/coordd.toml')}\\fR",
        "The rules.",
        ".TP",
        f"\\fB{escaped('~/.local/state/coordd/alerts')}\\fR, \\fB{escaped('/var/lib/coordd-alert')}\\fR",
        "What was told, what waits, and the control socket.",
        ".SH SEE ALSO",
        *_see("coordd(1), coordctl(1), coordd.toml(5)"),
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape a text so that roff shows it unchanged, on one line."""
    line = "".join([_SPECIAL.get(c, c) for c in text])
    return "\\&" + line if line.startswith(".") else line


def prose(text: str) -> Iterator[str]:
    r"""Yield a ``help`` or ``epilog`` as roff: paragraphs, and unchanged lines after a ``\b``."""
    for block in _blocks(text):
        lines = block.split("\n")
        kept = lines[0].strip() == "\b"
        yield ".PP"
        if not kept:
            yield escaped(" ".join(line.strip() for line in lines))
            continue
        yield from _as_it_stands([line for line in lines[1:] if line.strip()])


def _blocks(text: str) -> list[str]:
    return re.split(r"\n\s*\n", inspect.cleandoc(text))


def _as_it_stands(lines: list[str]) -> Iterator[str]:
    example = False
    for line in lines:
        if line.startswith("  ") != example:
            example = not example
            yield from (".RS 4", ".EX") if example else (".EE", ".RE")
        yield escaped(line[2:] if example else line)
    if example:
        yield from (".EE", ".RE")


def _program(group: click.Group, name: str, see: str, environment: dict[str, str]) -> str:
    context = click.Context(group, info_name=name)
    commands = [command for n in group.list_commands(context) if (command := group.get_command(context, n))]
    lines = [
        *_heading(name, 1),
        f"{name} \\- {escaped(_first_sentence(group))}",
        ".SH SYNOPSIS",
        f".B {name}",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *prose(group.help or ""),
        ".SH OPTIONS",
        *_options(group),
    ]
    shared = {option for param in group.params for option in param.opts} - {"--version"}
    if shared:
        *first, last = sorted(shared)
        lines += [".PP", escaped(f"{', '.join(first)} and {last} are understood after a command as well.")]
    lines.append(".SH COMMANDS")
    for command in commands:
        lines += _command(command, name, shared)
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                lines += _command(inner, f"{name} {command.name}", shared)
    for block in _blocks(group.epilog or ""):
        words = block.removeprefix("\b\n")
        title = next((title for start, title in _SECTIONS.items() if words.startswith(start)), None)
        lines += [f".SH {title}" if title else ".SH NOTES", *prose(block.replace("Examples:\n", "", 1))]
    lines.append(".SH ENVIRONMENT")
    for variable, words in environment.items():
        lines += [".TP", f"\\fB{escaped(variable)}\\fR", escaped(words)]
    lines += [".SH FILES", *_files(), ".SH SEE ALSO", *_see(see)]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, program: str, shared: set[str]) -> Iterator[str]:
    arguments = [_metavar(p) for p in command.params if isinstance(p, click.Argument)]
    rest = ["COMMAND"] if isinstance(command, click.Group) else ["[OPTIONS]", *map(escaped, arguments)]
    words = [escaped(f"{program} {command.name}"), *rest]
    yield f'.SS "{" ".join(words)}"'
    yield from prose(command.help or "")
    yield from _options(command, shared)
    if command.epilog:
        yield from prose(command.epilog)


def _options(command: click.Command, known: Iterable[str] = ()) -> Iterator[str]:
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden or set(option.opts) <= set(known):
            continue
        names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in [*option.opts, *option.secondary_opts])
        value = "" if option.is_flag or option.count else f" \\fI{escaped(_metavar(option))}\\fR"
        words = (option.help or "").strip()
        if option.multiple and "repeated" not in words:
            words += " May be repeated."
        yield from (".TP", names + value, escaped(words))
    if isinstance(command, click.Group):
        words = "Show the help and exit; after a command, that command's."
        yield from (".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", escaped(words))


def _metavar(param: click.Parameter) -> str:
    if param.metavar:
        return param.metavar
    if isinstance(param.type, click.Choice):
        choices = "|".join(map(str, param.type.choices))
        return f"[{choices}]" if isinstance(param, click.Argument) and not param.required else choices
    name = (param.name or "").upper() if isinstance(param, click.Argument) else param.type.name.upper()
    return name if param.required or isinstance(param, click.Option) else f"[{name}]"


def _configuration() -> str:
    lines = [
        *_heading("coordd.toml", 5),
        "coordd.toml \\- configuration of coordd(1)",
        ".SH SYNOPSIS",
        ".nf",
        *[escaped(paths["config_file"]) for _, paths in _layouts()],
        ".fi",
        ".SH DESCRIPTION",
        ".PP",
        escaped(
            "TOML, read when coordd starts and when it is told to reload. An unknown key, a wrong type or an "
            "impossible value is an error that names file, key and value; coordd then exits with 78, or on a "
            "reload keeps what it had. 'coordd check-config' shows each value with its origin."
        ),
        ".PP",
        escaped(
            "Each key can also be given in the environment, which overrides the file; options on the command "
            "line override both. REDIS_URL, where coordination.redis_url is not set, is read from and never "
            "written to."
        ),
        ".PP",
        escaped(
            "A project's own .claude/coordd.toml comes with a clone and decides little: it may hold the keys "
            "marked 'project', within the bounds said there. Whatever else is in it is ignored and a problem "
            "in 'coordctl status', never an error. The rest belongs in the user's own file, for one project "
            'in tables such as [project."~/src/app".coordination]; they count in the layout of that project, '
            "over its own file. No URL may hold a control character, percent-encoded ones included."
        ),
    ]
    for section in SECTIONS:
        lines.append(f".SH [{escaped(section)}]")
        for key in KEYS:
            if key.section == section:
                lines += _key(key)
    lines += [
        ".SH [[alert]]",
        ".PP",
        escaped("Rules of coordd-alert(1), which has their keys. A project's own file has none."),
        ".SH EXAMPLE",
        ".EX",
        *[escaped(line) for line in _example()],
        ".EE",
        ".SH SEE ALSO",
        *_see("coordd(1), coordctl(1), coordd-alert(1)"),
    ]
    return "\n".join(lines) + "\n"


def _key(key: ConfigKey) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{escaped(key.name)}\\fR"
    yield escaped(f"{key.doc} {key.kind.words[0].upper()}{key.kind.words[1:]}.")
    facts = [f"Default: {_toml(key.default)}" if key.default is not None else "Default: by layout, or none"]
    facts.append(f"environment: {', '.join(key.variables)}")
    if key.flag:
        facts.append(f"option: {key.flag}")
    facts.append("a reload applies it" if key.reload else "a change needs a restart")
    if key.project is not None:
        facts.append(f"project ({key.project.words})")
    yield ".br"
    yield escaped("; ".join(facts) + ".")


def _example() -> Iterator[str]:
    yield from ("[coordination]", 'workspaces = ["~/src/app", "~/work/*"]', "")
    for section in ("sampling", "agents"):
        yield f"[{section}]"
        yield from (f"{key.name} = {_toml(key.default)}" for key in KEYS if key.section == section)


def _daemon_environment() -> dict[str, str]:
    known = {", ".join(key.variables): f"As {key.dotted} in coordd.toml(5)." for key in KEYS}
    options = {"COORDD_CONFIG": "As --config.", "COORDD_LAYOUT": "As --layout."}
    borrowed = {"REDIS_URL": "A Redis to read agents from where coordd's own configuration names none."}
    return {**{k: v for k, v in options.items() if k in OTHER_VARIABLES}, **known, **borrowed}


def _layouts() -> list[tuple[str, dict[str, str]]]:
    # '~' for HOME, and variables by their names, so that the page is the same everywhere
    environ = {"HOME": "~", "XDG_RUNTIME_DIR": "/run/user/UID"}
    return [
        ("project", project_paths("PROJECT")),
        ("user", user_paths(environ, "linux")),
        ("system", system_paths("linux")),
    ]


def _files() -> Iterator[str]:
    for layout, paths in _layouts():
        yield from (".TP", f"\\fB{layout}\\fR layout")
        for index, (key, words) in enumerate(_FILES.items()):
            if index:
                yield ".br"
            yield escaped(f"{paths[key]} ({words})")


def _heading(name: str, section: int) -> list[str]:
    return [
        '.\\" Made by packaging/man/build.py; change the source and run it again.',
        f'.TH "{escaped(name.upper())}" {section} "" "coordd {__version__}" "coordd manual"',
        ".SH NAME",
    ]


def _first_sentence(command: click.Command) -> str:
    first = (command.help or "").split("\n\n")[0].replace("\n", " ").strip().rstrip(".")
    return first[:1].lower() + first[1:]


def _see(pages: str) -> Iterator[str]:
    names = re.findall(r"([\w.-]+)\((\d)\)", pages)
    for index, (name, section) in enumerate(names):
        yield f".BR {escaped(name)} ({section}){',' if index < len(names) - 1 else ''}"


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> None:
    """Write the pages beside this file."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{HERE / name}\n")


if __name__ == "__main__":
    main()
