"""The connection: aioquic's, with all that this package adds to it.

aioquic's sans-I/O connection tells an application what arrives, but not how full its own buffers
are, nor at once that the peer is gone. ``tests/carrier/test_aioquic_engine.py`` fails where a new
aioquic changes what this package relies on.
"""

from __future__ import annotations

import logging
from typing import Any

from aioquic.quic.stream import QuicStream

from quicdist.carrier.quic.engine.aioquic.configuration import Configuration, longest_datagram
from quicdist.carrier.quic.engine.aioquic.fast_send import FastSend
from quicdist.carrier.quic.engine.aioquic.flow_control import HoldsLimits
from quicdist.carrier.quic.engine.aioquic.loss_recovery import Recovering
from quicdist.carrier.quic.engine.aioquic.retransmission import PacketRoom, retransmit
from quicdist.carrier.quic.engine.aioquic.silence_probes import ProbesSilence
from quicdist.carrier.quic.engine.aioquic.tls import TlsContext
from quicdist.carrier.quic.engine.aioquic.transport_parameters import (
    EARLY_DATA,
    JOINED_MESSAGES,
    LONG_DATAGRAMS,
    PACED,
    encoded,
)
from quicdist.carrier.quic.engine.path_mtu import BASE_SIZE
from quicdist.logs import CleanLogger


class Connection(ProbesSilence, HoldsLimits, Recovering, FastSend):
    """A connection that heeds all of a :class:`Configuration`."""

    def __init__(self, **arguments: Any) -> None:
        self._room = PacketRoom()
        super().__init__(**arguments)
        # aioquic logs in the middle of its work, and a handler that raises must not end it there.
        self._logger.logger = CleanLogger(logging.getLogger("quic"))

    def _initialize(self, peer_cid: bytes) -> None:
        # Here aioquic makes its TLS context, anew for each version of QUIC tried, and it asks nobody
        # which class to make it of.
        super()._initialize(peer_cid)
        retransmit(self._crypto_streams.values(), self._room, crypto=True)
        if isinstance(self.configuration, Configuration):
            self.tls.__class__ = TlsContext
            assert isinstance(self.tls, TlsContext)
            self.tls.heed(self.configuration)

    def _stream_made(self, stream: QuicStream) -> None:
        super()._stream_made(stream)
        retransmit([stream], self._room)

    def _serialize_transport_parameters(self) -> bytes:
        # There is no public way to add one.
        parameters = super()._serialize_transport_parameters() + encoded(PACED)
        if longest_datagram(self) > BASE_SIZE:
            parameters += encoded(LONG_DATAGRAMS)
        if self._is_client:
            return parameters + encoded(JOINED_MESSAGES)
        return parameters if self._session_ticket_handler is None else parameters + encoded(EARLY_DATA)
