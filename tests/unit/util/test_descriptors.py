"""Test how few or many descriptors are shared out."""

from __future__ import annotations

import pytest

from coordd.util.descriptors import FEW, OWN, shares_of


@pytest.mark.parametrize("limit", [256, 1024, 4096, 1 << 20])
def test_connections_have_half_of_many_and_processes_a_quarter(limit: int) -> None:
    assert shares_of(limit) == (limit // 2, limit // 4)


@pytest.mark.parametrize("limit", range(OWN + FEW, 256))
def test_few_leave_what_the_process_itself_needs(limit: int) -> None:
    found = shares_of(limit)
    assert found.connections >= FEW
    assert found.processes >= 0
    assert sum(found) <= limit - OWN


def test_more_descriptors_are_no_smaller_share() -> None:
    found = [shares_of(limit) for limit in range(2000)]
    assert [one.connections for one in found] == sorted(one.connections for one in found)
    assert found[0] == (FEW, 0)
