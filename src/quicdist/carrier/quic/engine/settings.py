"""What an engine is told when a connection is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quicdist.carrier.security.client_trust import ClientTrust
from quicdist.carrier.security.credentials import Credentials
from quicdist.carrier.security.psk import ExternalPsk


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The settings of a connection, or of all that a listener accepts. Sizes are in bytes, times in seconds.

    Sessions are not resumed where ``clients`` is set: a ticket says nothing of whose certificate was shown
    for it.
    """

    #: The one ALPN protocol.
    alpn: str
    #: A connection on which nothing comes for so long is over.
    idle_timeout: float
    #: What the peer may have under way in all, and on one stream, to begin with.
    max_data: int
    max_stream_data: int
    #: The size of datagrams to begin with, and the longest that are built where peer and path take them.
    datagram_size: int
    longest_datagram: int
    #: ``"cubic"`` or ``"reno"``.
    congestion_control: str
    #: Round-trip time assumed before one is measured.
    initial_rtt: float
    #: The certificate of this side; None where it shows none.
    credentials: Credentials | None = field(repr=False)

    # -- dialling

    #: The name that the peer's certificate has to be for.
    server_name: str | None = None
    #: Whether the peer's certificate is verified, by the CAs in ``ca`` (PEM) or, if None, Mozilla's.
    verify: bool = False
    ca: bytes | None = field(default=None, repr=False)
    #: The PSK to show; a peer that does not take it is refused.
    external_psk: ExternalPsk | None = field(default=None, repr=False)

    # -- listening

    #: Ask for certificates, and believe these.
    clients: ClientTrust | None = None
    #: The secret of a PSK identity, or None.
    find_psk: Callable[[bytes], bytes | None] | None = None
    #: There is no certificate to show to those without a PSK.
    psk_only: bool = False
