"""The connection: aioquic's, with all that this package adds to it.

aioquic's sans-I/O connection tells an application what arrives, but not how full its own buffers
are, nor at once that the peer is gone. ``tests/carrier/test_aioquic_engine.py`` fails where a new
aioquic changes what this package relies on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aioquic.tls import Context

from quicdist.carrier.quic.engine.aioquic import (
    event_queue,
    flow_control,
    loss_recovery,
    path_probe,
    paths,
    release,
    state,
    statistics,
    stream_progress,
    transport_parameters,
)
from quicdist.carrier.quic.engine.aioquic import tls as own_tls
from quicdist.carrier.quic.engine.aioquic.configuration import Configuration, longest_datagram
from quicdist.carrier.quic.engine.aioquic.fast_send import FastSend
from quicdist.carrier.quic.engine.aioquic.flow_control import GrantsLimits
from quicdist.carrier.quic.engine.aioquic.loss_recovery import Recovering
from quicdist.carrier.quic.engine.aioquic.silence_probes import ProbesSilence
from quicdist.carrier.quic.engine.aioquic.tls import TlsContext
from quicdist.carrier.quic.engine.aioquic.transport_parameters import encoded
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.own_parameters import EARLY_DATA, JOINED_MESSAGES, LONG_DATAGRAMS, PACED
from quicdist.carrier.quic.engine.path_mtu import BASE_SIZE
from quicdist.logs import CleanLogger


class Connection(ProbesSilence, GrantsLimits, Recovering, FastSend):
    """A connection that heeds all of a :class:`Configuration`."""

    def __init__(self, *, configuration: Configuration, **arguments: Any) -> None:
        self._settings = configuration
        super().__init__(configuration=configuration, **arguments)
        # aioquic logs in the middle of its work, and a handler that raises must not end it there.
        self._logger.logger = CleanLogger(logging.getLogger("quic"))

    @property
    def tls(self) -> TlsContext:
        return self._tls

    @tls.setter
    def tls(self, made: Context) -> None:
        # aioquic makes its context here, and then tells it what it is to do: it tells ours.
        self._tls = TlsContext(self._settings, logger=self._logger)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls.configure()

    def _serialize_transport_parameters(self) -> bytes:
        # There is no public way to add one.
        parameters = super()._serialize_transport_parameters() + encoded(PACED)
        if longest_datagram(self) > BASE_SIZE:
            parameters += encoded(LONG_DATAGRAMS)
        if self._is_client:
            return parameters + encoded(JOINED_MESSAGES)
        return parameters if self._session_ticket_handler is None else parameters + encoded(EARLY_DATA)

    # -- the contract of the engine, where aioquic has no method for it -------------------------------

    # Functions of any connection of aioquic's, each among others of its subject: methods at no cost.
    take_events = event_queue.take_events
    events_waiting = event_queue.events_waiting
    join_events = event_queue.join_events
    closing = state.closing
    state = state.state
    release = release.release
    stream_exists = statistics.stream_exists
    is_writable = statistics.is_writable
    written = statistics.written
    unsent = statistics.unsent
    unacknowledged = statistics.unacknowledged
    total_unacknowledged = statistics.total_unacknowledged
    acknowledged = statistics.acknowledged
    in_flight = statistics.in_flight
    packets_received = statistics.packets_received
    packets_sent = statistics.packets_sent
    quickest_round_trip = statistics.quickest_round_trip
    probe_timeout = statistics.probe_timeout
    rounds = loss_recovery.rounds
    acknowledge_now = loss_recovery.acknowledge_now
    early_data_refused = loss_recovery.early_data_refused
    waiting_for = stream_progress.waiting_for
    unacknowledged_from = stream_progress.unacknowledged_from
    stream_bytes_received = stream_progress.stream_bytes_received
    stream_bytes_acknowledged = stream_progress.stream_bytes_acknowledged
    keep_window = flow_control.keep_window
    grant = flow_control.grant
    limits_held = flow_control.limits_held
    stop_receiving = flow_control.stop_receiving
    streams_allowed = flow_control.streams_allowed
    stream_credit = flow_control.stream_credit
    connection_credit = flow_control.connection_credit
    path_is_valid = paths.path_is_valid
    unvalidated_credit = paths.unvalidated_credit
    reset_tokens = paths.reset_tokens
    longest_datagram = longest_datagram
    datagram_size = path_probe.datagram_size
    set_datagram_size = path_probe.set_datagram_size
    make_probe = path_probe.make_probe
    forget_probe = path_probe.forget_probe
    watch = path_probe.watch
    watch_long_packets = path_probe.watch_long_packets
    peer_certificates = own_tls.peer_certificates
    why_not_named = own_tls.why_not_named
    is_resumed = own_tls.is_resumed
    can_send_early_data = own_tls.can_send_early_data
    peer_is_quicdist = transport_parameters.is_quicdist
    peer_says = transport_parameters.peer_says
    peer_max_datagram = transport_parameters.peer_max_datagram


if TYPE_CHECKING:
    _ENGINE: type[Engine] = Connection
