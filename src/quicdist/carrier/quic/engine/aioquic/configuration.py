"""What a connection is made with: aioquic's configuration, from the settings of an engine."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.security.client_trust import ClientTrust
from quicdist.carrier.security.psk import ExternalPsk

#: PSKs without a hash are for SHA-256 (RFC 8446, section 4.2.11). This is the suite of it that TLS
#: must have, and the only one quic_dist offers with a PSK.
PSK_CIPHER_SUITE: Final = CipherSuite.AES_128_GCM_SHA256

_OTHER_SUITES: Final = (CipherSuite.AES_256_GCM_SHA384, CipherSuite.CHACHA20_POLY1305_SHA256)


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


def client_configuration(settings: EngineSettings) -> Configuration:
    """For dialling."""
    configuration = _common_configuration(settings, is_client=True)
    configuration.server_name = settings.server_name
    configuration.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    configuration.check_use = settings.verify
    configuration.cadata = settings.ca
    if settings.external_psk is not None:
        configuration.external_psk = settings.external_psk
        configuration.cipher_suites = [PSK_CIPHER_SUITE]
    return configuration


def server_configuration(settings: EngineSettings) -> Configuration:
    """For listening."""
    configuration = _common_configuration(settings, is_client=False)
    configuration.clients = settings.clients
    if settings.find_psk is not None:
        configuration.find_psk = settings.find_psk
        configuration.psk_only = settings.psk_only
        configuration.cipher_suites = [PSK_CIPHER_SUITE, *_OTHER_SUITES]
    return configuration


def _common_configuration(settings: EngineSettings, *, is_client: bool) -> Configuration:
    configuration = Configuration(
        alpn_protocols=[settings.alpn],
        is_client=is_client,
        idle_timeout=settings.idle_timeout,
        max_data=settings.max_data,
        max_stream_data=settings.max_stream_data,
        max_datagram_size=settings.datagram_size,
        longest_datagram=settings.longest_datagram,
        congestion_control_algorithm=settings.congestion_control,
        initial_rtt=settings.initial_rtt,
        # The one version quic_dist speaks; to offer more costs keys and no peer gains by it.
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    credentials = settings.credentials
    if credentials is not None:
        configuration.certificate = credentials.certificate
        configuration.certificate_chain = list(credentials.chain)
        configuration.private_key = credentials.private_key
    return configuration


def longest_datagram(quic: QuicConnection) -> int:
    """The longest datagram that may be built by a connection's configuration."""
    configuration = quic.configuration
    longest = configuration.longest_datagram if isinstance(configuration, Configuration) else 0
    return max(longest, configuration.max_datagram_size)
