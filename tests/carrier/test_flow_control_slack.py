"""A few bytes beyond a flow control limit are taken, and no more (RFC 9000, section 4.1)."""

from __future__ import annotations

import pytest
from aioquic.quic.packet import QuicErrorCode

from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.flow_control import SLACK
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.simulated import Network

STREAM = 4
LIMIT = 20_000


def limited(certificates: CertificateFiles, *, of: str) -> Network:
    """A client that takes no limit of one kind for one, and a server that has granted LIMIT bytes of it."""
    network = Network(certificates, 1)
    client, server = network.client.quic, network.server.quic
    assert isinstance(server, Connection)
    network.client.write(STREAM, b"x")
    network.run(1)
    stream, other = client._streams[STREAM], server._streams[STREAM]
    if of == "stream":
        server.keep_window(STREAM, 0)
        other.max_stream_data_local = other.max_stream_data_local_sent = LIMIT
    elif of == "stream, by aioquic":
        other.max_stream_data_local = other.max_stream_data_local_sent = LIMIT
    else:
        total = server._local_max_data
        total.value = total.sent = total.used + LIMIT - 1
    stream.max_stream_data_remote = client._remote_max_data = 1 << 40
    server.holds_limits = True  # nothing more is granted
    return network


KINDS = ["stream", "stream, by aioquic", "connection"]


@pytest.mark.parametrize("of", KINDS)
def test_a_few_bytes_beyond_a_limit_are_accepted(certificates: CertificateFiles, of: str) -> None:
    network = limited(certificates, of=of)
    network.client.write(STREAM, bytes(LIMIT - 1))
    network.run(1)
    for _ in range(2):
        network.client.write(STREAM, bytes(SLACK // 2))
        network.run(1)
    assert network.server.ended is None
    assert len(network.server.came[STREAM]) == LIMIT + SLACK


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("pieces", [1, SLACK + 1])
def test_more_bytes_beyond_a_limit_close_the_connection(
    certificates: CertificateFiles, of: str, pieces: int
) -> None:
    """At once or byte by byte."""
    network = limited(certificates, of=of)
    network.client.write(STREAM, bytes(LIMIT - 1))
    network.run(1)
    for _ in range(pieces):
        network.client.write(STREAM, bytes((SLACK + 1) // pieces))
        network.run(0.1)
    network.run(1)
    assert network.server.ended is not None
    assert network.server.ended.error_code == QuicErrorCode.FLOW_CONTROL_ERROR
    assert len(network.server.came[STREAM]) <= LIMIT + SLACK


def test_bytes_beyond_a_limit_count_against_the_next_one(certificates: CertificateFiles) -> None:
    network = limited(certificates, of="stream")
    server = network.server.quic
    assert isinstance(server, Connection)
    network.client.write(STREAM, bytes(LIMIT - 1 + SLACK))
    network.run(1)
    server.grant(STREAM, LIMIT + 1000)
    network.run(1)
    network.client.write(STREAM, bytes(1000))
    network.run(1)
    assert network.server.ended is None
    assert len(network.server.came[STREAM]) == LIMIT + SLACK + 1000
    network.client.write(STREAM, b"x")
    network.run(1)
    assert network.server.ended is not None
