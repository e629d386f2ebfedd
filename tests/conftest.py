"""Settings of every test. live.py and fake_coordd.py beside it are found by pytest's pythonpath."""

from __future__ import annotations

import hypothesis

# A loaded machine is no failure: what hangs is caught by pytest's own timeout.
hypothesis.settings.register_profile("coordd", deadline=None)
hypothesis.settings.load_profile("coordd")
