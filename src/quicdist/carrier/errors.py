"""Errors of listeners, of setting up a connection, and of established links.

Errors of the distribution handshake (a wrong cookie, a peer without a mandatory flag, a refused name) are
those of :mod:`quicdist.protocol`; carriers raise them unchanged."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.carrier.addresses import Address


class CarrierError(QuicDistError):
    """An error of the transport between two nodes. Raised itself when a link cannot migrate to another
    address; the link stays as it is."""


class ListenError(CarrierError, OSError):
    """A carrier could not listen at ``host``:``port``."""

    def __init__(self, host: str | None, port: int, reason: str) -> None:
        super().__init__(f"cannot listen at {host or '*'} port {port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


class CertificateError(CarrierError):
    """A certificate, key or CA file of this node is missing, unreadable, or does not match the others."""


class ConnectError(CarrierError, ConnectionError):
    """The connection to ``node`` at ``address`` failed; ``reason`` says why. ``by_peer``: the dialled node
    refused it."""

    def __init__(self, node: str, address: Address | None, reason: str, *, by_peer: bool = False) -> None:
        where = f" at {address}" if address is not None else ""
        super().__init__(f"cannot connect to {node}{where}: {reason}")
        self.node = node
        self.address = address
        self.reason = reason
        self.by_peer = by_peer


class PeerUnreachable(ConnectError):
    """The connection was refused, or the network or host is unreachable."""


class SetupTimeout(ConnectError, TimeoutError):
    """The connection was not set up within the set-up time (OTP's ``net_setuptime``).

    ``digest_unanswered``: the peer has received our digest of its challenge and did not answer.
    quic_dist before 2.0 does not answer a wrong cookie; the loss of its answer looks the same.
    """

    digest_unanswered = False


class CertificateRefused(ConnectError):
    """One side refused the certificate of the other; ``reason`` says which and why."""


class PskRefused(ConnectError):
    """The dialled node refused our pre-shared key, or requires one."""


class AuthenticationRefused(ConnectError):
    """The ``auth_callback`` of one side refused the other, or did not answer in time."""


class DialAgain(ConnectError):
    """Internal: a QUIC handshake with a session ticket failed, or one attempt took too long. The carrier
    dials again, without early data."""


class Refusal(Enum):
    """Why an incoming connection was refused."""

    #: The certificate of the dialling node does not name the host of its node name. Certificates with other
    #: faults are refused in the QUIC handshake, before there is an incoming connection.
    CERTIFICATE = auto()
    #: The ``auth_callback`` of one side refused the other, or did not answer in time.
    AUTHENTICATION = auto()
    #: Both nodes dial each other, and this node's dial is kept.
    SIMULTANEOUS = auto()


class AcceptError(CarrierError):
    """An incoming connection from ``address`` failed before it was a link.

    ``refusal`` says why it was refused, None for other failures; ``by_peer``: the dialling node refused it.
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
    """A peer did not complete the handshake within the set-up time."""


class LinkLost(CarrierError, ConnectionError):
    """The link to ``node`` ended without being closed by this side, or a message was sent on a link that has
    ended."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"connection to {node} lost: {reason}")
        self.node = node
        self.reason = reason


class PeerClosed(LinkLost):
    """The peer closed the connection."""


class PeerSilent(LinkLost):
    """Nothing came from the peer for longer than the carrier allows."""
