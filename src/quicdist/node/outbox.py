"""Signals for a node that is being dialled: kept in order, in their external form, within a bound."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from quicdist.carrier import SendBufferFull
from quicdist.protocol import NO_PAYLOAD, ControlMessage, EncodedPayload
from quicdist.term import Codec

#: Signals, and bytes of them, that may wait for a connection; one signal that is larger may wait alone.
#: OTP suspends the sender instead, which a plain call cannot.
MAX_SIGNALS = 100_000
MAX_BYTES = 256 * 1024 * 1024

Signal = tuple[ControlMessage, Any, Hashable]


class Outbox:
    """What waits for one connection.

    Like a link that is full, an outbox that is full loses all that waits in it, not the latest signal
    alone: nothing may be missing between two signals that do arrive. Until :meth:`reopen` it takes
    nothing, so that those can be told whose signals were lost.
    """

    __slots__ = ("_max_bytes", "_max_signals", "_signals", "_size", "full")

    def __init__(self, max_signals: int | None = None, max_bytes: int | None = None) -> None:
        self._max_signals = MAX_SIGNALS if max_signals is None else max_signals
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self._signals: list[Signal] = []
        self._size = 0
        #: Why it takes nothing.
        self.full: SendBufferFull | None = None

    def __len__(self) -> int:
        return len(self._signals)

    def widen(self) -> None:
        """From now on it takes as much as any."""
        self._max_signals, self._max_bytes = MAX_SIGNALS, MAX_BYTES

    def add(
        self, node: str, control: ControlMessage, payload: Any, pair: Hashable, codec: Codec
    ) -> SendBufferFull | None:
        """Keep a signal; the error if the outbox is full. Encoded now, it is sent as it is now, and
        what cannot be encoded is its sender's error: :class:`~quicdist.term.EncodeError`."""
        if self.full is not None:
            return self.full
        size = len(codec.encode(control.to_term()))
        if payload is not NO_PAYLOAD:
            payload = EncodedPayload.of(payload, codec)
            size += len(payload.etf)
        if len(self._signals) >= self._max_signals:
            self.full = SendBufferFull(node, len(self._signals), self._max_signals, "signals")
        elif self._signals and self._size + size > self._max_bytes:
            self.full = SendBufferFull(node, self._size, self._max_bytes)
        if self.full is not None:
            self.take()
            return self.full
        self._signals.append((control, payload, pair))
        self._size += size
        return None

    def take(self) -> list[Signal]:
        """All that waits, which is no longer kept here."""
        signals, self._signals = self._signals, []
        self._size = 0
        return signals

    def reopen(self) -> None:
        """Take signals again."""
        self.full = None
