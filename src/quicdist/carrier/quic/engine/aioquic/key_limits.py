"""Key updates and the limits of AEAD usage (RFC 9001, sections 6 and 6.6).

aioquic can update keys and never does so itself. It drops the old keys at once, so that packets sent before
the update are lost, and it derives the next keys for every packet with the other key phase, forged ones
included.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import (
    CryptoContext,
    CryptoPair,
    KeyUnavailableError,
    apply_key_phase,
    next_key_phase,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, decode_packet_number, is_long_header
from aioquic.tls import CipherSuite, Epoch

from quicdist.carrier.quic.engine.aioquic.transport_parameters import says
from quicdist.carrier.quic.engine.own_parameters import PACED


class KeyLimits(NamedTuple):
    """``update``: packets after which the keys are updated. ``maximum``: packets after which the connection
    is closed if they could not be. ``forgeries``: packets that fail authentication, under all keys, after
    which the connection is closed."""

    update: int
    maximum: int
    forgeries: int


#: AES-GCM: 2**23 packets may be protected with a key, 2**28 if none is longer than 2048 bytes; 2**52 may fail
#: authentication (RFC 9001, section 6.6 and appendix B.1).
LONG: Final = KeyLimits(update=1 << 22, maximum=1 << 23, forgeries=1 << 52)
SHORT: Final = KeyLimits(update=1 << 27, maximum=1 << 28, forgeries=1 << 52)
#: ChaCha20-Poly1305: the limit is above the number of packet numbers.
CHACHA20: Final = KeyLimits(update=1 << 62, maximum=1 << 62, forgeries=1 << 36)


class ReceiveKeys(CryptoContext):
    """The keys that remove packet protection: the current ones, those before and those after."""

    def __init__(self, made: CryptoContext) -> None:
        super().__init__(made.key_phase, made._setup_cb, made._teardown_cb)
        self._previous: CryptoContext | None = None
        self._next: CryptoContext | None = None
        #: Packets that did not authenticate.
        self.forgeries = 0

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int, bool]:
        """Remove the protection of a packet. The last value says whether the next keys did."""
        if self.aead is None or self.hp is None:
            raise KeyUnavailableError("Decryption key is not available")
        header, truncated = self.hp.remove(packet, encrypted_offset)
        first = header[0]
        number = decode_packet_number(truncated, 8 * ((first & 3) + 1), expected_packet_number)
        keys: list[CryptoContext] = [self]
        if not is_long_header(first) and first >> 2 & 1 != self.key_phase:
            # Sent before the last update and late, or after an update by the peer.
            if self._next is None:
                self._next = next_key_phase(self)
            keys = [self._next] if self._previous is None else [self._previous, self._next]
        sealed = packet[len(header) :]
        for crypto in keys:
            assert crypto.aead is not None
            try:
                return header, crypto.aead.decrypt(sealed, header, number), number, crypto is self._next
            except ValueError as error:  # aioquic's CryptoError
                failure = error
        self.forgeries += 1
        raise failure

    def advance(self, trigger: str) -> None:
        """Change to the next keys."""
        previous = CryptoContext(key_phase=self.key_phase)
        previous.aead, previous.hp = self.aead, self.hp
        after = self._next or next_key_phase(self)
        apply_key_phase(self, after, trigger=trigger)
        self._previous, self._next = previous, None


class KeyPair(CryptoPair):
    """The 1-RTT keys of both directions."""

    recv: ReceiveKeys

    def __init__(self, made: CryptoPair) -> None:
        super().__init__()
        self.recv, self.send = ReceiveKeys(made.recv), made.send
        #: Updates initiated by the peer.
        self.updates_of_peer = 0

    def _update_key(self, trigger: str) -> None:
        self.recv.advance(trigger)
        apply_key_phase(self.send, next_key_phase(self.send), trigger=trigger)
        self._update_key_requested = False
        if trigger == "remote_update":
            self.updates_of_peer += 1


class _KeyUsage:
    """The use of the current keys. ``begun``: the number of the first packet sent with them. ``due``: the
    number of the packet before which they are checked again. ``updated``: they are not the first keys."""

    __slots__ = ("begun", "due", "peer_at", "updated", "updates_of_peer")

    def __init__(self) -> None:
        self.begun = self.due = 0
        self.updated = False
        self.updates_of_peer = 0
        #: The number of our next packet when the peer last updated the keys.
        self.peer_at = -1


class KeyLimited(QuicConnection):
    """A connection that keeps the limits of AEAD usage. Tests may set ``key_limits``."""

    key_limits: KeyLimits | None = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._key_usage = _KeyUsage()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._cryptos[Epoch.ONE_RTT] = KeyPair(self._cryptos[Epoch.ONE_RTT])

    def _limits(self, pair: CryptoPair) -> KeyLimits:
        if self.key_limits is not None:
            return self.key_limits
        if pair.recv.cipher_suite is CipherSuite.CHACHA20_POLY1305_SHA256:
            return CHACHA20
        return LONG if self._follows_all else SHORT

    @property
    def _follows_all(self) -> bool:
        """Whether the peer supports more than one update. quic_dist up to 1.8.1 supports the first only;
        after a later one it uses the keys before it. Such a peer is sent no long packets either."""
        return says(self.tls.received_extensions or (), PACED)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        if self._packet_number >= self._key_usage.due:
            self._check_key_usage()
        return super().datagrams_to_send(now)

    def _check_key_usage(self) -> None:
        """Before a packet is sent: update the keys if that is due."""
        pair, usage, number = self._cryptos.get(Epoch.ONE_RTT), self._key_usage, self._packet_number
        if pair is None or not pair.send.is_valid() or not self._handshake_confirmed:
            return
        limits = self._limits(pair)
        used = number - usage.begun
        if used < limits.update:
            usage.due = usage.begun + limits.update
        elif used >= limits.maximum:
            text = "the limit of packets under one key is reached"
            self.close(QuicErrorCode.AEAD_LIMIT_REACHED, QuicFrameType.PADDING, text)
        elif usage.updated and not self._follows_all:
            usage.due = usage.begun + limits.maximum
        elif self._spaces[Epoch.ONE_RTT].largest_acked_packet >= usage.begun:
            # The peer has these keys (RFC 9001, section 6.1).
            self._logger.debug("Updating keys after %d packets", used)
            usage.begun, usage.due, usage.updated = number, number + limits.update, True
            self.request_key_update()

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        super().receive_datagram(data, addr, now)
        pair = self._cryptos.get(Epoch.ONE_RTT)
        if isinstance(pair, KeyPair):
            if pair.recv.forgeries:
                self._forged(pair)
            if pair.updates_of_peer != self._key_usage.updates_of_peer:
                self._updated_by_peer(pair)

    def _forged(self, pair: CryptoPair) -> None:
        """A packet failed authentication."""
        assert isinstance(pair, KeyPair)
        if pair.recv.is_valid() and pair.recv.forgeries >= self._limits(pair).forgeries:
            self.close(
                QuicErrorCode.AEAD_LIMIT_REACHED,
                QuicFrameType.PADDING,
                "too many packets failed authentication",
            )

    def _updated_by_peer(self, pair: KeyPair) -> None:
        usage, number = self._key_usage, self._packet_number
        # The next update is allowed once a packet with the new keys was acknowledged (RFC 9001, section 6.2).
        if pair.updates_of_peer > usage.updates_of_peer + 1 or number == usage.peer_at:
            self.close(
                QuicErrorCode.KEY_UPDATE_ERROR,
                QuicFrameType.PADDING,
                "key update before the last one was acknowledged",
            )
        usage.updates_of_peer, usage.peer_at = pair.updates_of_peer, number
        usage.begun, usage.due, usage.updated = number, 0, True
