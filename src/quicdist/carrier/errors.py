"""Errors of listeners, of setting up a connection, and of established links.

Errors of the distribution handshake (a wrong cookie, a peer without a mandatory flag, a refused name) are
those of :mod:`quicdist.protocol`; carriers raise them unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.carrier.addresses import Address


class CarrierError(QuicDistError):
    """An error of the transport between two nodes."""


class ListenError(CarrierError):
    """A carrier could not listen at ``host``:``port``."""

    def __init__(self, host: str | None, port: int, reason: str) -> None:
        super().__init__(f"cannot listen at {host or '*'} port {port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


class CertificateError(CarrierError):
    """A certificate, key or CA file of this node is missing, unreadable, or does not match the others."""


class ConnectError(CarrierError):
    """The connection to ``node`` at ``address`` failed; ``reason`` says why."""

    def __init__(self, node: str, address: Address | None, reason: str) -> None:
        where = f" at {address}" if address is not None else ""
        super().__init__(f"cannot connect to {node}{where}: {reason}")
        self.node = node
        self.address = address
        self.reason = reason


class PeerUnreachable(ConnectError):
    """The connection was refused, or the network or host is unreachable."""


class SetupTimeout(ConnectError, TimeoutError):
    """The connection was not set up within the set-up time (OTP's ``net_setuptime``)."""


class DigestUnanswered(SetupTimeout):
    """The peer has received our digest of its challenge, and has not answered within the set-up time.
    quic_dist before 2.0 does not answer a wrong cookie; the loss of its answer looks the same."""


class _Refused(ConnectError):
    """``by_peer``: the dialled node refused this one; otherwise this one refused it."""

    def __init__(self, node: str, address: Address | None, reason: str, *, by_peer: bool = False) -> None:
        super().__init__(node, address, reason)
        self.by_peer = by_peer


class CertificateRefused(_Refused):
    """One side refused the certificate of the other; ``reason`` says which and why."""


class TicketRefused(ConnectError):
    """The QUIC handshake with a session ticket failed. Internal: the carrier dials again without one."""


class HandshakeStalled(ConnectError):
    """One try of the QUIC handshake took too long. Internal: the carrier dials again."""


class PskRefused(_Refused):
    """The dialled node refused our pre-shared key, or requires one."""


class AuthenticationRefused(_Refused):
    """The ``auth_callback`` of one side refused the other, or did not answer in time."""


class AcceptError(CarrierError):
    """An incoming connection from ``address`` failed before it was a link."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"connection from {address} not accepted: {reason}")
        self.address = address
        self.reason = reason


class IncomingCertificateRefused(AcceptError):
    """The certificate of a dialling node does not name the host of its node name. Certificates with other
    faults are refused in the QUIC handshake, before there is an incoming connection."""


class IncomingAuthenticationRefused(AcceptError):
    """The ``auth_callback`` of one side refused the other, or did not answer in time. ``by_peer``: it was
    that of the dialling node."""

    def __init__(self, address: Address, reason: str, *, by_peer: bool = False) -> None:
        super().__init__(address, reason)
        self.by_peer = by_peer


class SimultaneousDropped(AcceptError):
    """Both nodes dial each other, and this node's dial goes on."""


class AcceptTimeout(AcceptError, TimeoutError):
    """A peer did not complete the handshake within the set-up time."""


class LinkLost(CarrierError):
    """The established connection to ``node`` ended, and this side had not closed it."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"connection to {node} lost: {reason}")
        self.node = node
        self.reason = reason


class PeerClosed(LinkLost):
    """The peer closed the connection."""


class PeerSilent(LinkLost):
    """Nothing came from the peer for longer than the carrier allows."""


class MigrationError(CarrierError):
    """The link to ``node`` cannot migrate to another address; it stays as it is."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"cannot migrate the connection to {node}: {reason}")
        self.node = node
        self.reason = reason


class LinkClosed(CarrierError):
    """A message was sent on a link that has ended."""

    def __init__(self, node: str) -> None:
        super().__init__(f"the connection to {node} is closed")
        self.node = node
