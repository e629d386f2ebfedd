"""Check what the dashboard needs beside a unit: packages, an address, a token; and whether it answers.

It is asked for ``/healthz``, which needs no token.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import sys
from dataclasses import dataclass

from coordd.cli.dashboard import missing_package
from coordd.config.layout import Layout
from coordd.dashboard.listen import Address, BadAddress, parse_address
from coordd.dashboard.tokens import NAME, TokenError, make_token
from coordd.errors import InstallError
from coordd.installer.services import Programs
from coordd.installer.steps import Done, group_id

DEADLINE = 2.0
"""Seconds for one answer."""
MAX_ANSWER = 65536
_HOMES = ("/home", "/root", "/run/user")
"""What ``ProtectHome=yes`` of the system's unit hides (systemd.exec(5))."""


def check_packages(*, asked: bool) -> None:
    """Check that the dashboard's packages are installed; ``asked`` is False for an upgrade.

    Raises:
        InstallError: a package is missing; with the command that installs it.
    """
    missing = missing_package()
    if missing is None:
        return
    whose = "the dashboard" if asked else "the dashboard, which is installed as a service here,"
    other = "" if asked else "\nOr take it away: coordd service uninstall --dashboard"
    python = shlex.quote(sys.executable)
    raise InstallError(
        f"{whose} needs {missing}, which {sys.executable} does not have; nothing was touched. Install it:\n"
        f"  {python} -m pip install 'coordd[dashboard]'{other}"
    )


def check_listen(text: str) -> str:
    """Return the address for the unit, host and port.

    Raises:
        InstallError: it is not an address, or not one of this machine alone.
    """
    try:
        address = parse_address(text)
    except BadAddress as error:
        raise InstallError(str(error)) from None
    if address.path is not None or not address.loopback or address.port == 0 or "%" in text:
        raise InstallError(
            f"--listen {text}: as a service it listens on an address of this machine alone, such as "
            "127.0.0.1:8001. For the network put a proxy with TLS before it (contrib/nginx), or change the "
            "unit in a drop-in: systemctl edit coordd-dashboard"
        )
    return host_and_port(address)


def host_and_port(address: Address) -> str:
    """Format an address as ``--listen`` takes it."""
    host = address.host or ""
    return f"{f'[{host}]' if ':' in host else host}:{address.port}"


def check_visible(programs: Programs) -> None:
    """Check that the sandbox of the system's unit does not hide the programs.

    Raises:
        InstallError: they lie in a home directory.
    """
    for path in (programs["coordctl"][0], sys.executable, sys.base_prefix):
        real = os.path.realpath(path)
        if any(real.startswith(f"{top}/") for top in _HOMES):
            raise InstallError(
                f"the dashboard of the system sees no home directories, and {real} is in one.\n"
                "Install coordd elsewhere, with a Python that everybody can run, for example:\n"
                "  python3 -m venv /opt/coordd && /opt/coordd/bin/pip install 'coordd[dashboard]'\n"
                "  /opt/coordd/bin/coordd service install --system --dashboard"
            )


def token_file(layout: Layout) -> str:
    """Return the path of the layout's token, beside its configuration."""
    return os.path.join(os.path.dirname(layout.config_file), NAME)


@dataclass(frozen=True, slots=True)
class MakeToken:
    """Make a token that root owns and the group may read; an existing one is kept."""

    path: str
    group: str

    def describe(self) -> str:
        """Return the token's path."""
        return f"make {self.path}"

    def do(self) -> Done:
        """Make or keep it, as ``coordctl dashboard --make-token`` does."""
        try:
            return "made" if make_token(self.path, mode=0o640, gid=group_id(self.group)) else "kept"
        except TokenError as error:
            raise InstallError(f"the token cannot be made: {error}") from error


def version_at(address: Address) -> str | None:
    """Return the version of the dashboard that answers at an address; None if none does."""
    connection = _Connection(address)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        response = connection.getresponse()
        said = json.loads(response.read(MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    ours = response.status == 200 and isinstance(said, dict) and said.get("daemon") in ("up", "down")
    return str(said.get("version")) if ours else None


class _Connection(http.client.HTTPConnection):
    """A connection to a listening address; a wildcard address is reached through loopback."""

    def __init__(self, address: Address) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._address = address

    def connect(self) -> None:
        address = self._address
        if address.path is not None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(DEADLINE)
            self.sock.connect(address.path)
            return
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}  # noqa: S104  # asked, not bound
        host = address.host or "127.0.0.1"
        self.sock = socket.create_connection((everywhere.get(host, host), address.port), DEADLINE)
