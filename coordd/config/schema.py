"""List every key of the configuration, one row each, for parsing, reload and documentation.

Pure values. A row says what a key is, not what the daemon does with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from coordd.config.kinds import (
    ValueKind,
    boolean,
    choice,
    duration,
    group_name,
    integer,
    path,
    paths,
    project_paths,
    redis_prefix,
    redis_url,
    size,
)

Mode = Literal["auto", "redis", "file"]
Level = Literal["debug", "info", "warning", "error", "critical"]

HOUR = 3600.0
DAY = 24 * HOUR
YEAR = 365 * DAY


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of the configuration.

    ``default`` is written as in TOML; None means that the layout decides or that it has no value. ``short``
    is a second name of the environment variable. ``project`` is the kind for a project's own file, often with
    narrower bounds; None: such a file may not set it. ``reload``: a running daemon applies a change;
    otherwise a restart is needed.
    """

    section: str
    name: str
    kind: ValueKind
    default: object
    doc: str
    short: str | None = None
    flag: str | None = None
    project: ValueKind | None = None
    reload: bool = False

    @property
    def dotted(self) -> str:
        """The full name, as in ``agents.timeout``."""
        return f"{self.section}.{self.name}"

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its environment variables: ``COORDD_<SECTION>_<KEY>``, then the short form if any."""
        long = f"COORDD_{self.section}_{self.name}".upper()
        return (long,) if self.short in (None, long) else (long, str(self.short))


KEYS: tuple[ConfigKey, ...] = (
    ConfigKey(
        "coordination",
        "mode",
        choice(*get_args(Mode)),
        "auto",
        "Where agents are looked for: in Redis and in files, or in one of them only.",
        short="COORDD_MODE",
    ),
    ConfigKey(
        "coordination",
        "workspaces",
        project_paths(),
        None,
        "Project directories that hold .claude/coordination; patterns (~/src/*) find new ones at once.",
        short="COORDD_WORKSPACES",
        flag="--workspace",
        reload=True,
    ),
    ConfigKey(
        "coordination",
        "redis_url",
        redis_url(),
        None,
        "The Redis that agents coordinate through and samples are written to. Absent: no Redis.",
        short="COORDD_REDIS_URL",
    ),
    ConfigKey(
        "coordination",
        "redis_prefix",
        redis_prefix(),
        "",
        "Stands before every key that is read, for those who share a Redis: with shop: agents beat into "
        "shop:heartbeat:ID. Samples stay in metrics:*.",
        short="COORDD_REDIS_PREFIX",
    ),
    ConfigKey(
        "sampling",
        "interval",
        duration(least=1, most=DAY),
        "60s",
        "Time between two samples of the host.",
        project=duration(least=1, most=HOUR),
        reload=True,
    ),
    ConfigKey(
        "agents",
        "timeout",
        duration(least=0.1, most=YEAR),
        "120s",
        "Silence after which an agent is inactive.",
        project=duration(least=10, most=HOUR),
        reload=True,
    ),
    ConfigKey(
        "agents",
        "stall_after",
        duration(least=0.1, most=YEAR),
        "15m",
        "An agent that holds a task without progress for so long is stalled. At least agents.timeout.",
        project=duration(least=10, most=7 * DAY),
        reload=True,
    ),
    ConfigKey(
        "agents",
        "call_stall_after",
        duration(least=0.1, most=YEAR),
        "2h",
        "An agent whose open tool call is older, and whose processes do nothing, is stalled. At least "
        "agents.timeout.",
        project=duration(least=10, most=7 * DAY),
        reload=True,
    ),
    ConfigKey(
        "agents",
        "forget_after",
        duration(least=0.1, most=YEAR),
        "24h",
        "A silent agent leaves the list; its history stays. At least agents.timeout.",
        project=duration(least=10, most=7 * DAY),
        reload=True,
    ),
    ConfigKey(
        "agents",
        "forget_ended_after",
        duration(least=0.1, most=YEAR),
        "10m",
        "An agent that ended in order leaves the list; agents --all still shows it for the day.",
        reload=True,
    ),
    ConfigKey(
        "claude_code",
        "enabled",
        boolean(),
        True,
        "Whether sessions of Claude Code are looked for.",
    ),
    ConfigKey(
        "claude_code",
        "homes",
        paths(),
        [],
        "Homes of Claude Code beside those that are found: ~/.claude, ~/.claude-*, $CLAUDE_CONFIG_DIR.",
    ),
    ConfigKey("codex", "enabled", boolean(), True, "Whether sessions of Codex are looked for."),
    ConfigKey(
        "codex",
        "homes",
        paths(),
        [],
        "Homes of Codex beside those that are found: ~/.codex, $CODEX_HOME.",
    ),
    ConfigKey("copilot", "enabled", boolean(), True, "Whether sessions of Copilot are looked for."),
    ConfigKey(
        "copilot",
        "homes",
        paths(),
        [],
        "Homes of Copilot beside those that are found: ~/.copilot, $COPILOT_HOME.",
    ),
    ConfigKey(
        "processes",
        "enabled",
        boolean(),
        True,
        "Whether coding agents whose own files coordd does not read are looked for, by their processes.",
    ),
    ConfigKey(
        "storage",
        "metrics_dir",
        path(),
        None,
        "Where the JSONL records go; one coordd each.",
        short="COORDD_METRICS_DIR",
    ),
    ConfigKey(
        "storage", "log_dir", path(), None, "Where the CSV records and logs go.", short="COORDD_LOG_DIR"
    ),
    ConfigKey(
        "storage",
        "retention_days",
        integer(least=1, most=36500),
        30,
        "So many of the newest days of records are kept.",
        project=integer(least=1, most=36500),
        reload=True,
    ),
    ConfigKey(
        "storage",
        "compress_after_days",
        integer(least=0, most=36500),
        1,
        "Closed files are gzipped once they are so many days old.",
        project=integer(least=0, most=36500),
        reload=True,
    ),
    ConfigKey(
        "storage",
        "max_bytes",
        size(least=1 << 16),
        "2GiB",
        "Disk space for each type of record; the oldest files go first.",
        reload=True,
    ),
    ConfigKey(
        "storage",
        "fsync_interval",
        duration(least=0.01, most=3600),
        "1s",
        "The most that a power loss can cost.",
    ),
    ConfigKey(
        "storage",
        "backlog",
        integer(least=1, most=10_000_000),
        100_000,
        "Records that a failing sink holds back before it drops the oldest.",
    ),
    ConfigKey(
        "redis", "ttl", duration(least=1, most=YEAR), "1h", "How long a sample lives in Redis.", reload=True
    ),
    ConfigKey(
        "control",
        "socket",
        path(),
        None,
        "The Unix socket that coordctl asks.",
        short="COORDD_SOCKET",
        flag="--socket",
    ),
    ConfigKey(
        "control",
        "group",
        group_name(),
        "coordd",
        "Whose members may ask the daemon of the system layout.",
    ),
    ConfigKey(
        "log",
        "level",
        choice(*get_args(Level)),
        "info",
        "The least important message that is logged.",
        short="COORDD_LOG_LEVEL",
        flag="--log-level",
        reload=True,
    ),
)

BY_NAME = {key.dotted: key for key in KEYS}
SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS))

BY_VARIABLE = {variable: key for key in KEYS for variable in key.variables}
OTHER_VARIABLES = frozenset(
    {"COORDD_CONFIG", "COORDD_LAYOUT", "COORDD_AGENT_ID", "COORDD_WORKSPACE", "COORDD_DEBUG"}
)
"""Variables that the command line and contrib/heartbeat.sh read; they are not settings of the daemon."""


def reference() -> str:
    """Return the table as Markdown, for the documentation."""
    lines = ["| key | value | default | environment | reload | project |", "|---|---|---|---|---|---|"]
    for key in KEYS:
        default = (
            f"`{key.default}`"
            if key.default not in (None, "")
            else "by layout"
            if "path" in key.kind.words
            else "-"
        )
        lines.append(
            f"| `{key.dotted}` | {key.doc} {key.kind.words[0].upper()}{key.kind.words[1:]}. | {default} | "
            f"{', '.join(f'`{name}`' for name in key.variables)} | {_yes(key.reload)} | {_project(key)} |"
        )
    return "\n".join(lines) + "\n"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _project(key: ConfigKey) -> str:
    """Return whether a project's file may set the key, with its bounds if they are narrower."""
    if key.project is None:
        return "no"
    return "yes" if key.project.words == key.kind.words else key.project.words.removeprefix("a duration ")
