"""Make metric families of values from JSON: an unknown value has no sample, never 0. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from coordd.util.text import number


def gauge(name: str, words: str, value: object, factor: float = 1.0) -> Metric:
    """Return a gauge without labels, of ``value`` times ``factor``."""
    family = GaugeMetricFamily(name, words)
    known = number(value)
    if known is not None:
        family.add_metric([], known * factor)
    return family


def counter(name: str, words: str, value: float) -> Metric:
    """Return a counter without labels; ``name`` is without ``_total``."""
    return CounterMetricFamily(name, words, value=value)


def gauges_by(label: str, name: str, words: str, values: Mapping[str, object]) -> Metric:
    """Return a gauge with one sample for each value that is known, its key being the label."""
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        known = number(value)
        if known is not None:
            family.add_metric([key], known)
    return family


def states(name: str, words: str, label: str, names: tuple[str, ...], state: object) -> Metric:
    """Return a gauge with one sample for each state, 1 for the present one; no samples if unknown."""
    if state not in names:
        return GaugeMetricFamily(name, words, labels=[label])
    return gauges_by(label, name, words, {one: float(one == state) for one in names})
