"""Links between two nodes: QUIC (``quic_dist``) and TCP (``inet_tcp_dist``)."""

from quicdist.carrier.authentication import AuthCallback, AuthPeer
from quicdist.carrier.certificates import (
    CertificateFiles,
    ClientCertificate,
    TlsConfig,
    make_development_certificates,
)
from quicdist.carrier.connect_options import ConnectOptions
from quicdist.carrier.contract import (
    Address,
    Carrier,
    Incoming,
    Link,
    LinkStats,
    Listener,
    LocalNode,
    LostHandler,
    MessageHandler,
    NetAddress,
)
from quicdist.carrier.errors import (
    AcceptError,
    AcceptTimeout,
    AuthenticationRefused,
    CarrierError,
    CertificateError,
    CertificateRefused,
    ConnectError,
    IncomingAuthenticationRefused,
    IncomingCertificateRefused,
    LinkClosed,
    LinkLost,
    ListenError,
    PeerClosed,
    PeerSilent,
    PeerUnreachable,
    PskRefused,
    SetupTimeout,
)
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.psk import ExternalPsk, Psks
from quicdist.carrier.quic import QuicCarrier
from quicdist.carrier.quic_settings import QuicSettings
from quicdist.carrier.tcp import TcpCarrier

__all__ = [
    "AcceptError",
    "AcceptTimeout",
    "Address",
    "AuthCallback",
    "AuthPeer",
    "AuthenticationRefused",
    "BufferLimits",
    "Carrier",
    "CarrierError",
    "CertificateError",
    "CertificateFiles",
    "CertificateRefused",
    "ClientCertificate",
    "ConnectError",
    "ConnectOptions",
    "ExternalPsk",
    "Incoming",
    "IncomingAuthenticationRefused",
    "IncomingCertificateRefused",
    "Link",
    "LinkClosed",
    "LinkLost",
    "LinkStats",
    "ListenError",
    "Listener",
    "LocalNode",
    "LostHandler",
    "MessageHandler",
    "NetAddress",
    "PeerClosed",
    "PeerSilent",
    "PeerUnreachable",
    "PskRefused",
    "Psks",
    "QuicCarrier",
    "QuicSettings",
    "SetupTimeout",
    "TcpCarrier",
    "TlsConfig",
    "make_development_certificates",
]
