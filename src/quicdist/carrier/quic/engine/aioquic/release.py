"""Frees the memory of a connection that is over, at once.

aioquic's connection, its TLS context, its keys and the packets it has sent form reference cycles by their
callbacks. Python frees a cycle with its next full collection, which may be long after a flood of connections.
"""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import NoCallback


def _no_probe() -> None:
    """Do nothing: the connection is over."""


def release(quic: QuicConnection) -> None:
    """Cut the reference cycles of a connection that is over. Its state can still be read."""
    pairs = [*quic._cryptos.values(), *quic._cryptos_initial.values()]
    for crypto in (crypto for pair in pairs for crypto in (pair.recv, pair.send)):
        crypto._setup_cb = crypto._teardown_cb = NoCallback
    quic._loss._send_probe = _no_probe
    quic._loss.spaces = []
    for space in quic._spaces.values():
        # Each packet holds its delivery handlers, which are methods of the connection.
        space.sent_packets.clear()
    quic._events.clear()
    quic._session_ticket_fetcher = quic._session_ticket_handler = quic._token_handler = None
    context = getattr(quic, "tls", None)  # A server has none before its first packet.
    if context is not None:
        context.alpn_cb = context.update_traffic_key_cb = None
        context.get_session_ticket_cb = context.new_session_ticket_cb = None
        context._tickets = None
