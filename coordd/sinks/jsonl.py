"""Write samples and events as JSON lines: ``{system,agent,event}_YYYY-MM-DD.jsonl``, each with a symlink."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coordd.records.names import RecordSeries
from coordd.sinks.base import Batch
from coordd.sinks.file_sink import FileSink


class JsonlSink(FileSink):
    """Write three series of JSON lines, with one backlog and one status: the sink ``jsonl``."""

    name = "jsonl"
    series = tuple(RecordSeries(name, "jsonl", f"{name}.jsonl") for name in ("system", "agent", "event"))

    def _lines(self, batch: Batch) -> Iterable[tuple[str, Sequence[bytes]]]:
        return (("system", batch.system), ("agent", batch.agent), ("event", batch.event))
