"""Who may ask the system's daemon, and who may tell it anything."""

from __future__ import annotations

import json

import pytest
from box import Box

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]


@pytest.mark.parametrize("user", ["root", "bob"])
def test_root_and_members_of_the_group_may_ask(box: Box, user: str) -> None:
    done = box.try_("coordctl", "status", "--json", user=user)
    assert done.returncode in (0, 1), done.stderr  # 1: agents of other tests fell silent
    assert json.loads(done.stdout)["daemon"]["layout"] == "system"
    assert box.try_("coordctl", "history", "system", user=user).returncode == 0
    assert box.try_("coordctl", "doctor", user=user).returncode == 0


def test_a_stranger_may_not_and_is_told_what_to_do(box: Box) -> None:
    done = box.try_("coordctl", "status", user="carol")
    assert done.returncode == 4
    assert "coordd" in done.stderr
    assert "ermission" in done.stderr
    doctor = box.try_("coordctl", "doctor", user="carol")
    assert doctor.returncode == 4
    assert "usermod -aG coordd carol" in doctor.stdout
    assert box.try_("ls", "/var/lib/coordd/metrics", user="carol").returncode != 0


def test_only_root_and_the_service_itself_may_reload(box: Box) -> None:
    assert box.try_("coordctl", "reload").returncode == 0
    assert box.try_("coordctl", "reload", user="coordd", env={"HOME": "/var/lib/coordd"}).returncode == 0
    refused = box.try_("coordctl", "reload", user="bob")
    assert refused.returncode == 1
    assert "root" in refused.stderr
    for who, allowed in (("bob", False), ("root", True)):
        done = box.try_("coordctl", "records", "purge", "--agent", "nobody", user=who)
        assert ("nothing is recorded under this id" in done.stderr) is allowed, done.stderr
        assert done.returncode == 1
