"""Signals for a node that is being dialled: kept in order, encoded, within a limit."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from quicdist.carrier import SendBufferFull
from quicdist.protocol import NO_PAYLOAD, ControlMessage, EncodedPayload
from quicdist.term import Codec

#: Signals, and their bytes, that may wait for a connection; one larger signal may wait alone. OTP suspends
#: the sender instead, which a plain call cannot.
MAX_SIGNALS = 100_000
MAX_BYTES = 256 * 1024 * 1024

Signal = tuple[ControlMessage, Any, Hashable]


class Outbox:
    """The signals that wait for one connection.

    Like a link whose buffer is full, a full outbox drops all its signals, not only the latest one: no
    signal may be missing between two that arrive. Until :meth:`reopen` it accepts none, so that the loss
    can be reported first.
    """

    __slots__ = ("_max_bytes", "_max_signals", "_signals", "_size", "full")

    def __init__(self, max_signals: int | None = None, max_bytes: int | None = None) -> None:
        self._max_signals = MAX_SIGNALS if max_signals is None else max_signals
        self._max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self._signals: list[Signal] = []
        self._size = 0
        #: The error, while it accepts no signals.
        self.full: SendBufferFull | None = None

    def __len__(self) -> int:
        return len(self._signals)

    def widen(self) -> None:
        """Raise the limits to those of an outbox of the program."""
        self._max_signals, self._max_bytes = MAX_SIGNALS, MAX_BYTES

    def add(
        self, node: str, control: ControlMessage, payload: Any, pair: Hashable, codec: Codec
    ) -> SendBufferFull | None:
        """Keep a signal; returns the error if the outbox is full. The signal is encoded at once, so later
        changes of a list are not sent, and the sender gets :class:`~quicdist.term.EncodeError`."""
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
        """Remove and return all signals."""
        signals, self._signals = self._signals, []
        self._size = 0
        return signals

    def reopen(self) -> None:
        """Accept signals again."""
        self.full = None
