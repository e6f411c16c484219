"""The connection of aioquic behind an engine, for tests that look into it."""

from __future__ import annotations

from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.contract import Engine


def connection_of(engine: Engine) -> Connection:
    """The same, as what it is."""
    assert isinstance(engine, Connection)
    return engine
