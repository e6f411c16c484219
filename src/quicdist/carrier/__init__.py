"""Links between two nodes: QUIC (``quic_dist``), TCP (``inet_tcp_dist``) and TLS (``inet_tls_dist``)."""

from typing import TYPE_CHECKING

from quicdist.carrier.addresses import Address, NetAddress
from quicdist.carrier.contract import (
    Carrier,
    Incoming,
    Link,
    LinkStats,
    Listener,
    LocalNode,
    LostHandler,
    MessageHandler,
    TransportStats,
    UserStreams,
)
from quicdist.carrier.errors import (
    AcceptError,
    AcceptTimeout,
    AuthenticationRefused,
    CarrierError,
    CertificateError,
    CertificateRefused,
    ConnectError,
    LinkLost,
    ListenError,
    PeerClosed,
    PeerSilent,
    PeerUnreachable,
    PskRefused,
    Refusal,
    SetupTimeout,
)
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.security.pem import Pem
from quicdist.carrier.security.psk import ExternalPsk, Psks
from quicdist.carrier.security.tls_config import ClientCertificate, TlsConfig
from quicdist.carrier.stream_errors import (
    IncompleteStream,
    SendBufferFull,
    StreamError,
    StreamLimitReached,
    StreamLost,
    StreamRefused,
    StreamReset,
    StreamsNotSupported,
)
from quicdist.carrier.stream_priorities import DEFAULT_PRIORITY
from quicdist.carrier.user_stream import StreamConsumer, UserStream

if TYPE_CHECKING:
    from quicdist.carrier.quic.authentication import AuthCallback, AuthPeer
    from quicdist.carrier.quic.carrier import QuicCarrier
    from quicdist.carrier.quic.connect_options import ConnectOptions
    from quicdist.carrier.quic.settings import QuicSettings
    from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates
    from quicdist.carrier.tcp.carrier import TcpCarrier
    from quicdist.carrier.tls.carrier import TlsCarrier
    from quicdist.carrier.tls.settings import CertificateAndKey, TlsOptions, TlsSettings
else:
    from quicdist.lazy import lazy_names

    # These load aioquic and cryptography, or are not needed by every program.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.carrier.quic.authentication": "AuthCallback AuthPeer",
            "quicdist.carrier.quic.carrier": "QuicCarrier",
            "quicdist.carrier.quic.connect_options": "ConnectOptions",
            "quicdist.carrier.quic.settings": "QuicSettings",
            "quicdist.carrier.security.certificates": "CertificateFiles make_development_certificates",
            "quicdist.carrier.tcp.carrier": "TcpCarrier",
            "quicdist.carrier.tls.carrier": "TlsCarrier",
            "quicdist.carrier.tls.settings": "CertificateAndKey TlsOptions TlsSettings",
        },
    )

__all__ = [
    "DEFAULT_PRIORITY",
    "AcceptError",
    "AcceptTimeout",
    "Address",
    "AuthCallback",
    "AuthPeer",
    "AuthenticationRefused",
    "BufferLimits",
    "Carrier",
    "CarrierError",
    "CertificateAndKey",
    "CertificateError",
    "CertificateFiles",
    "CertificateRefused",
    "ClientCertificate",
    "ConnectError",
    "ConnectOptions",
    "ExternalPsk",
    "Incoming",
    "IncompleteStream",
    "Link",
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
    "Pem",
    "PskRefused",
    "Psks",
    "QuicCarrier",
    "QuicSettings",
    "Refusal",
    "SendBufferFull",
    "SetupTimeout",
    "StreamConsumer",
    "StreamError",
    "StreamLimitReached",
    "StreamLost",
    "StreamRefused",
    "StreamReset",
    "StreamsNotSupported",
    "TcpCarrier",
    "TlsCarrier",
    "TlsConfig",
    "TlsOptions",
    "TlsSettings",
    "TransportStats",
    "UserStream",
    "UserStreams",
    "make_development_certificates",
]
