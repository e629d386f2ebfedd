"""Test what is imported before a daemon runs in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coordd.commands.launch import run_here


class Stop(Exception):
    """Ends the run before it begins."""


@pytest.mark.parametrize(
    ("url", "without"), [(None, True), ("redis://h", True), ("rediss://h", False), ("REDISS://h", False)]
)
def test_ssl_is_left_out_unless_the_url_asks_for_it_in_any_case(
    url: str | None, without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr("coordd.runtime.footprint.share_one_heap", lambda: None)
    monkeypatch.setattr("coordd.runtime.footprint.import_asyncio_without_ssl", lambda: asked.append(None))
    monkeypatch.setattr("coordd.config.rights.Rights.of", stop)
    monkeypatch.setattr("faulthandler.enable", lambda *_: None)
    settings: Any = SimpleNamespace(coordination=SimpleNamespace(redis_url=url))
    sources: Any = SimpleNamespace(layout=None)
    with pytest.raises(Stop):
        run_here(sources, settings)
    assert bool(asked) is without
