"""Test how wrong tokens are slowed down, by address and together, and how clients are counted."""

from __future__ import annotations

import asyncio
import logging

import pytest
from clock import Clock

from coordd.dashboard import login_brake as module
from coordd.dashboard.client_address import network_of
from coordd.dashboard.login_brake import FREE, FREE_OF_ALL, HELD, HELD_EACH, KNOWN, LONGEST, Brake


def test_the_first_are_free_and_each_further_one_costs_twice_as_much() -> None:
    brake = Brake(now=Clock())
    pauses = [brake.penalty("10.0.0.1") for _ in range(FREE + 8)]
    assert pauses[:FREE] == [0.0] * FREE
    assert pauses[FREE : FREE + 4] == [0.25, 0.5, 1.0, LONGEST]
    assert set(pauses[FREE + 4 :]) == {LONGEST}
    assert brake.penalty("10.0.0.2") == 0.0


def test_it_forgives_with_time() -> None:
    clock = Clock()
    brake = Brake(now=clock)
    for _ in range(FREE + 8):
        brake.penalty("a")
    for _ in range(1000):  # and an attack is no longer remembered than that
        brake.penalty("a")
    clock.now += module.FORGIVEN_EACH * (FREE + 8)
    assert brake.penalty("a") == 0.0


def test_many_addresses_together_are_braked_too_and_not_all_remembered() -> None:
    brake = Brake(now=Clock())
    pauses = [brake.penalty(f"address {number}") for number in range(KNOWN + 100)]
    assert not any(pauses[:FREE_OF_ALL])
    assert all(pauses[FREE_OF_ALL:])
    assert len(brake._each) == KNOWN


async def test_few_answers_are_held_and_the_rest_refused() -> None:
    brake = Brake(now=Clock())
    for _ in range(FREE + 8):
        brake.penalty("a")
    held = [asyncio.create_task(brake.wrong("a")) for _ in range(HELD_EACH)]
    await asyncio.sleep(0)
    assert not await brake.wrong("a")
    for number in range(HELD):
        address = f"b{number}"
        for _ in range(FREE + 8):
            brake.penalty(address)
        held.append(asyncio.create_task(brake.wrong(address)))
        await asyncio.sleep(0)
    refused = [task for task in held if task.done() and not task.result()]
    assert len(refused) == HELD_EACH
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert not brake._held


def test_the_log_tells_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    brake = Brake(now=clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(500):
            brake.penalty("10.0.0.1\n")
        clock.now += 60
        brake.penalty("10.0.0.2")
    assert [record.getMessage() for record in caplog.records] == [
        "wrong tokens: 1, the last from 10.0.0.1\\n",
        "wrong tokens: 500, the last from 10.0.0.2",
    ]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str, counted: str) -> None:
    assert network_of(address) == counted
