"""Stand-ins for payloads: of messages without one, and of payloads that were refused."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from quicdist.errors import QuicDistError
from quicdist.term import Codec, EncodeError, Local


class NoPayload(Enum):
    """The type of :data:`NO_PAYLOAD`."""

    NO_PAYLOAD = "NO_PAYLOAD"

    def __repr__(self) -> str:
        return self.value


#: The control message has no payload. No term is equal to it.
NO_PAYLOAD: Final = NoPayload.NO_PAYLOAD


class RefusedPayload:
    """The payload of a message that is well delimited but exceeds a limit of this side: too long, or nested
    too deep. The message is lost, the connection continues.

    ``error`` says which limit. ``begun`` are the first elements of the payload, where it is a tuple, as
    far as they were read.
    """

    __slots__ = ("begun", "error")

    def __init__(self, error: QuicDistError, begun: tuple[Any, ...] = ()) -> None:
        self.error = error
        self.begun = begun

    def __repr__(self) -> str:
        return f"<RefusedPayload: {self.error}>"


class EncodedPayload:
    """A payload in its external form, encoded before its connection exists.

    ``records``: whether it contains native records, which not every peer supports.
    """

    __slots__ = ("etf", "records")

    def __init__(self, etf: bytes, records: bool) -> None:
        self.etf = etf
        self.records = records

    @classmethod
    def of(cls, term: Any, codec: Codec) -> EncodedPayload:
        """Raises :class:`~quicdist.term.EncodeError`."""
        if type(term) is Local:
            raise EncodeError("LOCAL_EXT, which only the node that wrote it can read")
        try:
            return cls(codec.without_records().encode(term), False)
        except EncodeError:
            return cls(codec.encode(term), True)
