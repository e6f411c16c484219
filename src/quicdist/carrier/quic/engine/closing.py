"""Why a QUIC connection ends."""

from __future__ import annotations

from typing import Final, NamedTuple

#: QUIC's transport error codes for TLS alerts start here (RFC 9001, section 4.8).
CRYPTO_ERROR: Final = 0x100


class Closing(NamedTuple):
    """Why a connection ends: the content of its CONNECTION_CLOSE, or the local reason.

    ``by_peer``: the peer has closed it; otherwise this side has. ``is_application``: the code is one of the
    application, not of QUIC.
    """

    code: int
    reason: str
    by_peer: bool = False
    is_application: bool = False
    #: The kernel reported ICMP port unreachable.
    unreachable: bool = False
    #: The idle timeout has passed (RFC 9000, section 10.1).
    is_idle: bool = False

    @property
    def tls_alert(self) -> int | None:
        """The TLS alert in a transport error code (RFC 8446, section 6.2), or None."""
        if not self.is_application and CRYPTO_ERROR <= self.code < CRYPTO_ERROR + 256:
            return self.code - CRYPTO_ERROR
        return None

    def __str__(self) -> str:
        kind = "application" if self.is_application else "QUIC"
        reason = f" ({self.reason})" if self.reason else ""
        if self.code:
            return f"{kind} error 0x{self.code:x}{reason}"
        return self.reason or "no error"
