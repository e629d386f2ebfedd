"""Settings of every test. live.py and fake_coordd.py beside it are found by pytest's pythonpath."""

from __future__ import annotations

import importlib.util
import os

import hypothesis

# A loaded machine is no failure: what hangs is caught by pytest's own timeout. CI judges a change by the same
# examples each time; new ones are looked for wherever people work.
hypothesis.settings.register_profile("coordd", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "coordd")

# Tests marked "page" import what the extra of that name brings; without it there is nothing to collect.
if importlib.util.find_spec("playwright") is None:
    collect_ignore = ["integration/test_dashboard_page.py"]
