"""The error codes of CONNECTION_CLOSE with which one node refuses another, and their errors.

A refusal by TLS is a TLS alert (RFC 8446, section 6.2). A refusal after the TLS handshake is a
CONNECTION_CLOSE with an application error code. quic_dist always sends 0, and treats any code as the end of
the connection; from 2.0.0 on it logs any other than 0 as a crash. So only quicdist is sent other codes."""

from __future__ import annotations

from typing import Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.errors import (
    AcceptError,
    AuthenticationRefused,
    CertificateRefused,
    ConnectError,
    PskRefused,
    Refusal,
)
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.protocol import SimultaneousConnect, WrongCookie

#: Application error codes: the certificate does not name the host of the node name, the ``auth_callback``
#: refused, both nodes dial each other, and the cookies differ. quic_dist uses 0x100, for user streams.
CERTIFICATE_REFUSED: Final = 0x101
AUTHENTICATION_REFUSED: Final = 0x102
SIMULTANEOUS_CONNECT: Final = 0x103
WRONG_COOKIE: Final = 0x104

#: TLS alerts about certificates: bad_certificate to unknown_ca, and certificate_required.
_CERTIFICATE_ALERTS = frozenset({42, 43, 44, 45, 46, 48, 116})
#: decrypt_error (a wrong secret) and unknown_psk_identity.
_PSK_ALERTS = frozenset({51, 115})


_CODES: Final = {
    Refusal.CERTIFICATE: CERTIFICATE_REFUSED,
    Refusal.AUTHENTICATION: AUTHENTICATION_REFUSED,
    Refusal.SIMULTANEOUS: SIMULTANEOUS_CONNECT,
}


def close_code(error: BaseException, *, quicdist: bool) -> int:
    """The application error code of the CONNECTION_CLOSE for ``error``. ``quicdist``: the peer is
    quicdist."""
    if not quicdist:
        return 0
    if isinstance(error, WrongCookie):
        return WRONG_COOKIE
    if isinstance(error, AuthenticationRefused):
        return AUTHENTICATION_REFUSED
    if isinstance(error, AcceptError) and error.refusal is not None:
        return _CODES[error.refusal]
    return 0


def close_reason(error: BaseException) -> str:
    """The reason phrase for the peer, without the addresses and names that it knows."""
    if isinstance(error, AuthenticationRefused) or (isinstance(error, AcceptError) and error.refusal):
        return error.reason
    return str(error)


def dial_refused(
    node: str, address: Address, closing: Closing, *, psk: bool
) -> ConnectError | SimultaneousConnect | None:
    """The error of a dialling node whose connection was refused; None for other ends. ``psk``: it has shown a
    PSK."""
    why = closing.reason or str(closing)
    by_peer = closing.by_peer
    if closing.tls_alert in _CERTIFICATE_ALERTS or _is(closing, CERTIFICATE_REFUSED):
        whose = "the peer refused our certificate" if by_peer else "the certificate of the peer was refused"
        return CertificateRefused(node, address, f"{whose}: {why}", by_peer=by_peer)
    if psk and closing.tls_alert in _PSK_ALERTS:
        whose = (
            "the peer refused our pre-shared key" if by_peer else "the peer did not accept our pre-shared key"
        )
        return PskRefused(node, address, f"{whose}: {why}", by_peer=by_peer)
    if closing.tls_alert == 115:
        return PskRefused(node, address, f"the peer requires a pre-shared key: {why}", by_peer=by_peer)
    if _is(closing, AUTHENTICATION_REFUSED):
        return AuthenticationRefused(node, address, why, by_peer=True)
    if _is(closing, SIMULTANEOUS_CONNECT):
        return SimultaneousConnect(node)
    return None


def accept_refused(address: Address, closing: Closing) -> AcceptError | None:
    """The error of an accepting node that the dialling node refused; None for other ends."""
    if _is(closing, AUTHENTICATION_REFUSED):
        reason = closing.reason or str(closing)
        return AcceptError(address, reason, Refusal.AUTHENTICATION, by_peer=True)
    return None


def wrong_cookie(closing: Closing) -> bool:
    """Whether quicdist closed the connection because the cookies differ."""
    # Older versions of quicdist send this text without the code.
    says_so = closing.by_peer and closing.is_application and closing.reason.startswith("wrong cookie for ")
    return says_so or _is(closing, WRONG_COOKIE)


def incoming_ended(closing: Closing) -> str:
    """Why an incoming connection failed, for the log."""
    why = closing.reason or str(closing)
    if closing.tls_alert in _CERTIFICATE_ALERTS:
        return f"the peer refused our certificate: {why}" if closing.by_peer else f"its certificate: {why}"
    if closing.tls_alert in _PSK_ALERTS and not closing.by_peer:
        return f"its pre-shared key: {why}"
    return f"the QUIC handshake failed: {closing}"


def _is(closing: Closing, code: int) -> bool:
    return closing.by_peer and closing.is_application and closing.code == code
