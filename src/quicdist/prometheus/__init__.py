"""Metrics of nodes for Prometheus. It needs ``pip install 'quicdist[prometheus]'``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quicdist.node import Durations
from quicdist.otp import Node, NodeMetrics
from quicdist.otp.metric_series import SERIES, Kind, Series, snapshot

__all__ = ["NodeCollector"]

#: Names of nodes, and the metrics of each.
_Metrics = Iterable[tuple[str, NodeMetrics]]


class NodeCollector(Collector):
    """Collects the metrics of nodes at each scrape::

        from prometheus_client import REGISTRY, start_http_server

        REGISTRY.register(NodeCollector(node))
        start_http_server(9100)

    Each series has the label ``node``; ``docs/how-to/metrics.md`` lists them. ``quicdist_up`` is 0 for a
    node that does not run, and for one whose event loop has not answered within ``timeout`` seconds. The
    scrape may be in any thread.
    """

    def __init__(self, *nodes: Node, timeout: float = 2.0) -> None:
        self._nodes = nodes
        self._timeout = timeout

    def describe(self) -> Iterable[Metric]:
        """The names, without asking the nodes."""
        yield GaugeMetricFamily("quicdist_up", "1 if the node answers.", labels=["node"])
        for series in SERIES:
            yield _family(series)

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("quicdist_up", "1 if the node answers.", labels=["node"])
        taken: list[tuple[str, NodeMetrics]] = []
        for node in self._nodes:
            metrics = snapshot(node, self._timeout)
            up.add_metric([node.name], float(metrics is not None))
            if metrics is not None:
                taken.append((node.name, metrics))
        yield up
        for series in SERIES:
            yield _filled(series, taken)


def _family(series: Series) -> Any:
    name = series.full_name
    labels = ["node", *series.labels]
    if series.kind is Kind.COUNTER:
        return CounterMetricFamily(name.removesuffix("_total"), series.help, labels=labels)
    if series.kind is Kind.GAUGE:
        return GaugeMetricFamily(name, series.help, labels=labels)
    return HistogramMetricFamily(name, series.help, labels=labels)


def _filled(series: Series, taken: _Metrics) -> Metric:
    family = _family(series)
    for node, metrics in taken:
        for labels, value in series.samples(metrics):
            family.add_metric([node, *labels], float(value))
        for labels, durations in series.durations(metrics):
            family.add_metric([node, *labels], buckets=_buckets(durations), sum_value=durations.sum)
    return family  # type: ignore[no-any-return]


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    bounds = [*(f"{bound:g}" for bound in durations.bounds), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(bounds, durations.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
