"""Settings of every test. live.py and fake_coordd.py beside it are found by pytest's pythonpath."""

from __future__ import annotations

import os

import hypothesis
import pytest

import coordd

expected = os.environ.get("EXPECT_COORDD_BELOW")
if expected and not coordd.__file__.startswith(expected):
    raise pytest.UsageError(f"coordd is imported from {coordd.__file__}, not from {expected}")

# A loaded machine is no failure: what hangs is caught by pytest's own timeout. CI judges a change by the same
# examples each time; new ones are looked for wherever people work.
hypothesis.settings.register_profile("coordd", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "coordd")
