"""The aioquic connection of an engine, for tests of its internals."""

from __future__ import annotations

from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.contract import Engine


def connection_of(engine: Engine) -> Connection:
    """The engine, typed as aioquic's connection."""
    assert isinstance(engine, Connection)
    return engine
