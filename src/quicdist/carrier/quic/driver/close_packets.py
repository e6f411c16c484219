"""The packets with CONNECTION_CLOSE, and when they are sent again (RFC 9000, section 10.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine.contract import AMPLIFICATION, Engine


class ClosePackets:
    """The datagrams with CONNECTION_CLOSE. A peer that keeps sending gets them again after its 1st, 2nd, 4th,
    8th … datagram, within the amplification limit (section 8.1) while its address is not validated."""

    def __init__(self) -> None:
        self._datagrams: Sequence[Datagram] = ()
        self._received = 0
        #: Bytes that may still be sent; None where the address is validated.
        self._credit: int | None = None

    def __bool__(self) -> bool:
        return bool(self._datagrams)

    def made(self, engine: Engine, datagrams: Sequence[Datagram]) -> Sequence[Datagram]:
        """Keep the ``datagrams`` that ``engine`` has just built. Returns those that may be sent now."""
        self._datagrams = datagrams
        size = self._size()
        credit = engine.unvalidated_credit()
        # The engine has counted them as sent.
        self._credit = None if credit is None else credit + size
        return self._spend(size)

    def answer(self, size: int) -> Sequence[Datagram]:
        """The answer to a further datagram of ``size`` bytes."""
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
