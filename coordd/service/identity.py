"""Say which daemon this is, for the documents that it answers."""

from __future__ import annotations

import os

from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.control.documents import Identity
from coordd.runtime.clocks import Moment
from coordd.service.agent_parts import reads_homes
from coordd.service.runtime_files import RuntimeFiles


def identity_of(
    sources: ConfigSources, config: Config, runtime_files: RuntimeFiles, started: Moment, host: str
) -> Identity:
    """Return what stays the same as long as the daemon runs."""
    path = sources.path
    return Identity(
        host=host,
        pid=os.getpid(),
        started=started,
        layout=sources.layout.name,
        config_file=path if os.path.exists(path) else None,
        socket=runtime_files.socket_path,
        metrics_dir=config.storage.metrics_dir,
        log_dir=config.storage.log_dir,
        reads_homes=reads_homes(sources.layout),
        mode=config.coordination.mode,
        start=runtime_files.start,
    )
