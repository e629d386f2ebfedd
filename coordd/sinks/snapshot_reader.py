"""Read the last run's snapshot: bounded, and in a project without following a link.

In a project it counts only where coordd itself left it; see protocol/origin.py. That is found out before
anything else in it is decoded, for a clone may bring a file that would take all memory.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from coordd.protocol.origin import origin_problem
from coordd.util.directories import open_directory, root_of
from coordd.util.regular_files import read_owned
from coordd.util.timestamps import parse_timestamp

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024

Time = Annotated[str, msgspec.Meta(max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


@dataclass(frozen=True, slots=True)
class LastSnapshot:
    """A sound snapshot.

    ``written``: when, epoch seconds. ``agents``: each as JSON. ``covers``: how far it covers each file (inode
    and size by name), None where it does not say. ``checkpoint``: JSON; see redis/checkpoint.py.
    ``acknowledged``: ids of what needs a human that somebody has seen. ``ended``: who ended in order then.
    ``forgotten``: (workspace, id, kinds of sources, last beat) of who is not shown, and has left something.
    """

    written: float
    agents: list[msgspec.Raw]
    covers: Mapping[str, tuple[int, int]] | None
    checkpoint: msgspec.Raw
    acknowledged: Sequence[str] = ()
    ended: Sequence[tuple[str, str, float]] = ()
    forgotten: Sequence[tuple[str, str, list[str], float | None]] = ()


_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Texts = Annotated[list[_Text], msgspec.Meta(max_length=10_000)]
_Forgotten = Annotated[
    list[tuple[_Text, _Text, Annotated[list[_Text], msgspec.Meta(max_length=16)], float | None]],
    msgspec.Meta(max_length=10_000),
]
_Ended = Annotated[list[tuple[_Text, _Text, float]], msgspec.Meta(max_length=10_000)]


class _Document(msgspec.Struct, frozen=True):
    written_at: msgspec.Raw
    agents: msgspec.Raw
    records: msgspec.Raw = msgspec.Raw(b"null")
    redis_samples: msgspec.Raw = msgspec.Raw(b"null")
    origin: msgspec.Raw = msgspec.Raw(b"null")
    acknowledged: msgspec.Raw = msgspec.Raw(b"null")
    ended_today: msgspec.Raw = msgspec.Raw(b"null")
    forgotten: msgspec.Raw = msgspec.Raw(b"null")


def read_snapshot(path: str, *, root: str | None) -> LastSnapshot | None:
    """Return the snapshot at ``path``; None if it is missing, or cannot be believed (which is logged).

    Args:
        path: of the snapshot.
        root: a project's canonical path; a snapshot below it must name this machine and its own folder.
    """
    try:
        return _read(path, root)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the snapshot %s is passed over: %s", path, error.strerror or error)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        log.warning("the snapshot %s is damaged and passed over: %s", path, error)
    return None


def _read(path: str, root: str | None) -> LastSnapshot:
    folder, name = os.path.split(path)
    with open_directory(folder, root=root) as directory:
        data, owner = read_owned(name, MAX_BYTES, directory=directory.fd)
        document = msgspec.json.decode(data, type=_Document)
        if root_of(path, root):
            problem = origin_problem(msgspec.json.decode(document.origin), directory.fd, owner=owner)
            if problem is not None:
                raise OSError(errno.EINVAL, f"{problem}; only coordd's own is believed", path)
    return LastSnapshot(
        written=parse_timestamp(msgspec.json.decode(document.written_at, type=Time)),
        agents=msgspec.json.decode(document.agents, type=list[msgspec.Raw]),
        covers=msgspec.json.decode(document.records, type=dict[str, tuple[Count, Count]] | None),
        checkpoint=document.redis_samples,
        acknowledged=msgspec.json.decode(document.acknowledged, type=_Texts | None) or (),
        ended=msgspec.json.decode(document.ended_today, type=_Ended | None) or (),
        forgotten=msgspec.json.decode(document.forgotten, type=_Forgotten | None) or (),
    )
