"""What can go wrong with a listener, with setting up a connection and with an established link.

Errors of the handshake itself (a wrong cookie, a peer without a mandatory flag, a refused name)
are those of :mod:`quicdist.protocol` and pass through a carrier unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.carrier.addresses import Address


class CarrierError(QuicDistError):
    """Bytes could not be carried between two nodes."""


class ListenError(CarrierError):
    """A carrier could not listen at ``host``:``port``."""

    def __init__(self, host: str | None, port: int, reason: str) -> None:
        super().__init__(f"cannot listen at {host or '*'} port {port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


class CertificateError(CarrierError):
    """Our own certificate, key or CA file is missing, cannot be read or do not belong together."""


class ConnectError(CarrierError):
    """No connection to ``node`` at ``address`` came about; ``reason`` says why."""

    def __init__(self, node: str, address: Address | None, reason: str) -> None:
        where = f" at {address}" if address is not None else ""
        super().__init__(f"cannot connect to {node}{where}: {reason}")
        self.node = node
        self.address = address
        self.reason = reason


class PeerUnreachable(ConnectError):
    """Nobody listens at the peer's address, or no way leads there."""


class SetupTimeout(ConnectError, TimeoutError):
    """The connection was not set up within the time allowed (OTP's ``net_setuptime``)."""


class DigestUnanswered(SetupTimeout):
    """The peer has received our digest of its challenge, and nothing more came within the time allowed.
    quic_dist before 2.0 says nothing where the cookie is wrong; the loss of its answer looks the same."""


class _Refused(ConnectError):
    """``by_peer``: the dialled node refused this one; otherwise this one refused it."""

    def __init__(self, node: str, address: Address | None, reason: str, *, by_peer: bool = False) -> None:
        super().__init__(node, address, reason)
        self.by_peer = by_peer


class CertificateRefused(_Refused):
    """One side did not accept the certificate of the other; ``reason`` says which and why."""


class TicketRefused(ConnectError):
    """The QUIC handshake failed where a session ticket was shown. A carrier then dials once more,
    without one; nobody else sees this error."""


class HandshakeStalled(ConnectError):
    """The QUIC handshake took longer than a try is given. A carrier then dials once more; nobody else
    sees this error."""


class PskRefused(_Refused):
    """The dialled node does not take the pre-shared key shown, or wants one and none was shown."""


class AuthenticationRefused(_Refused):
    """The ``auth_callback`` of one side refused the other, or did not answer in time."""


class AcceptError(CarrierError):
    """A connection that came in from ``address`` never became a link."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"connection from {address} not accepted: {reason}")
        self.address = address
        self.reason = reason


class IncomingCertificateRefused(AcceptError):
    """The certificate of a node that dialled does not name the host in that node's name. One that
    is refused for any other reason never gets as far as to be accepted."""


class IncomingAuthenticationRefused(AcceptError):
    """The ``auth_callback`` of one side refused the other, or did not answer in time. ``by_peer``:
    it was that of the node that dialled."""

    def __init__(self, address: Address, reason: str, *, by_peer: bool = False) -> None:
        super().__init__(address, reason)
        self.by_peer = by_peer


class SimultaneousDropped(AcceptError):
    """This node dials the one that dialled, and its own attempt stands."""


class AcceptTimeout(AcceptError, TimeoutError):
    """A peer that connected did not finish the handshake within the time allowed."""


class LinkLost(CarrierError):
    """The established connection to ``node`` ended and this side had not closed it."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"connection to {node} lost: {reason}")
        self.node = node
        self.reason = reason


class PeerClosed(LinkLost):
    """The peer closed the connection."""


class PeerSilent(LinkLost):
    """Nothing was heard of the peer for longer than the carrier allows."""


class MigrationError(CarrierError):
    """The link to ``node`` cannot go on from another address; it stays as it is."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"the connection to {node} cannot go on from another address: {reason}")
        self.node = node
        self.reason = reason


class LinkClosed(CarrierError):
    """Something was sent on a link that has ended already."""

    def __init__(self, node: str) -> None:
        super().__init__(f"the connection to {node} is closed")
        self.node = node
