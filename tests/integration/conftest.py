"""What many tests of the whole ask for: a project, and a server of each kind."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Project
from redisd import KINDS, RedisServer, redis_server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "app")


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis, and then a real Valkey, of this test alone."""
    with redis_server(tmp_path / "redis", kind=request.param) as one:
        yield one


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many as the test's own side of all connections needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
