"""What can go wrong with user streams and with the buffers of a connection."""

from __future__ import annotations

from quicdist.carrier.errors import CarrierError
from quicdist.errors import QuicDistError

#: What quic_dist resets a user stream with that nobody accepts (``STREAM_REFUSED``).
STREAM_REFUSED = 0x100


class SendBufferFull(CarrierError):
    """``node`` does not take what is sent to it: ``pending`` bytes (or what ``unit`` says) wait, and
    ``limit`` at most may.

    Why a connection was ended on which senders did not wait: they can, by ``drain`` and ``send_wait``.
    Raised by a user stream; then nothing of the data was taken.
    """

    def __init__(self, node: str, pending: int, limit: int, unit: str = "bytes") -> None:
        self.node = node
        self.pending = pending
        self.limit = limit
        super().__init__(
            f"{pending} {unit} wait for {node} to take them, {limit} at most may: senders that await drain "
            "send no faster than it takes them"
        )


class StreamError(CarrierError):
    """A user stream of the connection to ``node`` cannot do what was asked of it. Raised itself where
    something is written after its end (FIN), where there is no stream of that reference or it is over
    (quic_dist's ``unknown_stream``), and where it belongs to another process (``not_owner``)."""

    def __init__(self, node: str, reason: str) -> None:
        self.node = node
        super().__init__(reason)


class StreamsNotSupported(StreamError):
    """There are no user streams with ``node``: its carrier or its quic_dist (before 1.0) has none."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, f"no user streams with {node}: {reason}")


class StreamLimitReached(StreamError):
    """``node`` allows no further stream until one of those open has ended (RFC 9000, 4.6)."""

    def __init__(self, node: str, streams: int) -> None:
        super().__init__(
            node, f"{node} allows no more than {streams} streams until one of those open has ended"
        )


class StreamReset(StreamError):
    """A stream was broken off with the application's error ``code``, by the peer or by this side."""

    def __init__(self, node: str, stream_id: int, code: int, *, by_peer: bool, why: str = "") -> None:
        self.stream_id = stream_id
        self.code = code
        who = node if by_peer else "this node"
        super().__init__(node, f"{who} has reset stream {stream_id} with code 0x{code:x}{why}")


class StreamRefused(StreamReset):
    """Nobody on ``node`` accepts streams of this node (code 0x100)."""

    def __init__(self, node: str, stream_id: int) -> None:
        super().__init__(
            node, stream_id, STREAM_REFUSED, by_peer=True, why=": nobody there accepts streams of this node"
        )


class StreamLost(StreamError):
    """The connection to ``node`` ended, and its streams with it; ``error`` is why, None if this side
    closed it."""

    def __init__(self, node: str, stream_id: int, error: QuicDistError | None) -> None:
        self.stream_id = stream_id
        self.error = error
        super().__init__(node, f"stream {stream_id} ended: {error or f'the connection to {node} was closed'}")


class IncompleteStream(StreamError, EOFError):
    """A stream ended before as much had come as was asked for; ``partial`` is what did come."""

    def __init__(self, node: str, stream_id: int, partial: bytes, expected: int) -> None:
        self.partial = partial
        self.expected = expected
        super().__init__(
            node, f"stream {stream_id} of {node} ended after {len(partial)} of {expected} bytes asked for"
        )
