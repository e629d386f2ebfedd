"""Say what each error code of a Redis means: in words, and for what coordd does then. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """What an error code means, for coordd and in words that follow "Redis".

    ``words`` is None where the server's own text is shown. ``unusable``: every command gets this error.
    ``final``: the server closes the connection, or answers nothing else. ``lossy``: samples may be lost, for
    a full memory evicts keys before it refuses writes, first those with a time to live, as coordd's have, and
    a replica replaces its data with its master's. ``wrong_type``: something else uses this one key; trying
    again never helps. ``fix`` is what to do where nothing can be read any more.
    """

    words: str | None = None
    unusable: bool = False
    final: bool = False
    lossy: bool = False
    wrong_type: bool = False
    fix: str | None = None


UNREACHABLE = "start it, or correct coordination.redis_url; files are read meanwhile"
"""What to do where no server has answered with a code."""
_LOGGED = "its log may say more; files are read meanwhile"
UNKNOWN = Code()

_CLUSTER = Code(
    "is a node of a Redis Cluster, which coordd cannot read: "
    "coordination.redis_url has to name a single Redis",
    unusable=True,
    fix="name a single Redis in coordination.redis_url, or take that out: files are read without it",
)

CODES = {
    "NOAUTH": Code(
        "wants a password: put one into the URL, redis://:PASSWORD@host",
        unusable=True,
        final=True,
        fix="put the password into coordination.redis_url: redis://:PASSWORD@host",
    ),
    "WRONGPASS": Code(
        "refuses the user name or the password of the URL, "
        "in which # / ? @ : and % have to be percent-encoded",
        final=True,
        fix="correct the user's name or the password in coordination.redis_url",
    ),
    "NOPASSWORD": Code(
        "has no password, but the URL gives one: leave it out",
        fix="take the password out of coordination.redis_url",
    ),
    "NODB": Code(
        "has no database of the URL's number: choose a lower one, as in redis://host/0",
        fix="choose a lower number at the end of coordination.redis_url",
    ),
    "OOM": Code("takes no writes: its memory is full (maxmemory)", lossy=True),
    "READONLY": Code("takes no writes: it is a read-only replica", lossy=True),
    "LOADING": Code(
        "is loading its data set after a start",
        unusable=True,
        fix="nothing: it answers once it is loaded; files are read meanwhile",
    ),
    "BUSY": Code(
        "is busy running a script (SCRIPT KILL ends it)", unusable=True, fix="redis-cli SCRIPT KILL"
    ),
    "MISCONF": Code("takes no writes: it cannot save its data set to disk (its log says why)"),
    "MASTERDOWN": Code(
        "is a replica that has lost its master",
        unusable=True,
        fix="let it reach its master again, or name the master in coordination.redis_url",
    ),
    "CLUSTERDOWN": Code("is a cluster that is down", unusable=True, fix=_CLUSTER.fix),
    "CLUSTER": _CLUSTER,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "SENTINEL": Code(
        "is a Sentinel, which holds no keys: coordination.redis_url has to name the master that it watches",
        unusable=True,
        fix="name the master in coordination.redis_url; 'SENTINEL masters', asked there, tells its address",
    ),
    "MAXCLIENTS": Code(
        "takes no more clients (maxclients)",
        final=True,
        fix="raise maxclients there, or end clients that nobody needs (CLIENT LIST)",
    ),
    "DENIED": Code(
        "runs in protected mode: it takes no remote clients without a password",
        final=True,
        fix="give it a password (requirepass), and put that into coordination.redis_url",
    ),
    "NOREPLICAS": Code("takes no writes: too few replicas are connected"),
    "WRONGTYPE": Code(wrong_type=True),
}


def fix_of(code: str | None) -> str:
    """Return what to do about a Redis that cannot be used; ``code`` is its error code, None without one."""
    return UNREACHABLE if code is None else CODES.get(code, UNKNOWN).fix or _LOGGED
