"""The states of a QUIC connection (RFC 9000, section 10)."""

from __future__ import annotations

from enum import Enum, auto


class EngineState(Enum):
    """Each state is followed by one of those below it."""

    #: No packet of the peer has been processed: it was dialled, or its first datagram made no sense.
    FIRST_FLIGHT = auto()
    #: Handshake and data. :meth:`~quicdist.carrier.quic.engine.contract.Engine.closing` is None.
    CONNECTED = auto()
    #: This side has closed, or has found an error of the peer's (section 10.2.1).
    CLOSING = auto()
    #: The peer has closed (section 10.2.2).
    DRAINING = auto()
    #: The closing or draining period, or the idle timeout, is over.
    TERMINATED = auto()
