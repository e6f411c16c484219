"""The collector for Prometheus, read by the parser of prometheus_client."""

from __future__ import annotations

import asyncio
import re
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from quicdist import Node, RemoteError
from quicdist.otp.metric_series import SERIES, Kind
from quicdist.prometheus import NodeCollector
from tests.metrics.test_metrics import ONE, TWO, one, table, two

__all__ = ["one", "table", "two"]


def exposed(registry: CollectorRegistry) -> str:
    """The text of a scrape."""
    return str(generate_latest(registry), "utf-8")


def scraped(collector: NodeCollector) -> dict[str, Metric]:
    """The metrics by their names, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(collector)
    # The parser of OpenMetrics checks names, units and buckets.
    assert list(parse_openmetrics(openmetrics(registry).decode()))
    families = text_string_to_metric_families(exposed(registry))
    return {each.name: each for each in families}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    family = re.sub("_(total|count|bucket)$", "", name)
    (found,) = (each.value for each in metrics[family].samples if (each.name, each.labels) == (name, labels))
    return found


async def test_a_scrape_has_the_figures_of_the_node(one: Node, two: Node) -> None:
    await one.call(TWO, "py", "double", [bytes(1000)])
    with pytest.raises(RemoteError):
        await one.call(TWO, "py", "nothing")
    metrics = scraped(NodeCollector(one, two))
    assert value(metrics, "quicdist_up", node=ONE) == value(metrics, "quicdist_up", node=TWO) == 1
    assert value(metrics, "quicdist_connections", node=ONE, carrier="tcp") == 1
    sent = one.metrics().connections.traffic["tcp"]
    assert value(metrics, "quicdist_sent_bytes_total", node=ONE, carrier="tcp") == sent.bytes_out > 1000
    calls = {"node": ONE, "kind": "erpc"}
    assert value(metrics, "quicdist_calls_total", **calls, outcome="return") == 1
    assert value(metrics, "quicdist_calls_total", **calls, outcome="RemoteError") == 1
    assert value(metrics, "quicdist_call_duration_seconds_count", **calls) == 2
    assert value(metrics, "quicdist_call_duration_seconds_bucket", **calls, le="+Inf") == 2
    assert value(metrics, "quicdist_served_calls_total", node=TWO, outcome="error") == 1
    link = {"node": ONE, "peer": TWO, "carrier": "tcp"}
    assert 0 < value(metrics, "quicdist_link_round_trip_seconds", **link) < 10
    assert value(metrics, "quicdist_processes", node=ONE) == one.metrics().processes.count


async def test_each_series_is_scraped_with_its_help(one: Node) -> None:
    metrics = scraped(NodeCollector(one))
    assert set(metrics) == {"quicdist_up", *(each.full_name.removesuffix("_total") for each in SERIES)}
    for series in SERIES:
        metric = metrics[series.full_name.removesuffix("_total")]
        assert (metric.type, metric.documentation) == (series.kind.value, series.help)


def test_names_follow_the_conventions_of_prometheus() -> None:
    assert len({each.full_name for each in SERIES}) == len(SERIES)
    for series in SERIES:
        assert re.fullmatch(r"quicdist(_[a-z]+)+", series.full_name)
        assert series.full_name.endswith("_total") == (series.kind is Kind.COUNTER)
        assert series.unit in ("", "bytes", "seconds")
        assert series.help.endswith(".")
        assert series.kind is not Kind.HISTOGRAM or series.unit == "seconds"


async def test_a_scrape_over_http_comes_from_another_thread(one: Node) -> None:
    registry = CollectorRegistry()
    registry.register(NodeCollector(one))
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
    assert f'quicdist_up{{node="{ONE}"}} 1.0' in text
    assert f'quicdist_processes{{node="{ONE}"}}' in text


async def test_a_node_whose_event_loop_does_not_answer_is_not_up(one: Node) -> None:
    registry = CollectorRegistry()
    registry.register(NodeCollector(one, timeout=0.05))
    texts: list[str] = []
    worker = asyncio.get_running_loop().run_in_executor(None, lambda: texts.append(exposed(registry)))
    while not texts:  # the event loop is blocked meanwhile
        pass
    await worker
    assert f'quicdist_up{{node="{ONE}"}} 0.0' in texts[0]
    assert "quicdist_processes{" not in texts[0]


async def test_a_node_that_has_stopped_is_not_up(one: Node) -> None:
    collector = NodeCollector(one)
    await one.stop()
    assert value(scraped(collector), "quicdist_up", node=ONE) == 0
