"""The states of a QUIC connection (RFC 9000, section 10)."""

from __future__ import annotations

from enum import Enum, auto


class EngineState(Enum):
    """The state of an engine's connection. Each state can be followed by those below it only."""

    #: No packet of the peer has been processed: this side has dialled, or no packet could be decrypted.
    FIRST_FLIGHT = auto()
    #: Handshake and data. :meth:`~quicdist.carrier.quic.engine.contract.Engine.closing` is None.
    CONNECTED = auto()
    #: This side has closed, or has found an error of the peer's (section 10.2.1).
    CLOSING = auto()
    #: The peer has closed (section 10.2.2).
    DRAINING = auto()
    #: The closing or draining period, or the idle timeout, is over.
    TERMINATED = auto()
