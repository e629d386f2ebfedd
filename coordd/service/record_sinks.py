"""Build the sinks that write files."""

from __future__ import annotations

import os
import random

from coordd.config.build import Config
from coordd.config.rights import Rights
from coordd.sinks.csv import CsvSink
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink


def record_sinks(config: Config, rights: Rights) -> tuple[JsonlSink, CsvSink]:
    """Return the sinks of samples and events, and of performance."""
    storage = config.storage
    metrics = HeldFolder.of(storage.metrics_dir, rights)
    # One directory for both is held once, or each would take the other's work for a stranger's.
    same = os.path.abspath(storage.log_dir) == metrics.path
    logs = metrics if same else HeldFolder.of(storage.log_dir, rights)
    jsonl = JsonlSink(folder=metrics, random=random.random, backlog=storage.backlog)
    return jsonl, CsvSink(folder=logs, random=random.random, backlog=storage.backlog)
