"""TLS: client certificates and external pre-shared keys. aioquic asks for client certificates in its tests
only, and has PSKs of session tickets only."""

from __future__ import annotations

import datetime
from logging import LoggerAdapter
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.connection import MAX_EARLY_DATA, QuicConnection
from aioquic.tls import Epoch
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from quicdist.carrier.quic.engine.aioquic.configuration import PSK_CIPHER_SUITE, Configuration
from quicdist.carrier.quic.engine.aioquic.verification import (
    check_client,
    check_keys,
    check_server_use,
    check_size,
    mismatch,
    refused_by_alert,
)


def is_resumed(quic: QuicConnection) -> bool:
    """Whether the session was resumed. aioquic's event says so too, but the next ticket may come before
    it."""
    return quic.tls.session_resumed


def can_send_early_data(quic: QuicConnection) -> bool:
    """Whether data written now are sent as early data: the ticket allows it."""
    return quic._cryptos[Epoch.ZERO_RTT].send.is_valid()


def peer_certificates(quic: QuicConnection) -> tuple[x509.Certificate, ...]:
    """The peer's certificate and the chain that came with it; empty if it showed none (a client that was not
    asked, a PSK, a resumed session)."""
    context = quic.tls
    certificate = context._peer_certificate
    return () if certificate is None else (certificate, *context._peer_certificate_chain)


def why_not_named(quic: QuicConnection, host: str) -> str | None:
    """Why the certificate of a dialling peer does not name ``host``; None if it does, or if none was shown or
    asked for."""
    configuration = quic.configuration
    clients = configuration.clients if isinstance(configuration, Configuration) else None
    shown = peer_certificates(quic)
    return mismatch(clients, shown[0], shown[1:], host) if shown and clients is not None else None


class UnknownPskIdentity(tls.Alert):
    """The peer showed no known PSK, or did not accept ours."""

    description = tls.AlertDescription.unknown_psk_identity


class _Ticket(tls.SessionTicket):
    """An external PSK as a session ticket, the only kind of PSK that aioquic has."""

    @classmethod
    def of(cls, identity: bytes, secret: bytes) -> _Ticket:
        now = datetime.datetime.now(datetime.UTC)
        return cls(
            age_add=0,
            cipher_suite=PSK_CIPHER_SUITE,
            not_valid_after=now,
            not_valid_before=now,
            resumption_secret=secret,
            server_name="",
            ticket=identity,
        )

    @property
    def is_valid(self) -> bool:
        return True

    @property
    def obfuscated_age(self) -> int:
        return 0  # RFC 8446, section 4.2.11


class _ExternalKeySchedule(tls.KeySchedule):
    """The key schedule of an external PSK. Only the label of the binder differs (RFC 8446, section 7.1)."""

    def derive_secret(self, label: bytes) -> bytes:
        return super().derive_secret(b"ext binder" if label == b"res binder" else label)


class TlsContext(tls.Context):
    """aioquic's TLS, with client certificates and external PSKs."""

    #: The PSK of this handshake is an external one.
    _external = False
    _tickets: tls.SessionTicketFetcher | None = None

    def __init__(self, settings: Configuration, *, logger: LoggerAdapter[Any]) -> None:
        """With the same arguments as aioquic's connection passes."""
        super().__init__(
            alpn_protocols=settings.alpn_protocols,
            cadata=settings.cadata,
            cafile=settings.cafile,
            capath=settings.capath,
            cipher_suites=settings.cipher_suites,
            is_client=settings.is_client,
            logger=logger,
            max_early_data=None if settings.is_client else MAX_EARLY_DATA,
            server_name=settings.server_name,
            verify_mode=settings.verify_mode,
        )
        self._settings = settings

    def configure(self) -> None:
        """Apply the settings that aioquic does not have, after it has applied its own."""
        settings = self._settings
        # aioquic can verify this algorithm, and does not offer it.
        self._signature_algorithms.append(tls.SignatureAlgorithm.ECDSA_SECP521R1_SHA512)
        if self._is_client:
            if settings.external_psk is not None:
                psk = settings.external_psk
                self._external = True
                self.session_ticket = _Ticket.of(psk.identity, psk.secret)
            return
        # In aioquic "for test purposes only". With it, it asks for a certificate and verifies the signature.
        self._request_client_certificate = settings.clients is not None
        self._tickets = None if settings.clients is not None else self.get_session_ticket_cb
        self.get_session_ticket_cb = self._find_ticket

    def _signature_algorithms_for_private_key(self) -> list[tls.SignatureAlgorithm]:
        key = self.certificate_private_key
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP521R1):
            return [tls.SignatureAlgorithm.ECDSA_SECP521R1_SHA512]
        return super()._signature_algorithms_for_private_key()

    def __setattr__(self, name: str, value: Any) -> None:
        # aioquic makes key schedules of its own class within its handlers and uses them at once. Only their
        # assignment can be intercepted.
        if type(value) is tls.KeySchedule and self._external:
            value = _ExternalKeySchedule(value.cipher_suite)
        super().__setattr__(name, value)

    # -- a client ----------------------------------------------------------------------------

    def _client_handle_hello(self, input_buf: Buffer, output_buf: Buffer) -> None:
        super()._client_handle_hello(input_buf, output_buf)
        if self._external and not self._session_resumed:
            # Otherwise the peer's certificate would be accepted in place of the secret.
            raise UnknownPskIdentity("the peer did not accept the pre-shared key")

    def _client_handle_certificate(self, input_buf: Buffer) -> None:
        check_size(input_buf.capacity)
        with refused_by_alert():
            super()._client_handle_certificate(input_buf)
        self._check_keys()

    def _client_handle_certificate_verify(self, input_buf: Buffer) -> None:
        with refused_by_alert():
            super()._client_handle_certificate_verify(input_buf)
        if self._settings.check_use and self._peer_certificate is not None:
            check_server_use(self._peer_certificate)

    def _check_keys(self) -> None:
        """Check the keys in the peer's certificates before anything is computed with them."""
        if self._peer_certificate is not None:
            check_keys([self._peer_certificate, *self._peer_certificate_chain])

    # -- a server ----------------------------------------------------------------------------

    def _find_ticket(self, identity: bytes) -> tls.SessionTicket | None:
        find = self._settings.find_psk
        secret = None if find is None else find(identity)
        if secret is not None:
            self._external = True
            return _Ticket.of(identity, secret)
        return None if self._tickets is None else self._tickets(identity)

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        try:
            super()._server_handle_hello(input_buf, initial_buf, handshake_buf)
        except tls.AlertHandshakeFailure as failure:
            if self._external and not self._session_resumed:
                raise tls.AlertDecryptError("the secret differs from that of the listener") from failure
            raise
        if self._session_resumed:
            if self._request_client_certificate:
                # With a PSK no certificate is asked for, but aioquic would wait for one.
                self._server_expect_finished()
        elif self._settings.psk_only:
            # The messages in the output buffers are not sent.
            raise UnknownPskIdentity("a known pre-shared key is required")

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        check_size(input_buf.capacity)
        with refused_by_alert():
            super()._server_handle_certificate(input_buf)
        self._check_keys()
        if self._peer_certificate is None:
            self._check_client()

    def _server_handle_certificate_verify(self, input_buf: Buffer) -> None:
        with refused_by_alert():
            super()._server_handle_certificate_verify(input_buf)
        self._check_client()

    def _check_client(self) -> None:
        if self._settings.clients is not None:
            check_client(self._settings.clients, self._peer_certificate, self._peer_certificate_chain)
