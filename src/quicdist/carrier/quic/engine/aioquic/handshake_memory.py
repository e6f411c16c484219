"""Frees what the handshake leaves behind in an established connection: more than a third of its memory.

aioquic keeps keys, packet number spaces and CRYPTO streams of the handshake, and all that its TLS context has
been given and has computed, until the connection ends. After the handshake is confirmed (RFC 9001, section
4.1.2) only this is used: the 1-RTT keys, space and CRYPTO stream; in the TLS context what makes a session
ticket of a NewSessionTicket message, the peer's certificates, and its transport parameters.

The objects of discarded epochs are replaced by one of each kind that all connections share: aioquic looks
them up for packets that come late. ``tests/carrier/test_handshake_memory.py`` holds the count of objects.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from aioquic.quic.connection import MAX_LOCAL_CHALLENGES
from aioquic.quic.crypto import CryptoPair, NoCallback
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch, ExtensionType
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from quicdist.carrier.quic.engine.aioquic.recovery import OwnRecovery
from quicdist.carrier.quic.engine.aioquic.tls import TlsContext

T = TypeVar("T")

#: Without keys, as after ``teardown``.
_NO_KEYS: Final = CryptoPair()
_NO_SPACE: Final = QuicPacketSpace()
_NO_SPACE.discarded = True
_NO_STREAM: Final = QuicStream()

#: The attributes of a TLS context that only the handshake uses.
_OF_HANDSHAKE: Final[dict[str, Any]] = {
    "_alpn_protocols": None,
    "_cadata": None,
    "_certificate_request": None,
    "_cipher_suites": (),
    "_ec_private_keys": (),
    "_key_schedule_proxy": None,
    "_key_schedule_psk": None,
    "_legacy_compression_methods": (),
    "_new_session_ticket": None,
    "_psk_key_exchange_modes": (),
    "_signature_algorithms": (),
    "_supported_groups": (),
    "_supported_versions": (),
    "_x25519_private_key": None,
    "_x448_private_key": None,
    "alpn_cb": None,
    "certificate_chain": (),
    "certificate_private_key": None,
    "get_session_ticket_cb": None,
    "handshake_extensions": (),
    "session_ticket": None,
}


#: A TLS context whose handshake is confirmed: what is freed has its value in the class.
_CONFIRMED: Final[type[TlsContext]] = type("ConfirmedTls", (TlsContext,), dict(_OF_HANDSHAKE))


class _Queue(list[T]):
    """A queue that is nearly always empty, and takes no memory then: a deque takes 700 bytes."""

    __slots__ = ()

    def popleft(self) -> T:
        return self.pop(0)


class _Recent(_Queue[bytes]):
    """The last few path challenges."""

    __slots__ = ()

    def append(self, challenge: bytes) -> None:
        del self[: len(self) + 1 - MAX_LOCAL_CHALLENGES]
        super().append(challenge)


class FreesHandshake(OwnRecovery):
    """A connection that keeps nothing of a handshake that is confirmed."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if self._quic_logger is None:
            # Each key has two callbacks, which do nothing without this logger.
            for pair in self._cryptos.values():
                for crypto in (pair.recv, pair.send):
                    crypto._setup_cb = crypto._teardown_cb = NoCallback

    def _confirm_handshake(self) -> None:
        super()._confirm_handshake()
        self._free_handshake()
        self._datagrams_pending = _Queue()  # type: ignore[assignment]  # it has what is called
        self._events = _Queue(self._events)  # type: ignore[assignment]
        for path in self._network_paths:
            path.local_challenges = _Recent(path.local_challenges)  # type: ignore[assignment]
            path.remote_challenges = _Queue(path.remote_challenges)  # type: ignore[assignment]

    def _free_handshake(self) -> None:
        for epoch in (Epoch.INITIAL, Epoch.HANDSHAKE):
            if self._spaces[epoch].discarded:
                self._spaces[epoch] = _NO_SPACE
                self._cryptos[epoch] = _NO_KEYS
                self._crypto_streams[epoch] = _NO_STREAM
        if self._spaces[Epoch.INITIAL] is _NO_SPACE:
            self._cryptos_initial = dict.fromkeys(self._cryptos_initial, _NO_KEYS)
        early = self._cryptos[Epoch.ZERO_RTT]
        if not (early.recv.is_valid() or early.send.is_valid()):
            self._cryptos[Epoch.ZERO_RTT] = _NO_KEYS
        self._loss.keep_space(self._spaces[Epoch.ONE_RTT])
        context = self.tls
        assert isinstance(context, TlsContext)
        free(context, is_client=self._is_client)


def free(context: TlsContext, *, is_client: bool) -> None:
    """Free what a TLS context has of its handshake."""
    context.__class__ = _CONFIRMED
    if not is_client:
        context.key_schedule = None  # a client makes session tickets with it
        context.new_session_ticket_cb = None
    context.received_extensions = [
        extension
        for extension in context.received_extensions or ()
        if extension[0] == ExtensionType.QUIC_TRANSPORT_PARAMETERS
    ]
    if context._peer_certificate is not None:
        # The old object keeps all extensions that were verified as objects, which take more than itself.
        der = context._peer_certificate.public_bytes(Encoding.DER)
        context._peer_certificate = x509.load_der_x509_certificate(der)
    # A dict does not shrink when its keys are deleted.
    context.__dict__ = {name: value for name, value in vars(context).items() if name not in _OF_HANDSHAKE}
