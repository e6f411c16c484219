"""One TLS connection, sans-I/O: records in, plaintext out, and the reverse (RFC 8446, RFC 5246)."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Literal

from quicdist.carrier.tls.context import tls_reason
from quicdist.carrier.tls.settings import DEPTH

#: Bytes requested from OpenSSL in one read; a record holds 16 KiB at most.
_READ = 256 * 1024


#: Alerts by which a peer refuses our certificate (RFC 8446, section 6.2).
_ABOUT_OURS = (
    "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED", "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "CERTIFICATE_REQUIRED", "ACCESS_DENIED",
)  # fmt: skip


class TlsError(OSError):
    """TLS failed: in its handshake, or with a record that did not authenticate. The text says why.

    ``certificate``: whose certificate was refused, ``"ours"`` or ``"theirs"``; None for other reasons.
    """

    def __init__(self, text: str, certificate: Literal["ours", "theirs"] | None = None) -> None:
        super().__init__(text)
        self.certificate = certificate

    @classmethod
    def of(cls, what: str, error: ssl.SSLError) -> TlsError:
        """The :class:`TlsError` for an error of OpenSSL; ``what`` begins its text."""
        whose: Literal["ours", "theirs"] | None = None
        reason = error.reason or ""
        if isinstance(error, ssl.SSLCertVerificationError) or reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            whose = "theirs"
        elif reason.endswith(_ABOUT_OURS) and "_ALERT_" in reason:
            whose = "ours"
        return cls(f"{what}: {tls_reason(error)}", whose)


class TlsSession:
    """Python's ``ssl`` on memory buffers. After each call, send what :meth:`data_to_send` returns.

    The server's certificate must name ``server_name`` if the context checks names. ``depth`` limits the
    certificates between the peer's own and its root. Not thread-safe. Raises :class:`TlsError` for a
    ``server_name`` that no certificate can name.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        depth: int = DEPTH,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        try:
            self._ssl = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
            )
        except ValueError as error:
            raise TlsError(f"TLS handshake failed: no certificate can name the host {server_name}") from error
        self._depth = depth
        #: The handshake is complete on this side. A TLS 1.3 client learns later whether its certificate was
        #: refused.
        self.is_established = False

    def begin(self) -> None:
        """Start the handshake: a client sends its ClientHello. Raises :class:`TlsError`."""
        self._handshake()

    def receive_data(self, data: bytes) -> bytes:
        """Decrypt received bytes; the plaintext of the complete records. Raises :class:`TlsError`."""
        self._incoming.write(data)
        if not self.is_established:
            self._handshake()
            if not self.is_established:
                return b""
        read: list[bytes] = []
        try:
            while part := self._ssl.read(_READ):
                read.append(part)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # TCP reports the end of the connection as well.
        except ssl.SSLError as error:
            raise TlsError.of("TLS failed", error) from error
        return read[0] if len(read) == 1 else b"".join(read)

    def send(self, data: bytes | memoryview) -> None:
        """Encrypt ``data``, in records of 16 KiB. Raises :class:`TlsError`."""
        try:
            self._ssl.write(data)
        except ssl.SSLError as error:
            raise TlsError.of("TLS failed", error) from error

    def data_to_send(self) -> bytes:
        """The records that wait to be sent."""
        return self._outgoing.read()

    def close(self) -> None:
        """Queue ``close_notify`` if the connection still allows it."""
        if self.is_established:
            with contextlib.suppress(ssl.SSLError, ValueError):  # SSLWantRead: it waits for the peer's.
                self._ssl.unwrap()

    @property
    def version(self) -> str | None:
        """``"TLSv1.2"`` or ``"TLSv1.3"``, once it is agreed on."""
        return self._ssl.version()

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, if it showed one."""
        return self._ssl.getpeercert(binary_form=True)

    def _handshake(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise TlsError.of("TLS handshake failed", error) from error
        self._check_depth()
        self.is_established = True

    def _check_depth(self) -> None:
        """``depth`` of OTP's ``ssl``: the certificates between the peer's own and its root."""
        if self._ssl.context.verify_mode is ssl.CERT_NONE:
            return
        # Public from Python 3.13 on. Before, only the wrapped object has it.
        holder: Any = self._ssl if hasattr(self._ssl, "get_verified_chain") else vars(self._ssl)["_sslobj"]
        chain = holder.get_verified_chain
        between = len(chain() or ()) - 2
        if between > self._depth:
            raise TlsError(
                "TLS handshake failed: the peer's certificate is refused: "
                f"{between} certificates between it and its root, at most {self._depth} allowed",
                "theirs",
            )
