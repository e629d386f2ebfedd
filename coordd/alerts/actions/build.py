"""Make actions of the keys of a rule: ``desktop``, ``exec``, ``webhook``, ``apprise``.

The one place that knows them all. An error names the rule and the key, and no value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from coordd.alerts.actions import secrets
from coordd.alerts.actions.apprise import AppriseAction
from coordd.alerts.actions.base import Action
from coordd.alerts.actions.code_arguments import taken_for_code
from coordd.alerts.actions.desktop import DesktopAction
from coordd.alerts.actions.environment import for_children
from coordd.alerts.actions.exec import ExecAction
from coordd.alerts.actions.template import BadTemplate, parse
from coordd.alerts.actions.webhook import WebhookAction
from coordd.errors import ConfigError

KEYS = ("desktop", "exec", "webhook", "apprise")
"""The keys of a rule that are actions, the quickest first."""

_MOST_ARGUMENTS = 64
_MOST_CHARACTERS = 32 * 1024
_MOST_ADDRESSES = 32
_EXEC = 'expected a program and its arguments, such as ["notify-send", "{title}", "{text}"]'


def actions_of(
    values: Mapping[str, object],
    *,
    where: str,
    label: str,
    environ: Mapping[str, str],
    hidden: Collection[str] = (),
) -> tuple[Action, ...]:
    """Return the actions of a rule; two of them may have one label. Blocking: it reads files of secrets.

    Args:
        values: what the rule says of :data:`KEYS`; other keys are passed over.
        where: the configuration file, for errors.
        label: what errors call the rule: ``alert.needs-me``.
        environ: the environment of this process.
        hidden: the variables in which any rule has secrets (:func:`secret_variables`): no child gets them.

    Raises:
        ConfigError: a value means nothing, or a secret cannot be had.
    """
    kept = for_children(environ, {*hidden, *secret_variables(values)})
    actions: list[Action] = []
    for key in KEYS:
        if key not in values:
            continue
        try:
            actions += _MAKERS[key](values[key], environ, kept)
        except ValueError as error:
            raise ConfigError(where, f"{label}.{key}", None, str(error)) from None
    return tuple(actions)


def secret_variables(values: Mapping[str, object]) -> frozenset[str]:
    """Return the environment variables in which a rule has secrets."""
    addresses = values.get("apprise")
    written = [values.get("webhook"), *(addresses if isinstance(addresses, list) else [])]
    names = [one.get("env") for one in written if isinstance(one, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _exec(value: object, _: Mapping[str, str], kept: dict[str, str]) -> Iterator[Action]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError(_EXEC)
    if len(value) > _MOST_ARGUMENTS or sum(map(len, value)) > _MOST_CHARACTERS:
        raise ValueError(
            f"expected at most {_MOST_ARGUMENTS} arguments of {_MOST_CHARACTERS} characters together"
        )
    if any("\0" in one for one in value):
        raise ValueError("expected arguments without NUL")
    template = parse(value)
    program = template[0]
    if not program.constant:
        raise BadTemplate("expected the name of a program as the first argument, without a placeholder")
    name = program.parts[0]
    if not name or ("/" in name and not name.startswith(("/", "~/"))):
        raise ValueError(
            "expected the name of a program in PATH, an absolute path, or one that begins with ~/"
        )
    if (code := taken_for_code(template)) is not None:
        raise BadTemplate(code)
    yield ExecAction(template, environ=kept)


def _webhook(value: object, environ: Mapping[str, str], kept: dict[str, str]) -> Iterator[Action]:
    yield WebhookAction(secrets.secret_of(value, environ).value, environ=kept)


def _apprise(value: object, environ: Mapping[str, str], kept: dict[str, str]) -> Iterator[Action]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_ADDRESSES:
        raise ValueError(f"expected a list of 1 to {_MOST_ADDRESSES} addresses; {secrets.EXPECTED}")
    for number, one in enumerate(value, 1):
        try:
            yield AppriseAction(secrets.secret_of(one, environ).value, environ=kept)
        except ValueError as error:
            raise ValueError(f"address {number}: {error}") from None


def _desktop(value: object, _: Mapping[str, str], kept: dict[str, str]) -> Iterator[Action]:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    if value:
        yield DesktopAction(environ=kept)


_MAKERS = {"exec": _exec, "webhook": _webhook, "apprise": _apprise, "desktop": _desktop}
