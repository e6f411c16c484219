"""What happens on a connection, as an engine tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StreamData:
    """Bytes of a stream, in order; ``end_stream``: the peer sends no more on it."""

    stream_id: int
    data: bytes
    end_stream: bool


@dataclass(slots=True)
class StreamReset:
    """The peer has broken off its part of a stream (RESET_STREAM), or takes no more of ours
    (STOP_SENDING)."""

    stream_id: int
    error_code: int


@dataclass(slots=True)
class HandshakeCompleted:
    """The QUIC handshake is over. ``session_resumed``: it went on from an earlier session.
    ``early_data_accepted``: the peer says that it took what was sent before the handshake."""

    session_resumed: bool
    early_data_accepted: bool


@dataclass(slots=True)
class ConnectionIdIssued:
    """The peer may use ``connection_id`` from now on."""

    connection_id: bytes


@dataclass(slots=True)
class ConnectionIdRetired:
    """The peer uses ``connection_id`` no longer."""

    connection_id: bytes


@dataclass(slots=True)
class ConnectionTerminated:
    """The closing or draining period is over (RFC 9000, section 10.2): nothing happens any more."""


Event = (
    StreamData
    | StreamReset
    | HandshakeCompleted
    | ConnectionIdIssued
    | ConnectionIdRetired
    | ConnectionTerminated
)
