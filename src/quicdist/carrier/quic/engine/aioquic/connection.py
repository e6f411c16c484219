"""The connection of aioquic with all that this package adds to it: the engine.

``tests/carrier/test_aioquic_engine.py`` and ``tests/carrier/test_aioquic_private_names.py`` fail where a new
aioquic changes what this package relies on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aioquic.tls import Context

from quicdist.carrier.quic.engine.aioquic import (
    address_validation,
    connection_ids,
    event_queue,
    flow_control,
    probe_packets,
    recovery,
    release,
    state,
    statistics,
    transport_parameters,
)
from quicdist.carrier.quic.engine.aioquic import tls as own_tls
from quicdist.carrier.quic.engine.aioquic.configuration import Configuration, longest_datagram
from quicdist.carrier.quic.engine.aioquic.fast_send import FastSend
from quicdist.carrier.quic.engine.aioquic.handshake_memory import FreesHandshake
from quicdist.carrier.quic.engine.aioquic.silence_probes import ProbesSilence
from quicdist.carrier.quic.engine.aioquic.tls import TlsContext
from quicdist.carrier.quic.engine.aioquic.transport_parameters import encoded
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.own_parameters import EARLY_DATA, JOINED_MESSAGES, LONG_DATAGRAMS, PACED
from quicdist.carrier.quic.engine.path_mtu import BASE_SIZE
from quicdist.logs import CleanLogger

# aioquic logs several lines about each connection. A level that the program has set before stays.
if logging.getLogger("quic").level == logging.NOTSET:
    logging.getLogger("quic").setLevel(logging.WARNING)


class Connection(ProbesSilence, FreesHandshake, FastSend):
    """See :class:`~quicdist.carrier.quic.engine.contract.Engine`."""

    def __init__(self, *, configuration: Configuration, **arguments: Any) -> None:
        self._settings = configuration
        super().__init__(configuration=configuration, **arguments)
        # aioquic logs while it processes a packet: a logging handler that raises must not interrupt it.
        self._logger.logger = CleanLogger(logging.getLogger("quic"))

    @property
    def tls(self) -> TlsContext:
        return self._tls

    @tls.setter
    def tls(self, made: Context) -> None:
        # aioquic makes a context of its own class and then sets its attributes: it sets those of ours.
        self._tls = TlsContext(self._settings, logger=self._logger)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls.configure()

    def _serialize_transport_parameters(self) -> bytes:
        # aioquic has no public way to add a transport parameter.
        parameters = super()._serialize_transport_parameters() + encoded(PACED)
        if longest_datagram(self) > BASE_SIZE:
            parameters += encoded(LONG_DATAGRAMS)
        if self._is_client:
            return parameters + encoded(JOINED_MESSAGES)
        return parameters if self._session_ticket_handler is None else parameters + encoded(EARLY_DATA)

    # -- the methods of the contract that aioquic does not have ---------------------------------------

    # Each is a function in the module of its subject. As an attribute of the class it is a method, without
    # another call.
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
    transport_stats = statistics.transport_stats
    quickest_round_trip = statistics.quickest_round_trip
    probe_timeout = statistics.probe_timeout
    rounds = recovery.rounds
    acknowledge_now = recovery.acknowledge_now
    early_data_refused = recovery.early_data_refused
    waiting_for = statistics.waiting_for
    unacknowledged_from = statistics.unacknowledged_from
    stream_bytes_received = statistics.stream_bytes_received
    stream_bytes_acknowledged = statistics.stream_bytes_acknowledged
    keep_window = flow_control.keep_window
    grant = flow_control.grant
    limits_held = flow_control.limits_held
    stop_receiving = flow_control.stop_receiving
    streams_allowed = flow_control.streams_allowed
    stream_credit = flow_control.stream_credit
    connection_credit = flow_control.connection_credit
    path_is_valid = address_validation.path_is_valid
    unvalidated_credit = address_validation.unvalidated_credit
    reset_tokens = connection_ids.reset_tokens
    longest_datagram = longest_datagram
    datagram_size = probe_packets.datagram_size
    set_datagram_size = probe_packets.set_datagram_size
    make_probe = probe_packets.make_probe
    forget_probe = probe_packets.forget_probe
    watch = probe_packets.watch
    watch_long_packets = probe_packets.watch_long_packets
    peer_certificates = own_tls.peer_certificates
    why_not_named = own_tls.why_not_named
    is_resumed = own_tls.is_resumed
    can_send_early_data = own_tls.can_send_early_data
    peer_is_quicdist = transport_parameters.is_quicdist
    peer_says = transport_parameters.peer_says
    peer_max_datagram = transport_parameters.peer_max_datagram


if TYPE_CHECKING:
    _ENGINE: type[Engine] = Connection
