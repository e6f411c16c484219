"""What can go wrong with a listener, with setting up a connection and with an established link.

Errors of the handshake itself (a wrong cookie, a peer without a mandatory flag, a refused name)
are those of :mod:`quicdist.protocol` and pass through a carrier unchanged.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.carrier.addresses import Address


class CarrierError(QuicDistError):
    """Bytes could not be carried between two nodes. Raised itself where a link cannot migrate to another
    address: it stays as it is."""


class ListenError(CarrierError, OSError):
    """A carrier could not listen at ``host``:``port``."""

    def __init__(self, host: str | None, port: int, reason: str) -> None:
        super().__init__(f"cannot listen at {host or '*'} port {port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


class CertificateError(CarrierError):
    """Our own certificate, key or CA file is missing, cannot be read or do not belong together."""


class ConnectError(CarrierError, ConnectionError):
    """No connection to ``node`` at ``address`` came about; ``reason`` says why. ``by_peer``: the dialled node
    refused this one; otherwise this one refused it, or nobody did."""

    def __init__(self, node: str, address: Address | None, reason: str, *, by_peer: bool = False) -> None:
        where = f" at {address}" if address is not None else ""
        super().__init__(f"cannot connect to {node}{where}: {reason}")
        self.node = node
        self.address = address
        self.reason = reason
        self.by_peer = by_peer


class PeerUnreachable(ConnectError):
    """Nobody listens at the peer's address, or the network is unreachable."""


class SetupTimeout(ConnectError, TimeoutError):
    """The connection was not set up within the time allowed (OTP's ``net_setuptime``).

    ``digest_unanswered``: the peer has received our digest of its challenge and did not answer.
    quic_dist before 2.0 says nothing where the cookie is wrong; the loss of its answer looks the same.
    """

    digest_unanswered = False


class CertificateRefused(ConnectError):
    """One side did not accept the certificate of the other; ``reason`` says which and why."""


class PskRefused(ConnectError):
    """The dialled node does not take the pre-shared key shown, or wants one and none was shown."""


class AuthenticationRefused(ConnectError):
    """The ``auth_callback`` of one side refused the other, or did not answer in time."""


class DialAgain(ConnectError):
    """Internal: the QUIC handshake failed where a session ticket was shown, or took longer than one try may.
    The carrier dials once more, without a ticket; no program sees this error."""


class Refusal(Enum):
    """Why a connection that came in was refused, where a program may want to tell."""

    #: The certificate of the dialling node does not name the host in that node's name. One that is refused
    #: for another reason does not get as far as to be accepted.
    CERTIFICATE = auto()
    #: The ``auth_callback`` of one side refused the other, or did not answer in time.
    AUTHENTICATION = auto()
    #: This node dials the one that dialled, and its own attempt stands.
    SIMULTANEOUS = auto()


class AcceptError(CarrierError):
    """A connection that came in from ``address`` never became a link.

    ``refusal`` says what it was refused for, None for anything else; ``by_peer``: the node that dialled
    refused this one.
    """

    def __init__(
        self, address: Address, reason: str, refusal: Refusal | None = None, *, by_peer: bool = False
    ) -> None:
        super().__init__(f"connection from {address} not accepted: {reason}")
        self.address = address
        self.reason = reason
        self.refusal = refusal
        self.by_peer = by_peer


class AcceptTimeout(AcceptError, TimeoutError):
    """A peer that connected did not finish the handshake within the time allowed."""


class LinkLost(CarrierError, ConnectionError):
    """The established connection to ``node`` ended and this side had not closed it; or something was sent on
    a link that has ended."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"connection to {node} lost: {reason}")
        self.node = node
        self.reason = reason


class PeerClosed(LinkLost):
    """The peer closed the connection."""


class PeerSilent(LinkLost):
    """Nothing was heard of the peer for longer than the carrier allows."""
