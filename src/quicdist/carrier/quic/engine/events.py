"""The events of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StreamData:
    """Data of a stream, in order. ``end_stream``: they are the last."""

    stream_id: int
    data: bytes
    end_stream: bool


@dataclass(slots=True)
class StreamReset:
    """The peer has reset its part of a stream (RESET_STREAM), or stopped ours (STOP_SENDING)."""

    stream_id: int
    error_code: int


@dataclass(slots=True)
class HandshakeCompleted:
    """The QUIC handshake is complete. ``session_resumed``: it resumed an earlier session.
    ``early_data_accepted``: the peer says that it has processed the early data."""

    session_resumed: bool
    early_data_accepted: bool


@dataclass(slots=True)
class ConnectionIdIssued:
    """The peer may use ``connection_id`` from now on."""

    connection_id: bytes


@dataclass(slots=True)
class ConnectionIdRetired:
    """The peer no longer uses ``connection_id``."""

    connection_id: bytes


@dataclass(slots=True)
class ConnectionTerminated:
    """The closing or draining period is over (RFC 9000, section 10.2). No event follows."""


Event = (
    StreamData
    | StreamReset
    | HandshakeCompleted
    | ConnectionIdIssued
    | ConnectionIdRetired
    | ConnectionTerminated
)
