"""aioquic's configuration, made of the settings of an engine."""

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

#: PSKs are for SHA-256 unless another hash was agreed on (RFC 8446, section 4.2.11). This is the mandatory
#: cipher suite with SHA-256, and the only one that quic_dist offers with a PSK.
PSK_CIPHER_SUITE: Final = CipherSuite.AES_128_GCM_SHA256

_OTHER_SUITES: Final = (CipherSuite.AES_256_GCM_SHA384, CipherSuite.CHACHA20_POLY1305_SHA256)


@dataclass
class Configuration(QuicConfiguration):
    """aioquic's configuration, with settings that it does not have. With ``clients`` set, sessions are not
    resumed: a ticket does not say which certificate was shown for it."""

    #: Dialling: the peer's certificate must be for servers (serverAuth).
    check_use: bool = False
    #: Dialling: the PSK to use; a peer that does not take it is refused.
    external_psk: ExternalPsk | None = None
    #: The longest datagrams where peer and path take them; ``max_datagram_size`` is the size at first.
    longest_datagram: int = 0
    #: Listening: ask clients for certificates, and trust these.
    clients: ClientTrust | None = None
    #: Listening: returns the secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: Listening: clients without a PSK are refused.
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
        # The only version of quic_dist. To offer more costs keys.
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    credentials = settings.credentials
    if credentials is not None:
        configuration.certificate = credentials.certificate
        configuration.certificate_chain = list(credentials.chain)
        configuration.private_key = credentials.private_key
    return configuration


def longest_datagram(quic: QuicConnection) -> int:
    """The longest datagram that a connection's configuration allows."""
    configuration = quic.configuration
    longest = configuration.longest_datagram if isinstance(configuration, Configuration) else 0
    return max(longest, configuration.max_datagram_size)
