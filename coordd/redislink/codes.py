"""Say what each error code of a Redis means: in words, and for what coordd does then. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """What an error code means, for coordd and in words that follow "Redis".

    ``words`` is None where the server's own text is shown. ``unusable``: every command gets this error.
    ``final``: the server closes the connection, or answers nothing else. ``lossy``: samples may be lost, for
    a full memory evicts keys before it refuses writes, first those with a time to live, as coordd's have, and
    a replica replaces its data with its master's. ``wrong_type``: something else uses this one key; trying
    again never helps.
    """

    words: str | None = None
    unusable: bool = False
    final: bool = False
    lossy: bool = False
    wrong_type: bool = False


UNKNOWN = Code()

_CLUSTER = Code(
    "is one node of a cluster, and other nodes hold some of the keys: coordd reads a single Redis"
)

CODES = {
    "NOAUTH": Code(
        "wants a password: put one into the URL, redis://:PASSWORD@host", unusable=True, final=True
    ),
    "WRONGPASS": Code("refuses the user name or the password of the URL", final=True),
    "NOPASSWORD": Code("has no password, but the URL gives one: leave it out"),
    "NODB": Code("has no database of the URL's number: choose a lower one, as in redis://host/0"),
    "OOM": Code("takes no writes: its memory is full (maxmemory)", lossy=True),
    "READONLY": Code("takes no writes: it is a read-only replica", lossy=True),
    "LOADING": Code("is loading its data set after a start", unusable=True),
    "BUSY": Code("is busy running a script (SCRIPT KILL ends it)", unusable=True),
    "MISCONF": Code("takes no writes: it cannot save its data set to disk (its log says why)"),
    "MASTERDOWN": Code("is a replica that has lost its master", unusable=True),
    "CLUSTERDOWN": Code("is a cluster that is down", unusable=True),
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "MAXCLIENTS": Code("takes no more clients (maxclients)", final=True),
    "DENIED": Code("runs in protected mode: it takes no remote clients without a password", final=True),
    "NOREPLICAS": Code("takes no writes: too few replicas are connected"),
    "WRONGTYPE": Code(wrong_type=True),
}
