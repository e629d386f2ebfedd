"""Parse where a Redis URL leads: host or socket, user, password, database, certificates.

Pure. coordd/config/redis_url.py has checked the URL and documents its forms. No ``repr`` shows a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlsplit

from coordd.config.redis_url import NO_CONTROLS, has_controls, uses_tls

PORT = 6379


@dataclass(frozen=True, slots=True)
class Tls:
    """The ``ssl_*`` options of a rediss:// URL: paths as given, None if not given."""

    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """One Redis: either ``path`` is set, or ``host`` and ``port``; ``tls`` is None for plain connections."""

    host: str
    port: int
    path: str | None
    username: str | None
    password: str | None = field(repr=False)
    database: int = 0
    tls: Tls | None = None

    def __post_init__(self) -> None:
        """Refuse control characters, as the check of the URL does, right before they would be sent.

        Raises:
            ValueError: a control character in a name, the password or the path.
        """
        if any(has_controls(text or "") for text in (self.host, self.path, self.username, self.password)):
            raise ValueError(NO_CONTROLS)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may hold: the password, decoded and as it stands in the URL."""
        return () if not self.password else (self.password, quote(self.password, safe=""))


def parse_target(url: str) -> RedisTarget:
    """Return the target of a URL that has passed ``check_redis_url``."""
    parts = urlsplit(url)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database = options.get("db") or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    return RedisTarget(
        host=unquote(parts.hostname or ""),
        port=parts.port or PORT,
        path=unquote(parts.path) if parts.scheme == "unix" else None,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(database or 0),
        tls=_tls(options) if uses_tls(url) else None,
    )


def _tls(options: dict[str, str]) -> Tls:
    verify = options.get("ssl_cert_reqs", "required") != "none"
    return Tls(
        ca_certs=options.get("ssl_ca_certs"),
        ca_path=options.get("ssl_ca_path"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
        verify=verify,
        check_hostname=verify and options.get("ssl_check_hostname", "true") == "true",
    )
