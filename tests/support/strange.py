"""List strange values where a time, a duration, a number, an id or a cursor is expected."""

from __future__ import annotations

from hypothesis import strategies as st

TIMES = [
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00.000Z",
    "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "2016-12-31T23:59:60Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T06:05:00+99:99",
    "2026-W53-7",
    "253402300799",
    "253402300800",
    "999999999w",
    "9" * 60 + "w",
    "0.000000000000000000000000000000000001ms",
    "1e308",
    "nan",
    "-inf",
    "Infinity",
    "-1",
    "0",
    "9" * 64,
    "9" * 5000,
    "²",
    "٣s",
    "\x00",
    "\ud800",
    "\udcff",
    "",
    " ",
    "now",
]
"""As text."""

NUMBERS: list[float] = [
    0,
    -1,
    1,
    1e9,
    253402300799,
    253402300799.999,
    253402300800,
    2**63,
    -(2**63),
    10**30,
    10**400,
    1e300,
    1e-300,
    5e-324,
    -1e300,
]

ENDLESS = [float("nan"), float("inf"), -float("inf")]
"""Numbers that JSON does not know, but Python's json reads."""

TEXTS = ["=1+1", "\x1b[31m", "\u202e", "a\nb", "%s%n%d", "../../etc/passwd", "-", "'", '"', "x" * 300]

texts = st.sampled_from([*TIMES, *TEXTS]) | st.text(max_size=40)
moments = st.sampled_from([*TIMES, *NUMBERS]) | st.text("0123456789-:.TZ+wdhms ", max_size=30) | st.floats()
moments |= st.integers()
scalars = (
    st.none() | st.booleans() | texts | st.sampled_from([*NUMBERS, *ENDLESS]) | st.floats() | st.integers()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
"""Anything that a JSON document may hold, and the endless numbers."""
