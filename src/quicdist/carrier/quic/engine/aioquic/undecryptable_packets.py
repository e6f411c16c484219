"""Packets that arrive before their keys, buffered until the keys are there (RFC 9000, section 5.2.2; RFC
9001, section 5.7).

A packet overtakes another, or the one before it was lost. aioquic drops what it has no keys for, which costs
a probe timeout. Up to 1.8.1 quic_dist sends nothing of its handshake again: with such a peer it costs the
connection. ``tests/carrier/test_undecryptable_packets.py`` fails where a new aioquic changes this.
"""

from __future__ import annotations

from typing import Any, Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import Epoch

#: The maximum for one connection, in datagrams and in bytes: a server's flight with a long certificate chain,
#: or the first data of quic_dist on each of its streams.
MAX_PACKETS: Final = 24
MAX_BYTES: Final = 16 * 1024

_EPOCHS: Final = {QuicPacketType.HANDSHAKE: Epoch.HANDSHAKE, QuicPacketType.ONE_RTT: Epoch.ONE_RTT}

#: Their keys come last.
_LAST: Final = Epoch.ONE_RTT


class BuffersPackets(QuicConnection):
    """A connection that buffers packets until their keys are there."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        #: Datagrams, or the rest of them, in the order of arrival, each with its source.
        self._early: list[tuple[bytes, Any]] = []
        self._early_bytes = 0

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        # With the 1-RTT keys there, those of the handshake have been there, and may be discarded.
        lacked = [epoch for epoch in _EPOCHS.values() if self._lacks(epoch)] if self._lacks(_LAST) else []
        super().receive_datagram(data, addr, now)
        if not lacked:
            return
        if self._close_event is not None:
            self._take_early()
            return
        rest = self._without_keys(data)
        if rest and len(self._early) < MAX_PACKETS and self._early_bytes + len(rest) <= MAX_BYTES:
            self._early.append((rest, addr))
            self._early_bytes += len(rest)
        if self._early and not all(self._lacks(epoch) for epoch in lacked):
            for kept, source in self._take_early():
                # Its bytes were counted for the amplification limit when it came (RFC 9000, section 8.1).
                path = self._find_network_path(source)
                counted = path.bytes_received
                self.receive_datagram(kept, source, now)
                path.bytes_received = counted

    def _take_early(self) -> list[tuple[bytes, Any]]:
        early, self._early, self._early_bytes = self._early, [], 0
        return early

    def _lacks(self, epoch: Epoch) -> bool:
        """Whether the keys of an epoch are missing."""
        return epoch not in self._cryptos or not self._cryptos[epoch].recv.is_valid()

    def _without_keys(self, data: bytes) -> bytes:
        """The part of a datagram from the first packet on whose keys are missing."""
        buf = Buffer(data=data)
        while not buf.eof():
            start = buf.tell()
            try:
                header = pull_quic_header(buf, host_cid_length=self.configuration.connection_id_length)
            except ValueError:
                break
            epoch = _EPOCHS.get(header.packet_type)
            if epoch is not None and self._lacks(epoch):
                ours = any(header.destination_cid == own.cid for own in self._host_cids)
                return data[start:] if ours else b""
            buf.seek(start + header.packet_length)
        return b""
