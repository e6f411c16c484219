"""The counters of a gateway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from quicdist.gateway.metrics import Metric
from quicdist.gateway.relay import Relay

_TO_REMOTE: Final = "to_remote"
_TO_LOCAL: Final = "to_local"


class Traffic:
    """Counters of all connections; those of connections that have ended are added up."""

    def __init__(self) -> None:
        self.connections = 0
        self.dials_failed = 0
        self.accepts_failed = 0
        self._messages = {_TO_REMOTE: 0, _TO_LOCAL: 0}
        self._bytes = {_TO_REMOTE: 0, _TO_LOCAL: 0}
        self._pauses = 0

    def add(self, relay: Relay) -> None:
        """Add the counters of a connection that has ended."""
        self._messages[_TO_REMOTE] += relay.far.stats.messages_out
        self._messages[_TO_LOCAL] += relay.near.stats.messages_out
        self._bytes[_TO_REMOTE] += relay.far.stats.bytes_out
        self._bytes[_TO_LOCAL] += relay.near.stats.bytes_out
        self._pauses += relay.pauses

    def metrics(self, local: str, relays: Iterable[Relay], *, local_is_up: bool | None) -> list[Metric]:
        """All metrics. ``local_is_up`` None: not known."""
        total = Traffic()
        total._messages, total._bytes = dict(self._messages), dict(self._bytes)
        total._pauses = self._pauses
        up: list[tuple[dict[str, str], int]] = []
        queued: list[tuple[dict[str, str], int]] = []
        for relay in relays:
            total.add(relay)
            up.append(({"node": relay.node}, 1))
            queued.append(({"node": relay.node, "direction": _TO_REMOTE}, relay.far.pending))
            queued.append(({"node": relay.node, "direction": _TO_LOCAL}, relay.near.pending))
        found = [
            _counter("connections_total", "Connections since the start.", [({}, self.connections)]),
            _counter(
                "handshakes_failed_total",
                "Dials of the local node, and of remote nodes, that made no connection.",
                [({"by": "local"}, self.dials_failed), ({"by": "remote"}, self.accepts_failed)],
            ),
            _counter("messages_total", "Messages relayed.", _by_direction(total._messages)),
            _counter("bytes_total", "Bytes of messages relayed.", _by_direction(total._bytes)),
            _counter(
                "pauses_total",
                "How often one side was held back because the other took no more.",
                [({}, total._pauses)],
            ),
            Metric("quicdist_gateway_connected", "gauge", "Remote nodes that are connected.", up),
            Metric("quicdist_gateway_queued_bytes", "gauge", "Bytes that a side has not taken yet.", queued),
        ]
        if local_is_up is not None:
            meaning = "Whether the local node is registered."
            value = [({"node": local}, int(local_is_up))]
            found.append(Metric("quicdist_gateway_local_node_up", "gauge", meaning, value))
        return found


def _by_direction(counts: dict[str, int]) -> list[tuple[dict[str, str], int]]:
    return [({"direction": direction}, count) for direction, count in counts.items()]


def _counter(name: str, meaning: str, values: list[tuple[dict[str, str], int]]) -> Metric:
    return Metric(f"quicdist_gateway_{name}", "counter", meaning, values)
