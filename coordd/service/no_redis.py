"""Take the place of RedisService where no Redis is configured: it does nothing.

It has the methods of RedisService that the daemon calls, and imports none of what that needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Raw

from coordd.config.build import Config
from coordd.model import SinkStatus
from coordd.sources.base import OneSource


class NoRedis:
    """No Redis: no source, no sink."""

    def __init__(self) -> None:
        self.finder = OneSource()

    def load(self) -> None:
        """Import nothing."""

    async def start(self, checkpoint: Raw | bytes) -> None:
        """Connect to nothing."""

    def gap(self) -> None:
        """Check nothing."""

    def apply(self, config: Config) -> None:
        """Leave everything as it is."""

    def offer(self, topic: str, records: Sequence[bytes], made_of: Sequence[object]) -> None:
        """Take no records."""

    async def forget(self, records: Sequence[tuple[object, ...]]) -> tuple[int, float] | None:  # noqa: ARG002  # RedisService's signature
        """Return None: there are no samples."""
        return None

    def statuses(self) -> dict[str, SinkStatus]:
        """Return {}: there is no sink."""
        return {}

    def with_checkpoint(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Return the document as it is."""
        return document

    async def stop(self) -> None:
        """End nothing."""
