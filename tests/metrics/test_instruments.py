"""Observable instruments for OpenTelemetry, read by its SDK."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from quicdist import Node
from quicdist.opentelemetry import observe
from quicdist.otp.metric_series import SERIES, Kind
from tests.metrics.test_metrics import ONE, TWO, one, table, two

__all__ = ["one", "table", "two"]


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    return {
        metric.name: metric
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(metric: Any) -> dict[tuple[str, ...], float]:
    return {tuple(point.attributes.values()): point.value for point in metric.data.data_points}


async def test_a_collection_has_the_figures_of_the_nodes(one: Node, two: Node) -> None:
    reader = InMemoryMetricReader()
    observe(one, two, meter_provider=MeterProvider([reader]))
    await one.call(TWO, "py", "double", [bytes(1000)])
    # The reader of a program collects in a thread of its own.
    metrics = await asyncio.to_thread(collected, reader)
    assert points(metrics["quicdist.calls"]) == {(ONE, "erpc", "return"): 1}
    assert points(metrics["quicdist.call_duration.count"])[ONE, "erpc"] == 1
    assert 0 < points(metrics["quicdist.call_duration.sum"])[ONE, "erpc"] < 60
    assert points(metrics["quicdist.connections"]) == {(ONE, "tcp"): 1, (TWO, "tcp"): 1}
    assert points(metrics["quicdist.sent"])[ONE, "tcp"] > 1000
    assert (metrics["quicdist.sent"].unit, metrics["quicdist.call_duration.sum"].unit) == ("By", "s")
    assert metrics["quicdist.sent"].data.is_monotonic
    assert 0 < points(metrics["quicdist.link_round_trip"])[ONE, TWO, "tcp"] < 10


async def test_each_series_has_an_instrument(one: Node) -> None:
    reader = InMemoryMetricReader()
    observe(one, meter_provider=MeterProvider([reader]))
    metrics = collected(reader)
    sampled = {
        f"quicdist.{each.name}"
        for each in SERIES
        if each.kind is not Kind.HISTOGRAM and list(each.samples(one.metrics()))
    }
    durations = {f"quicdist.{each.name}" for each in SERIES if each.kind is Kind.HISTOGRAM}
    assert sampled < set(metrics)
    assert {f"{name}.{part}" for name in durations for part in ("count", "sum")} < set(metrics)


async def test_a_node_that_has_stopped_has_no_observations(one: Node) -> None:
    reader = InMemoryMetricReader()
    observe(one, meter_provider=MeterProvider([reader]))
    await one.stop()
    assert collected(reader) == {}
