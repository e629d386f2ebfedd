"""Keep which entries of what needs a human were seen: they are off the list until they change.

Pure state. An id stands for one happening, so it is kept for as long as the entry would be listed, no longer:
what happens to the same agent next has to be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coordd.model import AttentionEntry


class Acknowledged:
    """Hold the ids of entries that somebody has seen, at most ``most``; the oldest give way.

    Args:
        ids: those that were seen before a restart.
        most: how many are kept.
    """

    def __init__(self, ids: Iterable[str] = (), *, most: int = 1000) -> None:
        self._most = most
        self._ids: dict[str, None] = {}
        for one in ids:
            self._keep(one)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that are kept, the oldest first."""
        return tuple(self._ids)

    def ack(self, entry_id: str, entries: Iterable[AttentionEntry]) -> bool:
        """Take an entry off the list; return False where no such entry is among those that are listed."""
        if all(one.id != entry_id for one in entries):
            return False
        self._keep(entry_id)
        return True

    def unseen(self, entries: Sequence[AttentionEntry]) -> list[AttentionEntry]:
        """Return the entries that nobody has acknowledged, and forget the ids of those that are gone.

        Args:
            entries: the whole list, as attention.attention has it.
        """
        if not self._ids:
            return list(entries)
        present = {one.id for one in entries}
        self._ids = {one: None for one in self._ids if one in present}
        return [one for one in entries if one.id not in self._ids]

    def _keep(self, entry_id: str) -> None:
        self._ids.pop(entry_id, None)
        self._ids[entry_id] = None
        while len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
