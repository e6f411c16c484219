"""The closing state of a connection: when its CONNECTION_CLOSE is sent again (RFC 9000, section 10.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from quicdist.carrier.quic.engine.contract import AMPLIFICATION, Engine
from quicdist.carrier.udp import Datagram


class ClosePackets:
    """Holds the datagrams with CONNECTION_CLOSE. A peer that keeps sending gets them again after its 1st,
    2nd, 4th, 8th … datagram. The engine does not hold them to the amplification limit (section 8.1) of
    addresses that are not validated."""

    def __init__(self) -> None:
        self._datagrams: Sequence[Datagram] = ()
        self._received = 0
        #: Bytes that may still be sent; None where the address is validated.
        self._credit: int | None = None

    def __bool__(self) -> bool:
        return bool(self._datagrams)

    def made(self, engine: Engine, datagrams: Sequence[Datagram]) -> Sequence[Datagram]:
        """``engine`` has just built ``datagrams``; those of them that may be sent now."""
        self._datagrams = datagrams
        size = self._size()
        credit = engine.unvalidated_credit()
        # The engine has counted them as sent.
        self._credit = None if credit is None else credit + size
        return self._spend(size)

    def answer(self, size: int) -> Sequence[Datagram]:
        """The peer goes on, with a datagram of ``size`` bytes: what it is answered."""
        self._received += 1
        if self._credit is not None:
            self._credit += AMPLIFICATION * size
        if not self._datagrams or self._received & (self._received - 1):
            return ()
        return self._spend(self._size())

    def _size(self) -> int:
        return sum(len(data) for data, _ in self._datagrams)

    def _spend(self, size: int) -> Sequence[Datagram]:
        if self._credit is not None:
            if self._credit < size:
                return ()
            self._credit -= size
        return self._datagrams
