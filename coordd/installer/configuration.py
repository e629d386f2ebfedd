"""Write the first configuration file of an installation: every key explained, commented out.

Pure, but for :func:`configured`. Values asked for on the command line are set in it; an existing
file is kept as it is.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace

from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.config.kinds import Surroundings
from coordd.config.layout import Layout
from coordd.config.redis_url import check_redis_url
from coordd.config.schema import KEYS, SECTIONS
from coordd.errors import ConfigError, InstallError
from coordd.installer.services import Wanted

_HEAD = """\
# coordd's configuration. A key that is commented out has the value shown. Check it with
#   {check}
# and apply it with
#   {reload}
# What needs a restart is named in the answer. The manual: man coordd.toml
"""
_EXAMPLES = {
    "coordination.workspaces": '["~/src/*"]',
    "coordination.redis_url": '"redis://localhost:6379/0"',
}


def default_text(wanted: Wanted, layout: Layout, *, check: str, reload: str) -> str:
    """Return the text of the file for an installation."""
    asked: dict[str, object] = {
        "coordination.workspaces": list(wanted.workspaces) or None,
        "coordination.redis_url": wanted.redis_url,
    }
    lines = [_HEAD.format(check=check, reload=reload).rstrip()]
    around = Surroundings(environ={}, base=None)
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        for key in KEYS:
            if key.section != section:
                continue
            lines += [f"# {key.doc}"]
            value = asked.get(key.dotted)
            if value is not None:
                lines.append(f"{key.name} = {json.dumps(value, ensure_ascii=False)}")
            elif key.default is not None:
                lines.append(f"#{key.name} = {key.kind.show(key.kind.parse(key.default, around))}")
            else:
                shown = _EXAMPLES.get(key.dotted) or json.dumps(
                    layout.defaults[key.dotted], ensure_ascii=False
                )
                lines.append(f"#{key.name} = {shown}")
    return "\n".join(lines) + "\n"


def check_wanted(wanted: Wanted, cwd: str) -> Wanted:
    """Return what was asked for with workspaces made absolute; ``~/`` stays for the user's service.

    Raises:
        InstallError: a workspace of the system's service that begins with ``~``: whose home?
        ConfigError: a Redis URL that cannot be used.
    """
    if wanted.redis_url is not None:
        try:
            check_redis_url(wanted.redis_url)
        except ValueError as error:
            raise ConfigError("--redis-url", "", None, str(error)) from None
    paths = []
    for path in wanted.workspaces:
        if path.startswith("~"):
            if wanted.scope == "system":
                raise InstallError(
                    f"--workspace {path}: the system's service has no home of its own that you could mean. "
                    "Write the directory in full, such as '/home/*/src/*'."
                )
            paths.append(path)
        else:
            paths.append(os.path.normpath(os.path.join(cwd, path)))
    return replace(wanted, workspaces=tuple(dict.fromkeys(paths)))


def missing_in(text: str, wanted: Wanted) -> list[str]:
    """Return as lines what was asked for and a kept file does not say."""
    try:
        section = tomllib.loads(text).get("coordination", {})
    except ValueError:  # TOMLDecodeError, and an integer with too many digits
        return []  # the start reports what is wrong with it
    there = section.get("workspaces", []) if isinstance(section, dict) else []
    url = section.get("redis_url") if isinstance(section, dict) else None
    lines = []
    known = there if isinstance(there, list) else []
    if set(wanted.workspaces) - set(map(str, known)):
        both = list(dict.fromkeys([*map(str, known), *wanted.workspaces]))
        lines.append(f"workspaces = {json.dumps(both, ensure_ascii=False)}")
    if wanted.redis_url is not None and wanted.redis_url != url:
        lines.append(f"redis_url = {json.dumps(wanted.redis_url, ensure_ascii=False)}")
    return lines


def configured(layout: Layout, environ: Mapping[str, str]) -> Config:
    """Return the configuration that a daemon of this layout will run with.

    Raises:
        ConfigError: the file cannot be used.
    """
    return ConfigSources(layout=layout, config_file=None, environ=environ, flags={}, cwd="/").load()
