"""Links between two nodes: QUIC (``quic_dist``) and TCP (``inet_tcp_dist``)."""

from quicdist.carrier.certificates import CertificateFiles, TlsConfig, make_development_certificates
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
    CarrierError,
    CertificateError,
    CertificateRefused,
    ConnectError,
    LinkClosed,
    LinkLost,
    ListenError,
    PeerClosed,
    PeerSilent,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.quic import QuicCarrier
from quicdist.carrier.quic_settings import QuicSettings
from quicdist.carrier.tcp import TcpCarrier

__all__ = [
    "AcceptError",
    "AcceptTimeout",
    "Address",
    "BufferLimits",
    "Carrier",
    "CarrierError",
    "CertificateError",
    "CertificateFiles",
    "CertificateRefused",
    "ConnectError",
    "Incoming",
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
    "QuicCarrier",
    "QuicSettings",
    "SetupTimeout",
    "TcpCarrier",
    "TlsConfig",
    "make_development_certificates",
]
