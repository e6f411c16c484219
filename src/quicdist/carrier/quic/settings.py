"""The settings of a QUIC carrier, and those of its engine made from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import get_args

from quicdist.carrier.datagram_socket import OpenSocket, open_socket
from quicdist.carrier.errors import CertificateError
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.quic.authentication import AuthCallback
from quicdist.carrier.quic.driver.admission import AddressValidation, AdmissionSettings
from quicdist.carrier.quic.engine.contract import EngineFactory
from quicdist.carrier.quic.engine.path_mtu import MAX_SIZE, MIN_SIZE
from quicdist.carrier.quic.engine.recovery.congestion import Algorithm
from quicdist.carrier.quic.engine.settings import EngineSettings
from quicdist.carrier.quic.reset_secret import ResetSecret, check_reset_secret
from quicdist.carrier.security.credentials import Credentials
from quicdist.carrier.security.psk import psk_finder
from quicdist.carrier.security.tls_config import TlsConfig

#: The ALPN protocol of quic_dist (``QUIC_DIST_ALPN``).
ALPN = "erlang-dist"
#: OTP's ``net_ticktime``, in seconds.
NET_TICKTIME = 60.0
#: PINGs are never sent more often than this, in seconds (``QUIC_DIST_KEEP_ALIVE_MIN``).
MIN_PING_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class QuicSettings:
    """Settings of a QUIC carrier; the defaults are those of quic_dist where it has one.

    Times are in seconds, sizes in bytes.
    """

    tls: TlsConfig = field(default_factory=TlsConfig)
    #: Called between the QUIC handshake and the distribution handshake, in both roles.
    auth_callback: AuthCallback | None = None
    #: Its time-out.
    auth_handshake_timeout: float = 10.0
    #: Resume sessions with nodes dialled before, and issue tickets to nodes that dial.
    resumption: bool = True
    #: Send this node's name as early data, in the first datagram of a resumed session.
    early_data: bool = True
    #: The interval of PINGs is a quarter of it, at least 5 s.
    net_ticktime: float = NET_TICKTIME
    #: The interval of PINGs, in place of that.
    keep_alive_interval: float | None = None
    #: A connection on which no packet comes for so long is lost.
    idle_timeout: float = 300.0
    #: Receive windows: of all streams together, at first; of one stream, at most.
    max_data: int = 256 * 1024 * 1024
    max_stream_data: int = 16 * 1024 * 1024
    #: The receive window of a user stream. quic_dist sends a piece whole or not at all, of up to 4 MiB: in a
    #: smaller window large pieces do not fit.
    stream_window: int = 4 * 1024 * 1024
    #: The longest datagram to be sent, 1200 to 16384. More than 1200 bytes, which any path takes, are sent
    #: after a probe was acknowledged, and more than 1452, which fit IPv4 and IPv6 over
    #: Ethernet, only towards peers that are quicdist.
    max_datagram_size: int = MAX_SIZE
    #: ``"cubic"`` (RFC 9438) or ``"reno"`` (RFC 9002, section 7).
    congestion_control: str = "cubic"
    #: The round-trip time that is assumed before one is measured: the first retransmission comes after twice
    #: this.
    initial_rtt: float = 0.1
    #: The longest frame, or message in fragments, a peer may send.
    max_frame: int = 128 * 1024 * 1024
    buffers: BufferLimits = field(default_factory=BufferLimits)
    #: Half-open connections at most; beyond that a new one evicts the oldest whose address is not validated,
    #: or the oldest of the source with most.
    max_half_open: int = 128
    #: The same for one source, an IPv4 address or an IPv6 /64; None: half of ``max_half_open``.
    max_half_open_per_source: int | None = None
    #: Validate the address of a dialling node before anything else, with a Retry (RFC 9000, section 8.1.2),
    #: which costs a round trip: ``"always"``, ``"never"``, or ``"auto"``: while more than a quarter of
    #: ``max_half_open`` is taken, or many connections come at once.
    address_validation: AddressValidation = "auto"
    #: The secret for the tokens of stateless resets (RFC 9000, section 10.3), by which peers learn that a
    #: restarted node has lost their connections: at least 32 bytes, or the path of a file that holds them and
    #: is created if it does not exist. None: derived from the private key of the certificate, or from the
    #: PSKs.
    reset_secret: ResetSecret | None = field(default=None, repr=False)
    #: After a close, queued data is sent until the peer acknowledges nothing of it for so long; 15 s at most.
    linger: float = 2.0
    #: Opens UDP sockets: those of the system, or of the simulated network of a test.
    sockets: OpenSocket = open_socket
    #: Makes the QUIC connections; None: aioquic does.
    engines: EngineFactory | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not MIN_SIZE <= self.max_datagram_size <= MAX_SIZE:
            raise ValueError(f"max_datagram_size {self.max_datagram_size} is not {MIN_SIZE} to {MAX_SIZE}")
        if self.reset_secret is not None:
            check_reset_secret(self.reset_secret)
        if self.congestion_control not in get_args(Algorithm):
            raise ValueError(
                f"congestion_control {self.congestion_control!r} is not one of {get_args(Algorithm)}"
            )
        if self.max_half_open < 1:
            raise ValueError(f"max_half_open {self.max_half_open} is less than 1")
        share = self.max_half_open_per_source
        if share is not None and not 1 <= share <= self.max_half_open:
            raise ValueError(f"max_half_open_per_source {share} is not 1 to {self.max_half_open}")
        if self.address_validation not in get_args(AddressValidation):
            raise ValueError(
                f"address_validation {self.address_validation!r} is not one of {get_args(AddressValidation)}"
            )

    @property
    def admission(self) -> AdmissionSettings:
        """The settings of a listener."""
        share = self.max_half_open_per_source or max(1, self.max_half_open // 2)
        return AdmissionSettings(self.max_half_open, share, self.address_validation)

    @property
    def ping_interval(self) -> float:
        if self.keep_alive_interval is not None:
            return self.keep_alive_interval
        return max(MIN_PING_INTERVAL, self.net_ticktime / 4)

    def for_dialling(self, host: str) -> EngineSettings:
        """For dialling a node on ``host``. Raises :class:`CertificateError`."""
        tls = self.tls
        ca = tls.load_ca() if tls.verify else None
        return dataclasses.replace(
            self._engine(tls.load()),
            server_name=tls.server_name or host,
            verify=tls.verify,
            ca=ca,
            external_psk=tls.external_psk,
        )

    def for_listening(self) -> EngineSettings:
        """For listening. Raises :class:`CertificateError`, also if there is neither a certificate
        nor a PSK."""
        tls = self.tls
        credentials = tls.load()
        clients = tls.load_client_trust()
        if tls.psks is None and credentials is None:
            raise CertificateError(
                "a QUIC listener needs a certificate and its key, and has none (`quicdist certs DIR` makes "
                "development certificates)"
            )
        find_psk = psk_finder(tls.psks) if tls.psks is not None else None
        return dataclasses.replace(
            self._engine(credentials or _unused_credentials()),
            clients=clients,
            find_psk=find_psk,
            psk_only=find_psk is not None and credentials is None,
        )

    def _engine(self, credentials: Credentials | None) -> EngineSettings:
        return EngineSettings(
            alpn=ALPN,
            idle_timeout=self.idle_timeout,
            max_data=self.max_data,
            # One initial size for all streams: that of user streams.
            max_stream_data=min(self.stream_window, self.max_stream_data),
            # Any path takes these; the path is probed for longer ones.
            datagram_size=MIN_SIZE,
            longest_datagram=self.max_datagram_size,
            congestion_control=self.congestion_control,
            initial_rtt=self.initial_rtt,
            credentials=credentials,
        )


def _unused_credentials() -> Credentials:
    # Imported here: it makes certificates, and few listeners are without one.
    from quicdist.carrier.security.certificates import unused_credentials

    return unused_credentials()
