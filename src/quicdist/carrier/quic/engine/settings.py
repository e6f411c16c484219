"""The settings of a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quicdist.carrier.security.client_trust import ClientTrust
from quicdist.carrier.security.credentials import Credentials
from quicdist.carrier.security.psk import ExternalPsk


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The settings of a connection, or of all that a listener accepts. Sizes are in bytes, times in seconds.

    With ``clients`` set, sessions are not resumed: a ticket does not say which certificate was shown for it.
    """

    #: The one ALPN protocol.
    alpn: str
    #: The idle timeout (RFC 9000, section 10.1).
    idle_timeout: float
    #: The first flow control limits: of the connection, and of each stream.
    max_data: int
    max_stream_data: int
    #: The initial size of datagrams, and the longest if the peer and the path accept it.
    datagram_size: int
    longest_datagram: int
    #: ``"cubic"`` or ``"reno"``.
    congestion_control: str
    #: The round-trip time that is assumed before the first sample.
    initial_rtt: float
    #: The certificate of this side, if it has one.
    credentials: Credentials | None = field(repr=False)

    # -- dialling

    #: The name in the peer's certificate.
    server_name: str | None = None
    #: Whether the peer's certificate is verified, by the CAs in ``ca`` (PEM) or, if None, Mozilla's.
    verify: bool = False
    ca: bytes | None = field(default=None, repr=False)
    #: The PSK to use; a peer that does not accept it is refused.
    external_psk: ExternalPsk | None = field(default=None, repr=False)

    # -- listening

    #: Ask clients for certificates, and trust these.
    clients: ClientTrust | None = None
    #: Returns the secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: Clients without a PSK are refused: there is no certificate for them.
    psk_only: bool = False
