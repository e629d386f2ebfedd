"""Start what the command line asks for: read the rules, take the lock, run; or check."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

from coordd.alerts.actions.base import Action
from coordd.alerts.actions_by_rule import actions_of_rules
from coordd.alerts.already import runs_already
from coordd.alerts.configuration import Rules, load, usual_file
from coordd.alerts.lock import AlertsRunning, StateDirectory, StateError
from coordd.alerts.reports import trouble_of
from coordd.alerts.service import Service, Setup
from coordd.alerts.supervision import Supervision
from coordd.alerts.target import Named, Target, working_directory
from coordd.protocol.paths import alerts_directory
from coordd.util.log_limit import Limited, log_loop_errors
from coordd.util.log_lines import LogLines, to_journal
from coordd.util.sdnotify import manager_of, watchdog_seconds
from coordd.util.text import escape

log = logging.getLogger(__name__)

LOG_BYTES = 1024 * 1024
"""Bytes of a log file at most; one older file is kept."""


def serve(options: Mapping[str, str]) -> int:
    """Run coordd-alert until a signal ends it; return the exit code.

    Raises:
        CoorddError: it cannot start.
    """
    environ = dict(os.environ)
    _log(options.get("log_file"), environ)
    cwd = working_directory()

    def again() -> tuple[Rules, dict[str, dict[str, Action]]]:
        return _load(options, environ)

    loaded = again()
    path = options.get("state") or alerts_directory(options.get("layout"), environ, sys.platform)
    state = StateDirectory(os.path.abspath(path))
    try:
        state.open()
    except AlertsRunning:
        if "until_eof" not in options:
            raise
        log.warning("%s", runs_already(state.path, options.get("socket")))
        return 0
    try:
        named = Named(options.get("socket"), options.get("layout"), options.get("directory"))
        setup = Setup(
            state=state,
            target=Target(named, environ=environ, cwd=cwd),
            load=again,
            environ=environ,
            supervision=Supervision(manager_of(environ), watchdog_seconds(environ, os.getpid())),
            platform=sys.platform,
            until_eof="until_eof" in options,
        )
        asyncio.run(_run(setup, loaded))
    finally:
        state.close()
    return 0


def check(options: Mapping[str, str]) -> tuple[list[str], bool]:
    """Return lines about the rules, and whether all that they do can work here.

    Raises:
        ConfigError: there is something wrong with the rules.
    """
    rules, actions = _load(options, dict(os.environ))
    lines = [
        f"{rules.file}: " + ("no rules; the built-in one counts" if rules.built_in else "the rules are sound")
    ]
    for rule in rules.rules:
        by = ", ".join(actions[rule.name]) or "nothing"
        lines.append(f"  {rule.name}: {', '.join(sorted(rule.kinds))} → {by}")
    troubles = trouble_of(actions)
    lines += [f"  it cannot work here: {one}" for one in troubles]
    return lines, not troubles


async def _run(setup: Setup, loaded: tuple[Rules, dict[str, dict[str, Action]]]) -> None:
    log_loop_errors(asyncio.get_running_loop())
    await Service(setup, loaded).run()


def _load(
    options: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[Rules, dict[str, dict[str, Action]]]:
    named = options.get("config")
    path = named or usual_file(options.get("layout"), environ)
    rules = load(path, required=named is not None, environ=environ)
    return rules, actions_of_rules(rules.rules, where=rules.file, environ=environ)


def _log(path: str | None, environ: Mapping[str, str]) -> None:
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LogLines(journal=to_journal(environ)))
    else:
        from logging.handlers import RotatingFileHandler

        if os.path.lexists(path) and not os.path.isfile(path):  # a FIFO would never open
            raise StateError(f"--log-file {escape(path)}: it exists and is not a regular file")
        try:
            handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
        except OSError as error:
            raise StateError(f"--log-file {escape(path)}: {error.strerror or error}") from error
        handler.setFormatter(LogLines(journal=False))
        logging.raiseExceptions = False  # on a full disk there is nowhere to report it
    logging.getLogger().handlers[:] = [Limited(handler)]
    logging.getLogger().setLevel(logging.INFO)
