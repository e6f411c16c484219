"""Metrics of nodes as observable instruments."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from quicdist.otp import Node, NodeMetrics
from quicdist.otp.metric_series import SERIES, Kind, Series, snapshot

_SCOPE = "quicdist"
#: Units by UCUM, as OpenTelemetry wants them.
_UNITS = {"bytes": "By", "seconds": "s", "": "1"}
#: Seconds for which the instruments of one collection share a snapshot.
_SHARED = 0.5


def observe(*nodes: Node, meter_provider: metrics.MeterProvider | None = None, timeout: float = 2.0) -> None:
    """Make an observable instrument for each series of ``docs/how-to/metrics.md``, for these nodes.

    Names are those of the page with dots: ``quicdist.sent``, in the unit ``By``. OpenTelemetry has no
    observable histogram: of a duration there are the counters ``quicdist.call_duration.count`` and
    ``quicdist.call_duration.sum``. ``meter_provider`` is the global one by default. A node that does not run,
    or whose event loop has not answered within ``timeout`` seconds, has no observations.
    """
    meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
    taken = _Snapshots(nodes, timeout)
    for series in SERIES:
        name, unit = f"quicdist.{series.name}", _UNITS[series.unit]
        if series.kind is Kind.GAUGE:
            meter.create_observable_gauge(name, [_numbers(series, taken)], unit=unit, description=series.help)
        elif series.kind is Kind.COUNTER:
            meter.create_observable_counter(
                name, [_numbers(series, taken)], unit=unit, description=series.help
            )
        else:
            meter.create_observable_counter(
                f"{name}.count", [_counts(series, taken)], unit="1", description=series.help
            )
            meter.create_observable_counter(
                f"{name}.sum", [_sums(series, taken)], unit="s", description=series.help
            )


class _Snapshots:
    """The metrics of the nodes, taken once for all instruments of a collection."""

    def __init__(self, nodes: Sequence[Node], timeout: float) -> None:
        self._nodes = nodes
        self._timeout = timeout
        self._lock = threading.Lock()
        self._taken: list[NodeMetrics] = []
        self._at = float("-inf")

    def now(self) -> list[NodeMetrics]:
        with self._lock:
            if time.monotonic() - self._at > _SHARED:
                found = (snapshot(node, self._timeout) for node in self._nodes)
                self._taken = [each for each in found if each is not None]
                self._at = time.monotonic()
            return self._taken


_Callback = Callable[[CallbackOptions], Iterable[Observation]]


def _numbers(series: Series, taken: _Snapshots) -> _Callback:
    def observed(_: CallbackOptions) -> Iterable[Observation]:
        for node in taken.now():
            for labels, value in series.samples(node):
                yield Observation(value, _attributes(series, node, labels))

    return observed


def _counts(series: Series, taken: _Snapshots) -> _Callback:
    def observed(_: CallbackOptions) -> Iterable[Observation]:
        for node in taken.now():
            for labels, durations in series.durations(node):
                yield Observation(durations.count, _attributes(series, node, labels))

    return observed


def _sums(series: Series, taken: _Snapshots) -> _Callback:
    def observed(_: CallbackOptions) -> Iterable[Observation]:
        for node in taken.now():
            for labels, durations in series.durations(node):
                yield Observation(durations.sum, _attributes(series, node, labels))

    return observed


def _attributes(series: Series, node: NodeMetrics, labels: tuple[str, ...]) -> dict[str, str]:
    return {"node": node.node, **dict(zip(series.labels, labels, strict=True))}
