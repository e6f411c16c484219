"""What a connection is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from quicdist.carrier.security.psk import ExternalPsk
from quicdist.carrier.security.verification import ClientTrust


@dataclass
class Configuration(QuicConfiguration):
    """aioquic's configuration, with what cannot be said in it. Sessions are not resumed where
    ``clients`` is set: a ticket says nothing of whose certificate was shown for it."""

    #: Dialling: a certificate has to be one for servers.
    check_use: bool = False
    #: Dialling: the PSK to show; a peer that does not take it is refused.
    external_psk: ExternalPsk | None = None
    #: The longest datagrams to build where peer and path take them; ``max_datagram_size`` is where it begins.
    longest_datagram: int = 0
    #: Listening: ask for certificates, and believe these.
    clients: ClientTrust | None = None
    #: Listening: the secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: Listening: there is no certificate to show to those without a PSK.
    psk_only: bool = False


def longest_datagram(quic: QuicConnection) -> int:
    """The longest datagram that may be built by a connection's configuration."""
    configuration = quic.configuration
    longest = configuration.longest_datagram if isinstance(configuration, Configuration) else 0
    return max(longest, configuration.max_datagram_size)
