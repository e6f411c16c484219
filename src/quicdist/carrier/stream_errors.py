"""Errors of user streams and of send buffers."""

from __future__ import annotations

from quicdist.carrier.errors import CarrierError
from quicdist.errors import QuicDistError

#: The code with which quic_dist resets a user stream that no process accepts (``STREAM_REFUSED``).
STREAM_REFUSED = 0x100


class SendBufferFull(CarrierError):
    """``node`` receives more slowly than this node sends: ``pending`` bytes (or ``unit``) are queued, more
    than ``limit``.

    A link that exceeds the limit is closed with this error; senders avoid it with ``drain`` or ``send_wait``.
    Writing to a user stream raises it; then none of the data was queued.
    """

    def __init__(self, node: str, pending: int, limit: int, unit: str = "bytes") -> None:
        self.node = node
        self.pending = pending
        self.limit = limit
        super().__init__(
            f"{pending} {unit} are queued for {node}, {limit} are allowed (await drain to stay below)"
        )


class StreamError(CarrierError):
    """An error of a user stream to ``node``. Raised itself when data are written after its end (FIN),
    when no stream has that reference or it has ended (quic_dist's ``unknown_stream``), and when the stream
    belongs to another process (``not_owner``)."""

    def __init__(self, node: str, reason: str) -> None:
        self.node = node
        super().__init__(reason)


class StreamsNotSupported(StreamError):
    """No user streams with ``node``: its carrier or its quic_dist (before 1.0) has none."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, f"no user streams with {node}: {reason}")


class StreamLimitReached(StreamError):
    """``node`` allows no further stream until an open one has ended (RFC 9000, section 4.6)."""

    def __init__(self, node: str, streams: int) -> None:
        super().__init__(node, f"{node} allows no more than {streams} streams until an open one has ended")


class StreamReset(StreamError):
    """A stream was reset with the application's error ``code``, by the peer or by this side."""

    def __init__(self, node: str, stream_id: int, code: int, *, by_peer: bool, why: str = "") -> None:
        self.stream_id = stream_id
        self.code = code
        who = node if by_peer else "this node"
        super().__init__(node, f"{who} has reset stream {stream_id} with code 0x{code:x}{why}")


class StreamRefused(StreamReset):
    """No process on ``node`` accepts streams of this node (code 0x100)."""

    def __init__(self, node: str, stream_id: int) -> None:
        super().__init__(
            node,
            stream_id,
            STREAM_REFUSED,
            by_peer=True,
            why=": no process there accepts streams of this node",
        )


class StreamLost(StreamError):
    """The connection to ``node`` ended, and its streams with it; ``error`` is why, None if this side
    closed it."""

    def __init__(self, node: str, stream_id: int, error: QuicDistError | None) -> None:
        self.stream_id = stream_id
        self.error = error
        super().__init__(node, f"stream {stream_id} ended: {error or f'the connection to {node} was closed'}")


class IncompleteStream(StreamError, EOFError):
    """A stream ended before ``expected`` bytes had come; ``partial`` are those that came."""

    def __init__(self, node: str, stream_id: int, partial: bytes, expected: int) -> None:
        self.partial = partial
        self.expected = expected
        super().__init__(node, f"stream {stream_id} of {node} ended after {len(partial)} of {expected} bytes")
